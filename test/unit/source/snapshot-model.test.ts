// Section 8's rules together, against random histories of a database that does whatever PostgreSQL may do (and, where it
// is simpler, a little more), of lost sessions, crashes and slow replies. TEST_SNAPSHOT_HISTORIES says how many are tried: raise it
// to a million when a rule, the window or the progress changes.
import fc from "fast-check";
import { expect, test } from "vitest";
import { TableSnapshot } from "../../../src/source/snapshot-progress.ts";
import { SnapshotWindow } from "../../../src/source/window.ts";
import { histories, run } from "./snapshot-model.ts";

const RUNS = Number(process.env.TEST_SNAPSHOT_HISTORIES ?? 20_000);
/** A slow machine tries fewer, but not less than a tenth. */
const LIMIT_MS = Math.max(60_000, RUNS * 3);

test(
  "whatever happens while tables are read, the target is in the end what the source is (R-window, R-window-start, R-window-toast, R-sweep)",
  () => {
    let ran = 0;
    fc.assert(
      fc.property(histories, (history) => {
        ran += 1;
        run(history, { SnapshotWindow, TableSnapshot });
      }),
      { numRuns: RUNS, interruptAfterTimeLimit: LIMIT_MS, markInterruptAsFailure: false },
    );
    expect(ran).toBeGreaterThanOrEqual(RUNS / 10);
  },
  LIMIT_MS + 60_000,
);
