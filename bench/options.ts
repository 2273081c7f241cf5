// The command line of the benchmark. Pure.
import { parseArgs } from "node:util";
import { loadNames, type LoadName } from "./loads.ts";

export const subjects = [
  "recvlogical",
  "embedded",
  "kafka",
  "debezium",
  "duckdb",
  "sinks",
  "targets",
  "snapshot",
  "visible",
  "latency",
  "pgbench",
] as const;
export type Subject = (typeof subjects)[number];

export type Options = {
  readonly rows: number;
  readonly repeats: number;
  readonly only: readonly Subject[];
  readonly loads: readonly LoadName[];
  /** Files to write; undefined: none. */
  readonly json: string | undefined;
  readonly chart: string | undefined;
};

export const USAGE = `usage: npm run bench -- [options]
  --rows N        rows of a run, default 1000000; a load of heavy rows writes fewer
  --repeats N     interleaved repeats, default 3; figures are medians
  --only A,B      what to measure, default all of it:
      recvlogical, embedded, kafka, debezium, duckdb   a slot drained, one against the other
      sinks                                            a log merged into each warehouse: inserts, and updates; with kafka, from there too
      targets                                          a flush of 2,000 changed rows, by the size of its target
      snapshot                                         a table read; with debezium and kafka, by them and to there too
      visible                                          commit to visible, at a steady rate; in Kafka, by debezium too, in DuckDB
      latency                                          commit to durable while a table is read
      pgbench                                          what the source database pays
    visible and pgbench are of kafka, debezium and duckdb, or of those of them that are named as well
  --load A,B      what is written for the slot, or all: ${loadNames.join(", ")}; default narrow
  --json FILE     every figure of every repeat
  --chart FILE    an SVG of the slot drained and of the time to visible
`;

/** The options, or what is wrong with them. */
export function parseOptions(args: readonly string[]): Options | string {
  const text = { type: "string" } as const;
  try {
    const { values } = parseArgs({
      args: [...args],
      options: { rows: text, repeats: text, only: text, load: text, json: text, chart: text },
    });
    const rows = Number(values.rows ?? 1_000_000);
    const repeats = Number(values.repeats ?? 3);
    if (!Number.isSafeInteger(rows) || rows < 1) return `--rows is a whole number, not ${String(values.rows)}`;
    if (!Number.isSafeInteger(repeats) || repeats < 1) return `--repeats is a whole number, not ${String(values.repeats)}`;
    const only = chosen("--only", values.only ?? subjects.join(","), subjects);
    if (typeof only === "string") return only;
    const asked = values.load ?? "narrow";
    const loads = asked === "all" ? loadNames : chosen("--load", asked, loadNames);
    if (typeof loads === "string") return loads;
    return { rows, repeats, only, loads, json: values.json, chart: values.chart };
  } catch (cause) {
    return cause instanceof Error ? cause.message : String(cause);
  }
}

/** Who takes part beside the slot that is drained: visible and pgbench, when they are asked for alone, are of all of them. */
export function isWanted({ only }: Pick<Options, "only">, who: "kafka" | "debezium" | "duckdb"): boolean {
  const named = only.some((name) => name === "kafka" || name === "debezium" || name === "duckdb");
  return named ? only.includes(who) : only.includes("visible") || only.includes("pgbench");
}

/** The names of a list, in the order of `known`. */
function chosen<T extends string>(option: string, list: string, known: readonly T[]): readonly T[] | string {
  const asked = list.split(",");
  const unknown = asked.find((name) => !known.some((one) => one === name));
  if (unknown !== undefined) return `${option} knows ${known.join(", ")}, not ${unknown}`;
  return known.filter((name) => asked.includes(name));
}
