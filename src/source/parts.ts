// What a source is given and what it tells: its options, its parts, and what a session knows before it streams.
import type { Barrier } from "../core/barrier.ts";
import type { TailraceError } from "../core/errors.ts";
import type { EventLog, LogWriter } from "../core/event-log.ts";
import type { Log } from "../core/log.ts";
import type { Lsn } from "../core/lsn.ts";
import type { SchemaRegistry } from "../core/schema-registry.ts";
import type { ParkedTable, SourceState, VersionedTable } from "../core/source-state.ts";
import type { TableName } from "../core/table.ts";
import type { TableSelection } from "../postgres/catalog.ts";
import type { ServerFacts } from "../postgres/server.ts";
import type { ConnectionSettings, Session } from "../postgres/session.ts";
import type { KnownCluster, SeenCluster } from "../postgres/timeline.ts";
import type { CatalogTable } from "../postgres/table-judgement.ts";
import type { CountedOp } from "./captured-table.ts";
import type { SourceControl } from "./control.ts";
import type { SnapshotStatus } from "./snapshot-status.ts";
import type { DataTopic, TopicOptions } from "./topics.ts";

export type SourceOptions = {
  readonly name: string;
  /** Asked at every connect: a rotated password needs no restart. */
  readonly url: () => string;
  readonly slot: string;
  readonly publication: string;
  readonly create: boolean;
  /** The system identifier of a cluster that may take the place of the one before; null: none may. */
  readonly systemId: string | null;
  /** The slot is made by each session for itself and goes with its connection: every session begins anew, in a new epoch. */
  readonly temporary?: boolean;
  readonly selection: TableSelection;
  readonly topics: TopicOptions;
  readonly snapshot: SnapshotOptions;
  /** schema_changes of the configuration: what becomes of a table whose new schema is refused. */
  readonly incompatible: (table: TableName) => "park" | "version" | "stop";
};

/** snapshot of the configuration. */
export type SnapshotOptions = {
  readonly mode: "initial" | "initial_only" | "no_data" | "when_needed" | "always";
  /** Sessions that read chunks. */
  readonly parallel: number;
  /** Rows of a table's first chunk. */
  readonly chunkRows: number;
  /** null: no limit. */
  readonly maxRowsPerSecond: number | null;
  /** Bytes of WAL that the stream may be behind before no chunk is begun. */
  readonly maxLagBytes: number;
  /** Bytes of WAL that the server may keep for the slot before no chunk is begun. */
  readonly maxRetainedBytes: number;
  /** R-keyless: how long a table that is held, or yields, may keep its snapshot, which keeps vacuum off the whole database, and its reader, ms; 60 s. */
  readonly keylessHeldMs?: number;
};

export type SourceParts = {
  readonly log: EventLog;
  readonly registry: SchemaRegistry;
  readonly logger: Log;
  readonly observer: SourceObserver;
  /** Called by a session when it streams, and with null when it ends. */
  readonly control: (control: SourceControl | null) => void;
  /** Labels of the tables whose snapshot an operator holds; asked whenever a chunk is to be read. */
  readonly pausedTables: () => ReadonlySet<string>;
};

/** What a source tells while it runs: for metrics and status. */
export type SourceObserver = {
  state(state: "connecting" | "streaming"): void;
  /** A round of events is durable in the log. */
  published(report: PublishedReport): void;
  deadLetter(code: string): void;
  acknowledged(lsn: Lsn): void;
  /** Bytes between the end of the server's WAL and what is acknowledged, kept for the slot, and safe to write; null: no limit. */
  wal(lagBytes: number, retainedBytes: number, safeBytes: number | null): void;
  bytesInFlight(bytes: number): void;
  /** R-park: the tables that are parked; called when that has changed, and when a session begins. */
  parked(tables: readonly ParkedTable[]): void;
  /** R-version: the tables that have come to have a second version or more; called when a session begins. */
  versions(tables: readonly VersionedTable[]): void;
  /** How every unfinished snapshot stands; called when that has changed, a few times a second at most. */
  snapshots(list: readonly SnapshotStatus[]): void;
  /** Rows of a chunk are durable in the log. */
  snapshotRows(table: string, rows: number): void;
  /** Bytes of chunks that are being read or await their mark, and keys that are kept as touched. */
  snapshotMemory(chunkBytes: number, touchedKeys: number): void;
};

export type PublishedReport = {
  readonly tables: readonly { readonly table: string; readonly op: CountedOp; readonly events: number }[];
  readonly durationMs: number;
  /** µs since 1970. */
  readonly newestCommitMicros: bigint;
};

/** What a source remembers from session to session, in memory only. */
export type SourceMemory = {
  /** A column turned up whose type has no binary form that is read. */
  text: boolean;
  /** What was said once: skipped tables. */
  readonly said: Set<string>;
  /** The highest epoch that a record was seen to carry beyond what the state says. */
  epochSeen: number;
  /** A gap that showed in the stream itself, for the next session to begin behind; null: none. */
  found: TailraceError | null;
  /** snapshot.mode always: this process has begun its snapshots. */
  begun: boolean;
  /** How often making the slot has waited in vain. */
  slotWaits: number;
};

export function newMemory(): SourceMemory {
  return { text: false, said: new Set(), epochSeen: 0, found: null, begun: false, slotWaits: 0 };
}

/** What a session knows before it streams. */
export type Prepared = {
  readonly settings: ConnectionSettings;
  readonly session: Session;
  readonly facts: ServerFacts;
  readonly tables: readonly CatalogTable[];
  readonly topics: readonly DataTopic[];
  readonly barrier: Barrier | null;
  readonly cluster: SeenCluster;
  /** Rows of a table (by OID) up to here may be of a composite's former shape though nothing in them says so; 0n: none. */
  readonly untold: ReadonlyMap<number, Lsn>;
  /** The cluster that the log's events are of. */
  readonly known: KnownCluster;
  readonly state: SourceState;
  /** null: the stream makes its slot, and begins where that does. */
  readonly from: Lsn | null;
  readonly binary: boolean;
  readonly writer: LogWriter;
  /** Whether it goes on where it was: in any other case no record may carry its epoch. */
  readonly resumed: boolean;
};
