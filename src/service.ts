// Where the parts are wired together: the connectors of a configuration over one log and one registry, supervised, with
// their metrics and their HTTP server. One log, one registry and one server a process.
import { setMaxListeners } from "node:events";
import type { LoadedConfig, SinkConfig, SourceConfig } from "./config/config.ts";
import type { TailraceError } from "./core/errors.ts";
import type { EventLog } from "./core/event-log.ts";
import type { Log } from "./core/log.ts";
import { formatLsn, ZERO_LSN, type Lsn } from "./core/lsn.ts";
import { version } from "./core/version.ts";
import { openLog, openRegistry, openWarehouse, sinkOptions, sourceOptions, type Registry } from "./parts.ts";
import { registryRoutes } from "./registry/routes.ts";
import { SinkLag } from "./sink/lag.ts";
import { runSink, type FlushReport, type SinkObserver } from "./sink/sink.ts";
import type { SourceMemory, SourceObserver } from "./source/parts.ts";
import { runSource } from "./source/source.ts";
import { supervise, type ConnectorStatus } from "./supervise.ts";
import { openHttpServer, type HttpServer } from "./telemetry/http.ts";
import { createMetrics, showState, type Metrics } from "./telemetry/metrics.ts";

export type ServiceOptions = {
  readonly logger: Log;
  /** Called after each flush of a sink. */
  readonly onFlush?: (sink: string, report: FlushReport) => void;
};

export type SourceStatus = ConnectorView & {
  /** PostgreSQL's notation; 0/0 before the first acknowledgement of this process. */
  readonly ackLsn: string;
  readonly publishedEvents: number;
  readonly deadLetters: number;
  readonly lagBytes: number | null;
  readonly retainedWalBytes: number | null;
};

export type SinkStatus = ConnectorView & {
  readonly source: string;
  readonly warehouse: string;
  readonly mergedEvents: number;
  readonly mergedRows: number;
  /** Keys with an open dead letter. */
  readonly openDeadLetters: number;
  readonly deadLetters: number;
  /** Records of the log that are not merged, when last seen; null before the checkpoint is known. */
  readonly lagRecords: number | null;
  readonly lastSequence: string;
};

type ConnectorView = {
  readonly name: string;
  readonly state: ConnectorStatus["state"];
  /** What it does within that state. */
  readonly phase: string;
  readonly restarts: number;
  readonly error: Record<string, unknown> | null;
};

export type ServiceStatus = { readonly version: string; readonly sources: readonly SourceStatus[]; readonly sinks: readonly SinkStatus[] };

/** How long a graceful stop may take before it is forced, ms. */
export const STOP_MS = 10_000;
/** Left for closing log and server after the connectors were forced, ms. */
const FORCE_EARLY_MS = 1_500;

export class Service {
  readonly httpAddress: string;
  readonly #http: HttpServer;
  readonly #log: EventLog;
  readonly #registry: Registry;
  readonly #running: Running;

  private constructor(http: HttpServer, log: EventLog, registry: Registry, running: Running) {
    this.httpAddress = http.url;
    this.#http = http;
    this.#log = log;
    this.#registry = registry;
    this.#running = running;
  }

  /** Starts everything; connectors that can't work yet wait by themselves. Throws HTTP_ADDRESS, LOG_LOCKED, LOG_UNREACHABLE (embedded log). */
  static async start(config: LoadedConfig, options: ServiceOptions): Promise<Service> {
    const metrics = createMetrics({ version });
    const log = await openLog(config.service, options.logger);
    let registry: Registry | null = null;
    try {
      registry = openRegistry(config.service, metrics);
      const { embedded } = registry;
      const running = new Running(config, options, metrics);
      const http = await openHttpServer({
        listen: config.service.http.listen,
        log: options.logger,
        metrics,
        notReady: () => running.notReady(),
        status: () => running.status(),
        ...(embedded === null ? {} : { registry: registryRoutes(embedded) }),
      });
      running.begin(log, registry);
      return new Service(http, log, registry, running);
    } catch (cause) {
      await registry?.close();
      await log[Symbol.asyncDispose]();
      throw cause;
    }
  }

  status(): ServiceStatus {
    return this.#running.status();
  }

  /** Flushes, acknowledges, releases slots and closes; forced after `ms`. Calling it again waits for the same stop. */
  async stop(ms = STOP_MS): Promise<void> {
    this.#stopping ??= this.#stop(ms);
    return this.#stopping;
  }

