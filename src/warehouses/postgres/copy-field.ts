// One column of COPY's binary format: values are written as fields, straight from the events' bytes.
import type { ByteWriter } from "../../core/byte-writer.ts";
import { decimalText, unscaledOf } from "../../core/decimal.ts";
import { ValueRefused, type ColumnWriter, type PointWriter } from "../../core/staged-rows.ts";
import { DATE_INFINITY, DATE_MINUS_INFINITY, type ColumnKind, type ColumnType } from "../../core/table.ts";
import { EPOCH_DAYS } from "../../core/printed-moment.ts";
import { mendedUtf8 } from "../utf8.ts";
import { UUID_BYTES, writeUuid } from "../uuid.ts";
import { columnType } from "./dialect.ts";
import { JsonObject } from "./json-object.ts";
import { JsonValue } from "./json-value.ts";

/** PostgreSQL counts from 2000-01-01. */
const PG_EPOCH_MICROS = 946_684_800_000_000;
const PG_EPOCH_HIGH = Math.floor(PG_EPOCH_MICROS / 0x1_0000_0000);
const PG_EPOCH_LOW = PG_EPOCH_MICROS % 0x1_0000_0000;
const NULL_LENGTH = -1;
const JSONB_VERSION = 1;
const DOUBLE_BYTES = 8;
const POINT_BYTES = 16;

const TEXT_OID = 25;
/** Types of items that are not staged as text (dialect's `isStagedAsText`), which an array names. */
const ITEM_OIDS: ReadonlyMap<ColumnKind, number> = new Map([
  ["bool", 16],
  ["bytea", 17],
  ["int8", 20],
  ["int2", 21],
  ["int4", 23],
  ["oid", 26],
  ["json", 114],
  ["composite", 114],
  ["point", 600],
  ["lseg", 601],
  ["path", 602],
  ["box", 603],
  ["polygon", 604],
  ["line", 628],
  ["float4", 700],
  ["float8", 701],
  ["circle", 718],
  ["date", 1082],
  ["time", 1083],
  ["timestamp", 1114],
  ["timestamptz", 1184],
  ["uuid", 2950],
  ["jsonb", 3802],
  ["hstore", 3802],
  ["geometry", 17],
]);

/** Of an unscaled value that a number holds exactly, with all that #digits() does to it. */
const SAFE_BYTES = 6;
const POWERS_OF_TEN = Array.from({ length: 16 }, (_, exponent) => 10 ** exponent);
const MINUS = 0x2d;
const POINT = 0x2e;
const ZERO = 0x30;

/* field ::= length Int32 (−1: null)  bytes
 * The bytes are each type's send/receive form: numbers big-endian, dates in days and times in µs since 2000-01-01,
 * a uuid's 16 bytes, jsonb after a version byte 1. Decimals are staged as text (dialect's `isStagedAsText`). */

/** Writes to the end of `out`. */
export class CopyField implements ColumnWriter {
  readonly #out: ByteWriter;
  readonly #type: ColumnType;
  readonly #isShort: boolean;
  readonly #isDate: boolean;
  readonly #isOid: boolean;
  readonly #isTimestamp: boolean;
  readonly #isUuid: boolean;
  readonly #isJsonb: boolean;
  /** Writes an array's items. */
  readonly #items: CopyField | null;
  readonly #itemOid: number;
  /** Writes a composite. */
  readonly #json: JsonValue | null;
  /** Writes an hstore's pairs. */
  readonly #pairs: JsonObject | null;
  readonly #points: PointWriter = { doubles: (bytes, start, end) => this.#doubles(bytes, start, end) };
  /** Where the array or hstore that is being written begins. */
  #listAt = 0;

