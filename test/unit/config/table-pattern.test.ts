// mirrors src/config/table-pattern.ts

import fc from "fast-check";
import { describe, expect, test } from "vitest";

import {
  firstMatch,
  matchesTable,
  namesOneTable,
  parseTablePattern,
  parseTargetTemplate,
  quoteTable,
  takesAll,
  targetOf,
  type TablePattern,
} from "../../../src/config/table-pattern.ts";

function pattern(text: string): TablePattern {
  const parsed = parseTablePattern(text);
  if ("problem" in parsed) throw new Error(parsed.problem);
  return parsed;
}

describe("a pattern", () => {
  test.each([
    ["public.orders", "public", "orders", true],
    ["public.orders", "public", "Orders", false],
    ["public.orders", "public2", "orders", false],
    ["public.*", "public", "a.b c", true],
    ["public.*", "publicity", "x", false],
    ["*.*", "", "x", true],
    ["public.order_?", "public", "order_1", true],
    ["public.order_?", "public", "order_", false],
    ["public.order_?", "public", "order_😀", true],
    ["p*c.*_log*", "public", "audit_log_2024", true],
    ['"my.schema"."tab"', "my.schema", "tab", true],
    ['public."a*"', "public", "a*", true],
    ['public."a*"', "public", "ab", false],
    ['public."say ""hi"""', "public", 'say "hi"', true],
    ["public.a+b[c]", "public", "a+b[c]", true],
    ["public.a+b[c]", "public", "aab", false],
  ])("%s and %s.%s: %s", (text, schema, name, takes) => {
    expect(matchesTable(pattern(text), { schema, name })).toBe(takes);
  });

  test.each(["", "orders", "public.", ".orders", "a.b.c", "public..x", 'public."x', 'pub"x"lic.t', "public.a b", '"".x', 'public."" '])(
    "%j is none",
    (text) => {
      expect(parseTablePattern(text)).toHaveProperty("problem");
    },
  );

  test("names one table when it holds no wildcard outside quotes", () => {
    expect(["a.b", '"a*".b', "a.*", "?.b"].map((text) => namesOneTable(pattern(text)))).toEqual([true, true, false, false]);
  });

  test("any name, quoted, is taken by its own pattern and by no other name's", () => {
    const name = fc.string({ minLength: 1, unit: "grapheme" });
    fc.assert(
      fc.property(name, name, name, (schema, table, other) => {
        const parsed = pattern(quoteTable({ schema, name: table }));
        expect(namesOneTable(parsed)).toBe(true);
        expect(matchesTable(parsed, { schema, name: table })).toBe(true);
        expect(matchesTable(parsed, { schema, name: other })).toBe(other === table);
      }),
    );
  });

  // A regular expression is slow on hostile patterns but plainly right: the glob must agree with it.
  test("wildcards mean what the regular expression says", () => {
    const letters = fc.string({ unit: fc.constantFrom("a", "b", "*", "?"), minLength: 1, maxLength: 8 });
    const names = fc.string({ unit: fc.constantFrom("a", "b"), maxLength: 10 });
    fc.assert(
      fc.property(letters, names, (glob, name) => {
        const expected = new RegExp(`^${glob.replaceAll("*", ".*").replaceAll("?", ".")}$`).test(name);
        expect(matchesTable(pattern(`s.${glob}`), { schema: "s", name })).toBe(expected);
      }),
      { numRuns: 1000 },
    );
  });

  test("a hostile pattern takes no longer than its length asks for", () => {
    const started = performance.now();
    expect(matchesTable(pattern(`s.${"*a".repeat(200)}*b`), { schema: "s", name: "a".repeat(2000) })).toBe(false);
    expect(performance.now() - started).toBeLessThan(1000);
  });

  test("no text makes the parser throw", () => {
    fc.assert(
      fc.property(fc.string(), (text) => {
        parseTablePattern(text);
        parseTargetTemplate(text);
      }),
    );
  });
});

test("the first entry that takes a table wins", () => {
  const entries = [
    { pattern: pattern("public.orders"), as: 1 },
    { pattern: pattern("public.*"), as: 2 },
  ];
  expect(["orders", "items"].map((name) => firstMatch(entries, { schema: "public", name })?.as)).toEqual([1, 2]);
  expect(firstMatch(entries, { schema: "audit", name: "orders" })).toBeNull();
});

describe("a pattern takes all that another takes", () => {
  test.each([
    ["public.orders", "public.orders", true],
    ["public.*", "public.orders", true],
    ["*.*", "public.o*", true],
    ["public.o*", "public.o*", true],
    ["public.*", "*.*", false],
    ["public.orders", "public.*", false],
    ["public.orders", "public.items", false],
    ['public."*"', "public.orders", false],
    ['public."*"', "public.*", false],
    ["public.*", 'public."*"', true],
  ])("%s, %s: %s", (one, other, is) => {
    expect(takesAll(pattern(one), pattern(other))).toBe(is);
  });

  test("only if it does", () => {
    const globs = fc.string({ unit: fc.constantFrom("a", "*", "?"), minLength: 1, maxLength: 3 });
    const names = fc.string({ unit: fc.constantFrom("a", "b"), maxLength: 4 });
    fc.assert(
      fc.property(globs, globs, names, (one, other, name) => {
        const [first, second] = [pattern(`s.${one}`), pattern(`s.${other}`)];
        const [table, literal] = [
          { schema: "s", name },
          { schema: "s", name: other },
        ];
        fc.pre(takesAll(first, second));
        expect(matchesTable(first, table) || !matchesTable(second, table)).toBe(true);
        expect(matchesTable(first, literal)).toBe(true);
      }),
      { numRuns: 1000 },
    );
  });
});

describe("a target", () => {
  test.each([
    ["{schema}.{table}", "public", "orders"],
    ["raw.{table}", "raw", "orders"],
    ["raw.{schema}_{table}", "raw", "public_orders"],
    ['"raw.eu"."{table} copy"', "raw.eu", "orders copy"],
    ["analytics.orders", "analytics", "orders"],
  ])("%s of public.orders is %s and %s", (text, schema, name) => {
    const template = parseTargetTemplate(text);
    if ("problem" in template) throw new Error(template.problem);
    expect(targetOf(template, { schema: "public", name: "orders" })).toEqual({ schema, name });
  });

  test("puts a name in as it is, also one that looks like a placeholder", () => {
    const template = parseTargetTemplate("raw.{schema}_{table}");
    if ("problem" in template) throw new Error(template.problem);
    expect(targetOf(template, { schema: "{table}", name: "$&" })).toEqual({ schema: "raw", name: "{table}_$&" });
  });

  test.each(["orders", "raw.*", "raw.{name}", "raw.{table", "a.b.c"])("%s is none", (text) => {
    expect(parseTargetTemplate(text)).toHaveProperty("problem");
  });
});
