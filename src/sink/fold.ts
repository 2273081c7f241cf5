// The events of one partition folded to the last one per key, until the next flush. Pure: no I/O, no clock.
import type { LogRecord } from "../core/event-log.ts";
import type { Sequence } from "../core/sequence.ts";
import type { Value } from "../core/table.ts";

/** One decoded change, less the strings of its source block. */
export type Change = {
  readonly op: "c" | "u" | "d" | "r";
  readonly sequence: Sequence;
  /** Microseconds since 1970. */
  readonly commitMicros: bigint;
  /** The row after the change in the order of the schema's columns; for a delete the row before, of which the key counts. */
  readonly values: readonly Value[];
  /** Indexes of columns whose value was not sent. */
  readonly unchanged: readonly number[];
  readonly record: LogRecord;
};

export type FoldedEvent = { readonly record: LogRecord; readonly sequence: Sequence };

/** What became of one key. */
export type FoldedRow = {
  readonly keyBytes: Buffer;
  readonly partition: number;
  values: Value[];
  /** Columns whose value no folded event brought; empty for deletes. */
  unchanged: readonly number[];
  deleted: boolean;
  sequence: Sequence;
  commitMicros: bigint;
  /** Every event that was folded into this row: if it is refused they become dead letters together. */
  events: FoldedEvent[];
};

const NONE: readonly number[] = [];

/** Folds a change into what is known of its key since the last flush (undefined: nothing). Returns the row, changed in place. */
export function foldChange(row: FoldedRow | undefined, change: Change, keyBytes: Buffer, partition: number): FoldedRow {
  const { sequence, commitMicros, record } = change;
  if (row === undefined) {
    return {
      keyBytes,
      partition,
      values: [...change.values],
      unchanged: change.op === "d" ? NONE : change.unchanged,
      deleted: change.op === "d",
      sequence,
      commitMicros,
      events: [{ record, sequence }],
    };
  }
  const values = [...change.values];
  let unchanged = NONE;
  // A delete ends the inheritance of unchanged columns: what comes after it does not see the row before.
  if (change.op !== "d" && change.unchanged.length > 0) {
    const inherits = !row.deleted;
    unchanged = change.unchanged.filter((column) => !inherits || row.unchanged.includes(column));
    if (inherits) for (const column of change.unchanged) values[column] = row.values[column] ?? null;
  }
  row.values = values;
  row.unchanged = unchanged;
  row.deleted = change.op === "d";
  row.sequence = sequence;
  row.commitMicros = commitMicros;
  row.events.push({ record, sequence });
  return row;
}
