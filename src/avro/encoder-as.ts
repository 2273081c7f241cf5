// Columns that `as` of the configuration gives another type than their own (core/read-as.ts): from both wire forms the same bytes.
// A string is what PostgreSQL prints in the stream's session, a money what its number is.
import { ByteWriter } from "../core/byte-writer.ts";
import { isReadAsText } from "../core/read-as.ts";
import type { Column, ColumnKind, ReadAs } from "../core/table.ts";
import { hexNibble, writeHexByte } from "../core/ascii.ts";
import { binaryWriter, textWriter } from "./encoder-array.ts";
import { binaryForm, writeNumeric } from "./encoder-binary.ts";
import { beginShort, endShort, writeUnsigned64 } from "./encoder-printed.ts";
import { writeNan8 } from "./floats.ts";
import { printDate, printTime, printTimestamp } from "../core/printed-moment.ts";
import { malformed, outOfRange, writeBytes, type ValueColumn, type ValueWriter } from "./value-writer.ts";

type Reading = Readonly<Partial<Record<ColumnKind, ValueWriter>>>;

/** Holds the text of a number, while something else is made of it. */
const digits = new ByteWriter(256);

/** What writes a column's binary form. */
export function binaryColumnWriter(column: Pick<Column, "type" | "sent">): ValueWriter {
  const { type, sent } = column;
  if (sent === undefined) return binaryWriter(type);
  return isReadAsText(column) ? binaryForm.other : found(binaryReadings[sent.as], sent.type.kind);
}

/** What writes a column's text form. */
export function textColumnWriter({ type, sent }: Pick<Column, "type" | "sent">): ValueWriter {
  if (sent === undefined) return textWriter(type);
  return sent.as === "string" && sent.type.kind !== "money" ? writeBytes : found(textReadings[sent.as], sent.type.kind);
}

function found(reading: Reading, kind: ColumnKind): ValueWriter {
  const writer = reading[kind];
  if (writer === undefined) throw new RangeError(`a column of kind ${kind} is not read so`);
  return writer;
}

/** A text of at most 63 bytes. */
function short(print: ValueWriter): ValueWriter {
  return (bytes, start, length, out, column) => {
    const lengthAt = beginShort(out);
    print(bytes, start, length, out, column);
    endShort(lengthAt, out);
  };
}

const printBool = short((bytes, start, length, out, column) => {
  if (length !== 1) throw malformed(column, "a binary bool");
  out.bytes[out.position++] = bytes[start] === 0 ? 0x66 : 0x74;
});

function printInteger(size: 2 | 4): ValueWriter {
  return short((bytes, start, length, out, column) => {
    if (length !== size) throw malformed(column, `a binary int${size}`);
    const value = size === 2 ? bytes.readInt16BE(start) : bytes.readInt32BE(start);
    printSigned64(value < 0 ? -1 : 0, value >>> 0, out);
  });
}

const printInt8 = short((bytes, start, length, out, column) => {
  if (length !== 8) throw malformed(column, "a binary int8");
  printSigned64(bytes.readInt32BE(start), bytes.readUInt32BE(start + 4), out);
});

const printOid = short((bytes, start, length, out, column) => {
  if (length !== 4) throw malformed(column, "a binary oid");
  writeUnsigned64(0, bytes.readUInt32BE(start), out);
});

const printDateText = short((bytes, start, length, out, column) => {
  if (length !== 4) throw malformed(column, "a binary date");
  printDate(bytes.readInt32BE(start), out);
});

const printTimeText = short((bytes, start, length, out, column) => {
  if (length !== 8) throw malformed(column, "a binary time");
  const micros = bytes.readUInt32BE(start) * 0x1_0000_0000 + bytes.readUInt32BE(start + 4);
  printTime(Math.floor(micros / 1_000_000), micros % 1_000_000, out);
});

