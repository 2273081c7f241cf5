// R-park, what its neighbours notice: five tables under load, one of which is parked and unparked, and the time from commit to visible in
// the warehouse of the other four, before and meanwhile. The change is one that the registry alone refuses (int → bigint at level FULL):
// the sink widens its target by itself, so that nothing stops and what is measured goes on through the unparking.
import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";
import { expect, test } from "vitest";
import { tailrace } from "../support/command.ts";
import { expectSame } from "../support/compare.ts";
import { eventually } from "../support/eventually.ts";
import { expectEachOnce } from "../support/scan.ts";
import { describeWithKafka, kafka, postgres, registry } from "../support/servers.ts";
import { SINK, SOURCE, TestService, type ServiceSpec } from "../support/service.ts";

const TEST_MS = 180_000;
const NAMES = ["a", "b", "c", "d", "e"] as const;
const TABLES = NAMES.map((name) => ({ schema: "public", name }));
const PARKED = "e";
const OTHERS = NAMES.filter((name) => name !== PARKED);

/** Of one table, at most: a row each. */
const PER_SECOND = 40;
/** Every so many rows, all that are there change in one transaction. */
const SWEEP_EVERY = 100;
const POLL_MS = 10;
/** Of a statement; an ALTER TABLE holds its table for less. */
const ANSWER_MS = 30_000;
/** The first seconds of a process are its slowest, and would make the comparison an easy one. */
const WARM_MS = 4_000;
const BEFORE_MS = 10_000;
const WHILE_MS = 8_000;
const AFTER_MS = 3_000;
/** A 99th percentile below this is the flush's interval and the machine's mood: doubling begins here. */
const FLOOR_MS = 1_500;
/** Longer than this without anything new in the warehouse is a pause, on a busy machine too. */
const PAUSE_MS = 5_000;

/** One application a table, until stop(): it knows when it was told of each commit. */
class Writers implements AsyncDisposable {
  /** By table: of row i, when its commit was answered (performance.now()). */
  readonly committed = new Map(NAMES.map((name): [string, number[]] => [name, []]));
  readonly #stop = new AbortController();
  readonly #done: Promise<unknown>;

  constructor(url: string) {
    this.#done = Promise.all(NAMES.map((name) => this.#write(url, name)));
    this.#done.catch(() => undefined); // stop() tells
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#done;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop().catch(() => undefined);
  }

  async #write(url: string, name: string): Promise<void> {
    const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: ANSWER_MS, query_timeout: ANSWER_MS });
    client.on("error", () => undefined); // the statement under way fails as well
    await client.connect();
    const committed = this.committed.get(name)!;
    try {
      while (!this.#stop.signal.aborted) {
        const started = performance.now();
        await client.query(`INSERT INTO ${name} VALUES ($1, $2, 'written once')`, [committed.length, committed.length % 1_000]);
        committed.push(performance.now());
        if (committed.length % SWEEP_EVERY === 0) await client.query(`UPDATE ${name} SET n = n + 1 WHERE id % 4 = 0`);
        const pause = 1_000 / PER_SECOND - (performance.now() - started);
        if (pause > 0) await sleep(pause, undefined, { signal: this.#stop.signal }).catch(() => undefined);
      }
    } finally {
      await client.end();
    }
  }
}

/** Looks into the warehouse all the time: by table, when row i was first seen there. Rows of a topic of one partition arrive in order. */
class Watch implements AsyncDisposable {
  readonly seen = new Map(OTHERS.map((name): [string, number[]] => [name, []]));
  readonly #stop = new AbortController();
  readonly #done: Promise<void>;

  constructor(url: string) {
    this.#done = this.#watch(url);
    this.#done.catch(() => undefined); // stop() tells
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#done;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop().catch(() => undefined);
  }

  async #watch(url: string): Promise<void> {
    const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: ANSWER_MS, query_timeout: ANSWER_MS });
    client.on("error", () => undefined); // the statement under way fails as well
    await client.connect();
    const sql = `SELECT ${OTHERS.map((name) => `(SELECT coalesce(max(id), -1) FROM public.${name}) AS ${name}`).join(", ")}`;
    try {
      for (let isLast = false; !isLast;) {
        isLast = this.#stop.signal.aborted; // one more look: what is in the warehouse now has been seen
        const { rows } = await client.query<Record<string, number>>(sql);
        const now = performance.now();
        for (const name of OTHERS) {
          const seen = this.seen.get(name)!;
          while (seen.length <= rows[0]![name]!) seen.push(now);
        }
        if (!isLast) await sleep(POLL_MS);
      }
    } finally {
      await client.end();
    }
  }
}

type Figures = { readonly rows: number; readonly p50: number; readonly p99: number; readonly longest: number };

