// PostgreSQL's binary form of each kind (what its type's send function writes; all integers big-endian) as Avro.
import type { ByteWriter } from "../core/byte-writer.ts";
import { writeAscii, writeFourDigits, writeHexByte, writeInteger, writeSmallFraction } from "../core/ascii.ts";
import { EPOCH_DAYS } from "../core/printed-moment.ts";
import { geometricForms } from "./encoder-geometric.ts";
import { writeHstore } from "./encoder-hstore.ts";
import {
  writeBit,
  writeCidr,
  writeInet,
  writeLsn,
  writeMac,
  writeMac8,
  writeTimeTz,
  writeTsvector,
  writeVersioned,
  writeXid,
  writeXid8,
} from "./encoder-printed.ts";
import { writeNan4, writeNan8, writeReversed } from "./floats.ts";
import { digitsOf, powersOfTen, unscaled } from "./unscaled.ts";
import { malformed, outOfRange, writeBytes, type ValueColumn, type ValueWriter, type WireForm } from "./value-writer.ts";

/** 946,684,800,000,000 µs, the same in microseconds, in halves. */
const EPOCH_MICROS_HIGH = 220_417;
const EPOCH_MICROS_LOW = 993_517_568;

/** Signs of numeric: src/backend/utils/adt/numeric.c. */
const NUMERIC_NEGATIVE = 0x4000;
const NUMERIC_NAN = 0xc000;
const NUMERIC_INFINITY = 0xd000;
const NUMERIC_MINUS_INFINITY = 0xf000;

const INT32_MAX = 0x7fff_ffff;
const INT32_MIN = -0x8000_0000;
const UINT32_MAX = 0xffff_ffff;

const writeBool: ValueWriter = (bytes, start, length, out, column) => {
  if (length !== 1) throw malformed(column, "a binary bool");
  out.byte(bytes[start] === 0 ? 0 : 1);
};

const writeInt2: ValueWriter = (bytes, start, length, out, column) => {
  if (length !== 2) throw malformed(column, "a binary int2");
  out.varint(bytes.readInt16BE(start));
};

const writeInt4: ValueWriter = (bytes, start, length, out, column) => {
  if (length !== 4) throw malformed(column, "a binary int4");
  out.varint(bytes.readInt32BE(start));
};

const writeInt8: ValueWriter = (bytes, start, length, out, column) => {
  if (length !== 8) throw malformed(column, "a binary int8");
  out.varlong(bytes.readInt32BE(start), bytes.readUInt32BE(start + 4));
};

const writeOid: ValueWriter = (bytes, start, length, out, column) => {
  if (length !== 4) throw malformed(column, "a binary oid");
  out.varlong(0, bytes.readUInt32BE(start));
};

const writeFloat4: ValueWriter = (bytes, start, length, out, column) => {
  if (length !== 4) throw malformed(column, "a binary float4");
  if (Number.isNaN(bytes.readFloatBE(start))) writeNan4(out);
  else writeReversed(bytes, start, length, out);
};

const writeFloat8: ValueWriter = (bytes, start, length, out, column) => {
  if (length !== 8) throw malformed(column, "a binary float8");
  if (Number.isNaN(bytes.readDoubleBE(start))) writeNan8(out);
  else writeReversed(bytes, start, length, out);
};

/*
 * numeric ::= ndigits UInt16  weight Int16  sign UInt16  dscale UInt16  digit Int16 × ndigits
 * value = ± Σ digit[i] × 10000^(weight − i), printed with dscale digits after the point (numeric_send).
 */
const writeDecimal: ValueWriter = (bytes, start, length, out, column) => {
  const digits = numericDigits(bytes, start, length, column);
  const weight = bytes.readInt16BE(start + 2);
  const sign = bytes.readUInt16BE(start + 4);
  if (sign !== 0 && sign !== NUMERIC_NEGATIVE) throw outOfRange(column, "a decimal has no NaN and no infinity");
  const { scale } = column;
  const wholeGroups = scale >> 2;
  const partialDigits = scale & 3;
  if (digits > 0 && digitsOf(bytes.readInt16BE(start + 8)) + 4 * weight + scale > column.precision) {
    throw outOfRange(column, `it has more than ${column.precision} digits`);
  }
  unscaled.clear();
  let at = 0;
  for (let group = weight; group >= -wholeGroups; group--, at++)
    unscaled.append(at < digits ? bytes.readInt16BE(start + 8 + 2 * at) : 0, 10_000);
  if (partialDigits > 0) {
    const index = weight + wholeGroups + 1; // the group that the scale cuts
    const digit = index >= 0 && index < digits ? bytes.readInt16BE(start + 8 + 2 * index) : 0;
    const cut = powersOfTen[4 - partialDigits] as number;
    unscaled.append(Math.floor(digit / cut), powersOfTen[partialDigits] as number);
    if (digit % cut !== 0) throw outOfRange(column, `it has more than ${scale} digits after the point`);
    at = Math.max(at, index + 1);
  }
  for (; at < digits; at++) {
    if (bytes.readInt16BE(start + 8 + 2 * at) !== 0) throw outOfRange(column, `it has more than ${scale} digits after the point`);
  }
  unscaled.write(sign === NUMERIC_NEGATIVE, out);
};

