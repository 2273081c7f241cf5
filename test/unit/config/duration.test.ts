// mirrors src/config/duration.ts

import { describe, expect, test } from "vitest";

import { parseDuration } from "../../../src/config/duration.ts";

describe("a duration is a number of milliseconds", () => {
  test.each([
    ["200ms", 200],
    ["1s", 1000],
    ["1.5s", 1500],
    ["5m", 300_000],
    ["12 h", 43_200_000],
    ["7d", 604_800_000],
  ])("%s", (text, ms) => {
    expect(parseDuration(text)).toBe(ms);
  });

  test.each(["", "1", "s", "-1s", "1S", "1 week", "1s ", "0.5ms", "1e3s", "99999999999999999d"])("%j is none", (text) => {
    expect(parseDuration(text)).toBeNull();
  });
});
