// After the service has stopped: the log read whole, the copy compared with the database, and the figures that follow.
import { DuckDBInstance, type DuckDBConnection } from "@duckdb/node-api";
import type { LoadedConfig } from "../config/config.ts";
import type { OffsetRange } from "../core/event-log.ts";
import type { TableName } from "../core/table.ts";
import { openLog, openRegistry } from "../parts.ts";
import { openLog as openLogger } from "../telemetry/log.ts";
import { compareTables, type Comparison } from "./compare.ts";
import { SINK } from "./config.ts";
import { scanLog, type LogScan } from "./scan.ts";

/** All of it counted from what stands in the log and in the copy, over every run in this folder. */
export type Proof = {
  readonly scan: LogScan;
  readonly comparison: Comparison;
  /** Rows that flushes changed. */
  readonly merged: number;
  /** Of the source and of the sink, whatever became of them since. */
  readonly deadLetters: number;
  /** Records that stand in the log beyond the sink's checkpoint: while there are any, the comparison says nothing. */
  readonly unmerged: number;
};

/** Opens log, registry and copy for itself: nobody else may hold them. `url`: the database of `tables`, at rest. */
export async function prove(config: LoadedConfig, url: string, tables: readonly TableName[], signal: AbortSignal): Promise<Proof> {
  const scan = await scanAll(config, tables, signal);
  const warehouse = config.sinks[0]?.warehouse;
  if (warehouse?.kind !== "duckdb") throw new TypeError("the quickstart's sink is a DuckDB file");
  const instance = await DuckDBInstance.create(warehouse.path, { access_mode: "READ_ONLY" });
  try {
    const connection = await instance.connect();
    const [[merged = 0]] = await numbers(connection, `SELECT coalesce(sum(merged), 0)::DOUBLE FROM _tailrace.runs WHERE sink = '${SINK}'`);
    const [[letters = 0]] = await numbers(connection, `SELECT count(*)::DOUBLE FROM _tailrace.dead_letters WHERE sink = '${SINK}'`);
    return {
      scan,
      comparison: await compareTables(url, connection, tables, signal),
      merged,
      deadLetters: letters + scan.deadLetters,
      unmerged: await unmergedRecords(connection, scan.ranges),
    };
  } finally {
    instance.closeSync();
  }
}

async function scanAll(config: LoadedConfig, tables: readonly TableName[], signal: AbortSignal): Promise<LogScan> {
  const prefix = config.sources[0]?.topics.prefix ?? "";
  await using log = await openLog(config.service, openLogger({ level: "silent" }));
  const { registry, close } = await openRegistry(config.service);
  try {
    return await scanLog({ log, registry }, prefix, tables, signal);
  } finally {
    await close();
  }
}

async function unmergedRecords(connection: DuckDBConnection, ranges: readonly OffsetRange[]): Promise<number> {
  const result = await connection.run(`SELECT topic, partition, next_offset::DOUBLE FROM _tailrace.checkpoints WHERE sink = '${SINK}'`);
  const rows = (await result.getRows()) as [topic: string, partition: number, next: number][];
  return ranges.reduce((sum, { topic, partition, start, end }) => {
    const next = rows.find((row) => row[0] === topic && row[1] === partition)?.[2] ?? start;
    return sum + Math.max(0, end - next);
  }, 0);
}

async function numbers(connection: DuckDBConnection, sql: string): Promise<[number[]]> {
  const [row] = (await (await connection.run(sql)).getRows()) as number[][];
  return [row ?? []];
}
