// From the log into each warehouse: a sink that finds a million events in front of it, inserts of new keys or updates of all.
import { spawn } from "node:child_process";
import { rm } from "node:fs/promises";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { DuckDBInstance } from "@duckdb/node-api";
import pg from "pg";
import { barrierTopic } from "../src/core/barrier.ts";
import { stateTopic } from "../src/core/source-state.ts";
import { perMillion, perSecond, type Contestant, type Measured, type Surroundings } from "./contestant.ts";
import { childrenCpuSeconds, ProcessMeter } from "./process-meter.ts";
import { ended, limitMs, pidOf, remember } from "./service-process.ts";
import { endOfInserts, fillLog, openParts, prefixOf, type LogPlace } from "./sink-log.ts";
import { deleteTopics, type KafkaParts } from "./topics.ts";

/** `kafka` null: from the embedded log. */
export type SinkRace = {
  readonly warehouse: "duckdb" | "postgres";
  readonly events: "inserts" | "updates";
  readonly kafka: KafkaParts | null;
};

export function sinkRaces(kafka: KafkaParts | null): readonly SinkRace[] {
  const embedded = (["duckdb", "postgres"] as const).flatMap((warehouse) =>
    (["inserts", "updates"] as const).map((events): SinkRace => ({ warehouse, events, kafka: null })),
  );
  return kafka === null ? embedded : [...embedded, { warehouse: "duckdb", events: "inserts", kafka }];
}

/** The log is filled, and for updates the inserts are merged, when the run begins. */
export function sink(
  name: string,
  { client, url, folder, postmaster }: Surroundings,
  { warehouse, events, kafka }: SinkRace,
  rows: number,
): Contestant {
  const dir = path.join(folder, name);
  const log: LogPlace = { folder: dir, kafka: kafka === null ? null : { brokers: kafka.brokers, registry: kafka.registry } };
  const place = warehouse === "duckdb" ? path.join(dir, "sink.duckdb") : withDatabase(url, name);
  const count = async (): Promise<readonly number[]> => (warehouse === "duckdb" ? askDuckdb : askPostgres)(place, countRows(rows));
  return {
    prepare: async () => {
      if (warehouse === "postgres") await client.query(`CREATE DATABASE ${name}`);
      await fillLog(log, "inserts", rows);
      if (events === "inserts") return;
      await merge(log, warehouse, place, rows);
      await fillLog(log, "updates", rows);
    },
    run: async () => {
      const before = childrenCpuSeconds(postmaster);
      const merged = await merge(log, warehouse, place, rows);
      const server = childrenCpuSeconds(postmaster) - before;
      const found = await count();
      const expected = [rows, events === "updates" ? rows : 0];
      if (found.join() !== expected.join())
        throw new Error(`${name}: ${found.join(", ")} rows, updated rows; expected ${expected.join(", ")}`);
      return { ...merged, serverSecondsPerMillion: warehouse === "postgres" ? perMillion(server, rows) : 0 };
    },
    tidy: async () => {
      if (warehouse === "postgres") await client.query(`DROP DATABASE ${name}`);
      await rm(dir, { recursive: true, force: true });
      if (kafka !== null) await deleteLog(log);
    },
  };
}

async function deleteLog(place: LogPlace): Promise<void> {
  const { log, close } = await openParts(place);
  await deleteTopics(log, [`${prefixOf(place)}.public.orders`, stateTopic(prefixOf(place)), barrierTopic(prefixOf(place))]);
  await close();
}

/** Runs a sink until it has merged so many events more. */
async function merge(log: LogPlace, warehouse: string, place: string, rows: number): Promise<Measured> {
  const script = fileURLToPath(new URL("./sink-process.js", import.meta.url));
  const flags = process.env.BENCH_SINK_FLAGS?.split(" ") ?? [];
  const child = remember(
    spawn(process.execPath, [...flags, script, JSON.stringify(log), warehouse, place, String(rows)], {
      stdio: ["ignore", "pipe", "inherit"],
    }),
  );
  const meter = new ProcessMeter(pidOf(child));
  let said = "";
  child.stdout?.on("data", (bytes: Buffer) => (said += bytes.toString()));
  const code = await ended(child, limitMs(rows));
  meter.stop();
  if (code !== 0) throw new Error(`the sink ended with ${code ?? "a signal"}`);
  const { ms, cpuSeconds } = JSON.parse(said) as { ms: number; cpuSeconds: number };
  return {
    rowsPerSecond: perSecond(rows, ms),
    cpuSecondsPerMillion: perMillion(cpuSeconds, rows),
    serverSecondsPerMillion: 0,
    peakRssAnonBytes: meter.peakRssAnonBytes,
  };
}

/** All rows, and those that an update came to. */
const countRows = (rows: number): string =>
  `SELECT count(*)::text, (count(*) FILTER (WHERE _tailrace_seq > '${endOfInserts(rows)}'))::text FROM bench.orders`;

async function askDuckdb(file: string, sql: string): Promise<readonly number[]> {
  const instance = await DuckDBInstance.create(file);
  const connection = await instance.connect();
  const [row = []] = (await connection.runAndReadAll(sql)).getRowsJson();
  connection.closeSync();
  instance.closeSync();
  return row.map(Number);
}

async function askPostgres(url: string, sql: string): Promise<readonly number[]> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  const { rows } = await client.query<string[]>({ text: sql, rowMode: "array" });
  await client.end();
  return (rows[0] ?? []).map(Number);
}

/** The same server's other database. */
export function withDatabase(url: string, name: string): string {
  const at = new URL(url);
  at.pathname = `/${name}`;
  return at.href;
}
