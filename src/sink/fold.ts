// The events of a table folded to the last one per key, until the next flush. Pure: no I/O, no clock.
import { FRAME_BYTES, type Operation } from "../avro/encoder.ts";
import { copyParts, isBelow, type SequenceParts } from "../core/sequence.ts";
import { KeptEvents, type EventFacts, type KeptEvent } from "./kept-events.ts";
import { KeyIndex } from "./key-index.ts";

/** What an event says of its row: a decoder that has just read it. */
export type Change = EventFacts & {
  readonly op: Operation;
  /** Where the rows before and after the change begin in the record's value, −1 without one. Of a delete the one before counts, for its key. */
  readonly beforeAt: number;
  readonly afterAt: number;
  /** Indexes of columns whose value was not sent. */
  readonly unchanged: readonly number[];
};

/** The record of a change. Its key is framed. */
export type ChangeRecord = { readonly key: Buffer; readonly value: Buffer; readonly offset: number };

/**
 * The columns that a deleted row keeps, by index: all outside the key where deletes are soft, none (null) where they are
 * hard. A delete itself brings the key alone.
 */
export type KeptColumns = readonly number[] | null;

/** A row whose values do not all stand in one event. */
type Patch = {
  /** Columns whose value no folded event brought. */
  readonly unchanged: readonly number[];
  /** By column the event in which its value stands, −1: null. null: all in the row's. */
  readonly sources: Int32Array | null;
};

const NONE: readonly number[] = [];
const FEWEST = 64;

/* Of a row, in this order, are the numbers of #ints: */
/** Its first event, in which its key stands. */
const FIRST = 0;
const LAST = 1;
/** The event in which its values stand: of a deleted row only the key, or, where deletes are soft, its last values. */
const VALUES = 2;
const PARTITION = 3;
const INTS = 4;

/** Rows are numbered from 0 on, in the order in which their keys came first, until dropPartition() numbers them anew. */
export class Fold {
  readonly events = new KeptEvents();
  readonly kept: KeptColumns;
  readonly #columns: number;
  readonly #keys = new KeyIndex((row, bytes, start) => this.#isKey(row, bytes, start));
  #ints = new Int32Array(FEWEST * INTS);
  #deleted = new Uint8Array(FEWEST);
  #patches = new Map<number, Patch>();
  /** The sequences of rows that a TRUNCATE deleted. */
  readonly #truncated = new Map<number, Readonly<SequenceParts>>();

  /** `columns`: how many the events' rows have. */
  constructor(columns: number, kept: KeptColumns) {
    this.#columns = columns;
    this.kept = kept;
  }

  get rows(): number {
    return this.#keys.size;
  }

