// Reads Avro's binary primitives from bytes that may be anything: what does not fit throws EVENT_UNREADABLE.
import { unreadable } from "./shape.ts";

/** One is reused for all events. */
export class Cursor {
  bytes: Buffer = Buffer.alloc(0);
  position = 0;
  /** The long read last, in two's complement: `high` signed, `low` unsigned 32 bits. */
  high = 0;
  low = 0;
  readonly #halves = new Int32Array(2);
  readonly #whole = new BigInt64Array(this.#halves.buffer);

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

  bigint(): bigint {
    this.long();
    return this.#join();
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
    const size = this.count(this.bytes.length);
    if (size > this.bytes.length - this.position) throw truncated();
    return size;
  }

  /** string ::= size bytes (UTF-8). */
  string(): string {
    const size = this.size();
    const start = this.position;
    this.position += size;
    return this.bytes.toString("utf8", start, this.position);
  }

  /** bytes ::= size bytes; a copy. */
  copy(): Buffer {
    const size = this.size();
    this.position += size;
    return Buffer.from(this.bytes.subarray(this.position - size, this.position));
  }

  /** bytes that hold a big-endian two's complement of any size. */
  unscaled(): bigint {
    const size = this.size();
    if (size === 0) throw unreadable("a decimal has no bytes");
    const start = this.position;
    this.position += size;
    if (size > 8) return BigInt.asIntN(size * 8, BigInt(`0x${this.bytes.toString("hex", start, this.position)}`));
    let high = this.bytes[start]! > 0x7f ? -1 : 0; // the sign's bits, which the value's bytes push out
    let low = high;
    for (let at = start; at < this.position; at++) {
      high = (high << 8) | (low >>> 24);
      low = (low << 8) | this.bytes[at]!;
    }
    this.high = high;
    this.low = low >>> 0;
    return this.#join();
  }

  float(): number {
    return this.bytes.readFloatLE(this.#take(4));
  }

  double(): number {
    return this.bytes.readDoubleLE(this.#take(8));
  }

  /** Passes over that many bytes. */
  skip(bytes: number): void {
    this.#take(bytes);
  }

  #take(size: number): number {
    const start = this.position;
    if (start + size > this.bytes.length) throw truncated();
    this.position = start + size;
    return start;
  }

  #join(): bigint {
    this.#halves[LOW] = this.low;
    this.#halves[1 - LOW] = this.high;
    return this.#whole[0]!;
  }
}

/** Which half of a 64-bit integer this machine keeps first. */
const LOW = new Uint8Array(Uint16Array.of(1).buffer)[0] === 1 ? 0 : 1;

function truncated(): Error {
  return unreadable("it ends too early");
}
