// Ways to drain the same slot's worth of changes: PostgreSQL's own client, and Tailrace's source into each log.
import { spawn } from "node:child_process";
import { rm } from "node:fs/promises";
import path from "node:path";
import type pg from "pg";
import { openEmbeddedLog } from "../src/log/embedded/embedded-log.ts";
import { perMillion, perSecond, type Contestant, type Surroundings } from "./contestant.ts";
import type { Load } from "./loads.ts";
import { ProcessMeter } from "./process-meter.ts";
import {
  configure,
  ended,
  limitMs,
  pidOf,
  remember,
  startService,
  stopService,
  untilPublished,
  untilReady,
  whatArrived,
} from "./service-process.ts";
import { deleteTopics, measuredInKafka, openTopics, recordsOf, untilArrived, type KafkaParts } from "./topics.ts";
import { WalsenderMeter } from "./walsender.ts";

/** pg_recvlogical to /dev/null, binary protocol: rows a second from its start to its end, which it knows by the LSN. */
export function recvlogical(program: string, name: string, { client, url }: Surroundings, load: Load): Contestant {
  return {
    prepare: async () => {
      await client.query(`CREATE PUBLICATION ${name} FOR TABLE ${load.tables.join(", ")}`);
      await client.query("SELECT pg_create_logical_replication_slot($1, 'pgoutput')", [name]);
    },
    run: async (rows, endLsn) => {
      const options = ["proto_version=1", `publication_names=${name}`, "binary=true"].flatMap((option) => ["-o", option]);
      const walsender = await WalsenderMeter.open(url, name);
      const started = Date.now();
      const child = remember(
        spawn(program, ["-d", url, "-S", name, "--start", ...options, "-E", endLsn, "-f", "/dev/null", "--no-loop"], {
          stdio: ["ignore", "ignore", "inherit"],
        }),
      );
      const meter = new ProcessMeter(pidOf(child));
      const code = await ended(child, limitMs(rows));
      const finished = Date.now();
      meter.stop();
      walsender.stop();
      if (code !== 0) throw new Error(`pg_recvlogical ended with ${code ?? "a signal"}`);
      return {
        rowsPerSecond: perSecond(rows, finished - started),
        cpuSecondsPerMillion: perMillion(meter.totalCpuSeconds, rows),
        serverSecondsPerMillion: perMillion(walsender.totalCpuSeconds, rows),
        peakRssAnonBytes: meter.peakRssAnonBytes,
      };
    },
    tidy: async () => {
      await client.query("SELECT pg_drop_replication_slot($1)", [name]);
      await client.query(`DROP PUBLICATION ${name}`);
    },
  };
}

/** `tailrace run` with one source and no sink, into the embedded log: from the first batch to the last, by their own times. */
export function tailraceEmbedded(name: string, { client, url, folder }: Surroundings, load: Load): Contestant {
  const dir = path.join(folder, name);
  let http = "";
  return {
    prepare: async () => {
      http = await configure({
        name,
        url,
        dir,
        tables: load.tables,
        partitions: load.partitions,
        snapshot: "{ mode: no_data }",
        kafka: null,
      });
      await makeSlot(dir, http);
    },
    run: async (rows) => {
      const walsender = await WalsenderMeter.open(url, `tailrace_${name}`);
      const startedMs = Date.now();
      const service = startService(dir);
      const meter = new ProcessMeter(pidOf(service));
      await untilPublished(service, http, rows);
      meter.stop();
      walsender.stop();
      await stopService(service);
      await using log = await openEmbeddedLog({ path: path.join(dir, "log") });
      const arrived = await whatArrived(
        log,
        load.tables.map((table) => `${name}.${table}`),
      );
      if (arrived.records !== rows) throw new Error(`${arrived.records} records stand in the log, ${rows} rows were written`);
      return {
        rowsPerSecond: perSecond(rows, arrived.lastMs - arrived.firstMs),
        cpuSecondsPerMillion: perMillion(meter.cpuSeconds(arrived.firstMs, arrived.lastMs), rows),
        serverSecondsPerMillion: perMillion(walsender.totalCpuSeconds, rows),
        peakRssAnonBytes: meter.peakRssAnonBytes,
        startMs: arrived.firstMs - startedMs,
      };
    },
    tidy: async () => {
      await dropSource(client, name);
      await rm(dir, { recursive: true, force: true });
    },
  };
}

/** `tailrace run` with one source and no sink, into Kafka: from the first record that is seen there to the last. */
export function tailraceKafka(name: string, { client, url, folder }: Surroundings, kafka: KafkaParts, load: Load): Contestant {
  const dir = path.join(folder, name);
  const topics = load.tables.map((table) => `${name}.${table}`);
  const log = openTopics(kafka);
  let http = "";
  return {
    prepare: async () => {
      http = await configure({ name, url, dir, tables: load.tables, partitions: load.partitions, snapshot: "{ mode: no_data }", kafka });
      await makeSlot(dir, http);
    },
    run: async (rows) => {
      const walsender = await WalsenderMeter.open(url, `tailrace_${name}`);
      const startedMs = Date.now();
      const service = startService(dir);
      const meter = new ProcessMeter(pidOf(service));
      const isAlive = (): boolean => service.exitCode === null;
      const arriving = untilArrived({ log, topics, rows, limit: limitMs(rows), isAlive }, kafka);
      arriving.catch(() => undefined); // awaited below
      const arrived = await arriving.finally(() => {
        meter.stop();
        walsender.stop();
      });
      await stopService(service);
      const measured = measuredInKafka(
        { ...arrived, records: await recordsOf(log, topics) },
        { rows, meter, serverSeconds: walsender.totalCpuSeconds },
      );
      return { ...measured, startMs: arrived.firstMs - startedMs };
    },
    tidy: async () => {
      await dropSource(client, name);
      await deleteTopics(log, topics);
      await log[Symbol.asyncDispose]();
      await rm(dir, { recursive: true, force: true });
    },
  };
}

/** A first start of the service, which makes slot, publication and topics. */
async function makeSlot(dir: string, http: string): Promise<void> {
  const service = startService(dir);
  await untilReady(service, http);
  await stopService(service);
}

/** Slot and publication of a source. */
export async function dropSource(client: pg.Client, name: string): Promise<void> {
  await client.query("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = $1", [`tailrace_${name}`]);
  await client.query(`DROP PUBLICATION IF EXISTS tailrace_${name}`);
}
