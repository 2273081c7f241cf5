// Which number a key has, by its bytes. Nothing is made for a key that is looked up: no string, no number object.

const FEWEST_SLOTS = 64;
/** Of one process: nobody who writes the keys can make them meet. */
const SEED = Math.floor(Math.random() * 0x1_0000_0000) | 0;

/** Whether the bytes from `start` on are the key with this number. */
export type IsKey = (number: number, bytes: Buffer, start: number) => boolean;

export class KeyIndex {
  readonly #isKey: IsKey;
  #size = 0;
  /** Of the key that was looked for last. */
  #hash = 0;
  #hashes = new Int32Array(FEWEST_SLOTS / 2);
  /** Open addressing: 0 is free, else a key's number + 1. A power of two, at most half of them taken. */
  #slots = new Int32Array(FEWEST_SLOTS);

  constructor(isKey: IsKey) {
    this.#isKey = isKey;
  }

  get size(): number {
    return this.#size;
  }

  /** The number of the key whose bytes begin at `start`, −1 when it has none. */
  find(bytes: Buffer, start: number): number {
    const hash = hashOf(bytes, start);
    this.#hash = hash;
    const mask = this.#slots.length - 1;
    for (let slot = hash & mask; ; slot = (slot + 1) & mask) {
      const number = this.#slots[slot]! - 1;
      if (number < 0) return -1;
      if (this.#hashes[number] === hash && this.#isKey(number, bytes, start)) return number;
    }
  }

  /** Gives the key that find() looked for last, and did not find, the next number: from 0 on. */
  add(): number {
    const number = this.#size++;
    if (this.#size * 2 > this.#slots.length) this.#grow();
    this.#hashes[number] = this.#hash;
    this.#place(number);
    return number;
  }

  /** Leaves the keys of which `isKept` is true; they are numbered anew, in their order. */
  retain(isKept: (number: number) => boolean): void {
    const before = this.#size;
    this.#size = 0;
    this.#slots.fill(0);
    for (let number = 0; number < before; number++) {
      if (!isKept(number)) continue;
      this.#hashes[this.#size] = this.#hashes[number]!;
      this.#place(this.#size++);
    }
  }

  #grow(): void {
    const hashes = new Int32Array(this.#slots.length);
    hashes.set(this.#hashes);
    this.#hashes = hashes;
    this.#slots = new Int32Array(this.#slots.length * 2);
    for (let number = 0; number < this.#size - 1; number++) this.#place(number);
  }

  #place(number: number): void {
    const mask = this.#slots.length - 1;
    let slot = this.#hashes[number]! & mask;
    while (this.#slots[slot] !== 0) slot = (slot + 1) & mask;
    this.#slots[slot] = number + 1;
  }
}

/** FNV-1a, with murmur's last steps: linear probing wants low bits that differ. */
function hashOf(bytes: Buffer, start: number): number {
  let hash = SEED;
  for (let at = start; at < bytes.length; at++) hash = Math.imul(hash ^ bytes[at]!, 0x0100_0193);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85eb_ca6b | 0);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2_ae35 | 0);
  return hash ^ (hash >>> 16);
}
