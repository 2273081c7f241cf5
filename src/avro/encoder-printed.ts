// Types that Avro has no word for, from the binary form to the string that their output functions print: what the text
// protocol brings as it is. All integers are big-endian; each rule is that of the function it names.
import type { ByteWriter } from "../core/byte-writer.ts";
import { writeHexByte, writeHexInteger, writeInteger, writePair, writeSmallFraction } from "../core/ascii.ts";
import { malformed, writeBytes, type ValueColumn, type ValueWriter } from "./value-writer.ts";

/** Bytes up to which an Avro string's length is one byte. */
const SHORT_TEXT = 63;

const COLON = 0x3a;
const QUOTE = 0x27;
const BACKSLASH = 0x5c;

/* jsonb, jsonpath, ltree ::= version Int8 = 1  text */
export const writeVersioned: ValueWriter = (bytes, start, length, out, column) => {
  if (length < 1 || bytes[start] !== 1) throw malformed(column, "a binary form of version 1");
  writeBytes(bytes, start + 1, length - 1, out, column);
};

/* inet, cidr ::= family Int8 (2: IPv4, 3: IPv6)  bits Int8  is_cidr Int8  size Int8  address      (network_send, network_out) */
function network(always: boolean): ValueWriter {
  return (bytes, start, length, out, column) => {
    const size = length < 4 ? 0 : bytes[start + 3]!;
    const bits = bytes[start + 1]!;
    const family = size === 4 ? 2 : size === 16 ? 3 : -1;
    if (length !== 4 + size || bytes[start] !== family || bits > size * 8) throw malformed(column, "a binary inet");
    const lengthAt = beginShort(out);
    if (size === 4) writeOctets(bytes, start + 4, out);
    else writeIpv6(bytes, start + 4, out);
    if (always || bits < size * 8) {
      out.bytes[out.position++] = 0x2f;
      writeInteger(bits, out);
    }
    endShort(lengthAt, out);
  };
}

export const writeInet = network(false);
export const writeCidr = network(true);

function writeOctets(bytes: Buffer, at: number, out: ByteWriter): void {
  for (let index = 0; index < 4; index++) {
    if (index > 0) out.bytes[out.position++] = 0x2e;
    writeInteger(bytes[at + index]!, out);
  }
}

/** pg_inet_net_ntop: the first of the longest runs of two and more zero words is `::`, and what then looks like IPv4 ends as IPv4. */
function writeIpv6(bytes: Buffer, at: number, out: ByteWriter): void {
  const word = (index: number): number => (bytes[at + 2 * index]! << 8) | bytes[at + 2 * index + 1]!;
  let base = -1;
  let zeros = 1;
  for (let from = 0; from < 8; from++) {
    let to = from;
    while (to < 8 && word(to) === 0) to++;
    if (to - from > zeros) [base, zeros] = [from, to - from];
    from = to;
  }
  for (let index = 0; index < 8; index++) {
    if (base >= 0 && index >= base && index < base + zeros) {
      if (index === base) out.bytes[out.position++] = COLON;
      continue;
    }
    if (index > 0) out.bytes[out.position++] = COLON;
    if (index === 6 && base === 0 && (zeros === 6 || (zeros === 5 && word(5) === 0xffff))) return writeOctets(bytes, at + 12, out);
    writeHexInteger(word(index), false, out);
  }
  if (base >= 0 && base + zeros === 8) out.bytes[out.position++] = COLON;
}

/* macaddr, macaddr8 ::= its 6 or 8 bytes */
function mac(size: number): ValueWriter {
  return (bytes, start, length, out, column) => {
    if (length !== size) throw malformed(column, `a binary MAC address of ${size} bytes`);
    const lengthAt = beginShort(out);
    for (let at = start; at < start + size; at++) {
      if (at > start) out.bytes[out.position++] = COLON;
      writeHexByte(bytes[at]!, out);
    }
    endShort(lengthAt, out);
  };
}

export const writeMac = mac(6);
export const writeMac8 = mac(8);

/* bit, varbit ::= bits Int32  the bits, the first of them highest      (varbit_send, varbit_out) */
export const writeBit: ValueWriter = (bytes, start, length, out, column) => {
  const bits = length < 4 ? -1 : bytes.readInt32BE(start);
  if (bits < 0 || length !== 4 + Math.ceil(bits / 8)) throw malformed(column, "a binary bit string");
  out.varint(bits);
  out.ensure(bits);
  for (let bit = 0; bit < bits; bit++) out.bytes[out.position++] = 0x30 + ((bytes[start + 4 + (bit >> 3)]! >> (7 - (bit & 7))) & 1);
};

/* timetz ::= time Int64 (µs since midnight)  zone Int32 (seconds west of Greenwich)      (EncodeTimeOnly, EncodeTimezone) */
export const writeTimeTz: ValueWriter = (bytes, start, length, out, column) => {
  if (length !== 12) throw malformed(column, "a binary timetz");
  const micros = bytes.readUInt32BE(start) * 0x1_0000_0000 + bytes.readUInt32BE(start + 4);
  const zone = bytes.readInt32BE(start + 8);
  const lengthAt = beginShort(out);
  writeTime(Math.floor(micros / 1_000_000), 3, out);
  writeSmallFraction(micros % 1_000_000, out);
  out.bytes[out.position++] = zone <= 0 ? 0x2b : 0x2d;
  const offset = Math.abs(zone);
  writeTime(offset, offset % 60 !== 0 ? 3 : offset % 3600 !== 0 ? 2 : 1, out);
  endShort(lengthAt, out);
};

