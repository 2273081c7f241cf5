import { expect, test } from "vitest";
import { loadNames } from "../../../bench/loads.ts";
import { isWanted, parseOptions, subjects, USAGE } from "../../../bench/options.ts";

test("without options everything is measured, a million narrow rows, three times", () => {
  expect(parseOptions([])).toEqual({
    rows: 1_000_000,
    repeats: 3,
    only: subjects,
    loads: ["narrow"],
    json: undefined,
    chart: undefined,
  });
});

test("subjects and loads come in the order of their lists, each once, however they were written", () => {
  expect(parseOptions(["--only", "kafka,embedded,kafka", "--load", "json,narrow"])).toMatchObject({
    only: ["embedded", "kafka"],
    loads: ["narrow", "json"],
  });
  expect(parseOptions(["--load", "all"])).toMatchObject({ loads: loadNames });
});

test.each([
  [["--rows", "many"], "--rows is a whole number, not many"],
  [["--rows", "0"], "--rows is a whole number, not 0"],
  [["--repeats", "1.5"], "--repeats is a whole number, not 1.5"],
  [["--only", "kafka,rabbit"], `--only knows ${subjects.join(", ")}, not rabbit`],
  [["--load", "heavy"], `--load knows ${loadNames.join(", ")}, not heavy`],
])("%j is refused with what it takes", (args, said) => {
  expect(parseOptions(args)).toBe(said);
});

test("visible and pgbench alone are of everybody, and with others named of those", () => {
  expect(isWanted({ only: ["visible"] }, "debezium")).toBe(true);
  expect(isWanted({ only: ["pgbench", "snapshot"] }, "kafka")).toBe(true);
  expect(isWanted({ only: ["duckdb", "visible"] }, "debezium")).toBe(false);
  expect(isWanted({ only: ["snapshot"] }, "kafka")).toBe(false);
  expect(isWanted({ only: ["kafka"] }, "kafka")).toBe(true);
});

test("an unknown option is refused by name", () => {
  expect(parseOptions(["--row", "5"])).toContain("--row");
});

test("the usage names every subject and every load", () => {
  for (const name of [...subjects, ...loadNames]) expect(USAGE).toMatch(new RegExp(`\\b${name}\\b`));
});
