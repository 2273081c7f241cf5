// Ranges and multiranges, from the binary form to the string that range_out and multirange_out print: what the text protocol
// brings as it is. All integers are big-endian; each rule is that of the function it names.
import { ByteWriter } from "../core/byte-writer.ts";
import type { RangeName } from "../core/table.ts";
import { writeInteger, writeWord } from "../core/ascii.ts";
import { writeNumeric } from "./encoder-binary.ts";
import { writeUnsigned64 } from "./encoder-printed.ts";
import { isBeforeChrist, isInfinite, printDate, printTimestamp } from "../core/printed-moment.ts";
import { malformed, writeBytes, type ValueColumn, type ValueWriter } from "./value-writer.ts";

/** rangetypes.h: RANGE_EMPTY and its neighbours; other bits are never sent. */
const EMPTY = 0x01;
const LOWER_INCLUSIVE = 0x02;
const UPPER_INCLUSIVE = 0x04;
const LOWER_INFINITE = 0x08;
const UPPER_INFINITE = 0x10;

/** Longest printed bound but for numeric's: a timestamp before Christ in its quotes. */
const BOUND_BYTES = 64;

/** Writes one bound as it stands in a printed range, in quotes where it has a blank; `out` has BOUND_BYTES of room. */
type BoundWriter = ValueWriter;

/** What is printed of the value at hand; one is reused for all values. */
const printed = new ByteWriter(256);
/** An Avro string of which the text is wanted. */
const piece = new ByteWriter(256);

/** What writes a range's binary form as the Avro string of its text. */
export function rangeWriter(name: RangeName): ValueWriter {
  const { bound, isMany } = forms[name];
  return (bytes, start, length, out, column) => {
    printed.position = 0;
    if (isMany) printMultirange(bytes, start, length, column, bound);
    else printRange(bytes, start, length, column, bound);
    writeBytes(printed.bytes, 0, printed.position, out, column);
  };
}

/* multirange ::= ranges Int32  (length Int32  range) × ranges      (multirange_send, multirange_out) */
function printMultirange(bytes: Buffer, start: number, length: number, column: ValueColumn, bound: BoundWriter): void {
  const end = start + length;
  const ranges = length < 4 ? -1 : bytes.readInt32BE(start);
  if (ranges < 0) throw malformed(column, "a binary multirange");
  let at = start + 4;
  printed.byte(0x7b);
  for (let index = 0; index < ranges; index++) {
    const size = sizeAt(bytes, at, end, column);
    if (index > 0) printed.byte(0x2c);
    printRange(bytes, at + 4, size, column, bound);
    at += 4 + size;
  }
  if (at !== end) throw malformed(column, "a binary multirange");
  printed.byte(0x7d);
}

/* range ::= flags Int8  (length Int32  lower)?  (length Int32  upper)?      bounds that are there: of no empty range, not infinite
 * (range_send, range_deparse) */
function printRange(bytes: Buffer, start: number, length: number, column: ValueColumn, bound: BoundWriter): void {
  const end = start + length;
  if (length < 1) throw malformed(column, "a binary range");
  const flags = bytes[start]!;
  let at = start + 1;
  printed.ensure(8);
  if ((flags & EMPTY) !== 0) writeWord("empty", printed);
  else {
    printed.byte((flags & LOWER_INCLUSIVE) === 0 ? 0x28 : 0x5b);
    if ((flags & LOWER_INFINITE) === 0) at = printBound(bytes, at, end, column, bound);
    printed.byte(0x2c);
    if ((flags & UPPER_INFINITE) === 0) at = printBound(bytes, at, end, column, bound);
    printed.byte((flags & UPPER_INCLUSIVE) === 0 ? 0x29 : 0x5d);
  }
  if (at !== end) throw malformed(column, "a binary range");
}

/** Where it ends. */
function printBound(bytes: Buffer, at: number, end: number, column: ValueColumn, bound: BoundWriter): number {
  const size = sizeAt(bytes, at, end, column);
  printed.ensure(BOUND_BYTES);
  bound(bytes, at + 4, size, printed, column);
  return at + 4 + size;
}

function sizeAt(bytes: Buffer, at: number, end: number, column: ValueColumn): number {
  const size = at + 4 > end ? -1 : bytes.readInt32BE(at);
  if (size < 0 || size > end - at - 4) throw malformed(column, "a binary range");
  return size;
}

const int4Bound: BoundWriter = (bytes, start, length, out, column) => {
  if (length !== 4) throw malformed(column, "a range of binary int4");
  const value = bytes.readInt32BE(start);
  if (value < 0) out.bytes[out.position++] = 0x2d;
  writeInteger(Math.abs(value), out);
};

const int8Bound: BoundWriter = (bytes, start, length, out, column) => {
  if (length !== 8) throw malformed(column, "a range of binary int8");
  const high = bytes.readInt32BE(start);
  const low = bytes.readUInt32BE(start + 4);
  if (high >= 0) return writeUnsigned64(high, low, out);
  out.bytes[out.position++] = 0x2d;
  writeUnsigned64((low === 0 ? -high : ~high) >>> 0, -low >>> 0, out);
};

const numericBound: BoundWriter = (bytes, start, length, out, column) => {
  piece.position = 0;
  writeNumeric(bytes, start, length, piece, column);
  let text = 0;
  while (piece.bytes[text++]! > 0x7f); // past its length
  out.copy(piece.bytes, text, piece.position);
};

const dateBound: BoundWriter = (bytes, start, length, out, column) => {
  if (length !== 4) throw malformed(column, "a range of binary dates");
  const days = bytes.readInt32BE(start);
  if (!isBeforeChrist(days)) return printDate(days, out);
  out.bytes[out.position++] = 0x22;
  printDate(days, out);
  out.bytes[out.position++] = 0x22;
};

function timestampBound(hasZone: boolean): BoundWriter {
  return (bytes, start, length, out, column) => {
    if (length !== 8) throw malformed(column, "a range of binary timestamps");
    const high = bytes.readInt32BE(start);
    const low = bytes.readUInt32BE(start + 4);
    if (isInfinite(high, low)) return printTimestamp(high, low, hasZone, out);
    out.bytes[out.position++] = 0x22;
    printTimestamp(high, low, hasZone, out);
    out.bytes[out.position++] = 0x22;
  };
}

const forms: Readonly<Record<RangeName, { readonly bound: BoundWriter; readonly isMany: boolean }>> = {
  int4range: { bound: int4Bound, isMany: false },
  int8range: { bound: int8Bound, isMany: false },
  numrange: { bound: numericBound, isMany: false },
  daterange: { bound: dateBound, isMany: false },
  tsrange: { bound: timestampBound(false), isMany: false },
  tstzrange: { bound: timestampBound(true), isMany: false },
  int4multirange: { bound: int4Bound, isMany: true },
  int8multirange: { bound: int8Bound, isMany: true },
  nummultirange: { bound: numericBound, isMany: true },
  datemultirange: { bound: dateBound, isMany: true },
  tsmultirange: { bound: timestampBound(false), isMany: true },
  tstzmultirange: { bound: timestampBound(true), isMany: true },
};
