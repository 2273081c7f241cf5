// SQL about keys, as text: what the server makes of it is in test/postgres/snapshot-plan.test.ts.
import { describe, expect, test } from "vitest";
import { keyOrder, keysCondition, rangeCondition, type KeyPart } from "../../../src/postgres/snapshot-key.ts";

function part(name: string, options: Partial<KeyPart> & { readonly schema?: string } = {}): KeyPart {
  const { schema = "pg_catalog", ...rest } = options;
  const named = (symbol: string): string => `OPERATOR(${schema}.${symbol})`;
  return {
    name,
    type: "integer",
    collation: null,
    operators: { "1": named("<"), "2": named("<="), "3": named("="), "4": named(">="), "5": named(">") },
    descending: false,
    nullsFirst: false,
    ...rest,
  };
}
const text = part("t", { type: "text", collation: 'pg_catalog."en-x-icu"' });

describe("R-chunk: ranges", () => {
  test("begin behind one key and end with another", () => {
    expect(rangeCondition([part("a")], { after: ["5"], upTo: ["9"] })).toBe(
      `"a" OPERATOR(pg_catalog.>) '5'::integer AND "a" OPERATOR(pg_catalog.<=) '9'::integer`,
    );
    expect(rangeCondition([part("a")], { after: null, upTo: null })).toBeNull();
    expect(rangeCondition([part("a")], { after: ["5"], upTo: null })).toBe(`"a" OPERATOR(pg_catalog.>) '5'::integer`);
  });

  test("of composite keys are row comparisons, with the index's collations", () => {
    expect(rangeCondition([text, part("a")], { after: ["it's", "5"], upTo: null })).toBe(
      `("t" COLLATE pg_catalog."en-x-icu", "a") OPERATOR(pg_catalog.>) ('it''s'::text, '5'::integer)`,
    );
  });

  test("of descending columns run the other way", () => {
    const down = [part("a", { descending: true }), part("b", { descending: true })];
    expect(rangeCondition(down, { after: ["5", "6"], upTo: ["1", "2"] })).toBe(
      `("a", "b") OPERATOR(pg_catalog.<) ('5'::integer, '6'::integer) AND ("a", "b") OPERATOR(pg_catalog.>=) ('1'::integer, '2'::integer)`,
    );
  });

  test("of two directions, or of operators from two schemas, are spelled out", () => {
    const mixed = [part("a"), part("b", { descending: true })];
    expect(rangeCondition(mixed, { after: ["5", "6"], upTo: null })?.replaceAll("OPERATOR(pg_catalog.", "(")).toBe(
      `("a" (>=) '5'::integer AND (("a" (>) '5'::integer) OR ("a" (=) '5'::integer AND "b" (<) '6'::integer)))`,
    );
    expect(rangeCondition(mixed, { after: null, upTo: ["5", "6"] })?.replaceAll("OPERATOR(pg_catalog.", "(")).toBe(
      `("a" (<=) '5'::integer AND (("a" (<) '5'::integer) OR ("a" (=) '5'::integer AND "b" (>=) '6'::integer)))`,
    );
    expect(rangeCondition([part("a", { schema: "public" }), part("b")], { after: ["5", "6"], upTo: null })).toContain(" OR ");
  });
});

test("the order names the index's operators and where its nulls are", () => {
  expect(keyOrder([part("a", { descending: true, nullsFirst: true }), text])).toBe(
    `"a" USING OPERATOR(pg_catalog.>) NULLS FIRST, "t" COLLATE pg_catalog."en-x-icu" USING OPERATOR(pg_catalog.<) NULLS LAST`,
  );
});

test("keys are equalities, so that an array's elements are not taken for keys", () => {
  expect(keysCondition([part("a", { type: "integer[]" })], [["{1}"], ["{2}"]])).toBe(
    `(("a" OPERATOR(pg_catalog.=) '{1}'::integer[]) OR ("a" OPERATOR(pg_catalog.=) '{2}'::integer[]))`,
  );
});
