// The events that were folded, kept until their flush: where their bytes stand, and their places in the order of the source.
import type { SequenceParts } from "../core/sequence.ts";

/** What is kept of an event beside its record: where its row begins in the record's value, −1 without one. */
export type EventFacts = Readonly<SequenceParts> & { readonly microsHigh: number; readonly microsLow: number };

/** An event as dead letters need it. */
export type KeptEvent = Readonly<SequenceParts> & { readonly offset: number; readonly key: Buffer; readonly value: Buffer };

const FEWEST = 64;

/* Of an event, in this order, are the numbers of #ints: */
const KEY_MEMORY = 0;
const KEY_AT = 1;
const KEY_LENGTH = 2;
const VALUE_MEMORY = 3;
const VALUE_AT = 4;
const VALUE_LENGTH = 5;
const ROW_AT = 6;
const PREVIOUS = 7;
const EPOCH = 8;
const COMMIT_HIGH = 9;
const COMMIT_LOW = 10;
const MICROS_HIGH = 11;
const MICROS_LOW = 12;
const INTS = 13;
/* and of #doubles: */
const OFFSET = 0;
const ORDINAL = 1;
const DOUBLES = 2;

/**
 * Numbers by event, and no object: of 100,000 that live until the flush the garbage collector would move each, which costs
 * more than folding them. Their bytes stay where they were read.
 */
export class KeptEvents {
  #count = 0;
  #ints = new Int32Array(FEWEST * INTS);
  #doubles = new Float64Array(FEWEST * DOUBLES);
  /** All of each piece of memory in which events stand. */
  readonly #memory: Buffer[] = [];

  /** Keeps an event; returns its number. `rowAt`: where its row begins in the record's value. `previous`: the event of its key before it, −1: none. */
  add(key: Buffer, value: Buffer, offset: number, rowAt: number, facts: EventFacts, previous: number): number {
    const event = this.#count++;
    if ((event + 1) * INTS > this.#ints.length) this.#grow();
    const ints = this.#ints;
    const at = event * INTS;
    const memory = this.#memoryOf(value);
    ints[at + KEY_MEMORY] = key.buffer === value.buffer ? memory : this.#memoryOf(key);
    ints[at + KEY_AT] = key.byteOffset;
    ints[at + KEY_LENGTH] = key.length;
    ints[at + VALUE_MEMORY] = memory;
    ints[at + VALUE_AT] = value.byteOffset;
    ints[at + VALUE_LENGTH] = value.length;
    ints[at + ROW_AT] = value.byteOffset + rowAt;
    ints[at + PREVIOUS] = previous;
    ints[at + EPOCH] = facts.epoch;
    ints[at + COMMIT_HIGH] = facts.commitHigh;
    ints[at + COMMIT_LOW] = facts.commitLow;
    ints[at + MICROS_HIGH] = facts.microsHigh;
    ints[at + MICROS_LOW] = facts.microsLow;
    this.#doubles[event * DOUBLES + OFFSET] = offset;
    this.#doubles[event * DOUBLES + ORDINAL] = facts.ordinal;
    return event;
  }

  /** The memory in which an event's value stands; its row begins there at rowAt(). */
  memory(event: number): Buffer {
    return this.#memory[this.#int(event, VALUE_MEMORY)]!;
  }

  rowAt(event: number): number {
    return this.#int(event, ROW_AT);
  }

  /** −1: none. */
  previous(event: number): number {
    return this.#int(event, PREVIOUS);
  }

  microsHigh(event: number): number {
    return this.#int(event, MICROS_HIGH);
  }

  microsLow(event: number): number {
    return this.#int(event, MICROS_LOW) >>> 0;
  }

  sequence(event: number, into: SequenceParts): void {
    into.epoch = this.#int(event, EPOCH);
    into.commitHigh = this.#int(event, COMMIT_HIGH);
    into.commitLow = this.#int(event, COMMIT_LOW) >>> 0;
    into.ordinal = this.#doubles[event * DOUBLES + ORDINAL]!;
  }

  /** The memory in which an event's key stands, and where in it: also its frame. */
  keyMemory(event: number): Buffer {
    return this.#memory[this.#int(event, KEY_MEMORY)]!;
  }

  keyAt(event: number): number {
    return this.#int(event, KEY_AT);
  }

  keyEnd(event: number): number {
    return this.#int(event, KEY_AT) + this.#int(event, KEY_LENGTH);
  }

  /** Its key and value are its bytes, not copies. */
  event(event: number): KeptEvent {
    const valueAt = this.#int(event, VALUE_AT);
    const parts = { epoch: 0, commitHigh: 0, commitLow: 0, ordinal: 0 };
    this.sequence(event, parts);
    return {
      ...parts,
      offset: this.#doubles[event * DOUBLES + OFFSET]!,
      key: this.keyMemory(event).subarray(this.keyAt(event), this.keyEnd(event)),
      value: this.memory(event).subarray(valueAt, valueAt + this.#int(event, VALUE_LENGTH)),
    };
  }

  #int(event: number, which: number): number {
    return this.#ints[event * INTS + which]!;
  }

  /** Of many events that come together: looked for among the last two, which are those of key and value. */
  #memoryOf({ buffer }: Buffer): number {
    const last = this.#memory.length - 1;
    if (last >= 0 && this.#memory[last]!.buffer === buffer) return last;
    if (last >= 1 && this.#memory[last - 1]!.buffer === buffer) return last - 1;
    return this.#memory.push(Buffer.from(buffer)) - 1;
  }

  #grow(): void {
    const ints = new Int32Array(this.#ints.length * 2);
    ints.set(this.#ints);
    this.#ints = ints;
    const doubles = new Float64Array(this.#doubles.length * 2);
    doubles.set(this.#doubles);
    this.#doubles = doubles;
  }
}
