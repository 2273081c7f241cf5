import { expect, test } from "vitest";
import { isReady, OVER } from "../../../src/service/status.ts";

test("a connector that works is ready, and a source that has read all it was to read; one that was stopped or waits is not", () => {
  expect(isReady({ state: "running", phase: "streaming" })).toBe(true);
  expect(isReady({ state: "stopped", phase: OVER })).toBe(true);
  for (const state of ["stopped", "waiting", "paused", "dropped", "starting"] as const)
    expect(isReady({ state, phase: "streaming" }), state).toBe(false);
  expect(isReady({ state: "starting", phase: OVER })).toBe(false);
});