/** Commit → visible, ms, of the table's rows that were committed in [from, to). */
function latencies(committed: readonly number[], seen: readonly number[], from: number, to: number): Figures {
  const all = committed
    .flatMap((at, row) => (at >= from && at < to ? [Math.max(0, (seen[row] ?? Infinity) - at)] : []))
    .sort((a, b) => a - b);
  const quantile = (share: number): number => Math.round(all[Math.min(all.length - 1, Math.floor(all.length * share))] ?? NaN);
  return { rows: all.length, p50: quantile(0.5), p99: quantile(0.99), longest: Math.round(all.at(-1) ?? NaN) };
}

async function measure(log: NonNullable<ServiceSpec["kafka"]> | null): Promise<void> {
  const server = await postgres();
  await using database = await server.createDatabase("shop");
  await using warehouse = await server.createDatabase("warehouse");
  await database.sql(NAMES.map((name) => `CREATE TABLE ${name} (id int PRIMARY KEY, n int, note text)`).join("; "));
  await using service = await TestService.create({
    url: database.url,
    tables: ["public.*"],
    warehouse: { postgres: warehouse.url },
    partitions: 1,
    flushEvery: "100ms",
    ...(log === null ? {} : { kafka: log }),
  });
  await service.start();
  await service.ready();
  await using writers = new Writers(database.url);
  await eventually("the tables are in the warehouse", async () => {
    const made = await warehouse.sql("SELECT 1 FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'");
    return made.length === NAMES.length;
  });
  await using watch = new Watch(warehouse.url);
  const level = JSON.stringify({ compatibility: "FULL" });
  const subject = `${service.prefix}.public.${PARKED}-value`;
  const answer =
    log === null
      ? await service.get(`/registry/config/${subject}`, "PUT", level)
      : await put(`${log.registryUrl}/config/${subject}`, level);
  expect(answer.ok).toBe(true);

  await sleep(WARM_MS);
  const began = performance.now();
  await sleep(BEFORE_MS); // what is measured is time itself
  const states = service.lines.filter(({ state }) => state !== undefined).length;
  const altered = performance.now();
  await database.sql(`ALTER TABLE ${PARKED} ALTER n TYPE bigint`);
  await service.until("the table is parked", ({ parked }) => parked[0]?.table === `public.${PARKED}`);
  await sleep(WHILE_MS);
  const commands = (await service.status()).sources[0]?.parked[0]?.commands ?? "";
  const place = new URL(commands.split(" ").at(-1) ?? "");
  expect((log === null ? await service.get(place.pathname, "DELETE") : await fetch(place, { method: "DELETE" })).ok).toBe(true);
  const accepted = performance.now();
  const unparked = await tailrace(["unpark", service.folder, SOURCE, `public.${PARKED}`]);
  expect([unparked.code, unparked.stderr]).toEqual([0, ""]);
  await sleep(AFTER_MS);
  const ended = performance.now();

  await writers.stop();
  await expectSame(database.url, { postgres: warehouse.url }, TABLES);
  await watch.stop();
  // Nobody has paused or begun anew for it.
  expect(service.lines.filter(({ state }) => state !== undefined)).toHaveLength(states);
  const { sources, sinks } = await service.status();
  expect([sources[0], sinks[0]]).toMatchObject([
    { name: SOURCE, state: "running", restarts: 0, parked: [], deadLetters: 0 },
    { name: SINK, state: "running", restarts: 0 },
  ]);
  for (const name of OTHERS) {
    const [committed, seen] = [writers.committed.get(name)!, watch.seen.get(name)!];
    const before = latencies(committed, seen, began, altered);
    const parking = latencies(committed, seen, altered, accepted);
    const unparking = latencies(committed, seen, accepted, ended);
    const figures = `before ${tell(before)}; ${PARKED} is parked ${tell(parking)}; is unparked ${tell(unparking)}`;
    console.log(`${log === null ? "embedded" : "Kafka"}, table ${name}, commit → visible (ms): ${figures}`);
    expect(Math.min(before.rows, parking.rows, unparking.rows)).toBeGreaterThan(50);
    for (const { p99, longest } of [parking, unparking]) {
      expect(p99, `p99 of ${name}`).toBeLessThanOrEqual(2 * Math.max(before.p99, FLOOR_MS));
      expect(longest, `longest of ${name}`).toBeLessThanOrEqual(PAUSE_MS);
    }
  }
  expect(await service.stop()).toMatchObject({ code: 0 });
  await expectEachOnce(service, TABLES);
}

function tell({ rows, p50, p99, longest }: Figures): string {
  return `p50 ${p50}, p99 ${p99}, longest ${longest} (${rows} rows)`;
}

async function put(url: string, body: string): Promise<Response> {
  return fetch(url, { method: "PUT", headers: { "content-type": "application/json" }, body });
}

const TITLE = "R-park: of five tables under load one is parked and unparked; the others never pause, and it is level in the end";

test(`${TITLE} (embedded)`, () => measure(null), TEST_MS);

describeWithKafka("with Kafka and Apicurio", () => {
  test(TITLE, async () => measure({ brokers: (await kafka()).brokers, registryUrl: (await registry()).url }), TEST_MS);
});
