// `tailrace run` as a process of its own, and what it has put into its log.
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdir, writeFile } from "node:fs/promises";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import type { EventLog } from "../src/core/event-log.ts";
import { freePort } from "../src/quickstart/free-port.ts";
import type { ServiceStatus } from "../src/service/status.ts";
import type { KafkaParts } from "./topics.ts";

const MAIN = fileURLToPath(new URL("../../dist/main.js", import.meta.url));
const START_MS = 60_000;
const POLL_MS = 50;

export type ServiceOptions = {
  /** Of its one source: slot and publication are `tailrace_<name>`, topics `<name>.<table>`. */
  readonly name: string;
  readonly url: string;
  /** Its configuration and its embedded log go there. */
  readonly dir: string;
  readonly tables: readonly string[];
  /** Of each topic; undefined: its default. */
  readonly partitions?: number;
  /** `snapshot` of the configuration, in YAML. */
  readonly snapshot: string;
  /** null: the embedded log. */
  readonly kafka: KafkaParts | null;
  /** A DuckDB file that its one sink merges into; without it there is no sink. */
  readonly duckdb?: { readonly path: string; readonly flushEvery: string };
};

/** The slowest run that is waited for, ms: 2,000 rows a second, on a machine that does other work as well. */
export function limitMs(rows: number): number {
  return 60_000 + rows / 2;
}

/** Writes the configuration; the address of the service's HTTP server. */
export async function configure({ name, url, dir, tables, partitions, snapshot, kafka, duckdb }: ServiceOptions): Promise<string> {
  const http = `127.0.0.1:${await freePort()}`;
  const log =
    kafka === null
      ? "log: { embedded: { path: ./log } }"
      : `log: { kafka: { brokers: [${kafka.brokers.join(", ")}] } }\nregistry: { url: "${kafka.registry}" }`;
  await mkdir(dir, { recursive: true });
  await writeFile(
    path.join(dir, "bench.yaml"),
    `kind: service
${log}
http: { listen: "${http}" }
---
kind: source
name: ${name}
postgres: { url: "${url}" }
tables: [${tables.join(", ")}]
snapshot: ${snapshot}
${partitions === undefined ? "" : `topics: { partitions: ${partitions} }\n`}${duckdb === undefined ? "" : sinkOf(name, duckdb)}`,
    { mode: 0o600 },
  );
  return http;
}

function sinkOf(source: string, { path: file, flushEvery }: NonNullable<ServiceOptions["duckdb"]>): string {
  return `---
kind: sink
name: ${source}_sink
source: ${source}
warehouse: { duckdb: { path: "${file}" } }
consistency: partition
flush: { every: ${flushEvery} }
`;
}

/** Processes to take along when the benchmark is ended early. */
const running = new Set<ChildProcess>();
process.on("exit", () => {
  for (const child of running) child.kill("SIGKILL");
});

export function startService(dir: string): ChildProcess {
  return remember(
    spawn(process.execPath, [MAIN, "run", dir], {
      stdio: ["ignore", "ignore", "inherit"],
      env: { ...process.env, LOG_LEVEL: "warn" },
    }),
  );
}

export function remember(child: ChildProcess): ChildProcess {
  running.add(child);
  child.once("exit", () => running.delete(child));
  return child;
}

export async function untilReady(service: ChildProcess, http: string): Promise<void> {
  await until(START_MS, service, async () => (await ask(`http://${http}/readyz`))?.ok === true);
}

/** Until `rows` events are durable in its log. */
export async function untilPublished(service: ChildProcess, http: string, rows: number): Promise<void> {
  await until(limitMs(rows), service, async () => (await publishedEvents(http)) >= rows);
}

/** Events of its source that are durable in its log. */
export async function publishedEvents(http: string): Promise<number> {
  return (await statusOf(http))?.sources[0]?.publishedEvents ?? 0;
}

/** Until its sink has merged `rows` rows. */
export async function untilMerged(service: ChildProcess, http: string, rows: number): Promise<void> {
  await until(limitMs(rows), service, async () => ((await statusOf(http))?.sinks[0]?.mergedRows ?? 0) >= rows);
}

export async function stopService(service: ChildProcess): Promise<void> {
  service.kill("SIGTERM");
  const code = await ended(service, 15_000);
  if (code !== 0) throw new Error(`the service ended with ${code ?? "a signal"}`);
}

/** The exit code; null for a signal, which it gets after `limit` ms. */
export async function ended(child: ChildProcess, limit: number): Promise<number | null> {
  if (child.exitCode !== null || child.signalCode !== null) return child.exitCode;
  const timer = setTimeout(() => child.kill("SIGKILL"), limit);
  await once(child, "exit");
  clearTimeout(timer);
  return child.exitCode;
}

export function pidOf(child: ChildProcess): number {
  if (child.pid === undefined) throw new Error("the process did not start");
  return child.pid;
}

/** Records of topics, and when the first and the last batch were made (ms since 1970). */
export async function whatArrived(log: EventLog, topics: readonly string[]): Promise<{ records: number; firstMs: number; lastMs: number }> {
  const signal = AbortSignal.timeout(START_MS);
  let records = 0;
  const times: number[] = [];
  const ranges = await Promise.all(topics.map(async (topic) => log.offsets(topic, signal)));
  for (const { topic, partition, start, end } of ranges.flat()) {
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

/** Asks until the answer is yes. Throws, and kills the service, when it takes too long. */
async function until(limit: number, service: ChildProcess, isSo: () => Promise<boolean>): Promise<void> {
  const deadline = performance.now() + limit;
  while (!(await isSo())) {
    if (service.exitCode !== null) throw new Error(`the service ended with ${service.exitCode}`);
    if (performance.now() > deadline) {
      service.kill("SIGKILL");
      throw new Error(`not done within ${Math.round(limit / 1_000)} s`);
    }
    await sleep(POLL_MS);
  }
}

async function ask(url: string): Promise<Response | null> {
  return fetch(url, { signal: AbortSignal.timeout(5_000) }).catch(() => null);
}

async function statusOf(http: string): Promise<ServiceStatus | undefined> {
  return (await (await ask(`http://${http}/api/status`))?.json()) as ServiceStatus | undefined;
}
