import fc from "fast-check";
import { expect, test } from "vitest";
import { TableSnapshot } from "../../../src/source/snapshot-progress.ts";
import { SnapshotWindow } from "../../../src/source/window.ts";
import { histories, run } from "./snapshot-model.ts";

const modules = { SnapshotWindow, TableSnapshot };
const RUNS = Number(process.env.TEST_HISTORIES ?? 20_000);

test("x", () => {
  let ran = 0;
  const t = performance.now();
  try {
    fc.assert(
      fc.property(histories(200), (history) => {
        ran++;
        run(history, modules);
      }),
      { numRuns: RUNS },
    );
  } finally {
    console.log(ran, performance.now() - t);
  }
  expect(ran).toBe(RUNS);
}, 600_000);
