// A sink as a connector: what it tells becomes status and metrics.
import type { SinkConfig, SourceConfig } from "../config/config.ts";
import type { EventLog } from "../core/event-log.ts";
import type { Log } from "../core/log.ts";
import type { SchemaRegistry } from "../core/schema-registry.ts";
import { tableLabel, type TableName } from "../core/table.ts";
import type { Warehouse } from "../core/warehouse.ts";
import { openWarehouse, sinkOptions } from "../parts.ts";
import { SinkLag } from "../sink/lag.ts";
import type { FlushReport, SinkObserver } from "../sink/parts.ts";
import { runSink } from "../sink/sink.ts";
import { countFailure, showState, type Metrics } from "../telemetry/metrics.ts";
import type { Drive } from "./connector.ts";
import { newView, viewOf, type SinkStatus } from "./status.ts";

export type SinkDriveParts = {
  readonly log: EventLog;
  readonly registry: SchemaRegistry;
  readonly logger: Log;
  readonly metrics: Metrics;
  readonly pausedTables: () => ReadonlySet<string>;
  /** Asks the sink's source; true once the request is durable, false when it makes none. Throws SOURCE_NOT_STREAMING. */
  readonly requestSnapshot: (tables: readonly TableName[], reason: string) => Promise<boolean>;
  /** Called after each flush. */
  readonly onFlush: (report: FlushReport) => void;
};

export class SinkDrive implements Drive {
  readonly #config: SinkConfig;
  readonly #source: SourceConfig;
  readonly #parts: SinkDriveParts;
  readonly #warehouse: Warehouse;
  readonly #lag = new SinkLag();
  #status: SinkStatus;

  constructor(config: SinkConfig, source: SourceConfig, parts: SinkDriveParts) {
    this.#config = config;
    this.#source = source;
    this.#parts = parts;
    this.#warehouse = openWarehouse(config);
    this.#status = {
      ...newView(config.name),
      source: config.source,
      warehouse: this.#warehouse.address,
      mergedEvents: 0,
      mergedRows: 0,
      openDeadLetters: 0,
      awaitingSnapshot: 0,
      deadLetters: 0,
      lagRecords: null,
      lastSequence: "",
    };
  }

  get status(): SinkStatus {
    return { ...this.#status, pausedTables: [...this.#parts.pausedTables()] };
  }

  async run(running: () => void, stop: AbortSignal, force: AbortSignal): Promise<void> {
    const { log, registry, logger, pausedTables, requestSnapshot } = this.#parts;
    const own = { warehouse: this.#warehouse, observer: this.#observer(running), lag: this.#lag };
    const parts = { log, registry, logger, ...own, pausedTables, requestSnapshot };
    await runSink(sinkOptions(this.#config, this.#source), parts, stop, force);
  }

  changed(status: Parameters<Drive["changed"]>[0]): void {
    this.#update(viewOf(status));
    if (status.state === "paused") this.#update({ phase: "its checkpoint stands still until it is resumed" });
    else if (status.state === "dropped") this.#update({ phase: "until its configuration changes or the service starts again" });
    showState(this.#parts.metrics.sinkState, { sink: this.#config.name }, status.state);
  }

  failed(...[error, waitedMs]: Parameters<Drive["failed"]>): void {
    countFailure(this.#parts.metrics, this.#config.name, error.code, waitedMs);
  }

  async close(): Promise<void> {
    await this.#parts.metrics.forget({ sink: this.#config.name });
    await this.#warehouse[Symbol.asyncDispose]();
  }

  #update(part: Partial<SinkStatus>): void {
    this.#status = { ...this.#status, ...part };
  }

  #observer(running: () => void): SinkObserver {
    const sink = this.#config.name;
    return {
      state: (phase) => {
        if (phase === "reading") running();
        this.#update({ phase });
      },
      lag: (lagRecords) => {
        this.#parts.metrics.sinkLagRecords.set({ sink }, lagRecords);
        this.#update({ lagRecords });
      },
      barriersSkipped: (count) => this.#parts.metrics.sinkBarriersSkipped.inc({ sink }, count),
      gaps: (partitions) => this.#parts.metrics.sinkGaps.inc({ sink }, partitions),
      flushed: (report) => {
        this.#count(report);
        const { mergedEvents, mergedRows, deadLetters } = this.#status;
        const rows = report.merged.reduce((sum, { rows: count }) => sum + count, 0);
        this.#update({
          mergedEvents: mergedEvents + report.events,
          mergedRows: mergedRows + rows,
          deadLetters: deadLetters + report.deadLetters.length,
          openDeadLetters: report.openLetters,
          awaitingSnapshot: report.awaitingSnapshot,
          ...(report.lastSequence === "" ? {} : { lastSequence: report.lastSequence }),
        });
        this.#parts.metrics.sinkRowsAwaitingSnapshot.set({ sink }, report.awaitingSnapshot);
        this.#parts.onFlush(report);
      },
    };
  }

  #count(report: FlushReport): void {
    const { metrics } = this.#parts;
    const sink = this.#config.name;
    const nowMs = Date.now();
    metrics.sinkEvents.inc({ sink }, report.events);
    metrics.sinkFlushDuration.observe({ sink }, report.durationMs / 1_000);
    metrics.warehouseLockWait.observe({ sink }, report.openMs / 1_000);
    metrics.sinkLastCommitTimestamp.set({ sink }, nowMs / 1_000);
    for (const { table, rows } of report.merged) if (rows > 0) metrics.sinkRowsMerged.inc({ sink, table: tableLabel(table) }, rows);
    for (const { code } of report.deadLetters) metrics.deadLetters.inc({ connector: sink, code });
    for (const micros of report.commits.keys())
      metrics.endToEndDuration.observe({ sink }, Math.max(0, nowMs / 1_000 - Number(micros) / 1_000_000));
  }
}
