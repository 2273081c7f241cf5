// What a snapshot costs those who wait for the stream: from a transaction's commit until its event is durable in the log, of
// a steady load of single-row transactions, without and with a snapshot of another table going on. The source runs in this
// process, over a log that notes when its appends are durable.
import { rm } from "node:fs/promises";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { EventDecoder, schemaIdOf } from "../src/avro/decoder.ts";
import type { EventLog } from "../src/core/event-log.ts";
import { openEmbeddedLog } from "../src/log/embedded/embedded-log.ts";
import { EmbeddedRegistry } from "../src/registry/embedded.ts";
import { openRegistryStore } from "../src/registry/store.ts";
import type { SourceControl } from "../src/source/control.ts";
import { newMemory, type SourceObserver, type SourceOptions } from "../src/source/parts.ts";
import { runSource } from "../src/source/source.ts";
import { openLog } from "../src/telemetry/log.ts";
import type { Surroundings } from "./contestant.ts";
import { percentilesOf, type Percentiles } from "./percentiles.ts";
import { limitMs } from "./service-process.ts";
import { dropSource } from "./streams.ts";
import { writeSteadily } from "./writers.ts";

type Seen = Percentiles & { readonly transactions: number };
export type LatencyReport = { readonly perSecond: number; readonly quiet: Seen; readonly reading: Seen };

const PER_SECOND = 2_000;
const QUIET_MS = 8_000;
const SETTLE_MS = 2_000;
const NAME = "bench_latency";
const TOPIC = `${NAME}.public.ticks`;

/** A stretch of time, ms since 1970. */
type Stretch = { readonly from: number; readonly to: number };
/** Records [first, first + count) of a partition were durable at `atMs`. */
type Append = { readonly partition: number; readonly first: number; readonly count: number; readonly atMs: number };

/** Snapshots of `rows` rows of about 200 bytes, and quiet stretches between them. */
export async function measureLatency(
  { client, url, folder }: Surroundings,
  { rows, repeats }: { readonly rows: number; readonly repeats: number },
  say: (text: string) => void,
): Promise<LatencyReport> {
  await client.query("CREATE TABLE ticks (id bigserial PRIMARY KEY, at timestamptz DEFAULT clock_timestamp())");
  await client.query("CREATE TABLE shelf (id bigint PRIMARY KEY, label text)");
  await client.query(`INSERT INTO shelf SELECT g, repeat(md5(g::text), 6) FROM generate_series(1, ${rows}) AS g`);
  await client.query("VACUUM ANALYZE shelf");
  await client.query("CHECKPOINT");
  const dir = path.join(folder, NAME);
  const appends: Append[] = [];
  await using log = await openEmbeddedLog({ path: path.join(dir, "log") });
  await using store = openRegistryStore(path.join(dir, "registry"));
  const registry = new EmbeddedRegistry({ store, address: dir });
  const stop = new AbortController();
  const source = new RunningSource();
  const running = runSource(
    options(url),
    {
      log: withClock(log, appends),
      registry,
      logger: openLog({ level: "warn" }),
      observer: source.observer,
      control: (control) => (source.control = control),
      pausedTables: () => new Set<string>(),
    },
    newMemory(),
    stop.signal,
    new AbortController().signal,
  );
  const load = { url, table: "ticks", transactionsPerSecond: PER_SECOND, rowsPerTransaction: 1 };
  const all = Promise.all([running, writeSteadily(load, stop.signal)]);
  all.catch(() => undefined); // awaited below
  const work = async (): Promise<{ quiet: Stretch[]; reading: Stretch[] }> => {
    await source.until(() => source.control !== null && source.unfinished === 0, rows); // the first snapshot warms everything up
    const stretches: { quiet: Stretch[]; reading: Stretch[] } = { quiet: [], reading: [] };
    for (let repeat = 1; repeat <= repeats; repeat++) {
      say(`latency, repeat ${repeat} of ${repeats}`);
      await sleep(SETTLE_MS);
      stretches.quiet.push(await during(async () => sleep(QUIET_MS)));
      source.rows = 0;
      const table = { schema: "public", name: "shelf" };
      await source.control?.requestSnapshot([{ table, where: null }], "bench");
      stretches.reading.push(await during(async () => source.until(() => source.rows >= rows, rows)));
    }
    return stretches;
  };
  const { quiet, reading } = await Promise.race([work(), all.then(() => Promise.reject(new Error("the source has ended")))]);
  stop.abort();
  await all;
  const delays = await delaysOf(log, registry, appends);
  await dropSource(client, NAME);
  await rm(path.join(dir, "log"), { recursive: true, force: true });
  return { perSecond: PER_SECOND, quiet: seenIn(delays, quiet), reading: seenIn(delays, reading) };
}