  constructor(out: ByteWriter, type: ColumnType) {
    this.#out = out;
    this.#type = type;
    this.#isShort = type.kind === "int2";
    this.#isDate = type.kind === "date";
    this.#isOid = type.kind === "oid";
    this.#isTimestamp = type.kind === "timestamp" || type.kind === "timestamptz";
    this.#isUuid = type.kind === "uuid";
    this.#isJsonb = type.kind === "jsonb";
    const item = type.kind === "array" ? type.element : type.kind === "vector" ? ({ kind: "float4" } as const) : null;
    this.#items = item === null ? null : new CopyField(out, item);
    this.#json = type.kind === "composite" ? new JsonValue(out, type) : null;
    this.#pairs = type.kind === "hstore" ? new JsonObject(out) : null;
    this.#itemOid = item === null ? 0 : (ITEM_OIDS.get(item.kind) ?? TEXT_OID);
  }

  null(): void {
    int32(this.#out, NULL_LENGTH);
  }

  bool(value: boolean): void {
    int32(this.#out, 1);
    this.#out.byte(value ? 1 : 0);
  }

  int(value: number): void {
    if (this.#isShort) {
      if ((value << 16) >> 16 !== value) throw this.#outOfRange();
      int32(this.#out, 2);
      int16(this.#out, value);
      return;
    }
    int32(this.#out, 4);
    int32(this.#out, this.#isDate && value !== DATE_INFINITY && value !== DATE_MINUS_INFINITY ? value - EPOCH_DAYS : value);
  }

  long(high: number, low: number): void {
    if (this.#isOid) {
      if (high !== 0) throw this.#outOfRange();
      int32(this.#out, 4);
      int32(this.#out, low);
      return;
    }
    int32(this.#out, 8);
    if (this.#isTimestamp && !isInfinite(high, low)) {
      int32(this.#out, high - PG_EPOCH_HIGH - (low < PG_EPOCH_LOW ? 1 : 0));
      int32(this.#out, low - PG_EPOCH_LOW);
    } else {
      int32(this.#out, high);
      int32(this.#out, low);
    }
  }

  float(bytes: Buffer, at: number): void {
    int32(this.#out, 4);
    this.#reversed(bytes, at, 4);
  }

  double(bytes: Buffer, at: number): void {
    int32(this.#out, 8);
    this.#reversed(bytes, at, 8);
  }

  doubles(bytes: Buffer, start: number, end: number): void {
    int32(this.#out, end - start);
    this.#doubles(bytes, start, end);
  }

  /* polygon ::= points Int32  (x y) × points */
  points(count: number): PointWriter {
    int32(this.#out, 4 + count * POINT_BYTES);
    int32(this.#out, count);
    return this.#points;
  }

  /* path ::= closed Int8  points Int32  (x y) × points */
  path(isClosed: boolean, count: number): PointWriter {
    int32(this.#out, 5 + count * POINT_BYTES);
    this.#out.byte(isClosed ? 1 : 0);
    int32(this.#out, count);
    return this.#points;
  }

  decimal(bytes: Buffer, start: number, end: number): void {
    const scale = "scale" in this.#type ? this.#type.scale : 0;
    if (end - start <= SAFE_BYTES) return this.#digits(safeInteger(bytes, start, end), scale);
    const text = decimalText(unscaledOf(bytes, start, end), scale);
    int32(this.#out, text.length);
    for (let at = 0; at < text.length; at++) this.#out.byte(text.charCodeAt(at));
  }

  text(bytes: Buffer, start: number, end: number): void {
    if (this.#isUuid) return this.#uuid(bytes, start, end);
    const mended = mendedUtf8(bytes, start, end);
    if (mended !== null) return this.#bytes(mended, 0, mended.length);
    this.#bytes(bytes, start, end);
  }

  bytes(bytes: Buffer, start: number, end: number): void {
    this.#bytes(bytes, start, end);
  }

  /* array ::= dimensions Int32 (0: empty, else 1)  flags Int32 (1: with nulls)  element type Int32  [size Int32  lower bound Int32 = 1]  field*
   * Whether there are nulls the server sees for itself (array_recv). */
  list(count: number): CopyField {
    const out = this.#out;
    this.#listAt = out.position;
    int32(out, 0); // the length, which endList() writes
    int32(out, count === 0 ? 0 : 1);
    int32(out, 1);
    int32(out, this.#itemOid);
    if (count > 0) {
      int32(out, count);
      int32(out, 1);
    }
    return this.#items!;
  }

  endList(): void {
    const { bytes, position } = this.#out;
    bytes.writeInt32BE(position - this.#listAt - 4, this.#listAt);
  }

  /** A jsonb. */
  map(): JsonObject {
    this.#listAt = this.#out.position;
    int32(this.#out, 0); // the length, which endMap() writes
    this.#out.byte(JSONB_VERSION);
    this.#out.byte(0x7b);
    const pairs = this.#pairs!;
    pairs.begin();
    return pairs;
  }

  endMap(): void {
    this.#out.byte(0x7d);
    this.endList();
  }

  /** A json. */
  record(): readonly ColumnWriter[] {
    this.#listAt = this.#out.position;
    int32(this.#out, 0); // the length, which endRecord() writes
    return this.#json!.record();
  }

  endRecord(): void {
    this.#json!.endRecord();
    this.endList();
  }

  #bytes(bytes: Buffer, start: number, end: number): void {
    const out = this.#out;
    if (this.#isJsonb) {
      int32(out, end - start + 1);
      out.byte(JSONB_VERSION);
    } else int32(out, end - start);
    out.copy(bytes, start, end);
  }

  #uuid(text: Buffer, start: number, end: number): void {
    const out = this.#out;
    int32(out, UUID_BYTES);
    out.ensure(UUID_BYTES);
    if (!writeUuid(text, start, end, out.bytes, out.position)) throw new ValueRefused(`${text.toString("utf8", start, end)} is no uuid`);
    out.position += UUID_BYTES;
  }

  /** As decimalText() writes them, without a text. */
  #digits(value: number, scale: number): void {
    const out = this.#out;
    let rest = Math.abs(value);
    let digits = scale + 1;
    while (rest >= (POWERS_OF_TEN[digits] ?? Infinity)) digits++;
    const length = (value < 0 ? 1 : 0) + digits + (scale > 0 ? 1 : 0);
    int32(out, length);
    out.ensure(length);
    const { bytes, position } = out;
    if (value < 0) bytes[position] = MINUS;
    for (let at = position + length - 1, digit = 0; digit < digits; digit++) {
      if (digit === scale && scale > 0) bytes[at--] = POINT;
      const tenth = Math.floor(rest / 10);
      bytes[at--] = ZERO + rest - tenth * 10;
      rest = tenth;
    }
    out.position = position + length;
  }

  #reversed(bytes: Buffer, at: number, width: number): void {
    const out = this.#out;
    out.ensure(width);
    for (let from = at + width - 1; from >= at; from--) out.bytes[out.position++] = bytes[from]!;
  }

  #doubles(bytes: Buffer, start: number, end: number): void {
    for (let at = start; at < end; at += DOUBLE_BYTES) this.#reversed(bytes, at, DOUBLE_BYTES);
  }

  #outOfRange(): ValueRefused {
    return new ValueRefused(`a value is out of range for ${columnType(this.#type)}`);
  }
}

function isInfinite(high: number, low: number): boolean {
  return (high === 0x7fff_ffff && low === 0xffff_ffff) || (high === -0x8000_0000 && low === 0);
}

/** Big-endian two's complement of at most SAFE_BYTES. */
function safeInteger(bytes: Buffer, start: number, end: number): number {
  let value = bytes[start]! > 0x7f ? -1 : 0; // the sign's bits
  for (let at = start; at < end; at++) value = value * 0x100 + bytes[at]!;
  return value;
}

export function int16(out: ByteWriter, value: number): void {
  out.ensure(2);
  const { bytes, position } = out;
  bytes[position] = value >> 8;
  bytes[position + 1] = value;
  out.position = position + 2;
}

/** Byte by byte: Buffer's methods check each argument. */
export function int32(out: ByteWriter, value: number): void {
  out.ensure(4);
  const { bytes, position } = out;
  bytes[position] = value >> 24;
  bytes[position + 1] = value >> 16;
  bytes[position + 2] = value >> 8;
  bytes[position + 3] = value;
  out.position = position + 4;
}
