// Reads Avro's binary primitives from bytes that may be anything: what does not fit throws EVENT_UNREADABLE.
import { unreadable } from "./shape.ts";

/** One is reused for all events. */
export class Cursor {
  bytes: Buffer = Buffer.alloc(0);
  position = 0;
  /** The long read last, in two's complement: `high` signed, `low` unsigned 32 bits. */
  high = 0;
  low = 0;

  begin(bytes: Buffer, position: number): void {
    this.bytes = bytes;
    this.position = position;
  }

  byte(): number {
    const byte = this.bytes[this.position++];
    if (byte === undefined) throw truncated();
    return byte;
  }

  boolean(): boolean {
    const byte = this.byte();
    if (byte > 1) throw unreadable("a boolean is neither 0 nor 1");
    return byte === 1;
  }

  /** The branch of a union of null and another type: true for the other one. */
  present(): boolean {
    const branch = this.byte();
    if (branch === 0) return false;
    if (branch === 2) return true;
    throw unreadable("a union has an unknown branch");
  }

  /** int ::= zigzag varint of 32 bits, 1 to 5 bytes. */
  int(): number {
    let rest = this.byte();
    if (rest > 0x7f) {
      rest &= 0x7f;
      for (let shift = 7; ; shift += 7) {
        const byte = this.byte();
        if (shift === 28 && byte > 0x0f) throw unreadable("an int has more than 32 bits");
        rest |= (byte & 0x7f) << shift;
        if (byte < 0x80) break;
      }
    }
    return (rest >>> 1) ^ -(rest & 1);
  }

  /** long ::= zigzag varint of 64 bits, 1 to 10 bytes; sets `high` and `low`. */
  long(): void {
    let low = 0;
    let high = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = this.byte();
      if (shift === 63 && byte > 1) throw unreadable("a long has more than 64 bits");
      const bits = byte & 0x7f;
      if (shift < 32) low |= bits << shift;
      if (shift === 28) high |= bits >>> 4;
      else if (shift > 28) high |= bits << (shift - 32);
      if (byte < 0x80) break;
    }
    const sign = -(low & 1);
    this.low = (((low >>> 1) | (high << 31)) ^ sign) >>> 0;
    this.high = (high >>> 1) ^ sign;
  }

  /** Passes over a long. */
  skipLong(): void {
    const { bytes, position } = this;
    let last = position;
    while (bytes[last]! > 0x7f) last++;
    if (last >= bytes.length) throw truncated();
    if (last > position + 9 || (last === position + 9 && bytes[last]! > 1)) throw unreadable("a long has more than 64 bits");
    this.position = last + 1;
  }

  /** A long from 0 to `limit`, which is below 2^53. */
  count(limit: number): number {
    this.long();
    const value = this.high * 0x1_0000_0000 + this.low;
    if (value < 0 || value > limit) throw unreadable("a number is out of its range");
    return value;
  }

  /** The length of the bytes or string that follows, all of which is there. */
  size(): number {
    const first = this.bytes[this.position]!;
    let size = first >>> 1;
    if (first < 0x80 && (first & 1) === 0) this.position++;
    else size = this.count(this.bytes.length);
    if (size > this.bytes.length - this.position) throw truncated();
    return size;
  }

  /** string ::= size bytes (UTF-8). */
  string(): string {
    const start = this.sized();
    return this.bytes.toString("utf8", start, this.position);
  }

  /** Passes over that many bytes. */
  skip(bytes: number): void {
    if (this.position + bytes > this.bytes.length) throw truncated();
    this.position += bytes;
  }

  /** Passes over bytes ::= size bytes. Returns where they begin; they end at the position. */
  sized(): number {
    const size = this.size();
    const start = this.position;
    this.position = start + size;
    return start;
  }

  /** The same of a decimal, which has at least one byte. */
  unscaled(): number {
    const start = this.sized();
    if (start === this.position) throw unreadable("a decimal has no bytes");
    return start;
  }
}

function truncated(): Error {
  return unreadable("it ends too early");
}
