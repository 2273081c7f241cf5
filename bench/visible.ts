// How long a change takes from its commit until somebody else can see it, under a steady load: a consumer of the topic in
// Kafka, a reader of the DuckDB file. Commit times are the database's own; all clocks are this machine's.
import { rm } from "node:fs/promises";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { loadConfig } from "../src/config/load.ts";
import { Service } from "../src/service.ts";
import { openLog } from "../src/telemetry/log.ts";
import { debeziumCapture, tailraceCapture, type Capture } from "./captures.ts";
import { ofDebeziumAvro, ofDebeziumJson, ofTailrace, type CommitTime } from "./commit-times.ts";
import { medianOf, perSecond, type Surroundings } from "./contestant.ts";
import { percentilesOf, type Percentiles } from "./percentiles.ts";
import { inTurn } from "./race.ts";
import type { Servers } from "./servers.ts";
import { configure } from "./service-process.ts";
import { dropSource } from "./streams.ts";
import { openTopics, type KafkaParts } from "./topics.ts";
import { writeSteadily } from "./writers.ts";

export type VisibleReport = Percentiles & {
  readonly name: string;
  readonly title: string;
  readonly changesPerSecond: number;
  readonly rowsPerTransaction: number;
  /** What the database really took, changes a second: on a busy machine less than was asked for. */
  readonly reachedPerSecond: number;
  /** Changes that were not to be seen when the wait was given up, in the worst repeat; the times are of the others. */
  readonly missing: number;
};

type Run = Percentiles & Pick<VisibleReport, "reachedPerSecond" | "missing">;

const TABLE = "public.visible";
const TRANSACTIONS_PER_SECOND = 2_000;
const RATES = [1, 10].map((rowsPerTransaction) => ({
  rowsPerTransaction,
  changesPerSecond: TRANSACTIONS_PER_SECOND * rowsPerTransaction,
}));
type Rate = (typeof RATES)[number];
const FLUSH_EVERY = "200ms";
/** Under load, and not measured. */
const WARM_UP_MS = 4_000;
const MEASURED_MS = 15_000;
const START_MS = 60_000;
/** How long is waited for what was written last. */
const CATCH_UP_MS = 60_000;

/** A change that was seen. */
type Sight = { readonly committedMs: number; readonly seenMs: number };

/** Somebody who looks. */
interface Watch {
  /** Changes seen so far. */
  seen(): number;
  /** Ends all. */
  stop(): Promise<readonly Sight[]>;
}

type Entry = {
  readonly name: string;
  readonly title: string;
  readonly rates: readonly Rate[];
  readonly start: (slot: string, rate: Rate) => Promise<Watch>;
};

export async function measureVisible(
  surroundings: Surroundings,
  servers: Servers,
  { repeats, duckdb }: { readonly repeats: number; readonly duckdb: boolean },
  say: (text: string) => void,
): Promise<readonly VisibleReport[]> {
  const entries = entriesOf(surroundings, servers, duckdb);
  if (entries.length === 0) return [];
  await surroundings.client.query(`CREATE TABLE ${TABLE} (id bigserial PRIMARY KEY, at timestamptz DEFAULT clock_timestamp())`);
  const reports: VisibleReport[] = [];
  for (const rate of RATES) {
    const among = entries.filter(({ rates }) => rates.includes(rate));
    const runs = new Map<Entry, Run[]>(among.map((entry) => [entry, []]));
    for (let repeat = 1; repeat <= repeats; repeat++)
      for (const entry of inTurn(among, repeat)) {
        const run = await measure(entry, `bench_visible_${entry.name}_${rate.rowsPerTransaction}_${repeat}`, rate, surroundings);
        say(`${entry.title} at ${rate.changesPerSecond}/s: p50 ${run.p50Ms.toFixed(1)} ms, p99 ${run.p99Ms.toFixed(1)} ms`);
        runs.get(entry)?.push(run);
      }
    for (const entry of among) reports.push({ name: entry.name, title: entry.title, ...rate, ...middle(runs.get(entry) ?? []) });
  }
  await surroundings.client.query(`DROP TABLE ${TABLE}`);
  return reports;
}

function entriesOf(surroundings: Surroundings, { kafka, debezium }: Servers, duckdb: boolean): readonly Entry[] {
  const entries: Entry[] = [];
  if (kafka !== null) {
    const ours = async (slot: string, rate: Rate): Promise<Watch> =>
      watchTopic(await tailraceCapture(slot, surroundings, kafka, [TABLE]), kafka, rate, ofTailrace(kafka.registry));
    entries.push({ name: "kafka", title: "Tailrace → Kafka, Avro", rates: RATES, start: ours });
    for (const parts of debezium) {
      const [title, commitTime] =
        parts.encoding === "json" ? ["JSON", ofDebeziumJson()] : ["Avro (Apicurio)", ofDebeziumAvro(kafka.registry)];
      const start = async (slot: string, rate: Rate): Promise<Watch> =>
        watchTopic(await debeziumCapture(slot, surroundings, parts, { tables: [TABLE], tuned: "latency" }), kafka, rate, commitTime);
      entries.push({ name: `debezium_${parts.encoding}`, title: `Debezium → Kafka, ${title}`, rates: RATES, start });
    }
    entries.push({ name: "kafka_again", title: "Tailrace → Kafka, Avro, again", rates: RATES, start: ours });
  }
  if (duckdb)
    entries.push({
      name: "duckdb",
      title: `Tailrace → DuckDB, flush every ${FLUSH_EVERY}`,
      rates: RATES.slice(0, 1),
      start: async (slot) => watchDuckdb(slot, surroundings),
    });
  return entries;
}

