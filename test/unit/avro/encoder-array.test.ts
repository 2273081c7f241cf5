// Arrays in both wire forms, beyond what the properties of encoder.test.ts and decoder.test.ts make of them.
import { expect, test } from "vitest";
import { Cursor } from "../../../src/avro/cursor.ts";
import { valueReader } from "../../../src/avro/value-reader.ts";
import type { ColumnType, ElementType } from "../../../src/core/table.ts";
import { decoded, encoded } from "./one-value.ts";
import { int4 } from "./rows.ts";

const arrayOf = (element: ElementType): ColumnType => ({ kind: "array", element });
const texts = arrayOf({ kind: "text" });
const ints = arrayOf({ kind: "int4" });

test.each([
  ["{}", []],
  ["{NULL}", [null]],
  ['{"NULL",null,"null",NULLS}', ["NULL", "null", "null", "NULLS"]], // array_out quotes every spelling of NULL; unquoted only NULL is one
  ['{""}', [""]],
  ['{"",NULL,""}', ["", null, ""]],
  ['{a,"b c","d,e"}', ["a", "b c", "d,e"]],
  ['{"{}","}{",x}', ["{}", "}{", "x"]],
  [String.raw`{"\\","\"","a\\\"b"}`, ["\\", '"', 'a\\"b']],
  ['{"\n","\t",é,"🐘 表"}', ["\n", "\t", "é", "🐘 表"]],
] as const)("text %s is read element by element", (printed, values) => {
  expect(decoded(texts, printed)).toStrictEqual(values);
});

test("elements are read by their own type's rules, and long escaped ones too", () => {
  expect(decoded(arrayOf({ kind: "decimal", precision: 5, scale: 2 }), "{1.5,NULL,-0.01}")).toEqual([150n, null, -1n]);
  expect(decoded(arrayOf({ kind: "bytea" }), String.raw`{"\\x00ff"}`)).toEqual([Buffer.of(0, 255)]);
  expect(decoded(arrayOf({ kind: "money", precision: 19, scale: 2 }), '{"$1,234.56",-$0.01}')).toEqual([123_456n, -1n]);
  const long = "'\\".repeat(5_000);
  expect(decoded(texts, `{"${long.replaceAll("\\", "\\\\")}",short}`)).toEqual([long, "short"]);
});

test("an empty array is empty however it came to be so", () => {
  expect(decoded(ints, Buffer.concat([int4(0), int4(0), int4(23)]))).toEqual([]);
  expect(decoded(ints, Buffer.concat([int4(1), int4(0), int4(23), int4(0), int4(1)]))).toEqual([]);
});

const refused: readonly (readonly [title: string, printed: string, bytes: Buffer])[] = [
  ["two dimensions", "{{1,2}}", Buffer.concat([2, 0, 23, 1, 1, 2, 1, 4, 1, 4, 2].map(int4))],
  ["two dimensions that begin elsewhere", "[0:0][1:2]={{1,2}}", Buffer.concat([2, 0, 23, 1, 0, 2, 1, 4, 1, 4, 2].map(int4))],
  ["a first index of 0", "[0:1]={1,2}", Buffer.concat([1, 0, 23, 2, 0, 4, 1, 4, 2].map(int4))],
];
test.each(refused)("an array of %s has no Avro form: the same words in both protocols", (_, printed, bytes) => {
  const said = [printed, bytes].map((value) => {
    try {
      return encoded(ints, value).toString("hex");
    } catch (error) {
      return error;
    }
  });
  expect(said[0]).toMatchObject({ code: "VALUE_OUT_OF_RANGE", message: expect.stringContaining("column v") });
  expect((said[1] as Error).message).toBe((said[0] as Error).message);
});

test("an element that its type can't hold refuses the value by name, as in a column of its own", () => {
  expect(() => encoded(arrayOf({ kind: "decimal", precision: 5, scale: 2 }), "{1.00,NaN}")).toThrow(
    expect.objectContaining({ code: "VALUE_OUT_OF_RANGE" }),
  );
});

test("what is no array is refused, wherever it is cut", () => {
  const whole = Buffer.concat([int4(1), int4(1), int4(23), int4(3), int4(1), int4(4), int4(7), int4(-1), int4(4), int4(9)]);
  expect(decoded(ints, whole)).toEqual([7, null, 9]);
  for (let length = 0; length < whole.length; length++)
    expect(() => encoded(ints, whole.subarray(0, length)), String(length)).toThrow(expect.objectContaining({ code: "STREAM_PROTOCOL" }));
  for (const printed of ["", "{", "}", "1,2", "{a", '{"a}', '{"a"b}', "{a,}", "{,a}", '{a"b",c', "{a\\b}", '{"a","b"x}', "x{a}"])
    expect(() => encoded(texts, printed), printed).toThrow(expect.objectContaining({ code: "STREAM_PROTOCOL" }));
});

test("an Avro array in several blocks, or of more items than there are bytes, is not ours", () => {
  for (const bytes of ["0202020200", "feffffff0f", "02", "0203", ""]) {
    const cursor = new Cursor();
    cursor.begin(Buffer.from(bytes, "hex"), 0);
    expect(() => valueReader(ints).skip(cursor), bytes).toThrow(expect.objectContaining({ code: "EVENT_UNREADABLE" }));
  }
});
