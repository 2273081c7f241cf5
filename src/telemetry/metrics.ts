// Every metric by name. docs/metrics.md lists the same (a test compares the two).
import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from "prom-client";
import { connectorStates, type ConnectorState } from "./log.ts";

type Definition<Labels extends readonly string[] = readonly string[]> = {
  /** Without the prefix `tailrace_`. */
  readonly name: string;
  readonly help: string;
  readonly labels: Labels;
} & ({ readonly kind: "counter" | "gauge" } | { readonly kind: "histogram"; readonly buckets: readonly number[] });

const MILLISECONDS_TO_SECONDS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];
const FLUSHES = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60];
const END_TO_END = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600];

/** Labels are of bounded number: `table` stands on counters and gauges only, `code` is of errors.md or an HTTP status. */
export const metricDefinitions = {
  buildInfo: { kind: "gauge", name: "build_info", labels: ["version", "node"], help: "Always 1; the versions of Tailrace and Node" },
  sourceEvents: {
    kind: "counter",
    name: "source_events_total",
    labels: ["source", "op", "table"],
    help: "Events that are durable in the log; op is c, u, d or t",
  },
  sourceLagBytes: {
    kind: "gauge",
    name: "source_lag_bytes",
    labels: ["source"],
    help: "WAL between the server's end and what is acknowledged",
  },
  sourceLastEventTimestamp: {
    kind: "gauge",
    name: "source_last_event_timestamp_seconds",
    labels: ["source"],
    help: "Commit time, since 1970, of the last event that is durable in the log",
  },
  sourceAckLsn: {
    kind: "gauge",
    name: "source_ack_lsn",
    labels: ["source"],
    help: "LSN acknowledged to the slot, as a number of bytes (exact below 2^53)",
  },
  sourceState: {
    kind: "gauge",
    name: "source_state",
    labels: ["source", "state"],
    help: "1 for the source's present state, 0 for the others",
  },
  slotRetainedWalBytes: {
    kind: "gauge",
    name: "slot_retained_wal_bytes",
    labels: ["source"],
    help: "WAL that the server keeps for the slot",
  },
  slotSafeWalBytes: {
    kind: "gauge",
    name: "slot_safe_wal_bytes",
    labels: ["source"],
    help: "WAL that can still be written before the slot is lost; absent without max_slot_wal_keep_size",
  },
  snapshotRows: {
    kind: "counter",
    name: "snapshot_rows_total",
    labels: ["source", "table"],
    help: "Rows read by snapshots that are durable in the log",
  },
  snapshotProgress: {
    kind: "gauge",
    name: "snapshot_progress_ratio",
    labels: ["source", "table"],
    help: "Rows of an unfinished snapshot that are durable, of those that the table is thought to have; absent when that is not known",
  },
  snapshotState: {
    kind: "gauge",
    name: "snapshot_state",
    labels: ["source", "state"],
    help: "Unfinished snapshots in each state",
  },
  snapshotChunkBytes: {
    kind: "gauge",
    name: "snapshot_chunk_bytes",
    labels: ["source"],
    help: "Bytes of chunks that are being read or await their mark",
  },
  snapshotTouchedKeys: {
    kind: "gauge",
    name: "snapshot_touched_keys",
    labels: ["source"],
    help: "Keys that are kept because a chunk may have been read before they changed",
  },
  logPublishDuration: {
    kind: "histogram",
    name: "log_publish_duration_seconds",
    labels: ["source"],
    buckets: MILLISECONDS_TO_SECONDS,
    help: "From handing batches to the log until they are durable",
  },
  logBytesInFlight: {
    kind: "gauge",
    name: "log_bytes_in_flight",
    labels: ["source"],
    help: "Bytes of batches that the log has not yet made durable",
  },
  parkedTables: {
    kind: "gauge",
    name: "parked_tables",
    labels: ["source"],
    help: "Tables whose events go to a topic of their own, since their new schema is refused, until an operator unparks them",
  },
  versionedTables: {
    kind: "gauge",
    name: "versioned_tables",
    labels: ["source"],
    help: "Tables whose events go to the topic of a later version, since a new schema was refused",
  },
  registryRequests: {
    kind: "counter",
    name: "registry_requests_total",
    labels: ["code"],
    help: "Requests to the schema registry by HTTP status; none where no answer came",
  },
  registryRefusals: {
    kind: "counter",
    name: "registry_refusals_total",
    labels: [],
    help: "Schemas that the registry, or R-logical, refused",
  },
  sinkEvents: {
    kind: "counter",
    name: "sink_events_total",
    labels: ["sink"],
    help: "Events read from the log and merged or found merged before",
  },
  sinkRowsMerged: {
    kind: "counter",
    name: "sink_rows_merged_total",
    labels: ["sink", "table"],
    help: "Rows merged into targets, after folding by key",
  },
  sinkRowsAwaitingSnapshot: {
    kind: "gauge",
    name: "sink_rows_awaiting_snapshot",
    labels: ["sink"],
    help: "Keys whose events lack columns that a snapshot brings; they are kept until it does",
  },
  sinkGaps: {
    kind: "counter",
    name: "sink_gaps_total",
    labels: ["sink"],
    help: "Partitions whose log began behind what was merged; a snapshot was asked for",
  },
  sinkBarriersSkipped: {
    kind: "counter",
    name: "sink_barriers_skipped_total",
    labels: ["sink"],
    help: "Barriers, or ends of snapshots in them, of a dead process or of a topic that is gone",
  },
  sinkLagRecords: {
    kind: "gauge",
    name: "sink_lag_records",
    labels: ["sink"],
    help: "Records in the log after the checkpoint, all partitions together, also while the warehouse is down; absent until its checkpoint was read once",
  },
  sinkLastCommitTimestamp: {
    kind: "gauge",
    name: "sink_last_commit_timestamp_seconds",
    labels: ["sink"],
    help: "When, since 1970, the warehouse last committed a flush",
  },
  sinkFlushDuration: {
    kind: "histogram",
    name: "sink_flush_duration_seconds",
    labels: ["sink"],
    buckets: FLUSHES,
    help: "Stage, merge, checkpoint and commit of one flush",
  },
  sinkState: { kind: "gauge", name: "sink_state", labels: ["sink", "state"], help: "1 for the sink's present state, 0 for the others" },
  endToEndDuration: {
    kind: "histogram",
    name: "end_to_end_duration_seconds",
    labels: ["sink"],
    buckets: END_TO_END,
    help: "From the commit at the source to the commit in the warehouse, one observation a source transaction and flush",
  },
  deadLetters: { kind: "counter", name: "dead_letters_total", labels: ["connector", "code"], help: "Events set aside, by error code" },
  connectorRestarts: {
    kind: "counter",
    name: "connector_restarts_total",
    labels: ["connector"],
    help: "Times that a connector began anew by itself: after an error, or for what needs a new session, as tables that were added (errors_total has the codes)",
  },
  errors: { kind: "counter", name: "errors_total", labels: ["code"], help: "Errors by code, each try counted" },
  warehouseLockWait: {
    kind: "histogram",
    name: "warehouse_lock_wait_seconds",
    labels: ["sink"],
    buckets: FLUSHES,
    help: "Opening the warehouse for a flush, waits for another process that holds it included",
  },
  waitingSeconds: {
    kind: "counter",
    name: "waiting_seconds_total",
    labels: ["connector", "reason"],
    help: "Time spent waiting for something to be mended, by error code",
  },
} as const satisfies Record<string, Definition>;

