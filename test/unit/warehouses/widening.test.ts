import fc from "fast-check";
import { expect, test } from "vitest";
import { ladders as duckdb } from "../../../src/warehouses/duckdb/dialect.ts";
import { ladders as postgres } from "../../../src/warehouses/postgres/dialect.ts";
import { isWider } from "../../../src/warehouses/widening.ts";

test.each([
  ["bigint", "smallint", true],
  ["smallint", "bigint", false],
  ["integer", "integer", false],
  ["double precision", "real", true],
  ["double precision", "integer", false],
  ["numeric(16,2)", "numeric(6,2)", true],
  ["numeric(6,2)", "numeric(16,2)", false],
  ["numeric(16,4)", "numeric(6,2)", false],
  ["numeric", "numeric(6,2)", false],
  ["text", "integer", false],
  ["bigint[]", "integer[]", true],
  ["numeric(16,2)[]", "numeric(6,2)[]", true],
  ["bigint[]", "integer", false],
  ["bigint", "integer[]", false],
])("PostgreSQL: whether %s is wider than %s: %s", (wide, narrow, expected) => {
  expect(isWider(wide, narrow, postgres)).toBe(expected);
});

test.each([
  ["BIGINT", "INTEGER", true],
  ["DOUBLE", "FLOAT", true],
  ["DECIMAL(38,2)", "DECIMAL(6,2)", true],
  ["VARCHAR", "DECIMAL(38,2)", false],
])("DuckDB: whether %s is wider than %s: %s", (wide, narrow, expected) => {
  expect(isWider(wide, narrow, duckdb)).toBe(expected);
});

test("no two types are wider than each other, nor is one wider than itself", () => {
  const types = fc.oneof(
    fc.constantFrom(...postgres.flat(), "text", "numeric"),
    fc.tuple(fc.integer({ min: 1, max: 40 }), fc.integer({ min: 0, max: 3 })).map(([precision, scale]) => `numeric(${precision},${scale})`),
  );
  fc.assert(fc.property(types, types, (a, b) => !(isWider(a, b, postgres) && isWider(b, a, postgres))));
});
