// The tables that the benchmark prints. Pure.
import type { LatencyReport } from "./latency.ts";
import { noiseOf, type Race, type Ranked } from "./race.ts";

export function raceTable({ about, server, rows }: Pick<Race, "about" | "server" | "rows">, ranked: readonly Ranked[]): string {
  const broker = ranked.some(({ brokerSecondsPerMillion }) => brokerSecondsPerMillion !== undefined);
  const header = [`${about}, ${rows.toLocaleString("en-US")} rows`, "rows/s", "CPU s per 1M", server];
  const lines = ranked.map((result) => [
    result.title,
    result.rowsPerSecond.toLocaleString("en-US"),
    result.cpuSecondsPerMillion.toFixed(2),
    result.serverSecondsPerMillion.toFixed(2),
    ...(broker ? [result.brokerSecondsPerMillion?.toFixed(2) ?? ""] : []),
    `${Math.round(result.peakRssAnonBytes / 1024 / 1024)} MiB`,
  ]);
  const noise = noiseOf(ranked);
  const said =
    noise === null
      ? ""
      : `noise: the same twice differs by ${percent(noise.rowsPerSecond)} in rows/s and ${percent(noise.cpuSecondsPerMillion)} in CPU\n`;
  return `${aligned([[...header, ...(broker ? ["broker s per 1M"] : []), "peak RssAnon"], ...lines])}${said}\n`;
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
