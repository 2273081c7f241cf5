// PostgreSQL's text form of each kind as Avro. The stream's session has DateStyle ISO, IntervalStyle iso_8601, TimeZone
// UTC, bytea_output hex, extra_float_digits 1 and lc_monetary C; what another setting would have printed is refused, not misread.
import { DATE_INFINITY, DATE_MINUS_INFINITY } from "../core/table.ts";
import { hexNibble } from "../core/ascii.ts";
import { writeMicros } from "./encoder-binary.ts";
import { geometricForms } from "./encoder-geometric.ts";
import { writePrintedHstore } from "./encoder-hstore.ts";
import { writeLsnHalves } from "./encoder-printed.ts";
import { writeNan4, writeNan8 } from "./floats.ts";
import { Int64 } from "./int64.ts";
import { digitsOf, powersOfTen, unscaled } from "./unscaled.ts";
import { malformed, outOfRange, writeBytes, type ValueColumn, type ValueWriter, type WireForm } from "./value-writer.ts";

const DAY_SECONDS = 86_400;

/** Reads the value at hand from left to right; one is reused for all values. */
class Scanner {
  #bytes: Buffer = Buffer.alloc(0);
  #end = 0;
  at = 0;
  /** Digits that the last `digits` read. */
  count = 0;

  begin(bytes: Buffer, start: number, length: number): void {
    this.#bytes = bytes;
    this.at = start;
    this.#end = start + length;
  }

