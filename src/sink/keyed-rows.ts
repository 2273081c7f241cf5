// The folded rows of a table by the bytes of their keys. Nothing is made for a key that is looked up: no string, no number object.
import type { FoldedRow } from "./fold.ts";

const FEWEST_SLOTS = 64;
/** Of one process: nobody who writes the keys can make them meet. */
const SEED = Math.floor(Math.random() * 0x1_0000_0000) | 0;

export class KeyedRows implements Iterable<FoldedRow> {
  /** In the order in which their keys came first. */
  #rows: FoldedRow[] = [];
  #hashes = new Int32Array(FEWEST_SLOTS / 2);
  /** Open addressing: 0 is free, else a row's index + 1. A power of two, at most half of them taken. */
  #slots = new Int32Array(FEWEST_SLOTS);

  get size(): number {
    return this.#rows.length;
  }

  get rows(): readonly FoldedRow[] {
    return this.#rows;
  }

  [Symbol.iterator](): Iterator<FoldedRow> {
    return this.#rows[Symbol.iterator]();
  }

  /** The row whose key is `bytes` from `start` on. */
  get(bytes: Buffer, start: number): FoldedRow | undefined {
    const hash = hashOf(bytes, start);
    const mask = this.#slots.length - 1;
    for (let slot = hash & mask; ; slot = (slot + 1) & mask) {
      const index = this.#slots[slot]! - 1;
      if (index < 0) return undefined;
      if (this.#hashes[index] === hash && isSame(this.#rows[index]!.keyBytes, bytes, start)) return this.#rows[index];
    }
  }

  /** Adds the row of a key that has none. */
  add(row: FoldedRow): void {
    const index = this.#rows.push(row) - 1;
    if (this.#rows.length * 2 > this.#slots.length) this.#grow();
    this.#hashes[index] = hashOf(row.keyBytes, 0);
    this.#place(index);
  }

  /** Leaves the rows of which `isKept` is true. */
  retain(isKept: (row: FoldedRow) => boolean): void {
    const kept = this.#rows.filter(isKept);
    this.#rows = [];
    this.#slots.fill(0);
    for (const row of kept) this.add(row);
  }

  #grow(): void {
    const hashes = new Int32Array(this.#slots.length);
    hashes.set(this.#hashes);
    this.#hashes = hashes;
    this.#slots = new Int32Array(this.#slots.length * 2);
    for (let index = 0; index < this.#rows.length - 1; index++) this.#place(index);
  }

  #place(index: number): void {
    const mask = this.#slots.length - 1;
    let slot = this.#hashes[index]! & mask;
    while (this.#slots[slot] !== 0) slot = (slot + 1) & mask;
    this.#slots[slot] = index + 1;
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

function isSame(key: Buffer, bytes: Buffer, start: number): boolean {
  if (key.length !== bytes.length - start) return false;
  for (let at = 0; at < key.length; at++) if (key[at] !== bytes[start + at]) return false;
  return true;
}
