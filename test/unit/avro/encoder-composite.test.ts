// Composites in both wire forms, beyond what the properties of encoder.test.ts and decoder.test.ts make of them.
import { describe, expect, test } from "vitest";
import { tableSchemas } from "../../../src/avro/schema.ts";
import { readValueSchema } from "../../../src/avro/shape.ts";
import { decoded, encoded } from "./one-value.ts";
import { column, composite, int4, table } from "./rows.ts";

const INT4 = 23;
const pair = composite("pair", { a: { kind: "text" }, b: { kind: "text" } }, 25);
const one = composite("one", { a: { kind: "int4" } }, INT4);
const numbers = composite("numbers", { a: { kind: "int4" }, b: { kind: "int4" } }, INT4);
const nested = composite("nested", { pairs: { kind: "array", element: pair }, pair }, 0);

/** As record_send has them: a type's OID and four bytes, or null. */
function sent(...attributes: readonly (readonly [oid: number, value: number | null])[]): Buffer {
  const parts = attributes.map(([oid, value]) => Buffer.concat([int4(oid), ...(value === null ? [int4(-1)] : [int4(4), int4(value)])]));
  return Buffer.concat([int4(attributes.length), ...parts]);
}

// What record_out of PostgreSQL 18 prints.
test.each([
  ["(,)", [null, null]],
  ['("","")', ["", ""]],
  ['(,"")', [null, ""]],
  ['(a,"b c")', ["a", "b c"]],
  ['("(,)","a,b")', ["(,)", "a,b"]],
  [String.raw`("""","\\")`, ['"', "\\"]],
  [String.raw`("\\""\\""","""""")`, ['\\"\\"', '""']],
  ['("\n",é🐘)', ["\n", "é🐘"]],
  ["(NULL,null)", ["NULL", "null"]],
  ["({},{a})", ["{}", "{a}"]],
] as const)("text %s is read attribute by attribute", (printed, values) => {
  expect(decoded(pair, printed)).toStrictEqual(values);
});

test("a value without anything in it is one attribute that is null", () => {
  expect(decoded(one, "()")).toEqual([null]);
  expect(decoded(one, sent([INT4, null]))).toEqual([null]);
});

test("composites in arrays in composites keep every quote and backslash", () => {
  const printed = String.raw`("{""(\\""\\\\\\\\\\""\\"",\\""\\""\\""\\"")"",NULL,""(,)""}","(\\\\,"""")")`;
  expect(decoded(nested, String.raw`("{""(x,\\""a b\\"")"",NULL,""(,)""}","(c,"""")")`)).toEqual([
    [["x", "a b"], null, [null, null]],
    ["c", ""],
  ]);
  expect(printed.length).toBeGreaterThan(0);
});

describe("a value of another shape than the type's is refused as such", () => {
  const changed = expect.objectContaining({ code: "COMPOSITE_CHANGED", retry: "never" }) as Error;
  test.each<[string, string | Buffer]>([
    ["more attributes, as text", "(1,2,3)"],
    ["fewer attributes, as text", "(1)"],
    ["more attributes", sent([INT4, 1], [INT4, 2], [INT4, 3])],
    ["fewer attributes", sent([INT4, 1])],
    ["an attribute of another type", sent([INT4, 1], [700, 2])],
    ["an attribute of another type that is null", sent([20, null], [INT4, 2])],
  ])("%s", (_, value) => {
    expect(() => encoded(numbers, value)).toThrow(changed);
  });
});

test.each<[string, Buffer | string]>([
  ["", Buffer.alloc(3)],
  ["a length beyond the end", Buffer.concat([int4(2), int4(INT4), int4(99), int4(1), int4(INT4), int4(-1)])],
  ["more behind its end", Buffer.concat([sent([INT4, 1], [INT4, 2]), Buffer.of(0)])],
  ["a negative count", int4(-1)],
  ["no bracket", "1,2"],
  ["a quote that does not end", '(1,"2)'],
  ["a quote in the middle", '(1,2"")'],
  ["something behind a quote", '("1"2,3)'],
])("what is no composite is a protocol error: %s", (_, value) => {
  expect(() => encoded(numbers, value)).toThrow(expect.objectContaining({ code: "STREAM_PROTOCOL" }));
});

test("an attribute that can't be held is named", () => {
  const priced = composite("priced", { price: { kind: "decimal", precision: 3, scale: 1 } });
  expect(() => encoded({ kind: "array", element: priced }, '{"(1.55)"}')).toThrow(/column v\.price holds/);
});

test("the record is named by its type, defined where it comes first, and read back however a registry qualifies its name", () => {
  const home = composite("home", { pair });
  const shop = table([column("id", "int4", 1), column("home", home), column("pairs", { kind: "array", element: pair })]);
  const { value } = tableSchemas(shop, "shop.public.orders");
  expect(value.split('"name":"pair","namespace":"tailrace.composite.public"')).toHaveLength(2);
  const types = readValueSchema(value).columns.map(({ type }) => type);
  expect(types).toMatchObject([
    { kind: "int4" },
    { kind: "composite", schema: "public", name: "home" },
    { kind: "array", element: { name: "pair" } },
  ]);
  // As Java's Schema.toString() has it: no namespace where the enclosing record has the same.
  const inherited = value.replace('"name":"pair","namespace":"tailrace.composite.public"', '"name":"pair"');
  expect(inherited).not.toBe(value);
  expect(readValueSchema(inherited)).toEqual(readValueSchema(value));
});