function printTimestampText(hasZone: boolean): ValueWriter {
  return short((bytes, start, length, out, column) => {
    if (length !== 8) throw malformed(column, "a binary timestamp");
    printTimestamp(bytes.readInt32BE(start), bytes.readUInt32BE(start + 4), hasZone, out);
  });
}

const printBytea: ValueWriter = (bytes, start, length, out) => {
  out.varint(2 + 2 * length);
  out.ensure(2 + 2 * length);
  out.bytes[out.position++] = 0x5c;
  out.bytes[out.position++] = 0x78;
  for (let at = start; at < start + length; at++) writeHexByte(bytes[at]!, out);
};

/** The caller has made room. */
function printSigned64(high: number, low: number, out: ByteWriter): void {
  if (high >= 0) return writeUnsigned64(high, low, out);
  out.bytes[out.position++] = 0x2d;
  writeUnsigned64((low === 0 ? -high : ~high) >>> 0, -low >>> 0, out);
}

/** money's number into `digits`: its integer's digits, with the point in its place. */
function moneyDigits(bytes: Buffer, start: number, length: number, column: ValueColumn): void {
  if (length !== 8) throw malformed(column, "a binary money");
  digits.position = 0;
  printSigned64(bytes.readInt32BE(start), bytes.readUInt32BE(start + 4), digits);
  setPoint(column.scale);
}

/* The same of ['-'] '$' digits {',' digits} '.' digit digit, whose digits are the integer's, two at least behind zeros (cash_out) */
function printedMoneyDigits(bytes: Buffer, start: number, length: number, column: ValueColumn): void {
  digits.position = 0;
  digits.ensure(length);
  for (let at = start; at < start + length; at++) {
    const character = bytes[at]!;
    const isFirst = digits.position === 0 || (digits.position === 1 && digits.bytes[0] === 0x2d);
    if (character === 0x2d && at === start) digits.bytes[digits.position++] = character;
    else if (character >= 0x30 && character <= 0x39) {
      if (character !== 0x30 || !isFirst || at === start + length - 1) digits.bytes[digits.position++] = character;
    } else if (character !== 0x24 && character !== 0x2c && character !== 0x2e) throw malformed(column, "money with lc_monetary C");
  }
  setPoint(column.scale);
}

/** Puts the point `scale` digits before the end of the integer in `digits`. */
function setPoint(scale: number): void {
  const { bytes } = digits;
  const first = bytes[0] === 0x2d ? 1 : 0;
  const missing = Math.max(scale + 1 - (digits.position - first), 0);
  digits.ensure(missing + 1);
  digits.bytes.copyWithin(first + missing, first, digits.position);
  digits.bytes.fill(0x30, first, first + missing);
  digits.position += missing;
  if (scale === 0) return;
  const point = digits.position - scale;
  digits.bytes.copyWithin(point + 1, point, digits.position);
  digits.bytes[point] = 0x2e;
  digits.position++;
}

/** What is in `digits` as an Avro string. */
function writeDigits(out: ByteWriter, column: ValueColumn): void {
  writeBytes(digits.bytes, 0, digits.position, out, column);
}

function writeDouble(value: number, out: ByteWriter): void {
  if (Number.isNaN(value)) return writeNan8(out);
  out.ensure(8);
  out.position = out.bytes.writeDoubleLE(value, out.position);
}

/** The nearest double of a number's text. */
function nearestTo(bytes: Buffer, start: number, end: number, column: ValueColumn): number {
  const text = bytes.toString("latin1", start, end);
  const value = Number(text);
  if (start === end || (Number.isNaN(value) && text !== "NaN")) throw malformed(column, "a number");
  if (!Number.isFinite(value) && !/^(?:NaN|-?Infinity)$/.test(text)) throw outOfRange(column, "it is beyond the largest double");
  return value;
}

const nearest: ValueWriter = (bytes, start, length, out, column) => writeDouble(nearestTo(bytes, start, start + length, column), out);

const nearestOfNumeric: ValueWriter = (bytes, start, length, out, column) => {
  digits.position = 0;
  writeNumeric(bytes, start, length, digits, column);
  let text = 0;
  while (digits.bytes[text++]! > 0x7f); // past its length
  writeDouble(nearestTo(digits.bytes, text, digits.position, column), out);
};

