// A source as a connector: what it tells becomes status and metrics.
import type { SourceConfig } from "../config/config.ts";
import type { EventLog } from "../core/event-log.ts";
import type { Log } from "../core/log.ts";
import { formatLsn, ZERO_LSN } from "../core/lsn.ts";
import { topicName } from "../core/naming.ts";
import type { SchemaRegistry } from "../core/schema-registry.ts";
import { tableLabel } from "../core/table.ts";
import { sourceOptions } from "../parts.ts";
import type { SourceControl } from "../source/control.ts";
import { newMemory, type SourceMemory, type SourceObserver } from "../source/parts.ts";
import type { SnapshotStatus } from "../source/snapshot-status.ts";
import { watchIdleSlot } from "../source/idle-slot.ts";
import { runSource } from "../source/source.ts";
import { countFailure, showState, type Metrics } from "../telemetry/metrics.ts";
import type { Drive } from "./connector.ts";
import { newView, OVER, viewOf, type SourceStatus } from "./status.ts";

export type SourceDriveParts = {
  readonly log: EventLog;
  readonly registry: SchemaRegistry;
  readonly logger: Log;
  readonly metrics: Metrics;
  readonly pausedTables: () => ReadonlySet<string>;
};

export class SourceDrive implements Drive {
  readonly #config: SourceConfig;
  readonly #parts: SourceDriveParts;
  readonly #memory: SourceMemory = newMemory();
  #status: SourceStatus;
  #control: SourceControl | null = null;
  /** The last run ended by itself, without an error. */
  #isOver = false;
  /** While it does not run and its slot keeps WAL. */
  #idle: { readonly over: AbortController; readonly ended: Promise<void> } | null = null;
  /** What stood in the gauges of snapshots when they were last set. */
  #shown: readonly SnapshotStatus[] = [];

