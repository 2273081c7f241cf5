// The bulk path into PostgreSQL: values by column become COPY's binary format.
import { once } from "node:events";
import { finished } from "node:stream/promises";
import type pg from "pg";
import { from as copyFrom } from "pg-copy-streams";
import { ByteWriter } from "../../core/byte-writer.ts";
import { decimalText } from "../../core/decimal.ts";
import {
  DATE_INFINITY,
  DATE_MINUS_INFINITY,
  TIMESTAMP_INFINITY,
  TIMESTAMP_MINUS_INFINITY,
  type ColumnType,
  type Value,
} from "../../core/table.ts";
import type { MergePlan, StagedRows } from "../../core/warehouse.ts";

/** Bytes handed to the socket at a time. */
const CHUNK_BYTES = 256 * 1024;

/** PostgreSQL counts from 2000-01-01. */
const PG_EPOCH_DAYS = 10_957;
const PG_EPOCH_MICROS = 946_684_800_000_000n;
const INT2_OID = 21;
const NULL_LENGTH = -1;

/** Characters up to which a loop beats Buffer.write, whose call costs about 100 ns. */
const SHORT_TEXT = 48;

const WHOLE = new DataView(new ArrayBuffer(8));

/** Runs a COPY … FROM STDIN (FORMAT binary) with the staged rows, in the client's transaction. */
export async function copyRows(client: pg.Client, copy: string, plan: MergePlan, staged: StagedRows): Promise<void> {
  const stream = client.query(copyFrom(copy));
  const done = finished(stream);
  done.catch(() => undefined); // awaited below, and in every wait for room
  for (const chunk of encodeRows(plan, staged)) {
    if (!stream.write(chunk)) await Promise.race([once(stream, "drain"), done]);
  }
  stream.end();
  await done;
}

/* COPY's binary format, manual "COPY", section "Binary Format":
 *   file   ::= "PGCOPY\n" 0xFF "\r\n" 0x00  flags Int32 = 0  extension Int32 = 0  tuple*  end Int16 = −1
 *   tuple  ::= columns Int16  field*
 *   field  ::= length Int32 (−1: null)  bytes
 * Fields are in each type's send/receive form: numbers big-endian, dates in days and times in µs since 2000-01-01,
 * a uuid's 16 bytes, jsonb after a version byte 1, arrays as in `unchangedField`. */

/** The rows of a merge in COPY's binary format, in chunks that are not used again. */
export function* encodeRows(plan: MergePlan, staged: StagedRows): Generator<Buffer> {
  const out = new ByteWriter(CHUNK_BYTES + 64 * 1024);
  const columns = plan.columns.map(({ type }, index) => ({ write: writer(type), values: staged.values[index] ?? [] }));
  const unchanged = staged.unchanged.map((flags, index) => (plan.columns[index]?.unchanged === "keep_target" ? flags : null));
  const writeText = writer({ kind: "text" });
  const writeTimestamp = writer({ kind: "timestamptz" });
  const writeBytes = writer({ kind: "bytea" });
  const header = Buffer.from("PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0", "latin1");
  out.copy(header, 0, header.length);
  for (let row = 0; row < staged.rows; row++) {
    int16(out, columns.length + 6);
    for (const { write, values } of columns) {
      const value = values[row] ?? null;
      if (value === null) int32(out, NULL_LENGTH);
      else write(out, value);
    }
    writeText(out, staged.sequence[row] ?? "");
    writeTimestamp(out, staged.commitMicros[row] ?? 0n);
    int32(out, 1);
    out.byte(staged.deleted[row] === 1 ? 1 : 0);
    writeBytes(out, staged.keyBytes[row]!);
    int32(out, 4);
    int32(out, row);
    unchangedField(out, unchanged, row);
    if (out.position >= CHUNK_BYTES) {
      yield Buffer.from(out.bytes.subarray(0, out.position));
      out.position = 0;
    }
  }
  int16(out, -1);
  yield Buffer.from(out.bytes.subarray(0, out.position));
}

/* smallint[] ::= dimensions Int32 = 1  nulls Int32 = 0  element type Int32  size Int32  lower bound Int32 = 1  (length Int32 = 2  Int16)*
 * The 1-based places of the columns that were not sent; null without any. */
function unchangedField(out: ByteWriter, unchanged: readonly (Uint8Array | null)[], row: number): void {
  let count = 0;
  for (let index = 0; index < unchanged.length; index++) if (unchanged[index]?.[row] === 1) count++;
  if (count === 0) return int32(out, NULL_LENGTH);
  int32(out, 20 + count * 6);
  int32(out, 1);
  int32(out, 0);
  int32(out, INT2_OID);
  int32(out, count);
  int32(out, 1);
  for (let index = 0; index < unchanged.length; index++) {
    if (unchanged[index]?.[row] !== 1) continue;
    int32(out, 2);
    int16(out, index + 1);
  }
}