const nearestOfMoney: ValueWriter = (bytes, start, length, out, column) => {
  moneyDigits(bytes, start, length, column);
  writeDouble(nearestTo(digits.bytes, 0, digits.position, column), out);
};

function doubleOf(name: string, size: number, read: (bytes: Buffer, at: number) => number): ValueWriter {
  return (bytes, start, length, out, column) => {
    if (length !== size) throw malformed(column, `a binary ${name}`);
    writeDouble(read(bytes, start), out);
  };
}

/** The bytes as they are. */
function raw(size: number, what: string): ValueWriter {
  return (bytes, start, length, out, column) => {
    if (length !== size) throw malformed(column, `a binary ${what}`);
    writeBytes(bytes, start, length, out, column);
  };
}

/** The bytes of hex digits with something between them. */
function fromHex(size: number, what: string): ValueWriter {
  return (bytes, start, length, out, column) => {
    out.varint(size);
    out.ensure(length);
    const first = out.position;
    for (let at = start; at < start + length; at++) {
      if (bytes[at] === 0x2d || bytes[at] === 0x3a) continue;
      const byte = (hexNibble(bytes[at]!) << 4) | hexNibble(bytes[++at] ?? 0);
      if (byte < 0) throw malformed(column, what);
      out.bytes[out.position++] = byte;
    }
    if (out.position !== first + size) throw malformed(column, what);
  };
}

const binaryReadings: Readonly<Record<ReadAs, Reading>> = {
  string: {
    bool: printBool,
    int2: printInteger(2),
    int4: printInteger(4),
    int8: printInt8,
    oid: printOid,
    decimal: writeNumeric,
    money: (bytes, start, length, out, column) => {
      moneyDigits(bytes, start, length, column);
      writeDigits(out, column);
    },
    uuid: binaryForm.uuid,
    bytea: printBytea,
    date: printDateText,
    time: printTimeText,
    timestamp: printTimestampText(false),
    timestamptz: printTimestampText(true),
  },
  double: {
    int2: doubleOf("int2", 2, (bytes, at) => bytes.readInt16BE(at)),
    int4: doubleOf("int4", 4, (bytes, at) => bytes.readInt32BE(at)),
    int8: doubleOf("int8", 8, (bytes, at) => bytes.readInt32BE(at) * 0x1_0000_0000 + bytes.readUInt32BE(at + 4)),
    oid: doubleOf("oid", 4, (bytes, at) => bytes.readUInt32BE(at)),
    float4: doubleOf("float4", 4, (bytes, at) => bytes.readFloatBE(at)),
    decimal: nearestOfNumeric,
    numeric: nearestOfNumeric,
    money: nearestOfMoney,
  },
  bytes: { uuid: raw(16, "uuid"), macaddr: raw(6, "macaddr"), macaddr8: raw(8, "macaddr8") },
};

const textReadings: Readonly<Record<ReadAs, Reading>> = {
  string: {
    money: (bytes, start, length, out, column) => {
      printedMoneyDigits(bytes, start, length, column);
      writeDigits(out, column);
    },
  },
  double: {
    int2: nearest,
    int4: nearest,
    int8: nearest,
    oid: nearest,
    // The shortest digits that read back as the same float4 are another double than it.
    float4: (bytes, start, length, out, column) => writeDouble(Math.fround(nearestTo(bytes, start, start + length, column)), out),
    decimal: nearest,
    numeric: nearest,
    money: (bytes, start, length, out, column) => {
      printedMoneyDigits(bytes, start, length, column);
      writeDouble(nearestTo(digits.bytes, 0, digits.position, column), out);
    },
  },
  bytes: { uuid: fromHex(16, "a uuid"), macaddr: fromHex(6, "a MAC address"), macaddr8: fromHex(8, "a MAC address of 8 bytes") },
};