function options(url: string): SourceOptions {
  return {
    name: NAME,
    url: () => url,
    slot: `tailrace_${NAME}`,
    publication: `tailrace_${NAME}`,
    create: true,
    systemId: null,
    selection: {
      matches: (schema, table) => schema === "public" && (table === "ticks" || table === "shelf"),
      named: [],
      asked: () => null,
      overlooked: () => [],
    },
    topics: { prefix: NAME, partitions: 4, replication: -1, create: true, tombstones: true },
    snapshot: {
      mode: "initial",
      parallel: 2,
      chunkRows: 20_000,
      maxRowsPerSecond: null,
      maxLagBytes: 1 << 30,
      maxRetainedBytes: 10 * 2 ** 30,
    },
    incompatible: () => "park",
  };
}

class RunningSource {
  control: SourceControl | null = null;
  /** Snapshots that are not complete; null before it is known. */
  unfinished: number | null = null;
  /** Rows that snapshots have made durable. */
  rows = 0;
  readonly observer: SourceObserver = {
    state: () => undefined,
    published: () => undefined,
    deadLetter: () => undefined,
    acknowledged: () => undefined,
    wal: () => undefined,
    bytesInFlight: () => undefined,
    parked: () => undefined,
    versions: () => undefined,
    snapshots: (list) => (this.unfinished = list.length),
    snapshotRows: (_table, rows) => (this.rows += rows),
    snapshotMemory: () => undefined,
  };

  async until(isSo: () => boolean, rows: number): Promise<void> {
    for (const deadline = performance.now() + limitMs(rows); !isSo(); await sleep(10))
      if (performance.now() > deadline) throw new Error("the source does not get on");
  }
}

/** The log, telling when what was appended to TOPIC is durable. */
function withClock(log: EventLog, appends: Append[]): EventLog {
  return {
    kind: log.kind,
    address: log.address,
    topics: async (...args) => log.topics(...args),
    createTopic: async (...args) => log.createTopic(...args),
    topicConfigs: async (...args) => log.topicConfigs(...args),
    deleteTopic: async (...args) => log.deleteTopic(...args),
    offsets: async (...args) => log.offsets(...args),
    read: async (...args) => log.read(...args),
    openReader: async (...args) => log.openReader(...args),
    openWriter: async (...args) => {
      const writer = await log.openWriter(...args);
      return {
        append: async (batches, signal) => {
          const offsets = await writer.append(batches, signal);
          const atMs = now();
          for (const [index, { topic, partition, count }] of batches.entries())
            if (topic === TOPIC) appends.push({ partition, first: offsets[index] ?? 0, count, atMs });
          return offsets;
        },
        [Symbol.asyncDispose]: () => writer[Symbol.asyncDispose](),
      };
    },
    [Symbol.asyncDispose]: () => log[Symbol.asyncDispose](),
  };
}

type Delay = { readonly committedMs: number; readonly ms: number };

async function delaysOf(log: EventLog, registry: EmbeddedRegistry, appends: readonly Append[]): Promise<readonly Delay[]> {
  const { signal } = new AbortController();
  const delays: Delay[] = [];
  for (const { partition, first, count, atMs } of appends) {
    const { records } = await log.read({ topic: TOPIC, partition, offset: first }, 1, signal);
    for (const { offset, value } of records) {
      if (value === null || offset >= first + count) continue;
      const decoder = await decoderOf(registry, schemaIdOf(value), signal);
      decoder.decode(value);
      const committedMs = Number(decoder.commitMicros) / 1_000;
      delays.push({ committedMs, ms: atMs - committedMs });
    }
  }
  return delays;
}

const decoders = new Map<number, EventDecoder>();

async function decoderOf(registry: EmbeddedRegistry, id: number, signal: AbortSignal): Promise<EventDecoder> {
  const decoder = decoders.get(id) ?? new EventDecoder(await registry.schema(id, signal));
  decoders.set(id, decoder);
  return decoder;
}

function seenIn(delays: readonly Delay[], stretches: readonly Stretch[]): Seen {
  const inside = delays.filter(({ committedMs }) => stretches.some(({ from, to }) => committedMs >= from && committedMs < to));
  return { transactions: inside.length, ...percentilesOf(inside.map(({ ms }) => ms)) };
}

async function during(work: () => Promise<void>): Promise<Stretch> {
  const from = now();
  await work();
  return { from, to: now() };
}

/** ms since 1970, finer than Date.now(). */
function now(): number {
  return performance.timeOrigin + performance.now();
}
