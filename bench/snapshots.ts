// Ways to read a whole table: COPY by PostgreSQL's own client, and Tailrace's snapshot into either log, with one session
// or several.
import { spawn } from "node:child_process";
import { rm } from "node:fs/promises";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type pg from "pg";
import { openEmbeddedLog } from "../src/log/embedded/embedded-log.ts";
import { perMillion, perSecond, type Contestant, type Surroundings } from "./contestant.ts";
import { childrenCpuSeconds, ProcessMeter } from "./process-meter.ts";
import { configure, ended, limitMs, pidOf, remember, startService, stopService, untilPublished, whatArrived } from "./service-process.ts";
import { dropSource } from "./streams.ts";
import { deleteTopics, measuredInKafka, openTopics, recordsOf, untilArrived, type KafkaParts } from "./topics.ts";

export const READ_TABLE = "public.stock";
const START_MS = 60_000;

/** `COPY … TO STDOUT` to /dev/null, binary, from psql's start to its end. */
export function copyOut(program: string, { url, postmaster }: Surroundings): Contestant {
  return {
    prepare: async () => undefined,
    run: async (rows) => {
      const before = childrenCpuSeconds(postmaster);
      const started = Date.now();
      const child = remember(
        spawn(program, ["-d", url, "-X", "-q", "-c", `COPY ${READ_TABLE} TO STDOUT (FORMAT binary)`], {
          stdio: ["ignore", "ignore", "inherit"],
        }),
      );
      const meter = new ProcessMeter(pidOf(child));
      const code = await ended(child, limitMs(rows));
      const finished = Date.now();
      meter.stop();
      if (code !== 0) throw new Error(`psql ended with ${code ?? "a signal"}`);
      return {
        rowsPerSecond: perSecond(rows, finished - started),
        cpuSecondsPerMillion: perMillion(meter.totalCpuSeconds, rows),
        serverSecondsPerMillion: perMillion(childrenCpuSeconds(postmaster) - before, rows),
        peakRssAnonBytes: meter.peakRssAnonBytes,
      };
    },
    tidy: async () => undefined,
  };
}

/**
 * A source's first start over the table, with `parallel` sessions: from the first of them, with the waits before anything
 * is read, until the last rows were handed to the log.
 */
export function snapshot(name: string, { client, url, postmaster, folder }: Surroundings, parallel: number): Contestant {
  const dir = path.join(folder, name);
  let http = "";
  return {
    prepare: async () => {
      http = await configure({ name, url, dir, tables: [READ_TABLE], snapshot: `{ mode: initial, parallel: ${parallel} }`, kafka: null });
    },
    run: async (rows) => {
      const before = childrenCpuSeconds(postmaster);
      const service = startService(dir);
      const meter = new ProcessMeter(pidOf(service));
      const startedMs = await firstSession(client, `tailrace ${name} snapshot`);
      await untilPublished(service, http, rows);
      const serverSeconds = childrenCpuSeconds(postmaster) - before;
      meter.stop();
      await stopService(service);
      await using log = await openEmbeddedLog({ path: path.join(dir, "log") });
      const arrived = await whatArrived(log, [`${name}.${READ_TABLE}`]);
      if (arrived.records !== rows) throw new Error(`${arrived.records} records stand in the log, the table has ${rows} rows`);
      return {
        rowsPerSecond: perSecond(rows, arrived.lastMs - startedMs),
        cpuSecondsPerMillion: perMillion(meter.cpuSeconds(startedMs, arrived.lastMs), rows),
        serverSecondsPerMillion: perMillion(serverSeconds, rows),
        peakRssAnonBytes: meter.peakRssAnonBytes,
      };
    },
    tidy: async () => {
      await dropSource(client, name);
      await rm(dir, { recursive: true, force: true });
    },
  };
}

/** The same into Kafka: from the first record that is seen there, as for others. */
export function snapshotToKafka(
  name: string,
  { client, url, postmaster, folder }: Surroundings,
  kafka: KafkaParts,
  parallel: number,
): Contestant {
  const dir = path.join(folder, name);
  const topics = [`${name}.${READ_TABLE}`];
  const log = openTopics(kafka);
  return {
    prepare: async () => {
      await configure({ name, url, dir, tables: [READ_TABLE], snapshot: `{ mode: initial, parallel: ${parallel} }`, kafka });
    },
    run: async (rows) => {
      const before = childrenCpuSeconds(postmaster);
      const service = startService(dir);
      const meter = new ProcessMeter(pidOf(service));
      const isAlive = (): boolean => service.exitCode === null;
      const arrived = await untilArrived({ log, topics, rows, limit: limitMs(rows), isAlive }, kafka).finally(() => meter.stop());
      const serverSeconds = childrenCpuSeconds(postmaster) - before;
      await stopService(service);
      return measuredInKafka({ ...arrived, records: await recordsOf(log, topics) }, { rows, meter, serverSeconds });
    },
    tidy: async () => {
      await dropSource(client, name);
      await deleteTopics(log, topics);
      await log[Symbol.asyncDispose]();
      await rm(dir, { recursive: true, force: true });
    },
  };
}

/** When the first session of this application name began, ms since 1970; waits for it. */
async function firstSession(client: pg.Client, application: string): Promise<number> {
  const deadline = performance.now() + START_MS;
  while (performance.now() < deadline) {
    const { rows } = await client.query<{ ms: number | null }>(
      "SELECT (extract(epoch FROM min(backend_start)) * 1000)::float8 AS ms FROM pg_stat_activity WHERE application_name = $1",
      [application],
    );
    const ms = rows[0]?.ms ?? null;
    if (ms !== null) return ms;
    await sleep(10);
  }
  throw new Error(`no session of ${application}`);
}