/* money ::= Int64, in the smallest unit of lc_monetary's currency */
const writeMoney: ValueWriter = (bytes, start, length, out, column) => {
  if (length !== 8) throw malformed(column, "a binary money");
  let from = start;
  while (from < start + 7 && (bytes[from] === 0 ? bytes[from + 1]! < 0x80 : bytes[from] === 0xff && bytes[from + 1]! > 0x7f)) from++;
  writeBytes(bytes, from, start + 8 - from, out, column);
};

/** The same layout as PostgreSQL prints it (numeric_out). */
export const writeNumeric: ValueWriter = (bytes, start, length, out, column) => {
  const digits = numericDigits(bytes, start, length, column);
  const weight = bytes.readInt16BE(start + 2);
  const sign = bytes.readUInt16BE(start + 4);
  const scale = bytes.readUInt16BE(start + 6);
  if (sign === NUMERIC_NAN) return writeAscii("NaN", out);
  if (sign === NUMERIC_INFINITY) return writeAscii("Infinity", out);
  if (sign === NUMERIC_MINUS_INFINITY) return writeAscii("-Infinity", out);
  const first = digits > 0 && weight >= 0 ? bytes.readInt16BE(start + 8) : 0;
  const whole = weight < 0 ? 1 : Math.max(digitsOf(first), 1) + 4 * weight;
  const size = (sign === NUMERIC_NEGATIVE ? 1 : 0) + whole + (scale > 0 ? scale + 1 : 0);
  out.varint(size);
  out.ensure(size + 3);
  if (sign === NUMERIC_NEGATIVE) out.bytes[out.position++] = 0x2d;
  if (weight < 0) out.bytes[out.position++] = 0x30;
  else {
    writeInteger(first, out);
    for (let at = 1; at <= weight; at++) writeFourDigits(at < digits ? bytes.readInt16BE(start + 8 + 2 * at) : 0, out);
  }
  if (scale === 0) return;
  out.bytes[out.position++] = 0x2e;
  const end = out.position + scale;
  for (let at = weight + 1; out.position < end; at++)
    writeFourDigits(at >= 0 && at < digits ? bytes.readInt16BE(start + 8 + 2 * at) : 0, out);
  out.position = end; // the last group may have gone up to 3 digits too far
};

const writeUuid: ValueWriter = (bytes, start, length, out, column) => {
  if (length !== 16) throw malformed(column, "a binary uuid");
  out.varint(36);
  out.ensure(36);
  for (let at = 0; at < 16; at++) {
    if (at === 4 || at === 6 || at === 8 || at === 10) out.bytes[out.position++] = 0x2d;
    writeHexByte(bytes[start + at]!, out);
  }
};

/** date: days since 2000-01-01, Int32; its extremes are ±infinity here as in Avro. */
const writeDate: ValueWriter = (bytes, start, length, out, column) => {
  if (length !== 4) throw malformed(column, "a binary date");
  const days = bytes.readInt32BE(start);
  out.varint(days === INT32_MAX || days === INT32_MIN ? days : days + EPOCH_DAYS);
};

/** timestamp, timestamptz: µs since 2000-01-01, Int64; its extremes are ±infinity here as in Avro. */
const writeTimestamp: ValueWriter = (bytes, start, length, out, column) => {
  if (length !== 8) throw malformed(column, "a binary timestamp");
  const high = bytes.readInt32BE(start);
  const low = bytes.readUInt32BE(start + 4);
  if ((high === INT32_MAX && low === UINT32_MAX) || (high === INT32_MIN && low === 0)) return out.varlong(high, low);
  const sum = low + EPOCH_MICROS_LOW;
  writeMicros(high + EPOCH_MICROS_HIGH + (sum > UINT32_MAX ? 1 : 0), sum >>> 0, out, column);
};

/*
 * interval ::= time Int64 (µs)  days Int32  months Int32
 * As EncodeInterval prints it with IntervalStyle iso_8601: parts of their own sign, `PT0S` for nothing at all.
 * All three at an extreme: ±infinity (PostgreSQL 17 and later).
 */
