// What stands in events, as JavaScript has it: for tests that look at values one by one.
import type { EventDecoder } from "../../src/avro/decoder.ts";
import { unscaledOf } from "../../src/core/decimal.ts";
import type { ColumnWriter } from "../../src/core/staged-rows.ts";
import { geometricFields, type ColumnType } from "../../src/core/table.ts";

/** A value by its column's kind, as JavaScript has it. */
export type Value =
  | null
  | boolean // bool
  | number // int2, int4, float4, float8; date in days since 1970-01-01
  | bigint // int8, oid; decimal unscaled; time, timestamp, timestamptz in microseconds (since 1970-01-01)
  | string // numeric, text, enum, json, jsonb, xml, uuid (with hyphens), interval (ISO 8601), other
  | Buffer // bytea
  | readonly Value[]; // array; a composite's attributes; hstore as pairs; the numbers of a point, line, lseg, box or circle; polygon as points; path as these behind whether it is closed

/** Keeps the values that it is given. Fails for bytes that are used again: it copies none but for the moment. */
export class ValueList implements ColumnWriter {
  readonly values: Value[] = [];
  #list: ValueList | null = null;
  #attributes: ValueList[] = [];
  #pairs: { readonly keys: ValueList; readonly values: ValueList } | null = null;

  get last(): Value {
    return this.values.at(-1) ?? null;
  }

  null(): void {
    this.values.push(null);
  }

  bool(value: boolean): void {
    this.values.push(value);
  }

  int(value: number): void {
    this.values.push(value);
  }

  long(high: number, low: number): void {
    this.values.push((BigInt(high) << 32n) | BigInt(low));
  }

  float(bytes: Buffer, at: number): void {
    this.values.push(bytes.readFloatLE(at));
  }

  double(bytes: Buffer, at: number): void {
    this.values.push(bytes.readDoubleLE(at));
  }

  decimal(bytes: Buffer, start: number, end: number): void {
    this.values.push(unscaledOf(bytes, start, end));
  }

  text(bytes: Buffer, start: number, end: number): void {
    this.values.push(bytes.toString("utf8", start, end));
  }

  bytes(bytes: Buffer, start: number, end: number): void {
    this.values.push(Buffer.from(bytes.subarray(start, end)));
  }

  doubles(bytes: Buffer, start: number, end: number): void {
    this.values.push(Array.from({ length: (end - start) / 8 }, (_, at) => bytes.readDoubleLE(start + 8 * at)));
  }

  points(): ValueList {
    const points = new ValueList();
    this.values.push(points.values);
    return points;
  }

  path(isClosed: boolean): ValueList {
    const points = this.points();
    points.bool(isClosed);
    return points;
  }

  list(): ValueList {
    this.#list = new ValueList();
    return this.#list;
  }