  #stopping: Promise<void> | null = null;

  async #stop(ms: number): Promise<void> {
    await this.#running.stop(Math.max(0, ms - FORCE_EARLY_MS));
    await this.#http[Symbol.asyncDispose]();
    await this.#registry.close();
    await this.#log[Symbol.asyncDispose]();
  }
}

/** The supervised connectors and what they have told so far. */
class Running {
  readonly #config: LoadedConfig;
  readonly #options: ServiceOptions;
  readonly #metrics: Metrics;
  readonly #stop = new AbortController();
  readonly #force = new AbortController();
  readonly #sources = new Map<string, SourceStatus>();
  readonly #sinks = new Map<string, SinkStatus>();
  #ended: Promise<unknown> = Promise.resolve();

  constructor(config: LoadedConfig, options: ServiceOptions, metrics: Metrics) {
    // Every connector's sessions, readers and writers listen, each while it lives.
    for (const { signal } of [this.#stop, this.#force]) setMaxListeners(0, signal);
    this.#config = config;
    this.#options = options;
    this.#metrics = metrics;
  }

  begin(log: EventLog, registry: Registry): void {
    this.#ended = Promise.all([
      ...this.#config.sources.map(async (source) => this.#superviseSource(source, log, registry)),
      ...this.#config.sinks.map(async (sink) => this.#superviseSink(sink, log, registry)),
    ]);
  }