const writeInterval: ValueWriter = (bytes, start, length, out, column) => {
  if (length !== 16) throw malformed(column, "a binary interval");
  let high = bytes.readInt32BE(start);
  let low = bytes.readUInt32BE(start + 4);
  const days = bytes.readInt32BE(start + 8);
  const months = bytes.readInt32BE(start + 12);
  if (months === INT32_MAX && days === INT32_MAX && high === INT32_MAX && low === UINT32_MAX) return writeAscii("infinity", out);
  if (months === INT32_MIN && days === INT32_MIN && high === INT32_MIN && low === 0) return writeAscii("-infinity", out);
  if (months === 0 && days === 0 && high === 0 && low === 0) return writeAscii("PT0S", out);
  const negative = high < 0;
  if (negative) {
    low = -low >>> 0;
    high = (low === 0 ? -high : ~high) >>> 0;
  }
  // the magnitude, high × 2^32 + low, by 10^6: |high| ≤ 2^31, so each step is exact in a double
  const rest = (high % 1_000_000) * 0x1_0000_0000 + low;
  const seconds = Math.floor(high / 1_000_000) * 0x1_0000_0000 + Math.floor(rest / 1_000_000);
  const micros = rest % 1_000_000;

  out.ensure(64); // the longest has 57 characters, so that its length is one byte
  const lengthAt = out.position++;
  out.bytes[out.position++] = 0x50; // P
  writePart(Math.trunc(months / 12), 0x59, false, out); // Y
  writePart(months % 12, 0x4d, false, out); // M
  writePart(days, 0x44, false, out); // D
  if (seconds !== 0 || micros !== 0) {
    out.bytes[out.position++] = 0x54; // T
    writePart(Math.floor(seconds / 3600), 0x48, negative, out); // H
    writePart(Math.floor(seconds / 60) % 60, 0x4d, negative, out); // M
    writeSeconds(seconds % 60, micros, negative, out);
  }
  out.bytes[lengthAt] = (out.position - lengthAt - 1) << 1;
};

const refuse: ValueWriter = (_bytes, _start, _length, _out, column) => {
  throw malformed(column, "text, and a type that has no binary form here");
};

/** Of all kinds but ranges (encoder-range.ts) and composites (encoder-composite.ts). */
export const binaryForm: Omit<WireForm, "range" | "composite"> = {
  bool: writeBool,
  int2: writeInt2,
  int4: writeInt4,
  int8: writeInt8,
  oid: writeOid,
  float4: writeFloat4,
  float8: writeFloat8,
  decimal: writeDecimal,
  numeric: writeNumeric,
  money: writeMoney,
  text: writeBytes,
  enum: writeBytes,
  json: writeBytes,
  jsonb: writeVersioned,
  jsonpath: writeVersioned,
  xml: writeBytes,
  uuid: writeUuid,
  bytea: writeBytes,
  date: writeDate,
  time: writeInt8, // µs since midnight, Int64
  timetz: writeTimeTz,
  timestamp: writeTimestamp,
  timestamptz: writeTimestamp,
  interval: writeInterval,
  inet: writeInet,
  cidr: writeCidr,
  macaddr: writeMac,
  macaddr8: writeMac8,
  bit: writeBit,
  tsvector: writeTsvector,
  ltree: writeVersioned,
  hstore: writeHstore,
  pg_lsn: writeLsn,
  xid: writeXid,
  xid8: writeXid8,
  ...geometricForms.binary,
  other: refuse,
};

/** A timestamp in µs since 1970 in halves; refuses what 64 bits can't hold or would mean infinity. */
export function writeMicros(high: number, low: number, out: ByteWriter, column: ValueColumn): void {
  if (high > INT32_MAX || high < INT32_MIN || (high === INT32_MAX && low === UINT32_MAX)) {
    throw outOfRange(column, "it is after the year 294246, the last of 64-bit microseconds since 1970");
  }
  out.varlong(high, low);
}

function numericDigits(bytes: Buffer, start: number, length: number, column: ValueColumn): number {
  const digits = length < 8 ? -1 : bytes.readUInt16BE(start); // up to 36,864, which numeric_send puts into an Int16
  if (length !== 8 + 2 * digits) throw malformed(column, "a binary numeric");
  return digits;
}

/** `-12M`; nothing for 0. */
function writePart(value: number, unit: number, negative: boolean, out: ByteWriter): void {
  if (value === 0) return;
  if (negative || value < 0) out.bytes[out.position++] = 0x2d;
  writeInteger(Math.abs(value), out);
  out.bytes[out.position++] = unit;
}

/** `-1.5S`: no zeros at the end of the fraction, nothing for 0. */
function writeSeconds(seconds: number, micros: number, negative: boolean, out: ByteWriter): void {
  if (seconds === 0 && micros === 0) return;
  if (negative) out.bytes[out.position++] = 0x2d;
  writeInteger(seconds, out);
  writeSmallFraction(micros, out);
  out.bytes[out.position++] = 0x53; // S
}
