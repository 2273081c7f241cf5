// R-park, what its neighbours notice: five tables under load, one of which is parked and unparked, and the time from commit to visible in
// the warehouse of the other four, before and meanwhile. The changes are such as the registry alone refuses (int → bigint, and back, at level FULL):
// the sink widens its target by itself, and a wider one takes them, so that nothing stops and what is measured goes on through the unparking.
import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";
import { expect, test } from "vitest";
import { Background } from "../support/background.ts";
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
/** Of each window that is compared. */
const WINDOW_MS = 5_000;
const ROUNDS = 3;
const PHASES = ["before", "parked", "unparked"] as const;
type Phase = (typeof PHASES)[number];
/** performance.now() */
type Window = readonly [from: number, to: number];
/** A p99 that is no longer than this is no pause that anybody would notice, whatever it was before: a stall of the machine lasts as long. */
const UNNOTICED_MS = 400;
/** Longer than this without anything new in the warehouse is a pause, on a busy machine too. */
const PAUSE_MS = 5_000;

/** By table and row, performance.now(): when its commit was answered, or when it was first seen in the warehouse. */
type Times = ReadonlyMap<string, number[]>;

const timesOf = (names: readonly string[]): Times => new Map(names.map((name) => [name, []]));

async function withClient(url: string, work: (client: pg.Client) => Promise<void>): Promise<void> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: ANSWER_MS, query_timeout: ANSWER_MS });
  client.on("error", () => undefined); // the statement under way fails as well
  await client.connect();
  await work(client).finally(() => client.end());
}

/** An application of one table. */
async function write(url: string, name: string, committed: Times, signal: AbortSignal): Promise<void> {
  await withClient(url, async (client) => {
    const times = committed.get(name)!;
    while (!signal.aborted) {
      const started = performance.now();
      await client.query(`INSERT INTO ${name} VALUES ($1, $2, 'written once')`, [times.length, times.length % 1_000]);
      times.push(performance.now());
      if (times.length % SWEEP_EVERY === 0) await client.query(`UPDATE ${name} SET n = n + 1 WHERE id % 4 = 0`);
      const pause = 1_000 / PER_SECOND - (performance.now() - started);
      if (pause > 0) await sleep(pause, undefined, { signal }).catch(() => undefined);
    }
  });
}

/** Looks into the warehouse all the time. Rows of a topic of one partition arrive in order. */
async function watch(url: string, seen: Times, signal: AbortSignal): Promise<void> {
  const sql = `SELECT ${OTHERS.map((name) => `(SELECT coalesce(max(id), -1) FROM public.${name}) AS ${name}`).join(", ")}`;
  await withClient(url, async (client) => {
    for (let isLast = false; !isLast;) {
      isLast = signal.aborted; // one more look: what is in the warehouse now has been seen
      const { rows } = await client.query<Record<string, number>>(sql);
      const now = performance.now();
      for (const [name, times] of seen) while (times.length <= rows[0]![name]!) times.push(now);
      if (!isLast) await sleep(POLL_MS);
    }
  });
}

type Figures = { readonly rows: number; readonly p50: number; readonly p99: number; readonly longest: number };