  async stop(forceAfterMs: number): Promise<void> {
    this.#stop.abort();
    const timer = setTimeout(() => this.#force.abort(), forceAfterMs);
    await this.#ended;
    clearTimeout(timer);
  }

  status(): ServiceStatus {
    return { version, sources: [...this.#sources.values()], sinks: [...this.#sinks.values()] };
  }

  notReady(): { name: string; state: string; code?: string; reason?: string }[] {
    return [...this.#sources.values(), ...this.#sinks.values()]
      .filter(({ state }) => state !== "running")
      .map(({ name, state, error }) => {
        return { name, state, ...(error === null ? {} : { code: String(error.code), reason: String(error.message) }) };
      });
  }

  async #superviseSource(config: SourceConfig, log: EventLog, { registry }: Registry): Promise<void> {
    const { name } = config;
    const metrics = this.#metrics;
    const logger = this.#options.logger.child({ connector: name });
    const memory: SourceMemory = { text: false, said: new Set() };
    const update = (part: Partial<SourceStatus>): void => {
      const before = this.#sources.get(name) ?? newSource(name);
      this.#sources.set(name, { ...before, ...part });
    };
    const observer = (running: () => void): SourceObserver => ({
      state: (phase) => {
        if (phase === "streaming") running();
        update({ phase });
      },
      published: ({ tables, durationMs, newestCommitMicros }) => {
        let events = 0;
        for (const { table, op, events: count } of tables) {
          metrics.sourceEvents.inc({ source: name, op, table }, count);
          events += count;
        }
        metrics.logPublishDuration.observe({ source: name }, durationMs / 1_000);
        metrics.sourceLastEventTimestamp.set({ source: name }, Number(newestCommitMicros) / 1_000_000);
        update({ publishedEvents: (this.#sources.get(name)?.publishedEvents ?? 0) + events });
      },
      deadLetter: (code) => {
        metrics.deadLetters.inc({ connector: name, code });
        update({ deadLetters: (this.#sources.get(name)?.deadLetters ?? 0) + 1 });
      },
      acknowledged: (lsn: Lsn) => {
        metrics.sourceAckLsn.set({ source: name }, Number(lsn));
        update({ ackLsn: formatLsn(lsn) });
      },
      wal: (lagBytes, retainedWalBytes, safeBytes) => {
        metrics.sourceLagBytes.set({ source: name }, lagBytes);
        metrics.slotRetainedWalBytes.set({ source: name }, retainedWalBytes);
        if (safeBytes !== null) metrics.slotSafeWalBytes.set({ source: name }, safeBytes);
        update({ lagBytes, retainedWalBytes });
      },
      bytesInFlight: (bytes) => metrics.logBytesInFlight.set({ source: name }, bytes),
    });
    await supervise({
      name,
      logger,
      stop: this.#stop.signal,
      run: async (running) =>
        runSource(
          sourceOptions(config),
          { log, registry, logger, observer: observer(running) },
          memory,
          this.#stop.signal,
          this.#force.signal,
        ),
      changed: (status) => {
        update(viewOf(status));
        showState(metrics.sourceState, { source: name }, status.state);
      },
      failed: (error, waitedMs) => this.#failed(name, error, waitedMs),
    });
  }

  async #superviseSink(config: SinkConfig, log: EventLog, { registry }: Registry): Promise<void> {
    const { name } = config;
    const source = this.#config.sources.find((candidate) => candidate.name === config.source);
    if (source === undefined) return; // the configuration's check has refused it
    const metrics = this.#metrics;
    const logger = this.#options.logger.child({ connector: name });
    const warehouse = openWarehouse(config);
    const lag = new SinkLag();
    const update = (part: Partial<SinkStatus>): void => {
      const before = this.#sinks.get(name) ?? newSink(name, config.source, warehouse.address);
      this.#sinks.set(name, { ...before, ...part });
    };
    const observer = (running: () => void): SinkObserver => ({
      state: (phase) => {
        if (phase === "reading") running();
        update({ phase });
      },
      lag: (lagRecords) => {
        metrics.sinkLagRecords.set({ sink: name }, lagRecords);
        update({ lagRecords });
      },
      flushed: (report) => {
        this.#flushed(name, report);
        const before = this.#sinks.get(name);
        const rows = report.merged.reduce((sum, { rows: count }) => sum + count, 0);
        update({
          mergedEvents: (before?.mergedEvents ?? 0) + report.events,
          mergedRows: (before?.mergedRows ?? 0) + rows,
          deadLetters: (before?.deadLetters ?? 0) + report.deadLetters.length,
          openDeadLetters: report.openLetters,
          ...(report.lastSequence === "" ? {} : { lastSequence: report.lastSequence }),
        });
        this.#options.onFlush?.(name, report);
      },
    });
    await supervise({
      name,
      logger,
      stop: this.#stop.signal,
      run: async (running) =>
        runSink(
          sinkOptions(config, source),
          { log, registry, warehouse, logger, observer: observer(running), lag },
          this.#stop.signal,
          this.#force.signal,
        ),
      changed: (status) => {
        update(viewOf(status));
        showState(metrics.sinkState, { sink: name }, status.state);
      },
      failed: (error, waitedMs) => this.#failed(name, error, waitedMs),
    });
    await warehouse[Symbol.asyncDispose]();
  }

  #flushed(sink: string, report: FlushReport): void {
    const metrics = this.#metrics;
    const nowMs = Date.now();
    metrics.sinkEvents.inc({ sink }, report.events);
    metrics.sinkFlushDuration.observe({ sink }, report.durationMs / 1_000);
    metrics.warehouseLockWait.observe({ sink }, report.openMs / 1_000);
    metrics.sinkLastCommitTimestamp.set({ sink }, nowMs / 1_000);
    for (const { table, rows } of report.merged)
      if (rows > 0) metrics.sinkRowsMerged.inc({ sink, table: `${table.schema}.${table.name}` }, rows);
    for (const { code } of report.deadLetters) metrics.deadLetters.inc({ connector: sink, code });
    for (const micros of report.commits.keys())
      metrics.endToEndDuration.observe({ sink }, Math.max(0, nowMs / 1_000 - Number(micros) / 1_000_000));
  }

  #failed(connector: string, error: TailraceError, waitedMs: number): void {
    this.#metrics.errors.inc({ code: error.code });
    if (waitedMs === 0) return;
    this.#metrics.connectorRestarts.inc({ connector });
    this.#metrics.waitingSeconds.inc({ connector, reason: error.code }, waitedMs / 1_000);
  }
}

function viewOf(status: ConnectorStatus): Pick<ConnectorView, "state" | "restarts" | "error"> {
  return { state: status.state, restarts: status.restarts, error: status.error?.toJSON() ?? null };
}

function newView(name: string): ConnectorView {
  return { name, state: "starting", phase: "starting", restarts: 0, error: null };
}

function newSource(name: string): SourceStatus {
  return { ...newView(name), ackLsn: formatLsn(ZERO_LSN), publishedEvents: 0, deadLetters: 0, lagBytes: null, retainedWalBytes: null };
}

function newSink(name: string, source: string, warehouse: string): SinkStatus {
  const counts = { mergedEvents: 0, mergedRows: 0, openDeadLetters: 0, deadLetters: 0, lagRecords: null, lastSequence: "" };
  return { ...newView(name), source, warehouse, ...counts };
}
