// Rows and keys out of their Avro bytes as JSON shows them to a person. Nothing is rounded: what JSON's numbers can't hold is text.
import { decimalText, unscaledOf } from "../core/decimal.ts";
import type { ColumnWriter, MapWriter, PointWriter } from "../core/staged-rows.ts";
import {
  DATE_INFINITY,
  DATE_MINUS_INFINITY,
  TIMESTAMP_INFINITY,
  geometricFields,
  TIMESTAMP_MINUS_INFINITY,
  type Attribute,
  type ColumnKind,
  type ColumnType,
  type FigureKind,
} from "../core/table.ts";
import { FRAME_BYTES } from "./encoder.ts";
import { RowReader } from "./row-reader.ts";
import { readKeySchema, type ShapeColumn } from "./shape.ts";

export type JsonValue = null | boolean | number | string | readonly JsonValue[] | { readonly [key: string]: JsonValue };
export type JsonRow = Readonly<Record<string, JsonValue>>;

/** The row that begins at `at` of an event's value, by column name; null for −1. */
export function rowAsJson(columns: readonly ShapeColumn[], reader: RowReader, bytes: Buffer, at: number): JsonRow | null {
  if (at < 0) return null;
  const values = columns.map(({ type }) => new JsonColumn(type));
  reader.write(bytes, at, values);
  return Object.fromEntries(columns.map(({ name }, index) => [name, values[index]!.value]));
}

/** A framed key. `schema`: the one that it was written with (JSON text). Throws EVENT_UNREADABLE. */
export function keyAsJson(schema: string, key: Buffer): JsonRow {
  const columns = readKeySchema(schema);
  return rowAsJson(columns, new RowReader(columns), key, FRAME_BYTES) ?? {};
}

const POINT: ColumnType = { kind: "point" };
const TEXT: ColumnType = { kind: "text" };
const DAY_MS = 86_400_000;
/** ECMA-262: the last millisecond that a Date holds. */
const LAST_DATE_MS = 8_640_000_000_000_000;

class JsonColumn implements ColumnWriter {
  readonly #type: ColumnType;
  readonly #values: JsonValue[] = [];
  #items: JsonColumn | null = null;
  #attributes: readonly JsonColumn[] = [];

  constructor(type: ColumnType) {
    this.#type = type;
  }

  /** What was written last. */
  get value(): JsonValue {
    return this.#values.at(-1) ?? null;
  }

  set value(value: JsonValue) {
    this.#values.push(value);
  }

  doubles(bytes: Buffer, start: number): void {
    const names = geometricFields[this.#type.kind as FigureKind];
    this.value = Object.fromEntries(names.map((name, at) => [name, finite(bytes.readDoubleLE(start + 8 * at))]));
  }

  points(): PointWriter {
    const points = new JsonColumn(POINT);
    this.value = points.#values;
    return points;
  }

  path(isClosed: boolean): PointWriter {
    const points = new JsonColumn(POINT);
    this.value = { closed: isClosed, points: points.#values };
    return points;
  }

  list(): ColumnWriter {
    return (this.#items = new JsonColumn(this.#type.kind === "array" ? this.#type.element : TEXT));
  }

  endList(): void {
    this.value = this.#items === null ? [] : this.#items.#values;
  }

  map(): MapWriter {
    const keys = (this.#items = new JsonColumn(TEXT));
    return { keys, values: keys };
  }

  endMap(): void {
    const texts = this.#items === null ? [] : this.#items.#values;
    const pairs = texts.flatMap((key, at) => (at % 2 === 0 && typeof key === "string" ? [[key, texts[at + 1] ?? null] as const] : []));
    this.value = Object.fromEntries(pairs);
  }

  record(): readonly ColumnWriter[] {
    return (this.#attributes = attributesOf(this.#type).map(({ type }) => new JsonColumn(type)));
  }

  endRecord(): void {
    this.value = Object.fromEntries(attributesOf(this.#type).map(({ name }, at) => [name, this.#attributes[at]?.value ?? null]));
  }

  null(): void {
    this.value = null;
  }

  bool(value: boolean): void {
    this.value = value;
  }

  int(value: number): void {
    this.value = this.#type.kind === "date" ? dateText(value) : value;
  }

  long(high: number, low: number): void {
    this.value = longText((BigInt(high) << 32n) | BigInt(low), this.#type.kind);
  }

  float(bytes: Buffer, at: number): void {
    this.value = finite(bytes.readFloatLE(at));
  }

  double(bytes: Buffer, at: number): void {
    this.value = finite(bytes.readDoubleLE(at));
  }

  decimal(bytes: Buffer, start: number, end: number): void {
    this.value = decimalText(unscaledOf(bytes, start, end), "scale" in this.#type ? this.#type.scale : 0);
  }

  text(bytes: Buffer, start: number, end: number): void {
    this.value = bytes.toString("utf8", start, end);
  }

  bytes(bytes: Buffer, start: number, end: number): void {
    this.value = `\\x${bytes.toString("hex", start, end)}`;
  }
}

function attributesOf(type: ColumnType): readonly Attribute[] {
  return type.kind === "composite" ? type.attributes : [];
}

function finite(value: number): JsonValue {
  return Number.isFinite(value) ? value : String(value);
}

function dateText(days: number): string {
  if (days === DATE_INFINITY) return "infinity";
  if (days === DATE_MINUS_INFINITY) return "-infinity";
  const ms = days * DAY_MS;
  return Math.abs(ms) > LAST_DATE_MS ? `${days} days since 1970-01-01` : new Date(ms).toISOString().split("T")[0]!;
}

function longText(value: bigint, kind: ColumnKind): string {
  if (kind === "time") return clock(value);
  if (kind !== "timestamp" && kind !== "timestamptz") return value.toString();
  if (value === TIMESTAMP_INFINITY) return "infinity";
  if (value === TIMESTAMP_MINUS_INFINITY) return "-infinity";
  const micros = BigInt.asUintN(64, ((value % 1_000_000n) + 1_000_000n) % 1_000_000n);
  const seconds = (value - micros) / 1_000_000n;
  const ms = Number(seconds) * 1_000;
  if (Math.abs(ms) > LAST_DATE_MS) return `${value} µs since 1970-01-01`;
  return `${new Date(ms).toISOString().slice(0, -".000Z".length)}.${digits(micros, 6)}${kind === "timestamptz" ? "Z" : ""}`;
}

function clock(micros: bigint): string {
  const seconds = micros / 1_000_000n;
  return `${digits(seconds / 3600n, 2)}:${digits((seconds / 60n) % 60n, 2)}:${digits(seconds % 60n, 2)}.${digits(micros % 1_000_000n, 6)}`;
}

function digits(value: bigint, count: number): string {
  return value.toString().padStart(count, "0");
}
