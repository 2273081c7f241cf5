// What an operator may ask of a source while it streams.
import type { TableName } from "../core/table.ts";

/** `where`: SQL that chooses rows; null: all of them. */
export type SnapshotRequest = { readonly table: TableName; readonly where: string | null };

export type SourceControl = {
  /** Resolves when the request is durable in the source's state. Throws TABLE_MISSING, SNAPSHOT_REFUSED, SOURCE_NOT_STREAMING (auto). */
  requestSnapshot(requests: readonly SnapshotRequest[], reason: string): Promise<void>;
};