/** Commit → visible, ms, of the rows of the four tables that were committed in [from, to). */
function latencies(committed: Times, seen: Times, [from, to]: Window): Figures {
  const all = OTHERS.flatMap((name) =>
    committed.get(name)!.flatMap((at, row) => (at >= from && at < to ? [Math.max(0, (seen.get(name)![row] ?? Infinity) - at)] : [])),
  ).sort((a, b) => a - b);
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
  const [committed, seen] = [timesOf(NAMES), timesOf(OTHERS)];
  await using writers = new Background((signal) => Promise.all(NAMES.map((name) => write(database.url, name, committed, signal))));
  await eventually("the tables are in the warehouse", async () => {
    const made = await warehouse.sql("SELECT 1 FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'");
    return made.length === NAMES.length;
  });
  await using watching = new Background((signal) => watch(warehouse.url, seen, signal));

  await sleep(WARM_MS);
  const states = service.lines.filter(({ state }) => state !== undefined).length;
  const windows: Record<Phase, Window>[] = [];
  for (let round = 0; round < ROUNDS; round++) windows.push(await parkAndUnpark(round));
  await writers.stop();
  await expectSame(database.url, { postgres: warehouse.url }, TABLES);
  await watching.stop();
  // Nobody has paused or begun anew for it.
  expect(service.lines.filter(({ state }) => state !== undefined)).toHaveLength(states);
  const { sources, sinks } = await service.status();
  expect([sources[0], sinks[0]]).toMatchObject([
    { name: SOURCE, state: "running", restarts: 0, parked: [], deadLetters: 0 },
    { name: SINK, state: "running", restarts: 0 },
  ]);
  const figures = (phase: Phase): readonly Figures[] => windows.map((round) => latencies(committed, seen, round[phase]));
  const [before, ...meanwhile] = PHASES.map((phase) => ({ phase, rounds: figures(phase) }));
  for (const { phase, rounds } of [before!, ...meanwhile])
    console.log(`${log === null ? "embedded" : "Kafka"}, ${phase}: commit → visible (ms) ${rounds.map(tell).join("; ")}`);
  // Other work on the machine makes any of them longer: of what is compared the round with the least of it counts, and with the most.
  const usual = Math.max(...before!.rounds.map(({ p99 }) => p99));
  for (const { phase, rounds } of meanwhile) {
    expect(Math.min(...rounds.map((one) => one.rows)), `rows, ${phase}`).toBeGreaterThan(200);
    expect(Math.min(...rounds.map(({ p99 }) => p99)), `p99, ${phase}`).toBeLessThanOrEqual(Math.max(2 * usual, UNNOTICED_MS));
    expect(Math.max(...rounds.map(({ longest }) => longest)), `longest, ${phase}`).toBeLessThanOrEqual(PAUSE_MS);
  }
  expect(await service.stop()).toMatchObject({ code: 0 });
  await expectEachOnce(service, TABLES);

  /** To the level at which each of the changes is refused. */
  async function hold(): Promise<void> {
    const level = JSON.stringify({ compatibility: "FULL" });
    const subject = `${service.prefix}.public.${PARKED}-value`;
    const answer =
      log === null
        ? await service.get(`/registry/config/${subject}`, "PUT", level)
        : await put(`${log.registryUrl}/config/${subject}`, level);
    expect(answer.ok).toBe(true);
  }

  async function parkAndUnpark(round: number): Promise<Record<Phase, Window>> {
    await hold(); // the level goes with the versions that are deleted
    const began = performance.now();
    await sleep(WINDOW_MS); // what is measured is time itself
    const altered = performance.now();
    await database.sql(`ALTER TABLE ${PARKED} ALTER n TYPE ${round % 2 === 0 ? "bigint" : "int"}`);
    await service.until("the table is parked", ({ parked }) => parked[0]?.table === `public.${PARKED}`);
    await sleep(Math.max(0, WINDOW_MS - (performance.now() - altered)));
    const commands = (await service.status()).sources[0]?.parked[0]?.commands ?? "";
    const place = new URL(commands.split(" ").at(-1) ?? "");
    const accepted = performance.now();
    expect((log === null ? await service.get(place.pathname, "DELETE") : await fetch(place, { method: "DELETE" })).ok).toBe(true);
    const unparked = await tailrace(["unpark", service.folder, SOURCE, `public.${PARKED}`]);
    expect([unparked.code, unparked.stderr]).toEqual([0, ""]);
    await sleep(Math.max(0, WINDOW_MS - (performance.now() - accepted)));
    return { before: [began, altered], parked: [altered, accepted], unparked: [accepted, performance.now()] };
  }
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
