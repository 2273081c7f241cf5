// An unfinished snapshot of a table, as it stands in the source's state: written by the source, looked at by sinks.
import type { TableName } from "./table.ts";

/** A key, one text per key column in key order, as the types' output functions write them. */
export type KeyText = readonly string[];

/** Keys behind `after` up to and with `upTo`, in the order of the key's index; null: no end on that side. */
export type KeyRange = { readonly after: KeyText | null; readonly upTo: KeyText | null };

/** A key as the stream brought it, one value per key column in key order, base64. */
export type QueuedKey = readonly { readonly form: "text" | "binary"; readonly value: string }[];

/**
 * `table`: every row; what is gone is swept at the end. `filtered`: the rows of a condition. `keyless`: every row, under
 * one snapshot, from the beginning whenever it fails. `rereads`: keys alone (R-window-toast).
 */
export type SnapshotKind = "table" | "filtered" | "keyless" | "rereads";

export type SnapshotRecord = {
  readonly table: TableName;
  readonly kind: SnapshotKind;
  /** Why it is made, for people. */
  readonly reason: string;
  /** SQL; of kind `filtered`. */
  readonly where: string | null;
  /** R-sweep: text form of the sequence of the opening mark under which the first durable chunk was read. */
  readonly opening: string | null;
  /** What is not durable yet, chunks under way among it. */
  readonly todo: readonly KeyRange[];
  readonly rereads: readonly QueuedKey[];
  /** Rows read and durable, and how many there may be. */
  readonly rows: number;
  readonly chunks: number;
  readonly estimatedRows: number | null;
};
