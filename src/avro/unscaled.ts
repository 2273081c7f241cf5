// A decimal's digits on their way to Avro: from base 10 to the two's complement of the unscaled value, without BigInt.
import type { ByteWriter } from "../core/byte-writer.ts";

/** Largest factor of `append`: a 32-bit limb times it, plus a carry, stays below 2^53. */
const MAX_FACTOR = 1_000_000;

/** 10^0 to 10^6. */
export const powersOfTen = [1, 10, 100, 1_000, 10_000, 100_000, MAX_FACTOR] as const;

/** How many decimal digits a number below 10^6 has; none for 0. */
export function digitsOf(value: number): number {
  let count = 0;
  while (count < powersOfTen.length && value >= (powersOfTen[count] as number)) count++;
  return count;
}

/** A magnitude that grows digit by digit. One is reused for all values: `clear` it first. */
export class Unscaled {
  /** Least significant first. PostgreSQL declares at most 1000 digits: 104 limbs. */
  #limbs = new Uint32Array(128);
  #used = 0;

  clear(): void {
    this.#used = 0;
  }

  /** Multiplies by `factor` (at most 10^6) and adds `digits` (below `factor`). */
  append(digits: number, factor: number): void {
    let carry = digits;
    for (let at = 0; at < this.#used; at++) {
      const product = this.#limbs[at]! * factor + carry;
      this.#limbs[at] = product >>> 0;
      carry = Math.floor(product / 0x1_0000_0000);
    }
    if (carry === 0) return;
    if (this.#used === this.#limbs.length) this.#grow();
    this.#limbs[this.#used++] = carry;
  }

  /** Appends Avro bytes: the length, then the shortest big-endian two's complement, as Java's BigInteger has it. Ends the value. */
  write(negative: boolean, out: ByteWriter): void {
    const flip = negative && this.#used > 0 ? 0xff : 0;
    if (flip !== 0) this.#decrement(); // −m is the complement of m − 1
    const length = Math.floor(this.#bits() / 8) + 1;
    out.varint(length);
    out.ensure(length);
    for (let at = length - 1; at >= 0; at--) {
      const limb = at >> 2 < this.#used ? this.#limbs[at >> 2]! : 0;
      out.bytes[out.position++] = (limb >>> ((at & 3) * 8)) ^ flip;
    }
  }

  #decrement(): void {
    let at = 0;
    while (this.#limbs[at] === 0) this.#limbs[at++] = 0xffff_ffff;
    this.#limbs[at] = this.#limbs[at]! - 1;
    if (this.#limbs[this.#used - 1] === 0) this.#used--;
  }

  #bits(): number {
    if (this.#used === 0) return 0;
    return this.#used * 32 - Math.clz32(this.#limbs[this.#used - 1]!);
  }

  #grow(): void {
    const larger = new Uint32Array(this.#limbs.length * 2);
    larger.set(this.#limbs);
    this.#limbs = larger;
  }
}

/** The one that all writers of decimals use. */
export const unscaled = new Unscaled();
