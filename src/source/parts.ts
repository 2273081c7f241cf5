// What a source is given and what it tells: its options, its parts, and what a session knows before it streams.
import type { Barrier } from "../core/barrier.ts";
import type { EventLog, LogWriter } from "../core/event-log.ts";
import type { Log } from "../core/log.ts";
import type { Lsn } from "../core/lsn.ts";
import type { SchemaRegistry } from "../core/schema-registry.ts";
import type { SourceState } from "../core/source-state.ts";
import type { TableSelection } from "../postgres/catalog.ts";
import type { ServerFacts } from "../postgres/server.ts";
import type { ConnectionSettings, Session } from "../postgres/session.ts";
import type { KnownCluster, SeenCluster } from "../postgres/timeline.ts";
import type { CatalogTable } from "../postgres/table-judgement.ts";
import type { DataTopic, TopicOptions } from "./topics.ts";

export type SourceOptions = {
  readonly name: string;
  /** Asked at every connect: a rotated password needs no restart. */
  readonly url: () => string;
  readonly slot: string;
  readonly publication: string;
  readonly create: boolean;
  readonly selection: TableSelection;
  readonly topics: TopicOptions;
};

export type SourceParts = {
  readonly log: EventLog;
  readonly registry: SchemaRegistry;
  readonly logger: Log;
  readonly observer: SourceObserver;
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
};

export type PublishedReport = {
  readonly tables: readonly { readonly table: string; readonly op: "c" | "u" | "d" | "t"; readonly events: number }[];
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
};

/** What a session knows before it streams. */
export type Prepared = {
  readonly settings: ConnectionSettings;
  readonly session: Session;
  readonly facts: ServerFacts;
  readonly tables: readonly CatalogTable[];
  readonly topics: readonly DataTopic[];
  readonly barrier: Barrier | null;
  readonly cluster: SeenCluster;
  /** The cluster that the log's events are of. */
  readonly known: KnownCluster;
  readonly state: SourceState;
  readonly from: Lsn;
  readonly binary: boolean;
  readonly writer: LogWriter;
};
