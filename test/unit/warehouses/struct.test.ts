// What a DuckDB column has to be so that it holds what is there and what is needed.
import { expect, test } from "vitest";
import { holdingBoth, parseType, printType } from "../../../src/warehouses/duckdb/struct.ts";

test.each([
  ["INTEGER", "INTEGER", null],
  ["INTEGER", "BIGINT", "BIGINT"],
  ["BIGINT", "INTEGER", null],
  ["DECIMAL(6,2)[]", "DECIMAL(12,2)[]", "DECIMAL(12,2)[]"],
  ["STRUCT(a INTEGER, b VARCHAR)", 'STRUCT("a" INTEGER, "b" VARCHAR)', null],
  ["STRUCT(a INTEGER, b VARCHAR)", 'STRUCT("b" VARCHAR)', null],
  ["STRUCT(a INTEGER)", 'STRUCT("a" BIGINT, "c" DECIMAL(12,2))', 'STRUCT("a" BIGINT, "c" DECIMAL(12,2))'],
  ["STRUCT(a INTEGER, b VARCHAR)[]", 'STRUCT("b" VARCHAR, "c" DATE)[]', 'STRUCT("a" INTEGER, "b" VARCHAR, "c" DATE)[]'],
  ['STRUCT("order" STRUCT(x DOUBLE, y DOUBLE)[])', 'STRUCT("order" STRUCT(x DOUBLE, y DOUBLE)[])', null],
  ['STRUCT("a, b" INTEGER, "q""(" VARCHAR)', 'STRUCT("q""(" VARCHAR, "a, b" INTEGER)', null],
  ["STRUCT(A INTEGER)", 'STRUCT("a" INTEGER)', null],
])("of %s, needed %s: %s", (there, needed, type) => {
  expect(holdingBoth(there, needed)).toEqual({ type });
});

test.each([
  ["INTEGER", "VARCHAR"],
  ["STRUCT(a INTEGER)", "VARCHAR"],
  ["STRUCT(a INTEGER)", 'STRUCT("a" VARCHAR)'],
  ["STRUCT(a INTEGER)[]", 'STRUCT("a" INTEGER)'],
])("of %s, needed %s: none", (there, needed) => {
  expect(holdingBoth(there, needed)).toBeNull();
});

test("a type is printed as it was read, names in quotes", () => {
  const type = 'STRUCT("a b" DECIMAL(12,2), "m" MAP(VARCHAR, VARCHAR), "s" STRUCT("x" TIMESTAMP WITH TIME ZONE)[])[]';
  expect(printType(parseType(type))).toBe(type);
});
