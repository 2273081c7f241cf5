// One value of a column, through its writer in either wire form and back.
import { expect } from "vitest";
import { Cursor } from "../../../src/avro/cursor.ts";
import { binaryWriter, textWriter } from "../../../src/avro/encoder-array.ts";
import { valueReader } from "../../../src/avro/value-reader.ts";
import { valueColumn } from "../../../src/avro/value-writer.ts";
import { ByteWriter } from "../../../src/core/byte-writer.ts";
import type { ColumnType } from "../../../src/core/table.ts";
import { ValueList, type Value } from "../../support/row-values.ts";
import { column, table } from "./rows.ts";

/** Its Avro, of the text or the binary form. */
export function encoded(type: ColumnType, value: string | Buffer): Buffer {
  const only = column("v", type);
  const out = new ByteWriter(1);
  const [bytes, write] = typeof value === "string" ? [Buffer.from(value), textWriter(type)] : [value, binaryWriter(type)];
  write(bytes, 0, bytes.length, out, valueColumn(table([only]), only));
  return out.bytes.subarray(0, out.position);
}

/** What that is read as; reading and skipping come to its end. */
export function decoded(type: ColumnType, value: string | Buffer): Value {
  const cursor = new Cursor();
  const bytes = encoded(type, value);
  cursor.begin(bytes, 0);
  const into = new ValueList();
  valueReader(type).write(cursor, into);
  expect(cursor.position).toBe(bytes.length);
  cursor.begin(bytes, 0);
  valueReader(type).skip(cursor);
  expect(cursor.position).toBe(bytes.length);
  return into.last;
}
