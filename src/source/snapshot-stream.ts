// What the changes and the snapshots of one session tell each other.
import type { Lsn } from "../core/lsn.ts";
import type { Tuple } from "../core/tuple.ts";
import type { Mark } from "../postgres/snapshot-mark.ts";
import type { CapturedTable } from "./captured-table.ts";
import type { Chunk, SnapshotWindow } from "./window.ts";

/** What the changes of a session tell its snapshots, and ask them. */
export type SnapshotStream = {
  /** Told of every row of the tables that it watches (captured.reading.watched), in the order of the stream. Keys are the Avro body as latin1. */
  readonly window: SnapshotWindow<Tuple>;
  /** A mark comes by, in the transaction of this commit LSN. Gives the chunk that waits for it; null for one of another source, or of an attempt that is over. */
  mark(mark: Mark, commitLsn: Lsn): MarkedChunk | "opening" | null;
  /**
   * R-window-toast: has a row read again, by its key, whose unsent columns are not in the log under that key, for `reason`. `row` is valid during
   * the call only; `old` has its key columns that `row` lacks.
   */
  reread(captured: CapturedTable, xid: number, row: Tuple, old: Tuple, reason: string): void;
};

/** A chunk that has been read. */
export type MarkedChunk = {
  readonly captured: CapturedTable;
  readonly chunk: Chunk;
  readonly rows: number;
  /** Points the tuple at a row; its bytes are the chunk's. */
  fill(row: number, into: Tuple): void;
  /** Its rows have been handed on: those that are true at the mark are among the transaction's events. `others`: transactions with rows since the mark before. */
  emitted(others: number): void;
};