type Definitions = typeof metricDefinitions;
type Kinds<Label extends string> = { counter: Counter<Label>; gauge: Gauge<Label>; histogram: Histogram<Label> };
type Instrument<D extends Definition> = Kinds<D["labels"][number]>[D["kind"]];

/** The instruments by name, and how they are read. A part is given those it writes, by a type of its own. */
export type Metrics = { readonly [Name in keyof Definitions]: Instrument<Definitions[Name]> } & {
  /** Prometheus's text format, for GET /metrics. */
  render(): Promise<{ readonly contentType: string; readonly text: string }>;
  /** Takes the gauges of a connector that is no more out; its counters stay, as counters do. */
  forget(connector: { readonly source: string } | { readonly sink: string }): Promise<void>;
};

/** Makes the instruments, in a registry of their own, beside prom-client's `process_…` and `nodejs_…`. */
export function createMetrics(build: { readonly version: string }): Metrics {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  const instruments = Object.fromEntries(
    Object.entries(metricDefinitions).map(([name, definition]) => [name, instrument(definition, registry)]),
  );
  // The keys and kinds are those of the definitions just mapped; TypeScript can't follow that through fromEntries.
  const metrics = instruments as unknown as Omit<Metrics, "render" | "forget">;
  metrics.buildInfo.set({ version: build.version, node: process.versions.node }, 1);
  return {
    ...metrics,
    render: async () => ({ contentType: registry.contentType, text: await registry.metrics() }),
    forget: async (connector) => {
      const [[label, name] = ["", ""]] = Object.entries<string>({ ...connector });
      for (const gauge of Object.values(instruments)) {
        if (!(gauge instanceof Gauge)) continue;
        for (const { labels } of (await gauge.get()).values) if (labels[label] === name) gauge.remove(labels);
      }
    },
  };
}

/** Sets `source_state` or `sink_state`: 1 for the state, 0 for each other one. */
export function showState(
  gauge: Gauge<"source" | "state"> | Gauge<"sink" | "state">,
  connector: { source: string } | { sink: string },
  state: ConnectorState,
): void {
  for (const candidate of connectorStates) (gauge as Gauge).set({ ...connector, state: candidate }, candidate === state ? 1 : 0);
}

/** Counts a failed try of a connector, and the pause of `waitedMs` after it; 0: it does not begin anew by itself. */
export function countFailure(
  metrics: Pick<Metrics, "errors" | "connectorRestarts" | "waitingSeconds">,
  connector: string,
  code: string,
  waitedMs: number,
): void {
  metrics.errors.inc({ code });
  if (waitedMs === 0) return;
  metrics.connectorRestarts.inc({ connector });
  metrics.waitingSeconds.inc({ connector, reason: code }, waitedMs / 1_000);
}

function instrument(definition: Definition, registry: Registry): Counter | Gauge | Histogram {
  const options = { name: `tailrace_${definition.name}`, help: definition.help, labelNames: definition.labels, registers: [registry] };
  if (definition.kind === "histogram") return new Histogram({ ...options, buckets: [...definition.buckets] });
  return definition.kind === "counter" ? new Counter(options) : new Gauge(options);
}
