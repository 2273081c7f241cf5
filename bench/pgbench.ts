// What a source database pays for being captured: pgbench's own transactions a second, without anybody and beside each.
import { execFile } from "node:child_process";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { debeziumCapture, tailraceCapture, type Capture } from "./captures.ts";
import { medianOf, perMillion, type Surroundings } from "./contestant.ts";
import { inTurn } from "./race.ts";
import type { Servers } from "./servers.ts";

export type PgbenchReport = {
  readonly name: string;
  readonly title: string;
  readonly tps: number;
  /** pgbench's own, mean. */
  readonly latencyMs: number;
  /** From the end of pgbench until all of its changes had arrived; null of nobody. */
  readonly behindMs: number | null;
  /** Of the capturing process, from the first change to the last arrival; null of nobody. */
  readonly cpuSecondsPerMillion: number | null;
};

type Run = Omit<PgbenchReport, "name" | "title">;
type Entry = { readonly name: string; readonly title: string; readonly start: ((slot: string) => Promise<Capture>) | null };

/** pgbench_history has no key, and its rows say the same again. */
const TABLES = ["accounts", "branches", "tellers"].map((table) => `public.pgbench_${table}`);
const SCALE = 10;
const CLIENTS = 4;
const WARM_UP_S = 3;
const MEASURED_S = 20;
const BROKER_WARM_UP_S = 5;
const CATCH_UP_MS = 120_000;

/** `program`: pgbench. Its transaction updates one row in each of TABLES. */
export async function measurePgbench(
  program: string,
  surroundings: Surroundings,
  { kafka, debezium }: Servers,
  repeats: number,
  say: (text: string) => void,
): Promise<readonly PgbenchReport[]> {
  const { client, url } = surroundings;
  await pgbench(program, ["-i", "-q", "-s", String(SCALE), url]);
  const tuned = "throughput";
  const entries: readonly Entry[] = [
    { name: "none", title: "not captured", start: null },
    {
      name: "tailrace",
      title: `Tailrace source → ${kafka === null ? "embedded log" : "Kafka, Avro"}`,
      start: async (slot) => tailraceCapture(slot, surroundings, kafka, TABLES),
    },
    ...debezium.map((parts): Entry => ({
      name: `debezium_${parts.encoding}`,
      title: `Debezium → Kafka, ${parts.encoding === "json" ? "JSON" : "Avro (Apicurio)"}`,
      start: async (slot) => debeziumCapture(slot, surroundings, parts, { tables: TABLES, tuned }),
    })),
    { name: "none_again", title: "not captured, again", start: null },
  ];
  const runs = new Map<Entry, Run[]>(entries.map((entry) => [entry, []]));
  const run = async (entry: Entry, repeat: number, seconds: number): Promise<Run> => {
    // What earlier runs left behind would slow the later ones.
    await client.query("TRUNCATE public.pgbench_history");
    for (const table of TABLES) await client.query(`VACUUM FULL ${table}`);
    await client.query("CHECKPOINT");
    return measure(program, url, (await entry.start?.(`bench_pgbench_${entry.name}_${repeat}`)) ?? null, seconds);
  };
  // A broker that has not seen such requests yet would take the first one's share of the machine.
  for (const entry of entries.filter(({ start }) => start !== null)) await run(entry, 0, BROKER_WARM_UP_S);
  for (let repeat = 1; repeat <= repeats; repeat++)
    for (const entry of inTurn(entries, repeat)) {
      const measured = await run(entry, repeat, MEASURED_S);
      say(`pgbench, ${entry.title}: ${Math.round(measured.tps)} transactions/s`);
      runs.get(entry)?.push(measured);
    }
  await client.query(`DROP TABLE ${[...TABLES, "public.pgbench_history"].join(", ")}`);
  return entries.map((entry) => ({ name: entry.name, title: entry.title, ...middle(runs.get(entry) ?? []) }));
}

async function measure(program: string, url: string, capture: Capture | null, seconds: number): Promise<Run> {
  const startedMs = Date.now();
  const options = ["-n", "-M", "prepared", "-c", String(CLIENTS), "-j", "1", url];
  const warmUp = readPgbench(await pgbench(program, ["-T", String(WARM_UP_S), ...options]));
  const { tps, latencyMs, transactions } = readPgbench(await pgbench(program, ["-T", String(seconds), ...options]));
  if (capture === null) return { tps, latencyMs, behindMs: null, cpuSecondsPerMillion: null };
  const changes = (warmUp.transactions + transactions) * TABLES.length;
  const ended = performance.now();
  for (let arrived = await capture.arrived(); arrived < changes; arrived = await capture.arrived()) {
    if (performance.now() - ended > CATCH_UP_MS)
      throw new Error(`${arrived} of ${changes} changes arrived within ${CATCH_UP_MS / 1_000} s after pgbench`);
    await sleep(20);
  }
  const behindMs = performance.now() - ended;
  const cpuSecondsPerMillion = perMillion(capture.meter.cpuSeconds(startedMs, Date.now()), changes);
  await capture.stop();
  return { tps, latencyMs, behindMs, cpuSecondsPerMillion };
}

function middle(runs: readonly Run[]): Run {
  const of = (figure: (run: Run) => number | null): number | null => {
    const values = runs.flatMap((run) => figure(run) ?? []);
    return values.length === 0 ? null : medianOf(values);
  };
  return {
    tps: of(({ tps }) => tps) ?? 0,
    latencyMs: of(({ latencyMs }) => latencyMs) ?? 0,
    behindMs: of(({ behindMs }) => behindMs),
    cpuSecondsPerMillion: of(({ cpuSecondsPerMillion }) => cpuSecondsPerMillion),
  };
}

/** What pgbench (14 and later) says at its end. Throws when that is something else. */
export function readPgbench(text: string): { readonly tps: number; readonly latencyMs: number; readonly transactions: number } {
  const figure = (pattern: RegExp): number => {
    const found = pattern.exec(text)?.[1];
    if (found === undefined) throw new Error(`pgbench says something else: ${text.slice(0, 500)}`);
    return Number(found);
  };
  return {
    tps: figure(/^tps = ([\d.]+)/m),
    latencyMs: figure(/^latency average = ([\d.]+) ms/m),
    transactions: figure(/^number of transactions actually processed: (\d+)/m),
  };
}

async function pgbench(program: string, args: readonly string[]): Promise<string> {
  const { stdout } = await promisify(execFile)(program, args, { timeout: (MEASURED_S + 300) * 1_000 });
  return stdout;
}
