// Three ways to drain the same slot's worth of changes: PostgreSQL's own client, and Tailrace's source into each log.
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { existsSync, readdirSync } from "node:fs";
import { mkdir, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import type pg from "pg";
import type { EventLog } from "../src/core/event-log.ts";
import { openEmbeddedLog } from "../src/log/embedded/embedded-log.ts";
import { openKafkaLog } from "../src/log/kafka/kafka-log.ts";
import { freePort } from "../src/quickstart/free-port.ts";
import { openLog } from "../src/telemetry/log.ts";
import { ProcessMeter } from "./process-meter.ts";

export type Measured = {
  readonly rowsPerSecond: number;
  readonly cpuSecondsPerMillion: number;
  /** Of the walsender, from its start. */
  readonly walsenderSecondsPerMillion: number;
  readonly peakRssAnonBytes: number;
};

/** One drain of one slot. `prepare` makes the slot, before the rows are written. */
export interface Contestant {
  prepare(): Promise<void>;
  drain(rows: number, endLsn: string): Promise<Measured>;
  /** Drops slot, publication and files. */
  tidy(): Promise<void>;
}

export type Surroundings = {
  /** Of the superuser. */
  readonly client: pg.Client;
  readonly url: string;
  /** For folders of its own. */
  readonly folder: string;
};

const MAIN = fileURLToPath(new URL("../../dist/main.js", import.meta.url));
const TABLE = "public.orders";
const START_MS = 60_000;
const POLL_MS = 50;

/** The slowest drain that is waited for, ms. */
function drainLimitMs(rows: number): number {
  return 60_000 + rows / 5;
}

/** PostgreSQL's own client, of this machine; null where it is not installed. */
export function findRecvlogical(): string | null {
  const debian = "/usr/lib/postgresql";
  const versions = existsSync(debian) ? readdirSync(debian).sort().reverse() : [];
  const folders = [...versions.map((version) => path.join(debian, version, "bin")), ...(process.env.PATH ?? "").split(path.delimiter)];
  return folders.map((folder) => path.join(folder, "pg_recvlogical")).find((file) => existsSync(file)) ?? null;
}

/** pg_recvlogical to /dev/null, binary protocol: rows a second from its start to its end, which it knows by the LSN. */
export function recvlogical(program: string, name: string, { client, url }: Surroundings): Contestant {
  return {
    prepare: async () => {
      await client.query(`CREATE PUBLICATION ${name} FOR TABLE ${TABLE}`);
      await client.query("SELECT pg_create_logical_replication_slot($1, 'pgoutput')", [name]);
    },
    drain: async (rows, endLsn) => {
      const options = ["proto_version=1", `publication_names=${name}`, "binary=true"].flatMap((option) => ["-o", option]);
      const started = Date.now();
      const child = remember(
        spawn(program, ["-d", url, "-S", name, "--start", ...options, "-E", endLsn, "-f", "/dev/null", "--no-loop"], {
          stdio: ["ignore", "ignore", "inherit"],
        }),
      );
      const meter = new ProcessMeter(pidOf(child));
      const walsender = await walsenderOf(client, name);
      const code = await ended(child, drainLimitMs(rows));
      const finished = Date.now();
      meter.stop();
      walsender.stop();
      if (code !== 0) throw new Error(`pg_recvlogical ended with ${code ?? "a signal"}`);
      return {
        rowsPerSecond: perSecond(rows, finished - started),
        cpuSecondsPerMillion: perMillion(meter.totalCpuSeconds, rows),
        walsenderSecondsPerMillion: perMillion(walsender.totalCpuSeconds, rows),
        peakRssAnonBytes: meter.peakRssAnonBytes,
      };
    },
    tidy: async () => {
      await client.query("SELECT pg_drop_replication_slot($1)", [name]);
      await client.query(`DROP PUBLICATION ${name}`);
    },
  };
}

export type KafkaParts = { readonly brokers: readonly string[]; readonly registry: string };

/** `tailrace run` with one source and no sink, in a process of its own. `kafka` null: the embedded log. */
export function tailrace(name: string, { client, url, folder }: Surroundings, kafka: KafkaParts | null): Contestant {
  const dir = path.join(folder, name);
  let http = "";
  return {
    prepare: async () => {
      http = `127.0.0.1:${await freePort()}`;
      await mkdir(dir, { recursive: true });
      await writeFile(path.join(dir, "bench.yaml"), configuration(name, url, http, kafka), { mode: 0o600 });
      const service = startService(dir);
      await until(START_MS, service, async () => (await ask(`http://${http}/readyz`))?.ok === true);
      await stopService(service);
    },
    drain: async (rows) => {
      const service = startService(dir);
      const meter = new ProcessMeter(pidOf(service));
      const walsender = await walsenderOf(client, `tailrace_${name}`);
      await until(drainLimitMs(rows), service, async () => (await publishedEvents(http)) >= rows);
      meter.stop();
      walsender.stop();
      await stopService(service);
      await using log =
        kafka === null
          ? await openEmbeddedLog({ path: path.join(dir, "log") })
          : openKafkaLog({ brokers: [...kafka.brokers], ...NO_LOGIN });
      const arrived = await whatArrived(log, `${name}.${TABLE}`);
      if (arrived.records !== rows) throw new Error(`${arrived.records} records stand in the log, ${rows} rows were written`);
      return {
        rowsPerSecond: perSecond(rows, arrived.lastMs - arrived.firstMs),
        cpuSecondsPerMillion: perMillion(meter.cpuSeconds(arrived.firstMs, arrived.lastMs), rows),
        walsenderSecondsPerMillion: perMillion(walsender.totalCpuSeconds, rows),
        peakRssAnonBytes: meter.peakRssAnonBytes,
      };
    },
    tidy: async () => {
      await client.query("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = $1", [`tailrace_${name}`]);
      await client.query(`DROP PUBLICATION IF EXISTS tailrace_${name}`);
      await rm(dir, { recursive: true, force: true });
    },
  };
}

const NO_LOGIN = { clientId: "tailrace-bench", log: openLog({ level: "silent" }), ssl: null, sasl: null };

function configuration(name: string, url: string, http: string, kafka: KafkaParts | null): string {
  const log =
    kafka === null
      ? "log: { embedded: { path: ./log } }"
      : `log: { kafka: { brokers: [${kafka.brokers.join(", ")}] } }\nregistry: { url: "${kafka.registry}" }`;
  return `kind: service
${log}
http: { listen: "${http}" }
---
kind: source
name: ${name}
postgres: { url: "${url}" }
tables: [${TABLE}]
snapshot: { mode: no_data }
`;
}

/** Processes to take along when the benchmark is ended early. */
const running = new Set<ChildProcess>();
process.on("exit", () => {
  for (const child of running) child.kill("SIGKILL");
});

function startService(dir: string): ChildProcess {
  return remember(
    spawn(process.execPath, [MAIN, "run", dir], {
      stdio: ["ignore", "ignore", "inherit"],
      env: { ...process.env, LOG_LEVEL: "warn" },
    }),
  );
}

function remember(child: ChildProcess): ChildProcess {
  running.add(child);
  child.once("exit", () => running.delete(child));
  return child;
}

async function stopService(service: ChildProcess): Promise<void> {
  service.kill("SIGTERM");
  const code = await ended(service, 15_000);
  if (code !== 0) throw new Error(`the service ended with ${code ?? "a signal"}`);
}

/** The exit code; null for a signal, which it gets after `limitMs`. */
async function ended(child: ChildProcess, limitMs: number): Promise<number | null> {
  if (child.exitCode !== null || child.signalCode !== null) return child.exitCode;
  const timer = setTimeout(() => child.kill("SIGKILL"), limitMs);
  await once(child, "exit");
  clearTimeout(timer);
  return child.exitCode;
}

function pidOf(child: ChildProcess): number {
  if (child.pid === undefined) throw new Error("the process did not start");
  return child.pid;
}

/** Asks until the answer is yes. Throws, and kills the service, when it takes too long. */
async function until(limitMs: number, service: ChildProcess, isSo: () => Promise<boolean>): Promise<void> {
  const deadline = performance.now() + limitMs;
  while (!(await isSo())) {
    if (service.exitCode !== null) throw new Error(`the service ended with ${service.exitCode}`);
    if (performance.now() > deadline) {
      service.kill("SIGKILL");
      throw new Error(`not done within ${Math.round(limitMs / 1_000)} s`);
    }
    await sleep(POLL_MS);
  }
}

async function ask(url: string): Promise<Response | null> {
  return fetch(url, { signal: AbortSignal.timeout(5_000) }).catch(() => null);
}

async function publishedEvents(http: string): Promise<number> {
  const status = (await (await ask(`http://${http}/api/status`))?.json()) as { sources?: { publishedEvents: number }[] } | undefined;
  return status?.sources?.[0]?.publishedEvents ?? 0;
}

/** The walsender that serves a slot, as soon as there is one. */
async function walsenderOf(client: pg.Client, slot: string): Promise<ProcessMeter> {
  const deadline = performance.now() + START_MS;
  while (performance.now() < deadline) {
    const { rows } = await client.query<{ pid: number | null }>("SELECT active_pid AS pid FROM pg_replication_slots WHERE slot_name = $1", [
      slot,
    ]);
    const pid = rows[0]?.pid ?? null;
    if (pid !== null) return new ProcessMeter(pid);
    await sleep(10);
  }
  throw new Error(`nobody reads slot ${slot}`);
}

/** Records of a topic, and when its first and last batch were made (ms since 1970). */
async function whatArrived(log: EventLog, topic: string): Promise<{ records: number; firstMs: number; lastMs: number }> {
  const signal = AbortSignal.timeout(START_MS);
  let records = 0;
  const times: number[] = [];
  for (const { partition, start, end } of await log.offsets(topic, signal)) {
    if (end === start) continue;
    records += end - start;
    for (const offset of [start, end - 1]) {
      const fetched = await log.read({ topic, partition, offset }, 1 << 20, signal);
      const timestamp = fetched.records.find((record) => record.offset === offset)?.timestamp;
      if (timestamp === undefined) throw new Error(`${topic}/${partition} has no record at ${offset}`);
      times.push(timestamp);
    }
  }
  return { records, firstMs: Math.min(...times), lastMs: Math.max(...times) };
}

function perSecond(rows: number, ms: number): number {
  return Math.round((rows * 1_000) / Math.max(1, ms));
}

function perMillion(seconds: number, rows: number): number {
  return (seconds * 1_000_000) / rows;
}
