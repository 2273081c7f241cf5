// hstore in both wire forms, beyond what the properties of encoder.test.ts and decoder.test.ts make of it.
import { expect, test } from "vitest";
import { Cursor } from "../../../src/avro/cursor.ts";
import { binaryWriter, textWriter } from "../../../src/avro/encoder-array.ts";
import { valueReader } from "../../../src/avro/value-reader.ts";
import { valueColumn } from "../../../src/avro/value-writer.ts";
import { ByteWriter } from "../../../src/core/byte-writer.ts";
import { ValueList, type Value } from "../../support/row-values.ts";
import { column, int4, table } from "./rows.ts";

const hstore = column("v", "hstore");

function encoded(value: string | Buffer): Buffer {
  const out = new ByteWriter(1);
  const [bytes, write] = typeof value === "string" ? [Buffer.from(value), textWriter(hstore.type)] : [value, binaryWriter(hstore.type)];
  // the stream's bytes go on behind a value
  write(Buffer.concat([Buffer.from("x"), bytes, Buffer.from('"=>", NULL')]), 1, bytes.length, out, valueColumn(table([hstore]), hstore));
  return out.bytes.subarray(0, out.position);
}

function decoded(value: string | Buffer): Value {
  const cursor = new Cursor();
  const bytes = encoded(value);
  cursor.begin(bytes, 0);
  const into = new ValueList();
  valueReader(hstore.type).write(cursor, into);
  expect(cursor.position).toBe(bytes.length);
  cursor.begin(bytes, 0);
  valueReader(hstore.type).skip(cursor);
  expect(cursor.position).toBe(bytes.length);
  return into.last;
}

const field = (text: string): Buffer => Buffer.concat([int4(text.length), Buffer.from(text)]);
const whole = Buffer.concat([int4(2), field("a"), field("1"), field("bb"), int4(-1)]);
const printed = '"a"=>"1", "bb"=>NULL';

test("both forms give the same bytes, an empty one too", () => {
  expect(decoded(whole)).toEqual([
    ["a", "1"],
    ["bb", null],
  ]);
  expect(encoded(printed)).toEqual(encoded(whole));
  expect(encoded("")).toEqual(Buffer.of(0));
  expect(encoded(int4(0))).toEqual(Buffer.of(0));
  expect(decoded(String.raw`"\"\\"=>"a=>\"b\", c", "NULL"=>"NULL"`)).toEqual([
    ['"\\', 'a=>"b", c'],
    ["NULL", "NULL"],
  ]);
});

test("what is no hstore is refused, wherever it is cut", () => {
  for (let length = 0; length < whole.length; length++)
    expect(() => encoded(whole.subarray(0, length)), String(length)).toThrow(expect.objectContaining({ code: "STREAM_PROTOCOL" }));
  expect(() => encoded(Buffer.concat([int4(1), int4(-1), int4(-1)])), "a key is never null").toThrow(
    expect.objectContaining({ code: "STREAM_PROTOCOL" }),
  );
  const places = Array.from({ length: printed.length - 1 }, (_, at) => printed.slice(0, at + 1)).filter((cut) => cut !== '"a"=>"1"');
  for (const cut of [...places, "a=>1", '"a"=>b', '"a"=>"1","b"=>NULL', '"a"=>NULLS', "NULL=>NULL"])
    expect(() => encoded(cut), cut).toThrow(expect.objectContaining({ code: "STREAM_PROTOCOL" }));
});

test("an Avro map in several blocks, or of more pairs than there are bytes, is not ours", () => {
  for (const bytes of ["020261000202610000", "feffffff0f", "02", "020261", ""]) {
    const cursor = new Cursor();
    cursor.begin(Buffer.from(bytes, "hex"), 0);
    expect(() => valueReader(hstore.type).skip(cursor), bytes).toThrow(expect.objectContaining({ code: "EVENT_UNREADABLE" }));
  }
});
