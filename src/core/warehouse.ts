// The port of a warehouse, and the plan of a merge as pure data: each dialect turns it into SQL.
import type { TailraceError } from "./errors.ts";
import type { StagedRows } from "./staged-rows.ts";
import type { Column, ColumnType, TableName } from "./table.ts";

/** The target of one merge. `columns` holds every column but the metadata ones; key columns first, in key order. */
export type MergePlan = {
  readonly target: TableName;
  /** Columns that identify a row; at least one. */
  readonly key: readonly string[];
  readonly columns: readonly PlanColumn[];
  readonly deletes: "hard" | "soft";
};

export type PlanColumn = Pick<Column, "name" | "type"> & {
  /** `keep_target`: some staged rows do not bring this column's value (TOAST, soft deletes), the target's is kept there. */
  readonly unchanged: "impossible" | "keep_target";
};

/** Names of the columns that Tailrace adds to each target. */
export const metadataColumns = {
  /** Text form of the sequence (R-sequence). */
  sequence: "_tailrace_seq",
  /** Commit time at the source, timestamptz. */
  commitTimestamp: "_tailrace_commit_ts",
  /** When the row was merged, timestamptz. */
  mergedTimestamp: "_tailrace_merged_ts",
  /** Only in targets with soft deletes. */
  deleted: "_tailrace_deleted",
} as const;

export type TableFlush = {
  readonly plan: MergePlan;
  /**
   * Text form of the highest TRUNCATE in this flush: rows of the target below it go first, and it becomes the target's
   * floor. Soft deletes are staged also below it, for rows that it took: their values count.
   */
  readonly truncate: string | null;
  readonly staged: StagedRows;
};

/** How far a sink has merged one partition. */
export type Checkpoint = {
  readonly topic: string;
  readonly partition: number;
  readonly topicId: string;
  readonly nextOffset: number;
  /** Highest merged sequence, text form; "" before the first event. */
  readonly sequence: string;
};

export type CheckpointMove = Checkpoint & {
  /** What must stand there now (another topic id: the topic was made again); null when the row must not exist yet. */
  readonly expected: Pick<Checkpoint, "topicId" | "nextOffset"> | null;
};

/** One event set aside, with its original bytes. */
export type DeadLetter = {
  readonly topic: string;
  readonly partition: number;
  readonly offset: number;
  /** Avro body of the key; null for keyless events. */
  readonly keyBytes: Buffer | null;
  readonly sequence: string;
  readonly code: string;
  readonly message: string;
  readonly key: Buffer | null;
  readonly value: Buffer | null;
};

/** A dead letter as the warehouse keeps it. */
export type KeptLetter = DeadLetter & { readonly state: string; /** ms since 1970. */ readonly createdMs: number };

/** `place`: that one, whatever its state; null: the open ones that were set aside last, at most `limit`, without the bytes of their values. */
export type LetterQuery = {
  readonly place: { readonly topic: string; readonly partition: number; readonly offset: number } | null;
  readonly limit: number;
};

/** A key that has open dead letters: their highest sequences in text form, of all and of those that no snapshot closes ("" without any). */
export type OpenKey = { readonly topic: string; readonly keyBytes: Buffer; readonly last: string; readonly lastDead: string };

/** `sequence` (text form): of the complete event. */
export type ClosedLetters = { readonly topic: string; readonly keyBytes: Buffer; readonly sequence: string };

/** `sequence` (text form): of a TRUNCATE, or the opening mark of a complete snapshot. */
export type LetterFloor = { readonly topic: string; readonly sequence: string };

/**
 * R-sweep: rows of the target below `opening` (text form of the opening mark's sequence) are no longer at the source:
 * they go, or are marked deleted with their last values, and `opening` becomes the target's floor. A target that does
 * not exist gets the floor alone.
 */
export type Sweep = Pick<MergePlan, "target" | "deletes"> & { readonly opening: string };

/** Tombstones of a target that one flush takes away: a tenth of a second of it. */
export const EXPIRED_ROWS = 100_000;

/** Rows that the runs table keeps of each sink: of a day and more at one flush a second. A few more are there until they are pruned. */
export const KEPT_RUNS = 100_000;

/** R-tombstone: the log has nothing below `sequence` (text form) for the target any more. */
export type Expiry = Pick<MergePlan, "target"> & { readonly sequence: string };

/** What happens in one transaction. */
export type Flush = {
  readonly sink: string;
  /** What acquire() gave. */
  readonly fence: number;
  readonly tables: readonly TableFlush[];
  readonly checkpoints: readonly CheckpointMove[];
  readonly deadLetters: readonly DeadLetter[];
  /**
   * Keys whose open dead letters below `sequence`, those of this flush among them, a complete event supersedes. Letters
   * of code AWAITS_SNAPSHOT are deleted, others stay with the state `superseded`.
   */
  readonly closedDeadLetters: readonly ClosedLetters[];
  /** The same for all open letters of a topic. */
  readonly letterFloors: readonly LetterFloor[];
  /** Run after all merges. */
  readonly sweeps: readonly Sweep[];
  /** Of the tombstones below, EXPIRED_ROWS at most go with each. */
  readonly expiries: readonly Expiry[];
  /**
   * The dead letters of a staged row whose unchanged columns have no row in the target to keep them from; such rows
   * are left out of the merge. Called inside the transaction.
   */
  readonly orphaned: (table: number, row: number) => readonly DeadLetter[];
  /** Called whenever a table's rows are staged: for a while the warehouse works, and this thread has little to do for the flush. */
  readonly onStaged?: () => void;
  readonly run: RunSummary;
};

