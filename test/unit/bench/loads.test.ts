import { expect, test } from "vitest";
import { loadNames, loads, warmUp } from "../../../bench/loads.ts";

test("no two loads share a table: one can follow the other in one database", () => {
  const tables = [warmUp, ...loadNames.map((name) => loads[name])].flatMap((load) => load.tables);
  expect(new Set(tables).size).toBe(tables.length);
});

test.each(loadNames)("%s writes into each of its tables and makes at least one change of any number of rows", (name) => {
  const load = loads[name];
  expect(load.changes(1)).toBeGreaterThan(0);
  expect(load.changes(1_000_000)).toBeGreaterThanOrEqual(50_000);
  const fill = load.fill(0, 5_000);
  for (const table of load.tables) {
    expect(fill).toMatch(new RegExp(`(INTO|UPDATE) ${table}\\b`));
    expect(load.create.join(";")).toMatch(new RegExp(`TABLE ${table}\\b`));
  }
});

test("transactions have the size that the load is named after", () => {
  expect(loads.narrow.fill(0, 2_500)).toContain("FOR i IN 0..2 LOOP");
  expect(loads.tx1.fill(0, 2_500)).toContain("FOR i IN 0..2499 LOOP");
  expect(loads.tx1m.fill(0, 1_000_000)).toContain("FOR i IN 0..0 LOOP");
});

test("the last transaction takes what is left, and the next repeat goes on behind it", () => {
  expect(loads.narrow.fill(0, 2_500)).toContain("least((i + 1) * 1000, 2500)");
  expect(loads.narrow.fill(2_500, 2_500)).toContain("generate_series(2500 + i * 1000 + 1, 2500 + least(");
});
