// The tables that the benchmark prints. Pure.
import type { LatencyReport } from "./latency.ts";
import type { PgbenchReport } from "./pgbench.ts";
import { difference, noiseOf, pairOf, type Race, type Ranked } from "./race.ts";
import type { TargetCost } from "./target-sizes.ts";
import type { VisibleReport } from "./visible.ts";

export function raceTable({ about, server, rows }: Pick<Race, "about" | "server" | "rows">, ranked: readonly Ranked[]): string {
  const broker = ranked.some(({ brokerSecondsPerMillion }) => brokerSecondsPerMillion !== undefined);
  const starts = ranked.some(({ startMs }) => startMs !== undefined);
  const header = [`${about}, ${rows.toLocaleString("en-US")} rows`, "rows/s", "CPU s per 1M", server];
  const lines = ranked.map((result) => [
    result.title,
    result.rowsPerSecond.toLocaleString("en-US"),
    result.cpuSecondsPerMillion.toFixed(2),
    result.serverSecondsPerMillion.toFixed(2),
    ...(broker ? [result.brokerSecondsPerMillion?.toFixed(2) ?? ""] : []),
    `${Math.round(result.peakRssAnonBytes / 1024 / 1024)} MiB`,
    ...(starts ? [result.startMs === undefined ? "" : inMs(result.startMs)] : []),
  ]);
  const noise = noiseOf(ranked);
  const said = noise === null ? [] : [differs("rows/s", noise.rowsPerSecond), differs("CPU", noise.cpuSecondsPerMillion)];
  const heads = [...header, ...(broker ? ["broker s per 1M"] : []), "peak RssAnon", ...(starts ? ["start → first row"] : [])];
  return `${aligned([heads, ...lines])}${noiseLine(said)}\n`;
}

export function latencyTable({ perSecond, quiet, reading }: LatencyReport): string {
  const row = (title: string, { transactions, p50Ms, p95Ms, p99Ms, maxMs }: LatencyReport["quiet"]): readonly string[] => [
    title,
    transactions.toLocaleString("en-US"),
    ...[p50Ms, p95Ms, p99Ms, maxMs].map(inMs),
  ];
  return `${aligned([
    [`commit → durable in the log, ${perSecond} transactions/s`, "seen", "p50", "p95", "p99", "longest"],
    row("no snapshot", quiet),
    row("during a snapshot", reading),
  ])}\n`;
}

/** Nothing of nothing. */
export function targetsTable(costs: readonly TargetCost[]): string {
  if (costs[0] === undefined) return "";
  const changed = costs[0].changedRows.toLocaleString("en-US");
  const lines = costs.map(({ title, targetRows, openMs, flushMs, closeMs }) => [
    title,
    targetRows.toLocaleString("en-US"),
    ...[openMs, flushMs, closeMs].map(inMs),
  ]);
  return `${aligned([[`${changed} changed rows merged into`, "rows", "open", "flush", "close"], ...lines])}\n`;
}

/** One table a rate; nothing of nothing. */
export function visibleTable(reports: readonly VisibleReport[]): string {
  const rates = [...new Set(reports.map(({ changesPerSecond }) => changesPerSecond))];
  const tables = rates.map((rate) => {
    const among = reports.filter(({ changesPerSecond }) => changesPerSecond === rate);
    const rows = among[0]?.rowsPerTransaction ?? 1;
    const of = rows === 1 ? "of 1 row" : `of ${rows} rows`;
    const heading = `commit → visible, ${rate.toLocaleString("en-US")} changes/s in transactions ${of}`;
    const lines = among.map(({ title, reachedPerSecond, missing, p50Ms, p95Ms, p99Ms, maxMs }) => [
      title,
      reachedPerSecond.toLocaleString("en-US"),
      missing.toLocaleString("en-US"),
      ...[p50Ms, p95Ms, p99Ms, maxMs].map(inMs),
    ]);
    const pair = pairOf(among);
    const noise =
      pair === null
        ? []
        : [differs("p50", difference(pair[0].p50Ms, pair[1].p50Ms)), differs("p99", difference(pair[0].p99Ms, pair[1].p99Ms))];
    return `${aligned([[heading, "reached/s", "never seen", "p50", "p95", "p99", "longest"], ...lines])}${noiseLine(noise)}`;
  });
  return tables.map((text) => `${text}\n`).join("");
}

/** Nothing of nothing. */
export function pgbenchTable(reports: readonly PgbenchReport[]): string {
  const alone = reports[0];
  if (alone === undefined) return "";
  const lines = reports.map(({ title, tps, latencyMs, behindMs, cpuSecondsPerMillion }) => [
    title,
    Math.round(tps).toLocaleString("en-US"),
    percent(tps / alone.tps),
    inMs(latencyMs),
    behindMs === null ? "" : `${(behindMs / 1_000).toFixed(1)} s`,
    cpuSecondsPerMillion === null ? "" : cpuSecondsPerMillion.toFixed(2),
  ]);
  const header = ["pgbench beside", "transactions/s", "of alone", "latency", "behind at the end", "its CPU s per 1M changes"];
  const pair = pairOf(reports);
  const noise = pair === null ? [] : [differs("transactions/s", difference(pair[0].tps, pair[1].tps))];
  return `${aligned([header, ...lines])}${noiseLine(noise)}\n`;
}

function differs(figure: string, share: number): string {
  return `${percent(share)} in ${figure}`;
}

/** Nothing without a pair. */
function noiseLine(differences: readonly string[]): string {
  return differences.length === 0 ? "" : `noise: the same twice differs by ${differences.join(" and ")}\n`;
}

export function percent(share: number): string {
  return `${(share * 100).toFixed(1)}%`;
}

export function inMs(ms: number): string {
  return `${ms.toFixed(1)} ms`;
}

/** Columns under one another: the first to the left, the others to the right. */
export function aligned(lines: readonly (readonly string[])[]): string {
  const widths = (lines[0] ?? []).map((_, at) => Math.max(...lines.map((line) => line[at]?.length ?? 0)));
  const text = lines.map((line) =>
    line.map((cell, at) => (at === 0 ? cell.padEnd(widths[at] ?? 0) : cell.padStart(widths[at] ?? 0))).join("   "),
  );
  return `${text.join("\n")}\n`;
}
