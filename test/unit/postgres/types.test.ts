// Types beyond what test/postgres/catalog.test.ts reads from real catalogs: modifiers at their limits.
import { describe, expect, test } from "vitest";
import { columnType, needsText, type TypeFacts } from "../../../src/postgres/types.ts";

const numeric = (modifier: number): TypeFacts => ({
  oid: 1700,
  modifier,
  name: "numeric",
  label: "numeric",
  type: "b",
  category: "N",
  fraction: null,
  composite: null,
  element: null,
});
const modifierOf = (precision: number, scale: number): number => ((precision << 16) | (scale & 0x7ff)) + 4;

describe("numeric is a decimal when 0 ≤ scale ≤ precision", () => {
  test.for([
    [1, 0],
    [12, 2],
    [38, 38],
    [1000, 1000],
  ] as const)("numeric(%i,%i)", ([precision, scale]) =>
    expect(columnType(numeric(modifierOf(precision, scale)))).toEqual({ kind: "decimal", precision, scale }),
  );
  test.for([
    [2, -3],
    [3, 5],
    [1000, -1000],
  ] as const)("not numeric(%i,%i)", ([precision, scale]) =>
    expect(columnType(numeric(modifierOf(precision, scale)))).toEqual({ kind: "numeric" }),
  );
  test("nor numeric without a modifier", () => expect(columnType(numeric(-1))).toEqual({ kind: "numeric" }));
});

test.for([0, 2, 3])("money has the %i digits behind the point that its database counts in", (fraction) => {
  const money: TypeFacts = {
    oid: 790,
    modifier: -1,
    name: "money",
    label: "money",
    type: "b",
    category: "N",
    fraction,
    composite: null,
    element: null,
  };
  expect(columnType(money)).toEqual({ kind: "money", precision: 19, scale: fraction });
});

test("ltree and hstore are known by their names, of the extensions' category", () => {
  const ltree: TypeFacts = {
    oid: 99_998,
    modifier: -1,
    name: "ltree",
    label: "public.ltree",
    type: "b",
    category: "U",
    fraction: null,
    composite: null,
    element: null,
  };
  expect(columnType(ltree)).toEqual({ kind: "ltree" });
  expect(columnType({ ...ltree, name: "hstore", label: "public.hstore" })).toEqual({ kind: "hstore" });
  expect(columnType({ ...ltree, type: "c", category: "C" })).toEqual({ kind: "other", typeName: "public.ltree" });
});

test("only a string type of that name is citext", () => {
  const citext: TypeFacts = {
    oid: 99_999,
    modifier: -1,
    name: "citext",
    label: "public.citext",
    type: "b",
    category: "S",
    fraction: null,
    composite: null,
    element: null,
  };
  expect(columnType(citext)).toEqual({ kind: "text" });
  expect(columnType({ ...citext, type: "c", category: "C" })).toEqual({ kind: "other", typeName: "public.citext" });
});

test("an array is one of its elements' type, with the modifier of the column; of elements that are not read it is text", () => {
  const array = (element: Omit<TypeFacts, "element">): TypeFacts => ({
    ...numeric(-1),
    oid: 1231,
    name: "_numeric",
    label: "numeric[]",
    category: "A",
    element,
  });
  expect(columnType(array(numeric(modifierOf(12, 2))))).toEqual({ kind: "array", element: { kind: "decimal", precision: 12, scale: 2 } });
  expect(columnType(array({ ...numeric(-1), oid: 869 }))).toEqual({ kind: "array", element: { kind: "inet" } });
  expect(columnType(array({ ...numeric(-1), oid: 3615 }))).toEqual({ kind: "other", typeName: "numeric[]" });
});

test("PostgreSQL's own ranges are known by their OIDs, alone and in arrays; any other range is text", () => {
  const range: TypeFacts = {
    oid: 3910,
    modifier: -1,
    name: "tstzrange",
    label: "tstzrange",
    type: "r",
    category: "R",
    fraction: null,
    composite: null,
    element: null,
  };
  expect(columnType(range)).toEqual({ kind: "range", typeName: "tstzrange" });
  expect(columnType({ ...numeric(-1), oid: 3911, element: range })).toEqual({
    kind: "array",
    element: { kind: "range", typeName: "tstzrange" },
  });
  expect(columnType({ ...range, oid: 99_997, label: "public.floatrange" })).toEqual({ kind: "other", typeName: "public.floatrange" });
});

test("one column of another type makes the stream a text one", () => {
  expect(needsText([{ type: { kind: "int4" } }, { type: { kind: "jsonb" } }])).toBe(false);
  expect(needsText([{ type: { kind: "int4" } }, { type: { kind: "other", typeName: "pair" } }])).toBe(true);
});
