// A composite as JSON text, into COPY's buffer: numbers, booleans, arrays, composites, hstore and JSON are JSON's own, all other values
// the strings that PostgreSQL prints (moments in UTC, intervals as ISO 8601), which its types read back. Numbers keep all their digits.
import { writeHexByte } from "../../core/ascii.ts";
import type { ByteWriter } from "../../core/byte-writer.ts";
import { decimalText, unscaledOf } from "../../core/decimal.ts";
import { EPOCH_DAYS, isInfinite, MOMENT_BYTES, printDate, printTime, printTimestamp } from "../../core/printed-moment.ts";
import type { ColumnWriter, MapWriter, PointWriter } from "../../core/staged-rows.ts";
import { DATE_INFINITY, DATE_MINUS_INFINITY, geometricFields, type ColumnType } from "../../core/table.ts";
import { mendedUtf8 } from "../utf8.ts";
import { JsonObject, writeJsonString, writeJsonWord } from "./json-object.ts";

const PG_EPOCH_MICROS = 946_684_800_000_000;
const PG_EPOCH_HIGH = Math.floor(PG_EPOCH_MICROS / 0x1_0000_0000);
const PG_EPOCH_LOW = PG_EPOCH_MICROS % 0x1_0000_0000;

const QUOTE = 0x22;
const COMMA = 0x2c;
const DIGITS = /^-?\d/;

/** Writes to the end of `out`. */
export class JsonValue implements ColumnWriter {
  readonly #out: ByteWriter;
  readonly #type: ColumnType;
  /** What stands before the value; null: a comma, unless it is a list's first. */
  readonly #before: Buffer | null;
  readonly #items: JsonValue | null;
  readonly #attributes: readonly JsonValue[];
  readonly #pairs: JsonObject | null;
  readonly #points: PointWriter = { doubles: (bytes, start) => this.#point(bytes, start) };
  #isFirst = true;
  /** Points of the path or polygon being written that are still to come, and what then closes it. */
  #pointsLeft = 0;
  #end = "";