/** A row of the runs table, less what the warehouse fills in. */
export type RunSummary = {
  readonly startedMs: number;
  readonly events: number;
  /** Text forms; "" when there were no events. */
  readonly firstSequence: string;
  readonly lastSequence: string;
};

export type FlushResult = {
  /** Staged rows that changed the target, by table of the flush. */
  readonly merged: readonly number[];
  readonly deadLetters: readonly DeadLetter[];
  /** Tombstones that went, by expiry of the flush: with EXPIRED_ROWS of them there may be more. */
  readonly expired: readonly number[];
};

/** What the target of a table should look like. */
export type TargetSpec = {
  readonly target: TableName;
  readonly key: readonly string[];
  readonly columns: readonly { readonly name: string; readonly type: ColumnType }[];
  readonly deletes: "hard" | "soft";
  /** R-version: of a later version's target: what is there under its name, and no sink has made, is not merged into. */
  readonly view?: TableName | null;
};

/** R-version: a view of the rows of a table's present target, in the columns of its first one that both have in the same type. */
export type VersionView = { readonly view: TableName; readonly first: TableName; readonly target: TableName };

/** A warehouse's SQL as pure text: for its own session, the `plan` command and the golden files. */
export type Dialect = {
  readonly name: string;
  /** The type of a target's column, in the warehouse's own words: as its catalogue prints it. */
  readonly columnType: (type: ColumnType) => string;
  readonly createTarget: (spec: TargetSpec) => string;
  /** Every statement of one merge, in the order in which they run; the rows are loaded after the first. */
  readonly merge: (plan: MergePlan) => readonly string[];
  /** Of a target that exists. */
  readonly sweep: (sweep: Sweep) => readonly string[];
};

/** A place to merge into. Methods throw WAREHOUSE_UNREACHABLE, WAREHOUSE_LOGIN, WAREHOUSE_LOCKED (all auto). */
export interface Warehouse extends AsyncDisposable {
  /** `duckdb ./lake.duckdb`, `postgres host:5432/db`: for messages; no secrets. */
  readonly address: string;
  /**
   * What would keep a sink from merging into these targets: a missing privilege or permission, a name, a shape that does
   * not fit; each as the error that the sink would stop with. Writes nothing and makes nothing. Throws besides
   * WAREHOUSE_REFUSED, and the signal's reason.
   */
  inspect(targets: readonly TargetSpec[], signal: AbortSignal): Promise<readonly TailraceError[]>;
  /** What ensureTarget() would do for each of these targets, in their order; an error: what it would throw. Writes nothing. Throws as inspect(). */
  plan(targets: readonly TargetSpec[], signal: AbortSignal): Promise<readonly (readonly string[] | TailraceError)[]>;
  /** Opens a session. DuckDB holds its file until the session is disposed; waits, bounded by the signal, for a file that others hold. */
  open(signal: AbortSignal): Promise<WarehouseSession>;
}

/** Rows that forget() has deleted. */
export type Forgotten = { readonly checkpoints: number; readonly deadLetters: number };

export interface WarehouseSession extends AsyncDisposable {
  /** Makes the schema _tailrace and its tables where they are missing. */
  prepare(): Promise<void>;
  /** Takes the sink over: later flushes of workers with a lower fence fail. */
  acquire(sink: string): Promise<{ readonly fence: number; readonly checkpoints: readonly Checkpoint[] }>;
  /** The keys with open dead letters of a sink. Without the letters' bytes: there may be far more of them than memory holds. */
  openKeys(sink: string): Promise<readonly OpenKey[]>;
  /** The sink's dead letters, by sequence. None where nothing was ever merged; makes nothing. */
  letters(sink: string, query: LetterQuery): Promise<readonly KeptLetter[]>;
  /** Deletes the sink's checkpoints and its open dead letters, where there are any; makes nothing. */
  forget(sink: string): Promise<Forgotten>;
  /** Makes the target, adds columns to it, or widens them. Throws TARGET_DIFFERS with the SQL that would mend it. */
  ensureTarget(spec: TargetSpec): Promise<void>;
  /**
   * Makes the view, or makes it anew where its columns or its target are others, once a snapshot's end is merged into the target.
   * Returns why there is none: something else has its name, or no column is the same. Throws WAREHOUSE_REFUSED.
   */
  ensureView(view: VersionView): Promise<string | null>;
  /** Adds the mark of soft deletes to a target that merges of hard ones have made, for a sweep before any merge of soft ones. */
  ensureMark(sweep: Sweep): Promise<void>;
  /**
   * Merges, moves the checkpoint and records the run in one transaction, or nothing of it. Throws CHECKPOINT_MOVED;
   * WAREHOUSE_REFUSED; ROW_REFUSED with the table when a value or a constraint of the target is at fault.
   */
  flush(flush: Flush, signal: AbortSignal): Promise<FlushResult>;
  /** What the warehouse says against these rows: runs their merge, rolls it back. null: they would be taken. */
  refusal(table: TableFlush, signal: AbortSignal): Promise<string | null>;
}
