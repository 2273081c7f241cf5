// What CapturedTables needs where a table's schema is refused: to park it, to give it a version, and to have the stream wait meanwhile.
import type { Sequence } from "../core/sequence.ts";
import type { TableName } from "../core/table.ts";
import type { Parking } from "./parking.ts";
import type { Versioning } from "./versioning.ts";

/** What can become of a table whose schema is refused. */
export type Refusals = {
  readonly parking: Parking;
  readonly versioning: Versioning;
  /** null: no snapshots are made. */
  readonly snapshots: VersionSnapshots | null;
};

/** The session's snapshots, as R-version asks them. */
export type VersionSnapshots = {
  /** Resolves when the stream has come to all that is committed when this is called. */
  passed(signal: AbortSignal): Promise<void>;
  /** Has the table read, unless that is about to begin. */
  request(table: TableName, reason: string): void;
};

/** The stream, while its session lasts. */
export type Interruptible = {
  interrupt(work: () => Promise<void>): void;
  /** Of the next row. */
  readonly place: Sequence;
};
