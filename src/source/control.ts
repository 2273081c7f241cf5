// What an operator may ask of a source while it streams.
import type { TableName } from "../core/table.ts";

/** `where`: SQL that chooses rows; null: all of them. */
export type SnapshotRequest = { readonly table: TableName; readonly where: string | null };

export type SourceControl = {
  /** Resolves when the request is durable in the source's state. Throws TABLE_MISSING, SNAPSHOT_REFUSED, SOURCE_NOT_STREAMING (auto). */
  requestSnapshot(requests: readonly SnapshotRequest[], reason: string): Promise<void>;
  /**
   * R-park: resolves with how many records were drained when the table's events go to its own topic again, or when it goes on as its next
   * version, with which the session ends. Throws STILL_REFUSED, USAGE (it is not parked, or is being unparked), SOURCE_NOT_STREAMING.
   */
  unpark(table: TableName): Promise<number | "versioned">;
};
