// What a sink is given, and what it tells.
import type { EventLog } from "../core/event-log.ts";
import type { Log } from "../core/log.ts";
import type { SchemaRegistry } from "../core/schema-registry.ts";
import type { TableName } from "../core/table.ts";
import type { DeadLetter, Warehouse } from "../core/warehouse.ts";
import type { SinkLag } from "./lag.ts";
import type { TableRule } from "./routes.ts";

export type SinkOptions = {
  readonly name: string;
  /** topics.prefix of the source. */
  readonly prefix: string;
  readonly rule: TableRule;
  /** Rows (one per key) or ms since the first event after which a flush begins. */
  readonly flush: { readonly everyMs: number; readonly rows: number };
};

/** What a sink tells while it runs: for metrics and status. */
export type SinkObserver = {
  state(state: SinkRunState): void;
  flushed(report: FlushReport): void;
  /** Records of the log that are not merged, when last seen. */
  lag(records: number): void;
  /** R-epoch: barriers, or ends of snapshots in them, that are of a dead process or of a topic that is gone. */
  barriersSkipped(count: number): void;
  /** R-routing: the log began behind what was merged, in so many partitions; a snapshot is to mend it. */
  gaps(partitions: number): void;
};

export type SinkRunState = "waiting for the source" | "waiting for the warehouse" | "reading";

export type FlushReport = {
  readonly events: number;
  readonly durationMs: number;
  /** The part of it until the warehouse was open, waits for another holder included. */
  readonly openMs: number;
  readonly merged: readonly { readonly table: TableName; readonly rows: number }[];
  /** Less those that only wait for a snapshot. */
  readonly deadLetters: readonly DeadLetter[];
  /** Keys with an open dead letter. */
  readonly openLetters: number;
  /** Keys whose events wait for a snapshot to bring their row. */
  readonly awaitingSnapshot: number;
  /** Events by commit time, µs since 1970. */
  readonly commits: ReadonlyMap<bigint, number>;
  readonly lastSequence: string;
};

export type SinkParts = {
  readonly log: EventLog;
  readonly registry: SchemaRegistry;
  readonly warehouse: Warehouse;
  readonly logger: Log;
  readonly observer: SinkObserver;
  /** The same in every run. */
  readonly lag: SinkLag;
  /** Labels of the tables that an operator holds: their events stay in the log. Asked when a run begins. */
  readonly pausedTables: () => ReadonlySet<string>;
  /** Asks the source for snapshots; true once the request is durable there, false when the source makes none. */
  readonly requestSnapshot: (tables: readonly TableName[], reason: string) => Promise<boolean>;
};

export function sayLag({ lag, observer }: Pick<SinkParts, "lag" | "observer">): void {
  if (lag.records !== null) observer.lag(lag.records);
}