  constructor(out: ByteWriter, type: ColumnType, before: Buffer | null = Buffer.alloc(0)) {
    this.#out = out;
    this.#type = type;
    this.#before = before;
    const item = type.kind === "array" ? type.element : type.kind === "vector" ? ({ kind: "float4" } as const) : null;
    this.#items = item === null ? null : new JsonValue(out, item, null);
    const attributes = type.kind === "composite" ? type.attributes : [];
    this.#attributes = attributes.map(
      (attribute, index) => new JsonValue(out, attribute.type, Buffer.from(`${index === 0 ? "" : ","}${JSON.stringify(attribute.name)}:`)),
    );
    this.#pairs = type.kind === "hstore" ? new JsonObject(out) : null;
  }

  null(): void {
    this.#word("null");
  }

  bool(value: boolean): void {
    this.#word(value ? "true" : "false");
  }

  int(value: number): void {
    if (this.#type.kind !== "date") return this.#word(String(value));
    this.#quoted(() => printDate(value === DATE_INFINITY || value === DATE_MINUS_INFINITY ? value : value - EPOCH_DAYS, this.#out));
  }

  long(high: number, low: number): void {
    const { kind } = this.#type;
    if (kind === "time") {
      const micros = high * 0x1_0000_0000 + low;
      return this.#quoted(() => printTime(Math.floor(micros / 1_000_000), micros % 1_000_000, this.#out));
    }
    if (kind !== "timestamp" && kind !== "timestamptz") return this.#word(String((BigInt(high) << 32n) | BigInt(low)));
    const [ofHigh, ofLow] = isInfinite(high, low)
      ? [high, low]
      : [high - PG_EPOCH_HIGH - (low < PG_EPOCH_LOW ? 1 : 0), (low - PG_EPOCH_LOW) >>> 0];
    this.#quoted(() => printTimestamp(ofHigh, ofLow, kind === "timestamptz", this.#out));
  }

  float(bytes: Buffer, at: number): void {
    this.#number(floatText(bytes.readFloatLE(at)));
  }

  double(bytes: Buffer, at: number): void {
    this.#number(doubleText(bytes.readDoubleLE(at)));
  }

  decimal(bytes: Buffer, start: number, end: number): void {
    this.#word(decimalText(unscaledOf(bytes, start, end), "scale" in this.#type ? this.#type.scale : 0));
  }

  text(bytes: Buffer, start: number, end: number): void {
    const { kind } = this.#type;
    if (kind === "numeric") return this.#number(bytes.toString("latin1", start, end));
    this.#begin();
    if (kind !== "json" && kind !== "jsonb") return writeJsonString(bytes, start, end, this.#out);
    const mended = mendedUtf8(bytes, start, end);
    if (mended === null) this.#out.copy(bytes, start, end);
    else this.#out.copy(mended, 0, mended.length);
  }

  bytes(bytes: Buffer, start: number, end: number): void {
    this.#begin();
    writeJsonWord('"\\\\x', this.#out);
    this.#out.ensure(2 * (end - start));
    for (let at = start; at < end; at++) writeHexByte(bytes[at]!, this.#out);
    this.#out.byte(QUOTE);
  }

  doubles(bytes: Buffer, start: number): void {
    const { kind } = this.#type;
    const count = kind in geometricFields ? geometricFields[kind as keyof typeof geometricFields].length : 0;
    const numbers = Array.from({ length: count }, (_, at) => doubleText(bytes.readDoubleLE(start + 8 * at)));
    this.#word(`"${figureText(kind, numbers)}"`);
  }

  points(count: number): PointWriter {
    return this.#beginPoints("(", ")", count);
  }

  path(isClosed: boolean, count: number): PointWriter {
    return isClosed ? this.#beginPoints("(", ")", count) : this.#beginPoints("[", "]", count);
  }

  list(): JsonValue {
    this.#word("[");
    const items = this.#items!;
    items.#isFirst = true;
    return items;
  }

  endList(): void {
    writeJsonWord("]", this.#out);
  }

  map(): MapWriter {
    this.#word("{");
    const pairs = this.#pairs!;
    pairs.begin();
    return pairs;
  }

  endMap(): void {
    writeJsonWord("}", this.#out);
  }

  record(): readonly JsonValue[] {
    this.#word("{");
    return this.#attributes;
  }

  endRecord(): void {
    writeJsonWord("}", this.#out);
  }

  #begin(): void {
    const out = this.#out;
    if (this.#before !== null) out.copy(this.#before, 0, this.#before.length);
    else if (!this.#isFirst) out.byte(COMMA);
    this.#isFirst = false;
  }

  #word(ascii: string): void {
    this.#begin();
    writeJsonWord(ascii, this.#out);
  }

  /** JSON has no NaN and no infinity: they are strings. */
  #number(text: string): void {
    this.#word(DIGITS.test(text) ? text : `"${text}"`);
  }

  #quoted(print: () => void): void {
    this.#begin();
    this.#out.ensure(MOMENT_BYTES + 2);
    this.#out.byte(QUOTE);
    print();
    this.#out.byte(QUOTE);
  }

  #beginPoints(open: string, close: string, count: number): PointWriter {
    this.#pointsLeft = count;
    this.#end = `${close}"`;
    this.#word(`"${open}`);
    if (count === 0) writeJsonWord(this.#end, this.#out);
    return this.#points;
  }

  #point(bytes: Buffer, start: number): void {
    writeJsonWord(`(${doubleText(bytes.readDoubleLE(start))},${doubleText(bytes.readDoubleLE(start + 8))})`, this.#out);
    this.#pointsLeft -= 1;
    writeJsonWord(this.#pointsLeft === 0 ? this.#end : ",", this.#out);
  }
}

function doubleText(value: number): string {
  return Object.is(value, -0) ? "-0" : String(value);
}

/** The fewest digits that read back as the same float4. */
function floatText(value: number): string {
  if (!Number.isFinite(value) || Object.is(value, -0)) return doubleText(value);
  for (let digits = 1; digits < 9; digits++) {
    const text = value.toPrecision(digits);
    if (Math.fround(Number(text)) === value) return String(Number(text));
  }
  return String(Number(value.toPrecision(9)));
}

/** As PostgreSQL prints them (encoder-geometric's grammar). */
function figureText(kind: string, [a, b, c, d]: readonly string[]): string {
  switch (kind) {
    case "point":
      return `(${a},${b})`;
    case "line":
      return `{${a},${b},${c}}`;
    case "circle":
      return `<(${a},${b}),${c}>`;
    case "lseg":
      return `[(${a},${b}),(${c},${d})]`;
    default:
      return `(${a},${b}),(${c},${d})`;
  }
}