type Writer = (out: ByteWriter, value: Exclude<Value, null>) => void;

/** Writes a field: its length and its bytes. */
function writer(type: ColumnType): Writer {
  switch (type.kind) {
    case "bool":
      return (out, value) => {
        int32(out, 1);
        out.byte(value === true ? 1 : 0);
      };
    case "int2":
      return (out, value) => {
        int32(out, 2);
        int16(out, value as number);
      };
    case "int4":
      return (out, value) => {
        int32(out, 4);
        int32(out, value as number);
      };
    case "int8":
    case "time":
      return (out, value) => int64(out, value as bigint);
    case "oid":
      return (out, value) => {
        int32(out, 4);
        int32(out, Number(value) | 0);
      };
    case "float4":
      return (out, value) => {
        int32(out, 4);
        out.ensure(4);
        out.position = out.bytes.writeFloatBE(value as number, out.position);
      };
    case "float8":
      return (out, value) => {
        int32(out, 8);
        out.ensure(8);
        out.position = out.bytes.writeDoubleBE(value as number, out.position);
      };
    case "decimal":
    case "money": {
      const { scale } = type;
      return (out, value) => text(out, decimalText(value as bigint, scale));
    }
    case "uuid":
      return (out, value) => {
        int32(out, 16);
        out.ensure(16);
        out.position += out.bytes.write((value as string).replaceAll("-", ""), out.position, "hex");
      };
    case "bytea":
      return (out, value) => {
        const bytes = value as Buffer;
        int32(out, bytes.length);
        out.copy(bytes, 0, bytes.length);
      };
    case "date":
      return (out, value) => {
        int32(out, 4);
        int32(out, fromEpochDays(value as number));
      };
    case "timestamp":
    case "timestamptz":
      return (out, value) => int64(out, fromEpochMicros(value as bigint));
    case "jsonb":
      return (out, value) => {
        const start = out.position;
        int32(out, 0);
        out.byte(1);
        characters(out, value as string);
        out.bytes.writeInt32BE(out.position - start - 4, start);
      };
    case "numeric":
    case "text":
    case "enum":
    case "json":
    case "xml":
    case "interval":
    case "jsonpath":
    case "timetz":
    case "inet":
    case "cidr":
    case "macaddr":
    case "macaddr8":
    case "bit":
    case "tsvector":
    case "ltree":
    case "pg_lsn":
    case "xid":
    case "xid8":
    case "other":
      return (out, value) => text(out, value as string);
  }
}

function fromEpochDays(days: number): number {
  return days === DATE_INFINITY || days === DATE_MINUS_INFINITY ? days : days - PG_EPOCH_DAYS;
}

function fromEpochMicros(micros: bigint): bigint {
  return micros === TIMESTAMP_INFINITY || micros === TIMESTAMP_MINUS_INFINITY ? micros : micros - PG_EPOCH_MICROS;
}

function int16(out: ByteWriter, value: number): void {
  out.ensure(2);
  const { bytes, position } = out;
  bytes[position] = value >> 8;
  bytes[position + 1] = value;
  out.position = position + 2;
}

/** Byte by byte: Buffer's methods check each argument, and writeBigInt64BE makes four BigInts. */
function int32(out: ByteWriter, value: number): void {
  out.ensure(4);
  const { bytes, position } = out;
  bytes[position] = value >> 24;
  bytes[position + 1] = value >> 16;
  bytes[position + 2] = value >> 8;
  bytes[position + 3] = value;
  out.position = position + 4;
}

/** The field of a 64-bit integer. */
function int64(out: ByteWriter, value: bigint): void {
  WHOLE.setBigInt64(0, value);
  int32(out, 8);
  int32(out, WHOLE.getInt32(0));
  int32(out, WHOLE.getInt32(4));
}

function text(out: ByteWriter, value: string): void {
  const start = out.position;
  int32(out, 0);
  characters(out, value);
  out.bytes.writeInt32BE(out.position - start - 4, start);
}

/** UTF-8; room is made for the worst case of short strings, for the exact size of long ones. */
function characters(out: ByteWriter, value: string): void {
  if (value.length <= SHORT_TEXT && asciiCharacters(out, value)) return;
  out.ensure(value.length < 1024 ? value.length * 3 : Buffer.byteLength(value));
  out.position += out.bytes.write(value, out.position, "utf8");
}

/** false: it has other characters than ASCII's, and nothing is written. */
function asciiCharacters(out: ByteWriter, value: string): boolean {
  out.ensure(value.length);
  const { bytes, position } = out;
  for (let at = 0; at < value.length; at++) {
    const code = value.charCodeAt(at);
    if (code > 0x7f) return false;
    bytes[position + at] = code;
  }
  out.position = position + value.length;
  return true;
}