  constructor(config: SourceConfig, parts: SourceDriveParts) {
    this.#config = config;
    this.#parts = parts;
    this.#status = {
      ...newView(config.name),
      ackLsn: formatLsn(ZERO_LSN),
      publishedEvents: 0,
      deadLetters: 0,
      lagBytes: null,
      retainedWalBytes: null,
      snapshots: [],
      parked: [],
      versions: [],
    };
  }

  get status(): SourceStatus {
    return { ...this.#status, pausedTables: [...this.#parts.pausedTables()] };
  }

  /** null while it does not stream. */
  get control(): SourceControl | null {
    return this.#control;
  }

  async run(running: () => void, stop: AbortSignal, force: AbortSignal): Promise<void> {
    const { log, registry, logger, pausedTables } = this.#parts;
    const control = (to: SourceControl | null): void => void (this.#control = to);
    const parts = { log, registry, logger, observer: this.#observer(running), control, pausedTables };
    this.#isOver = false;
    try {
      await runSource(sourceOptions(this.#config), parts, this.#memory, stop, force);
      this.#isOver = !stop.aborted;
    } finally {
      this.#control = null;
    }
  }

  changed(status: Parameters<Drive["changed"]>[0]): void {
    this.#update(viewOf(status));
    if (status.state === "stopped" && this.#isOver) this.#update({ phase: OVER });
    else if (status.state === "paused") this.#update({ phase: "its slot keeps WAL until it is resumed" });
    else if (status.state === "dropped") this.#update({ phase: "until its configuration changes or the service starts again" });
    showState(this.#parts.metrics.sourceState, { source: this.#config.name }, status.state);
    const isIdle = status.state === "paused" || (status.state === "stopped" && status.error !== null);
    if (!isIdle) this.#idle?.over.abort();
    else if (this.#idle === null || this.#idle.over.signal.aborted) this.#watchSlot();
  }

  #watchSlot(): void {
    const over = new AbortController();
    const ended = watchIdleSlot(sourceOptions(this.#config), (...wal) => this.#wal(...wal), over.signal);
    this.#idle = { over, ended };
  }

  failed(...[error, waitedMs]: Parameters<Drive["failed"]>): void {
    countFailure(this.#parts.metrics, this.#config.name, error.code, waitedMs);
  }

  async close(): Promise<void> {
    this.#idle?.over.abort();
    await this.#idle?.ended;
    await this.#parts.metrics.forget({ source: this.#config.name });
  }

  #update(part: Partial<SourceStatus>): void {
    this.#status = { ...this.#status, ...part };
  }

  #observer(running: () => void): SourceObserver {
    const { metrics } = this.#parts;
    const source = this.#config.name;
    return {
      state: (phase) => {
        if (phase === "streaming") running();
        this.#update({ phase });
      },
      published: ({ tables, durationMs, newestCommitMicros }) => {
        let events = 0;
        for (const { table, op, events: count } of tables) {
          metrics.sourceEvents.inc({ source, op, table }, count);
          events += count;
        }
        metrics.logPublishDuration.observe({ source }, durationMs / 1_000);
        metrics.sourceLastEventTimestamp.set({ source }, Number(newestCommitMicros) / 1_000_000);
        this.#update({ publishedEvents: this.#status.publishedEvents + events });
      },
      deadLetter: (code) => {
        metrics.deadLetters.inc({ connector: source, code });
        this.#update({ deadLetters: this.#status.deadLetters + 1 });
      },
      acknowledged: (lsn) => {
        metrics.sourceAckLsn.set({ source }, Number(lsn));
        this.#update({ ackLsn: formatLsn(lsn) });
      },
      wal: (...wal) => this.#wal(...wal),
      bytesInFlight: (bytes) => metrics.logBytesInFlight.set({ source }, bytes),
      parked: (tables) => {
        metrics.parkedTables.set({ source }, tables.length);
        this.#update({
          parked: tables.map(({ table, topic, difference, words, commands }) => {
            return { table: tableLabel(table), topic: topic.name, difference, words, commands };
          }),
        });
      },
      versions: (tables) => {
        metrics.versionedTables.set({ source }, tables.length);
        this.#update({
          versions: tables.map(({ table, version, difference, words }) => {
            const topic = topicName(this.#config.topics.prefix, table, version);
            return { table: tableLabel(table), version, topic, difference, words };
          }),
        });
      },
      snapshots: (snapshots) => {
        this.#showSnapshots(snapshots);
        this.#update({ snapshots });
      },
      snapshotRows: (table, rows) => metrics.snapshotRows.inc({ source, table }, rows),
      snapshotMemory: (chunkBytes, touchedKeys) => {
        metrics.snapshotChunkBytes.set({ source }, chunkBytes);
        metrics.snapshotTouchedKeys.set({ source }, touchedKeys);
      },
    };
  }

  #wal(lagBytes: number, retainedWalBytes: number, safeBytes: number | null): void {
    const { metrics } = this.#parts;
    const source = this.#config.name;
    metrics.sourceLagBytes.set({ source }, lagBytes);
    metrics.slotRetainedWalBytes.set({ source }, retainedWalBytes);
    if (safeBytes !== null) metrics.slotSafeWalBytes.set({ source }, safeBytes);
    this.#update({ lagBytes, retainedWalBytes });
  }

  #showSnapshots(snapshots: readonly SnapshotStatus[]): void {
    const { metrics } = this.#parts;
    const source = this.#config.name;
    for (const { table, state } of this.#shown) {
      metrics.snapshotProgress.remove({ source, table });
      metrics.snapshotState.set({ source, state }, 0);
    }
    for (const { table, state, rows, estimatedRows } of snapshots) {
      metrics.snapshotState.inc({ source, state });
      if (estimatedRows !== null && estimatedRows > 0) metrics.snapshotProgress.set({ source, table }, Math.min(1, rows / estimatedRows));
    }
    this.#shown = snapshots;
  }
}