/** `hh`, `hh:mm` or `hh:mm:ss`. */
function writeTime(seconds: number, parts: number, out: ByteWriter): void {
  writePair(Math.floor(seconds / 3600), out);
  if (parts > 1) {
    out.bytes[out.position++] = COLON;
    writePair(Math.floor(seconds / 60) % 60, out);
  }
  if (parts > 2) {
    out.bytes[out.position++] = COLON;
    writePair(seconds % 60, out);
  }
}

/* pg_lsn ::= Int64      (pg_lsn_out up to PostgreSQL 18: no zeros in front of either half) */
export const writeLsn: ValueWriter = (bytes, start, length, out, column) => {
  if (length !== 8) throw malformed(column, "a binary pg_lsn");
  writeLsnHalves(bytes.readUInt32BE(start), bytes.readUInt32BE(start + 4), out);
};

/** The Avro string of an LSN. */
export function writeLsnHalves(high: number, low: number, out: ByteWriter): void {
  const lengthAt = beginShort(out);
  writeHexInteger(high, true, out);
  out.bytes[out.position++] = 0x2f;
  writeHexInteger(low, true, out);
  endShort(lengthAt, out);
}

/* xid, cid ::= Int32, unsigned */
export const writeXid: ValueWriter = (bytes, start, length, out, column) => {
  if (length !== 4) throw malformed(column, "a binary xid");
  const lengthAt = beginShort(out);
  writeInteger(bytes.readUInt32BE(start), out);
  endShort(lengthAt, out);
};

/* xid8 ::= Int64, unsigned */
export const writeXid8: ValueWriter = (bytes, start, length, out, column) => {
  if (length !== 8) throw malformed(column, "a binary xid8");
  const lengthAt = beginShort(out);
  writeUnsigned64(bytes.readUInt32BE(start), bytes.readUInt32BE(start + 4), out);
  endShort(lengthAt, out);
};

/** The decimal digits of an unsigned 64-bit integer, for which the caller has made room. */
export function writeUnsigned64(high: number, low: number, out: ByteWriter): void {
  // in millions and what is left: each step is exact in a double
  const rest = (high % 1_000_000) * 0x1_0000_0000 + low;
  const millions = Math.floor(high / 1_000_000) * 0x1_0000_0000 + Math.floor(rest / 1_000_000);
  if (millions === 0) return writeInteger(rest, out);
  writeInteger(millions, out);
  for (let unit = 100_000, left = rest % 1_000_000; unit >= 1; left %= unit, unit /= 10)
    out.bytes[out.position++] = 0x30 + Math.floor(left / unit);
}

/*
 * tsvector ::= lexemes Int32  (text 0x00  positions Int16  (weight 2 bits  position 14 bits) × positions) × lexemes
 * Printed as 'lexeme':1A,2 with quotes and backslashes doubled (tsvectorsend, tsvectorout).
 */
export const writeTsvector: ValueWriter = (bytes, start, length, out, column) => {
  const size = printedSize(bytes, start, length, column);
  out.varint(size);
  out.ensure(size);
  const lexemes = bytes.readInt32BE(start);
  let at = start + 4;
  for (let lexeme = 0; lexeme < lexemes; lexeme++) {
    if (lexeme > 0) out.bytes[out.position++] = 0x20;
    out.bytes[out.position++] = QUOTE;
    for (let byte = bytes[at++]!; byte !== 0; byte = bytes[at++]!) {
      if (byte === QUOTE || byte === BACKSLASH) out.bytes[out.position++] = byte;
      out.bytes[out.position++] = byte;
    }
    out.bytes[out.position++] = QUOTE;
    const positions = bytes.readUInt16BE(at);
    at += 2;
    for (let index = 0; index < positions; index++, at += 2) {
      const position = bytes.readUInt16BE(at);
      out.bytes[out.position++] = index === 0 ? COLON : 0x2c;
      writeInteger(position & 0x3fff, out);
      const weight = position >> 14;
      if (weight > 0) out.bytes[out.position++] = 0x44 - weight; // 3 is A, 2 B, 1 C; 0 is D, which is not said
    }
  }
};

function printedSize(bytes: Buffer, start: number, length: number, column: ValueColumn): number {
  const end = start + length;
  const lexemes = length < 4 ? -1 : bytes.readInt32BE(start);
  if (lexemes < 0) throw malformed(column, "a binary tsvector");
  let at = start + 4;
  let size = Math.max(lexemes - 1, 0);
  for (let lexeme = 0; lexeme < lexemes; lexeme++) {
    size += 2;
    for (; at < end && bytes[at] !== 0; at++) size += bytes[at] === QUOTE || bytes[at] === BACKSLASH ? 2 : 1;
    at += 3;
    if (at > end) throw malformed(column, "a binary tsvector");
    const positionsEnd = at + 2 * bytes.readUInt16BE(at - 2);
    if (positionsEnd > end) throw malformed(column, "a binary tsvector");
    for (; at < positionsEnd; at += 2) {
      const position = bytes.readUInt16BE(at);
      size += 1 + digits(position & 0x3fff) + (position >> 14 > 0 ? 1 : 0);
    }
  }
  if (at !== end) throw malformed(column, "a binary tsvector");
  return size;
}

/** Of a number below 2^14. */
function digits(value: number): number {
  return value < 10 ? 1 : value < 100 ? 2 : value < 1_000 ? 3 : value < 10_000 ? 4 : 5;
}

/** Begins a string of at most SHORT_TEXT bytes; where its length goes. */
export function beginShort(out: ByteWriter): number {
  out.ensure(SHORT_TEXT + 1);
  return out.position++;
}

export function endShort(lengthAt: number, out: ByteWriter): void {
  out.bytes[lengthAt] = (out.position - lengthAt - 1) << 1;
}
