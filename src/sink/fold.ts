// The events of one partition folded to the last one per key, until the next flush. Pure: no I/O, no clock.
import type { LogRecord } from "../core/event-log.ts";
import type { Value } from "../core/table.ts";
import { KeptEvent } from "./kept-event.ts";

/** One decoded change, less the strings of its source block. */
export type Change = {
  readonly op: "c" | "u" | "d" | "r";
  /** Text form. */
  readonly sequence: string;
  /** Microseconds since 1970. */
  readonly commitMicros: bigint;
  /** The row after the change in the order of the schema's columns; for a delete the row before, of which the key counts. Not written to. */
  readonly values: readonly Value[];
  /** Indexes of columns whose value was not sent. */
  readonly unchanged: readonly number[];
  readonly record: LogRecord;
};

/** What became of one key. */
export type FoldedRow = {
  readonly keyBytes: Buffer;
  readonly partition: number;
  /** Of a deleted row only the key, or, where deletes are soft, its last values. */
  values: readonly Value[];
  /** Columns whose value no folded event brought. */
  unchanged: readonly number[];
  deleted: boolean;
  /** Text form. */
  sequence: string;
  commitMicros: bigint;
  /** Every event that was folded into this row: if it is refused they become dead letters together. */
  events: KeptEvent[];
};

/**
 * The columns that a deleted row keeps, by index: all outside the key where deletes are soft, none (null) where they are
 * hard. A delete itself brings the key alone.
 */
export type KeptColumns = readonly number[] | null;

const NONE: readonly number[] = [];

/** Folds a change into what is known of its key since the last flush (undefined: nothing). Returns the row, changed in place. */
export function foldChange(row: FoldedRow | undefined, change: Change, keyBytes: Buffer, partition: number, kept: KeptColumns): FoldedRow {
  const { sequence, commitMicros, record } = change;
  const deleted = change.op === "d";
  if (row === undefined) {
    const made: FoldedRow = {
      keyBytes,
      partition,
      values: change.values,
      unchanged: deleted ? NONE : change.unchanged,
      deleted,
      sequence,
      commitMicros,
      events: [new KeptEvent(record, sequence)],
    };
    if (deleted && kept !== null) dropValues(made, kept);
    return made;
  }
  if (!deleted) takeValues(row, change);
  else if (kept === null) {
    row.values = change.values;
    row.unchanged = NONE;
  }
  row.deleted = deleted;
  row.sequence = sequence;
  row.commitMicros = commitMicros;
  row.events.push(new KeptEvent(record, sequence));
  return row;
}

/** A soft delete that brings none of the row's values: the target keeps those that it has. */
export function dropValues(row: FoldedRow, kept: readonly number[]): void {
  const values = [...row.values];
  for (const column of kept) values[column] = null;
  row.values = values;
  row.unchanged = kept;
}

/** TRUNCATE, where deletes are soft: a live row is deleted with its last values. `sequence`: the TRUNCATE's, text form. */
export function truncateRow(row: FoldedRow, sequence: string): void {
  if (row.deleted) return;
  row.deleted = true;
  row.sequence = sequence;
}

/** A delete ends the inheritance of unchanged columns: what comes after it does not see the row before. */
function takeValues(row: FoldedRow, { values, unchanged }: Change): void {
  const before = row.values;
  row.values = values;
  if (unchanged.length === 0) row.unchanged = NONE;
  else if (row.deleted) row.unchanged = unchanged;
  else {
    const inherited = [...values];
    for (const column of unchanged) inherited[column] = before[column] ?? null;
    row.values = inherited;
    row.unchanged = unchanged.filter((column) => row.unchanged.includes(column));
  }
}