  /** Takes the character when it is next. */
  take(character: number): boolean {
    if (this.at >= this.#end || this.#bytes[this.at] !== character) return false;
    this.at++;
    return true;
  }

  /** Takes up to `limit` digits; their value. `count` says how many there were. */
  digits(limit: number): number {
    let value = 0;
    this.count = 0;
    while (this.count < limit && this.at < this.#end) {
      const digit = this.#bytes[this.at]! - 0x30;
      if (digit < 0 || digit > 9) break;
      value = value * 10 + digit;
      this.count++;
      this.at++;
    }
    return value;
  }

  /** Takes exactly two digits; −1 when others come. */
  pair(): number {
    const value = this.digits(2);
    return this.count === 2 ? value : -1;
  }

  get ended(): boolean {
    return this.at >= this.#end;
  }

  /** True when what is left is `text`, which it then takes. */
  takeAll(text: string): boolean {
    if (this.#end - this.at !== text.length) return false;
    for (let index = 0; index < text.length; index++) if (this.#bytes[this.at + index] !== text.charCodeAt(index)) return false;
    this.at = this.#end;
    return true;
  }
}

const scanner = new Scanner();
const int64 = new Int64();

const MINUS = 0x2d;
const PLUS = 0x2b;
const POINT = 0x2e;
const COLON = 0x3a;
const COMMA = 0x2c;
const DOLLAR = 0x24;

const writeBool: ValueWriter = (bytes, start, length, out, column) => {
  const letter = length === 1 ? bytes[start] : 0;
  if (letter !== 0x74 && letter !== 0x66) throw malformed(column, "t or f");
  out.byte(letter === 0x74 ? 1 : 0);
};

/** int2, int4, int8, oid: Avro's int and long have the same bytes. */
const writeInteger: ValueWriter = (bytes, start, length, out, column) => {
  scanner.begin(bytes, start, length);
  const sign = scanner.take(MINUS) ? -1 : 1;
  const head = scanner.digits(10);
  if (scanner.count === 0) throw malformed(column, "an integer");
  const tail = scanner.digits(9);
  if (!scanner.ended) throw malformed(column, "an integer");
  int64.setProduct(sign * head, 10 ** scanner.count, sign * tail);
  out.varlong(int64.high, int64.low);
};

const writeFloat4: ValueWriter = (bytes, start, length, out, column) => {
  const value = float(bytes, start, length, column);
  if (Number.isNaN(value)) return writeNan4(out);
  out.ensure(4);
  out.position = out.bytes.writeFloatLE(value, out.position);
};

const writeFloat8: ValueWriter = (bytes, start, length, out, column) => {
  const value = float(bytes, start, length, column);
  if (Number.isNaN(value)) return writeNan8(out);
  out.ensure(8);
  out.position = out.bytes.writeDoubleLE(value, out.position);
};

/* decimal ::= ['-'] digits ['.' digits] | 'NaN' | ['-'] 'Infinity' */
const writeDecimal: ValueWriter = (bytes, start, length, out, column) => {
  scanner.begin(bytes, start, length);
  const negative = scanner.take(MINUS);
  unscaled.clear();
  let significant = 0; // digits from the first that is not 0 on
  do significant = appendDigits(6, significant);
  while (scanner.count === 6);
  let missing = column.scale;
  if (scanner.take(POINT)) {
    do {
      significant = appendDigits(Math.min(6, missing), significant);
      missing -= scanner.count;
    } while (scanner.count > 0);
    while (scanner.take(0x30)); // more digits than the scale, but zeros
    if (scanner.digits(1) > 0) throw outOfRange(column, `it has more than ${column.scale} digits after the point`);
  }
  if (scanner.take(0x4e) || scanner.take(0x49)) throw outOfRange(column, "a decimal has no NaN and no infinity");
  if (!scanner.ended) throw malformed(column, "a numeric");
  if (significant > 0) significant += missing;
  for (; missing > 0; missing -= 6) unscaled.append(0, powersOfTen[Math.min(6, missing)] as number);
  if (significant > column.precision) throw outOfRange(column, `it has more than ${column.precision} digits`);
  unscaled.write(negative, out);
};

/*
 * money ::= ['-'] '$' digits {',' digits} '.' digit digit
 * With lc_monetary C: the stored integer, its last two digits behind a point whatever they stand for (cash_out).
 */
const writeMoney: ValueWriter = (bytes, start, length, out, column) => {
  scanner.begin(bytes, start, length);
  const negative = scanner.take(MINUS);
  if (!scanner.take(DOLLAR)) throw malformed(column, "money with lc_monetary C");
  unscaled.clear();
  for (let first = true; first || scanner.take(COMMA); first = false) {
    const group = scanner.digits(3);
    if (first ? scanner.count === 0 : scanner.count !== 3) throw malformed(column, "money with lc_monetary C");
    unscaled.append(group, 1000);
  }
  const cents = scanner.take(POINT) ? scanner.pair() : -1;
  if (cents < 0 || !scanner.ended) throw malformed(column, "money with lc_monetary C");
  unscaled.append(cents, 100);
  unscaled.write(negative, out);
};

const writeUuid: ValueWriter = (bytes, start, length, out, column) => {
  if (length !== 36) throw malformed(column, "a uuid");
  writeBytes(bytes, start, length, out, column);
};

const writeBytea: ValueWriter = (bytes, start, length, out, column) => {
  if (length < 2 || length % 2 !== 0 || bytes[start] !== 0x5c || bytes[start + 1] !== 0x78) throw malformed(column, "bytea in hex");
  const size = (length - 2) / 2;
  out.varint(size);
  out.ensure(size);
  for (let at = start + 2; at < start + length; at += 2) {
    const byte = (hexNibble(bytes[at]!) << 4) | hexNibble(bytes[at + 1]!);
    if (byte < 0) throw malformed(column, "bytea in hex");
    out.bytes[out.position++] = byte;
  }
};

/* date ::= 'infinity' | '-infinity' | year '-' month '-' day [' BC'] */
const writeDate: ValueWriter = (bytes, start, length, out, column) => {
  scanner.begin(bytes, start, length);
  if (isWord(bytes, start)) return out.varint(infinity(column) > 0 ? DATE_INFINITY : DATE_MINUS_INFINITY);
  out.varint(scanDays(bytes, start, length, column));
  scanner.takeAll(" BC");
  if (!scanner.ended) throw malformed(column, "an ISO date");
};

/* time ::= hour ':' minute ':' second ['.' fraction]; 24:00:00 is the last one */
const writeTime: ValueWriter = (bytes, start, length, out, column) => {
  scanner.begin(bytes, start, length);
  const seconds = scanSeconds(column);
  out.varsafe(seconds * 1_000_000 + scanFraction());
  if (!scanner.ended) throw malformed(column, "an ISO time");
};

/* timestamp ::= 'infinity' | '-infinity' | date ' ' time [offset] [' BC']      offset ::= ('+' | '-') hour [':' minute [':' second]] */
const writeTimestamp: ValueWriter = (bytes, start, length, out, column) => {
  scanner.begin(bytes, start, length);
  if (isWord(bytes, start)) {
    const positive = infinity(column) > 0;
    return out.varlong(positive ? 0x7fff_ffff : -0x8000_0000, positive ? 0xffff_ffff : 0);
  }
  const days = scanDays(bytes, start, length, column);
  if (!scanner.take(0x20)) throw malformed(column, "an ISO timestamp");
  const seconds = days * DAY_SECONDS + scanSeconds(column);
  const micros = scanFraction();
  const offset = scanOffset();
  scanner.takeAll(" BC");
  if (!scanner.ended) throw malformed(column, "an ISO timestamp");
  int64.setProduct(seconds - offset, 1_000_000, micros);
  writeMicros(int64.high, int64.low, out, column);
};

const writeInterval: ValueWriter = (bytes, start, length, out, column) => {
  if (bytes[start] !== 0x50 && !isWord(bytes, start)) throw malformed(column, "an ISO 8601 interval");
  writeBytes(bytes, start, length, out, column);
};

/* pg_lsn ::= hex '/' hex; later versions of PostgreSQL print the second half with zeros in front */
const writeLsn: ValueWriter = (bytes, start, length, out, column) => {
  const [high, low, ...more] = bytes
    .toString("latin1", start, start + length)
    .split("/")
    .map(hexInteger);
  if (high === undefined || low === undefined || Number.isNaN(high) || Number.isNaN(low) || more.length > 0)
    throw malformed(column, "an LSN");
  writeLsnHalves(high, low, out);
};

/** Of all kinds but composites (encoder-composite.ts). */
export const textForm: Omit<WireForm, "composite"> = {
  bool: writeBool,
  int2: writeInteger,
  int4: writeInteger,
  int8: writeInteger,
  oid: writeInteger,
  float4: writeFloat4,
  float8: writeFloat8,
  decimal: writeDecimal,
  numeric: writeBytes,
  money: writeMoney,
  text: writeBytes,
  enum: writeBytes,
  json: writeBytes,
  jsonb: writeBytes,
  jsonpath: writeBytes,
  xml: writeBytes,
  uuid: writeUuid,
  bytea: writeBytea,
  date: writeDate,
  time: writeTime,
  timetz: writeBytes,
  timestamp: writeTimestamp,
  timestamptz: writeTimestamp,
  interval: writeInterval,
  inet: writeBytes,
  cidr: writeBytes,
  macaddr: writeBytes,
  macaddr8: writeBytes,
  bit: writeBytes,
  tsvector: writeBytes,
  ltree: writeBytes,
  hstore: writePrintedHstore,
  pg_lsn: writeLsn,
  xid: writeBytes,
  xid8: writeBytes,
  ...geometricForms.text,
  range: writeBytes,
  other: writeBytes,
};

/** Appends up to `limit` digits to `unscaled`; the significant digits now, given those before. */
function appendDigits(limit: number, significant: number): number {
  const digits = scanner.digits(limit);
  unscaled.append(digits, powersOfTen[scanner.count] as number);
  if (significant > 0) return significant + scanner.count;
  return digitsOf(digits);
}

/** PostgreSQL prints the shortest digits that read back the same, NaN, Infinity and -Infinity: all JavaScript's own. */
function float(bytes: Buffer, start: number, length: number, column: ValueColumn): number {
  const text = bytes.toString("latin1", start, start + length);
  const value = Number(text);
  if (length === 0 || (Number.isNaN(value) && text !== "NaN")) throw malformed(column, "a float");
  return value;
}

/** `infinity` or `-infinity`, told from a date, time or interval by its letter. */
function isWord(bytes: Buffer, start: number): boolean {
  return bytes[start] === 0x69 || (bytes[start] === MINUS && bytes[start + 1] === 0x69);
}

function infinity(column: ValueColumn): number {
  const sign = scanner.take(MINUS) ? -1 : 1;
  if (!scanner.takeAll("infinity")) throw malformed(column, "a date or infinity");
  return sign;
}

/** Days from 1970-01-01 of the date that comes next. Years end in ` BC` at the value's end, and may have seven digits. */
function scanDays(bytes: Buffer, start: number, length: number, column: ValueColumn): number {
  const before = length > 3 && bytes[start + length - 1] === 0x43; // C of BC
  const year = scanner.digits(7);
  const isLong = scanner.count >= 4;
  const month = scanner.take(MINUS) ? scanner.pair() : -1;
  const day = scanner.take(MINUS) ? scanner.pair() : -1;
  if (!isLong || month < 1 || day < 1) throw malformed(column, "an ISO date");
  return daysFromCivil(before ? 1 - year : year, month, day);
}

/** Seconds since midnight of the `hh:mm:ss` that comes next. */
function scanSeconds(column: ValueColumn): number {
  const hour = scanner.pair();
  const minute = scanner.take(COLON) ? scanner.pair() : -1;
  const second = scanner.take(COLON) ? scanner.pair() : -1;
  if (hour < 0 || minute < 0 || second < 0) throw malformed(column, "an ISO time");
  return hour * 3600 + minute * 60 + second;
}

/** The microseconds of a fraction, 0 without one. */
function scanFraction(): number {
  if (!scanner.take(POINT)) return 0;
  const digits = scanner.digits(6);
  return digits * (powersOfTen[6 - scanner.count] as number);
}

/** Seconds east of Greenwich, 0 without an offset. */
function scanOffset(): number {
  const east = scanner.take(PLUS) ? 1 : scanner.take(MINUS) ? -1 : 0;
  if (east === 0) return 0;
  let seconds = scanner.digits(2) * 3600;
  if (scanner.take(COLON)) seconds += scanner.digits(2) * 60;
  if (scanner.take(COLON)) seconds += scanner.digits(2);
  return east * seconds;
}

/** Days from 1970-01-01 in the proleptic Gregorian calendar, as PostgreSQL counts; year 0 is 1 BC. */
function daysFromCivil(year: number, month: number, day: number): number {
  const shifted = month > 2 ? year : year - 1; // years from March on, so that the leap day is the last
  const era = Math.floor(shifted / 400);
  const yearOfEra = shifted - era * 400;
  const dayOfYear = Math.floor((153 * (month > 2 ? month - 3 : month + 9) + 2) / 5) + day - 1;
  const dayOfEra = yearOfEra * 365 + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100) + dayOfYear;
  return era * 146_097 + dayOfEra - 719_468;
}

/** An unsigned 32-bit integer; NaN for any other text. */
function hexInteger(text: string): number {
  return /^[0-9A-F]{1,8}$/.test(text) ? Number.parseInt(text, 16) : NaN;
}
