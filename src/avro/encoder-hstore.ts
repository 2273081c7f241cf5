// hstore in both wire forms, as an Avro map.
//
// In Avro one block: count, (key string, branch of ["null", "string"], value) × count, 0; an empty map is 0 alone. PostgreSQL keeps
// the pairs in an order of its own, and both forms bring them in it.
import type { ByteWriter } from "../core/byte-writer.ts";
import { malformed, writeBytes, type ValueColumn, type ValueWriter } from "./value-writer.ts";

const NO_UNION_BRANCH = 0x00;
const SECOND_UNION_BRANCH = 0x02;

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COMMA = 0x2c;
const BLANK = 0x20;
const EQUALS = 0x3d;
const GREATER = 0x3e;
const NULL_TEXT = Buffer.from("NULL");

/* hstore ::= pairs Int32  (length Int32  key  length Int32 (−1: null)  value) × pairs      (hstore_send) */
export const writeHstore: ValueWriter = (bytes, start, length, out, column) => {
  const end = start + length;
  const pairs = length < 4 ? -1 : bytes.readInt32BE(start);
  let at = start + 4;
  if (pairs < 0 || pairs > length) throw malformed(column, "a binary hstore");
  if (pairs > 0) out.varint(pairs);
  for (let done = 0; done < 2 * pairs; done++) {
    const isValue = (done & 1) === 1;
    const size = at + 4 > end ? -2 : bytes.readInt32BE(at);
    at += 4;
    if (size < (isValue ? -1 : 0) || size > end - at) throw malformed(column, "a binary hstore");
    if (isValue) out.byte(size === -1 ? NO_UNION_BRANCH : SECOND_UNION_BRANCH);
    if (size === -1) continue;
    writeBytes(bytes, at, size, out, column);
    at += size;
  }
  if (at !== end) throw malformed(column, "a binary hstore");
  out.byte(0);
};

/* hstore ::= [pair {', ' pair}]      pair ::= text '=>' (text | 'NULL')      text ::= '"' {character | '\' character} '"'      (hstore_out) */
export const writePrintedHstore: ValueWriter = (bytes, start, length, out, column) => {
  const end = start + length;
  if (length > 0) out.varint(countPairs(bytes, start, end));
  for (let at = start; at < end;) {
    if (at > start) {
      if (bytes[at] !== COMMA || bytes[at + 1] !== BLANK) throw malformed(column, "an hstore");
      at += 2;
    }
    at = writeQuoted(bytes, at, end, out, column);
    if (bytes[at] !== EQUALS || bytes[at + 1] !== GREATER) throw malformed(column, "an hstore");
    at += 2;
    if (bytes[at] === QUOTE) {
      out.byte(SECOND_UNION_BRANCH);
      at = writeQuoted(bytes, at, end, out, column);
    } else {
      if (at + 4 > end || bytes.compare(NULL_TEXT, 0, 4, at, at + 4) !== 0) throw malformed(column, "an hstore");
      out.byte(NO_UNION_BRANCH);
      at += 4;
    }
  }
  out.byte(0);
};

function countPairs(bytes: Buffer, start: number, end: number): number {
  let count = 0;
  let isQuoted = false;
  for (let at = start; at < end; at++) {
    const character = bytes[at];
    if (character === BACKSLASH) at++;
    else if (character === QUOTE) isQuoted = !isQuoted;
    else if (character === EQUALS && !isQuoted) count++;
  }
  return count;
}

/** The Avro string of the text in quotes that begins at `from`. Where it ends. */
function writeQuoted(bytes: Buffer, from: number, end: number, out: ByteWriter, column: ValueColumn): number {
  let size = 0;
  let at = from + 1;
  for (; at < end && bytes[at] !== QUOTE; at++, size++) if (bytes[at] === BACKSLASH) at++;
  if (bytes[from] !== QUOTE || at >= end) throw malformed(column, "an hstore");
  if (size === at - from - 1) writeBytes(bytes, from + 1, size, out, column);
  else {
    out.varint(size);
    out.ensure(size);
    for (let index = from + 1; index < at; index++) {
      if (bytes[index] === BACKSLASH) index++;
      out.bytes[out.position++] = bytes[index]!;
    }
  }
  return at + 1;
}