async function measure(entry: Entry, slot: string, rate: Rate, { client, url }: Surroundings): Promise<Run> {
  await client.query(`TRUNCATE ${TABLE}`);
  const watch = await entry.start(slot, rate);
  const stop = new AbortController();
  const started = performance.now();
  const load = { url, table: TABLE, transactionsPerSecond: TRANSACTIONS_PER_SECOND, rowsPerTransaction: rate.rowsPerTransaction };
  const writing = writeSteadily(load, stop.signal);
  writing.catch(() => undefined); // awaited below
  await sleep(WARM_UP_MS);
  const from = Date.now();
  await sleep(MEASURED_MS);
  const to = Date.now();
  stop.abort();
  await writing;
  const reachedMs = performance.now() - started;
  const { rows } = await client.query<{ count: number }>(`SELECT count(*)::int AS count FROM ${TABLE}`);
  const written = rows[0]?.count ?? 0;
  for (const deadline = performance.now() + CATCH_UP_MS; watch.seen() < written && performance.now() < deadline;) await sleep(20);
  const missing = written - watch.seen();
  const sights = (await watch.stop()).filter(({ committedMs }) => committedMs >= from && committedMs < to);
  const reachedPerSecond = perSecond(written, reachedMs);
  return { reachedPerSecond, missing, ...percentilesOf(sights.map(({ committedMs, seenMs }) => seenMs - committedMs)) };
}

function middle(runs: readonly Run[]): Run {
  const of = (figure: keyof Run): number => medianOf(runs.map((run) => run[figure]));
  const missing = Math.max(0, ...runs.map((run) => run.missing));
  const reachedPerSecond = of("reachedPerSecond");
  return { reachedPerSecond, missing, p50Ms: of("p50Ms"), p95Ms: of("p95Ms"), p99Ms: of("p99Ms"), maxMs: of("maxMs") };
}

/** A consumer; of `rowsPerTransaction` records it keeps one, and decodes it when all is over. */
async function watchTopic(capture: Capture, kafka: KafkaParts, { rowsPerTransaction }: Rate, commitTime: CommitTime): Promise<Watch> {
  const log = openTopics(kafka);
  const started = AbortSignal.timeout(START_MS);
  const ranges = (await Promise.all(capture.topics.map(async (topic) => log.offsets(topic, started)))).flat();
  const positions = ranges.map(({ topic, partition, end }) => ({ topic, partition, offset: end }));
  const stop = new AbortController();
  const reader = await log.openReader(capture.topics[0] ?? "", positions, started);
  const kept: { readonly seenMs: number; readonly value: Buffer }[] = [];
  let seen = 0;
  const reading = (async (): Promise<void> => {
    while (!stop.signal.aborted) {
      const fetched = await reader.poll({ maxBytes: 4 << 20, waitMs: 500 }, stop.signal);
      const seenMs = performance.timeOrigin + performance.now();
      for (const { records } of fetched)
        for (const { offset, value } of records) {
          if (value === null) continue;
          seen += 1;
          if (offset % rowsPerTransaction === 0) kept.push({ seenMs, value });
        }
    }
  })();
  reading.catch(() => undefined); // awaited below
  return {
    seen: () => seen,
    stop: async () => {
      stop.abort();
      await reading.catch((cause: unknown) => {
        if (cause !== stop.signal.reason) throw cause;
      });
      await reader[Symbol.asyncDispose]();
      await log[Symbol.asyncDispose]();
      const sights: Sight[] = [];
      for (const { seenMs, value } of kept) sights.push({ seenMs, committedMs: (await commitTime(value)) / 1_000 });
      await capture.stop();
      return sights;
    },
  };
}

/** Tailrace in this process, which tells when a flush has ended and the file was let go: then others can open it. */
async function watchDuckdb(name: string, { client, url, folder }: Surroundings): Promise<Watch> {
  const dir = path.join(folder, name);
  const duckdb = { path: path.join(dir, "bench.duckdb"), flushEvery: FLUSH_EVERY };
  await configure({ name, url, dir, tables: [TABLE], snapshot: "{ mode: no_data }", kafka: null, duckdb });
  const sights: Sight[] = [];
  let seen = 0;
  const service = await Service.start(await loadConfig(dir, process.env), {
    logger: openLog({ level: "warn" }),
    onFlush: (_sink, { commits, merged }) => {
      const seenMs = performance.timeOrigin + performance.now();
      for (const micros of commits.keys()) sights.push({ seenMs, committedMs: Number(micros) / 1_000 });
      seen += merged.reduce((sum, { rows }) => sum + rows, 0);
    },
  });
  for (const deadline = performance.now() + START_MS; !isRunning(service); await sleep(50))
    if (performance.now() > deadline) throw new Error("the service does not stream");
  return {
    seen: () => seen,
    stop: async () => {
      await service.stop();
      await dropSource(client, name);
      await rm(dir, { recursive: true, force: true });
      return sights;
    },
  };
}

function isRunning(service: Service): boolean {
  const { sources, sinks } = service.status();
  return [...sources, ...sinks].every(({ state }) => state === "running");
}