  endList(): void {
    this.values.push(this.#list!.values);
  }

  record(count: number): readonly ValueList[] {
    this.#attributes = Array.from({ length: count }, () => new ValueList());
    return this.#attributes;
  }

  endRecord(): void {
    this.values.push(this.#attributes.map(({ last }) => last));
  }

  map(): { readonly keys: ValueList; readonly values: ValueList } {
    this.#pairs = { keys: new ValueList(), values: new ValueList() };
    return this.#pairs;
  }

  endMap(): void {
    const { keys, values } = this.#pairs!;
    this.values.push(keys.values.map((key, index) => [key, values.values[index] ?? null]));
  }
}

/** The row that begins at `at`, −1: none. */
export function rowAt({ rows }: EventDecoder, value: Buffer, at: number): Value[] | null {
  if (at < 0) return null;
  const columns = Array.from({ length: rows.columns }, () => new ValueList());
  rows.write(value, at, columns);
  return columns.map(({ last }) => last);
}

/** An event with its rows. */
export type ReadEvent = Pick<
  EventDecoder,
  "op" | "epoch" | "commitLsn" | "ordinal" | "commitMicros" | "txId" | "unchanged" | "movedFrom"
> & {
  readonly before: Value[] | null;
  readonly after: Value[] | null;
};

export function readEvent(decoder: EventDecoder, value: Buffer): ReadEvent {
  decoder.decode(value);
  const { op, epoch, commitLsn, ordinal, commitMicros, txId, unchanged, movedFrom, beforeAt, afterAt } = decoder;
  const rows = { before: rowAt(decoder, value, beforeAt), after: rowAt(decoder, value, afterAt) };
  return { op, epoch, commitLsn, ordinal, commitMicros, txId, unchanged, movedFrom, ...rows };
}

/** Writes a value as an event of its column's type would bring it. */
export function writeValue(type: ColumnType, value: Value, into: ColumnWriter): void {
  const { kind } = type;
  if (value === null) into.null();
  else if (kind === "vector") {
    const items = value as readonly number[];
    const list = into.list(items.length);
    for (const item of items) writeValue({ kind: "float4" }, item, list);
    into.endList();
  } else if (type.kind === "composite") {
    const attributes = into.record(type.attributes.length);
    for (const [at, attribute] of type.attributes.entries())
      writeValue(attribute.type, (value as readonly Value[])[at] ?? null, attributes[at]!);
    into.endRecord();
  } else if (kind === "array") {
    const items = value as readonly Value[];
    const list = into.list(items.length);
    for (const item of items) writeValue(type.element, item, list);
    into.endList();
  } else if (kind === "polygon" || kind === "path") {
    const points = (value as readonly Value[]).filter((each) => typeof each !== "boolean") as readonly (readonly number[])[];
    const to = kind === "path" ? into.path((value as readonly Value[])[0] === true, points.length) : into.points(points.length);
    for (const point of points) writeDoubles(point, to);
  } else if (kind in geometricFields) writeDoubles(value as readonly number[], into);
  else if (kind === "hstore") {
    const all = value as readonly (readonly [string, string | null])[];
    const pairs = into.map(all.length);
    for (const [key, each] of all) {
      writeBytes(Buffer.from(key), (bytes, start, end) => pairs.keys.text(bytes, start, end));
      if (each === null) pairs.values.null();
      else writeBytes(Buffer.from(each), (bytes, start, end) => pairs.values.text(bytes, start, end));
    }
    into.endMap();
  } else if (typeof value === "boolean") into.bool(value);
  else if (typeof value === "string") writeBytes(Buffer.from(value), (bytes, start, end) => into.text(bytes, start, end));
  else if (typeof value === "object") {
    if (kind === "bytea" || kind === "geometry") writeBytes(value as Buffer, (bytes, start, end) => into.bytes(bytes, start, end));
    else writeBytes(value as Buffer, (bytes, start, end) => into.text(bytes, start, end)); // a text that may not be UTF-8
  } else if (kind === "decimal" || kind === "money")
    writeBytes(twosComplement(BigInt(value)), (bytes, start, end) => into.decimal(bytes, start, end));
  else if (typeof value === "bigint") into.long(Number(BigInt.asIntN(32, value >> 32n)), Number(BigInt.asUintN(32, value)));
  else if (kind === "float4" || kind === "float8") {
    const bytes = Buffer.alloc(11);
    if (kind === "float4") bytes.writeFloatLE(value, 3);
    else bytes.writeDoubleLE(value, 3);
    if (kind === "float4") into.float(bytes, 3);
    else into.double(bytes, 3);
  } else into.int(value);
}

function writeDoubles(numbers: readonly number[], into: Pick<ColumnWriter, "doubles">): void {
  const value = Buffer.alloc(8 * numbers.length);
  for (const [at, number] of numbers.entries()) value.writeDoubleLE(number, 8 * at);
  writeBytes(value, (bytes, start, end) => into.doubles(bytes, start, end));
}

/** In the middle of other bytes, as values stand in an event. */
function writeBytes(value: Buffer, write: (bytes: Buffer, start: number, end: number) => void): void {
  write(Buffer.concat([Buffer.from("abc"), value, Buffer.from("xyz")]), 3, 3 + value.length);
}

/** Big-endian, as short as can be, as the encoder writes it. */
function twosComplement(value: bigint): Buffer {
  let size = 1;
  while (BigInt.asIntN(size * 8, value) !== value) size++;
  const hex = BigInt.asUintN(size * 8, value).toString(16);
  return Buffer.from(hex.padStart(size * 2, "0"), "hex");
}