  /** Whether a live row has columns whose value no event brought. */
  get inherits(): boolean {
    for (const [row, { unchanged }] of this.#patches) if (unchanged.length > 0 && !this.isDeleted(row)) return true;
    return false;
  }

  /** The row of a framed key, −1: there is none. */
  find(key: Buffer): number {
    return this.#keys.find(key, FRAME_BYTES);
  }

  /** Folds a change into the row that find() has just given for its key. */
  fold(row: number, change: Change, { key, value, offset }: ChangeRecord, partition: number): void {
    const deleted = change.op === "d";
    const previous = row < 0 ? -1 : this.#int(row, LAST);
    const event = this.events.add(key, value, offset, deleted ? change.beforeAt : change.afterAt, change, previous);
    if (row < 0) return this.#begin(event, deleted, change.unchanged, partition);
    if (!deleted) this.#takeValues(row, event, change.unchanged);
    else if (this.kept === null) this.#setValues(row, event, null);
    this.#deleted[row] = deleted ? 1 : 0;
    this.#ints[row * INTS + LAST] = event;
    if (this.#truncated.size > 0) this.#truncated.delete(row);
  }

  /** A soft delete that brings none of the row's values: the target keeps those that it has. */
  dropValues(row: number, kept: readonly number[]): void {
    const values = this.values(row);
    const sources = this.sources(row)?.slice() ?? new Int32Array(this.#columns).fill(values);
    for (const column of kept) sources[column] = -1;
    this.#setValues(row, values, { unchanged: kept, sources });
  }

  /** TRUNCATE, where deletes are hard: what a partition brought before it is gone. */
  dropPartition(partition: number): void {
    const patches = new Map<number, Patch>();
    let rows = 0;
    this.#keys.retain((row) => {
      if (this.partition(row) === partition) return false;
      const patch = this.#patches.get(row);
      if (patch !== undefined) patches.set(rows, patch);
      this.#ints.copyWithin(rows * INTS, row * INTS, (row + 1) * INTS);
      this.#deleted[rows++] = this.#deleted[row]!;
      return true;
    });
    this.#patches = patches;
  }

  /** TRUNCATE, where deletes are soft: a live row is deleted with its last values. `sequence`: the TRUNCATE's. */
  truncate(row: number, sequence: Readonly<SequenceParts>): void {
    if (this.isDeleted(row)) return;
    this.#deleted[row] = 1;
    this.#truncated.set(row, { ...sequence });
  }

  isDeleted(row: number): boolean {
    return this.#deleted[row] === 1;
  }

  partition(row: number): number {
    return this.#int(row, PARTITION);
  }

  /** The columns whose value no folded event brought. */
  unchanged(row: number): readonly number[] {
    return this.#patches.get(row)?.unchanged ?? NONE;
  }

  /** The event in which a row's values stand, where sources() gives no others. */
  values(row: number): number {
    return this.#int(row, VALUES);
  }

  /** By column the event in which its value stands, −1: null. null: all in that of values(). */
  sources(row: number): Int32Array | null {
    return this.#patches.size === 0 ? null : (this.#patches.get(row)?.sources ?? null);
  }

  /** The row's last event, which its commit time is of. */
  last(row: number): number {
    return this.#int(row, LAST);
  }

  sequence(row: number, into: SequenceParts): void {
    const truncated = this.#truncated.get(row);
    if (truncated === undefined) this.events.sequence(this.last(row), into);
    else copyParts(truncated, into);
  }

  /** The first event of the row, which its key stands in. */
  first(row: number): number {
    return this.#int(row, FIRST);
  }

  /** Every event that was folded into a row, in their order: if it is refused they become dead letters together. */
  eventsOf(row: number): readonly KeptEvent[] {
    const events: KeptEvent[] = [];
    for (let event = this.last(row); event >= 0; event = this.events.previous(event)) events.push(this.events.event(event));
    return events.reverse();
  }

  #begin(event: number, deleted: boolean, unchanged: readonly number[], partition: number): void {
    const row = this.#keys.add();
    if (row >= this.#deleted.length) this.#grow();
    const at = row * INTS;
    this.#ints[at + FIRST] = event;
    this.#ints[at + LAST] = event;
    this.#ints[at + VALUES] = event;
    this.#ints[at + PARTITION] = partition;
    this.#deleted[row] = deleted ? 1 : 0;
    if (deleted) {
      if (this.kept !== null) this.dropValues(row, this.kept);
    } else if (unchanged.length > 0) this.#patches.set(row, { unchanged, sources: null });
  }

  /** A delete ends the inheritance of unchanged columns: what comes after it does not see the row before. */
  #takeValues(row: number, event: number, unchanged: readonly number[]): void {
    if (unchanged.length === 0) return this.#setValues(row, event, null);
    if (this.isDeleted(row)) return this.#setValues(row, event, { unchanged, sources: null });
    const before = this.#patches.get(row);
    const sources = new Int32Array(this.#columns).fill(event);
    for (const column of unchanged) sources[column] = before?.sources?.[column] ?? this.values(row);
    const left = unchanged.filter((column) => before?.unchanged.includes(column));
    this.#setValues(row, event, { unchanged: left, sources });
  }

  #setValues(row: number, event: number, patch: Patch | null): void {
    this.#ints[row * INTS + VALUES] = event;
    if (patch !== null) this.#patches.set(row, patch);
    else if (this.#patches.size > 0) this.#patches.delete(row);
  }

  #isKey(row: number, bytes: Buffer, start: number): boolean {
    const first = this.#int(row, FIRST);
    const memory = this.events.keyMemory(first);
    const at = this.events.keyAt(first) + FRAME_BYTES;
    const length = this.events.keyEnd(first) - at;
    if (length !== bytes.length - start) return false;
    for (let index = 0; index < length; index++) if (memory[at + index] !== bytes[start + index]) return false;
    return true;
  }

  #int(row: number, which: number): number {
    return this.#ints[row * INTS + which]!;
  }

  #grow(): void {
    const ints = new Int32Array(this.#ints.length * 2);
    ints.set(this.#ints);
    this.#ints = ints;
    const deleted = new Uint8Array(this.#deleted.length * 2);
    deleted.set(this.#deleted);
    this.#deleted = deleted;
  }
}

/** TRUNCATE cuts the fold: what the partition brought before it is gone, or deleted softly. `sequence`: the TRUNCATE's. */
export function truncatePartition(fold: Fold, partition: number, sequence: Readonly<SequenceParts>): void {
  if (fold.kept === null) return fold.dropPartition(partition);
  for (let row = 0; row < fold.rows; row++) if (fold.partition(row) === partition) fold.truncate(row, sequence);
}

/** The same for rows of partitions whose own TRUNCATE has not been read yet. In hard targets the floor keeps them out. */
export function truncateBelow(fold: Fold, sequence: Readonly<SequenceParts>): void {
  if (fold.kept === null) return;
  const parts = { epoch: 0, commitHigh: 0, commitLow: 0, ordinal: 0 };
  for (let row = 0; row < fold.rows; row++) {
    fold.sequence(row, parts);
    if (isBelow(parts, sequence)) fold.truncate(row, sequence);
  }
}
