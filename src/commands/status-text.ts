// The status of a service as a person reads it.
import type { ServiceStatus, SinkStatus, SourceStatus } from "../service/status.ts";

type Snapshot = SourceStatus["snapshots"][number];

/** One line each, without ends. */
export function statusLines({ version, sources, sinks }: ServiceStatus): readonly string[] {
  return [`tailrace ${version}`, ...sources.flatMap(sourceLines), ...sinks.flatMap(sinkLines)];
}

function sourceLines(source: SourceStatus): readonly string[] {
  const bytes = (value: number | null): string => (value === null ? "?" : `${(value / 1024 / 1024).toFixed(1)} MiB`);
  return [
    `source ${source.name}: ${source.state} (${source.phase})`,
    `  acknowledged ${source.ackLsn} · ${source.publishedEvents} events since start · lag ${bytes(source.lagBytes)} · WAL kept ${bytes(source.retainedWalBytes)} · ${source.deadLetters} dead letters · ${source.restarts} restarts`,
    ...pausedLines(source.pausedTables, "snapshots paused"),
    ...snapshotLines(source.snapshots),
    ...source.parked.flatMap(({ table, topic, difference, words, commands }) => [
      `  parked: ${table} → ${topic} (${difference}): ${words}`,
      `  fix: ${commands}; then tailrace unpark DIR ${source.name} ${table}`,
    ]),
    ...source.versions.map(
      ({ table, version, topic, difference, words }) => `  version ${version}: ${table} → ${topic} (${difference}): ${words}`,
    ),
    ...errorLines(source.error),
  ];
}

function sinkLines(sink: SinkStatus): readonly string[] {
  return [
    `sink ${sink.name} ← ${sink.source}: ${sink.state} (${sink.phase}) → ${sink.warehouse}`,
    `  ${sink.mergedEvents} events, ${sink.mergedRows} rows merged since start · ${sink.lagRecords ?? "?"} records behind · ${sink.openDeadLetters} open dead letters · ${sink.restarts} restarts`,
    ...(sink.awaitingSnapshot === 0 ? [] : [`  ${sink.awaitingSnapshot} rows wait for a snapshot to bring them`]),
    ...pausedLines(sink.pausedTables, "tables paused"),
    ...errorLines(sink.error),
  ];
}

function pausedLines(tables: readonly string[], what: string): readonly string[] {
  return tables.length === 0 ? [] : [`  ${what}: ${tables.join(", ")}`];
}

function errorLines(error: Record<string, unknown> | null): readonly string[] {
  return error === null ? [] : [`  ${String(error.code)}: ${String(error.message)}`, `  fix: ${String(error.remedy)}`];
}

const BAR = 20;

/** A table with a row a snapshot, and one below it for what it waits for. */
function snapshotLines(snapshots: readonly Snapshot[]): readonly string[] {
  if (snapshots.length === 0) return [];
  const rows = snapshots.map(snapshotCells);
  const head = ["snapshot", "state", "progress", "rows", "rows/s", "left"];
  const widths = head.map((title, at) => Math.max(title.length, ...rows.map((cells) => (cells[at] ?? "").length)));
  const isNumber = (at: number): boolean => at >= 3;
  const line = (cells: readonly string[]): string =>
    `  ${cells.map((cell, at) => (isNumber(at) ? cell.padStart(widths[at] ?? 0) : cell.padEnd(widths[at] ?? 0))).join("  ")}`.trimEnd();
  return [
    line(head),
    ...snapshots.flatMap(({ waitingFor }, at) => [line(rows[at] ?? []), ...(waitingFor === null ? [] : [`    waits for ${waitingFor}`])]),
  ];
}

function snapshotCells({ table, state, rows, estimatedRows, rowsPerSecond }: Snapshot): readonly string[] {
  const known = estimatedRows !== null && estimatedRows > 0;
  // An estimate is one: what is not complete does not say that it is.
  const share = known ? Math.min(0.99, rows / estimatedRows) : null;
  const filled = Math.floor((share ?? 0) * BAR);
  const bar = share === null ? "" : `${"█".repeat(filled)}${"░".repeat(BAR - filled)} ${Math.floor(share * 100)}%`;
  return [
    table,
    state,
    bar,
    known ? `${count(rows)} of ~${count(Math.max(rows, estimatedRows))}` : count(rows),
    count(Math.round(rowsPerSecond)),
    known && rowsPerSecond > 0 ? duration(Math.max(0, estimatedRows - rows) / rowsPerSecond) : "?",
  ];
}

function count(value: number): string {
  return value.toLocaleString("en-US");
}

function duration(seconds: number): string {
  if (seconds < 60) return `${Math.ceil(seconds)} s`;
  if (seconds < 3_600) return `${Math.ceil(seconds / 60)} min`;
  return `${Math.floor(seconds / 3_600)} h ${Math.floor((seconds % 3_600) / 60)} min`;
}
