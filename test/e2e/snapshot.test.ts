// The first load of a large table by the real service: while the application changes rows that are being read, and while
// the service is killed again and again.
import { setTimeout as sleep } from "node:timers/promises";
import { DuckDBInstance } from "@duckdb/node-api";
import pg from "pg";
import { describe, expect, test } from "vitest";
import { EventDecoder, schemaIdOf } from "../../src/avro/decoder.ts";
import type { EventLog } from "../../src/core/event-log.ts";
import type { KeyRange } from "../../src/core/snapshot-record.ts";
import { readState } from "../../src/core/source-state.ts";
import type { Registry } from "../../src/parts.ts";
import { tailrace } from "../support/command.ts";
import { expectSame, type Target } from "../support/compare.ts";
import { readEvent } from "../support/row-values.ts";
import { withLog } from "../support/scan.ts";
import { describeWithKafka, kafka, postgres, registry, type TestDatabase } from "../support/servers.ts";
import { SOURCE, TestService } from "../support/service.ts";

/** A million with SNAPSHOT_ROWS=1000000; what CI has time for otherwise. */
const ROWS = Number(process.env.SNAPSHOT_ROWS ?? 60_000);
const CHANGES_PER_SECOND = Number(process.env.SNAPSHOT_CHANGES ?? 1_000);
/** From here on the end-to-end time is judged. */
const LARGE = 500_000;
/** How long a transaction stays open, ms; a minute with SNAPSHOT_OPEN_MS=60000. */
const OPEN_MS = Number(process.env.SNAPSHOT_OPEN_MS ?? 2_000);
const KILLS = 10;
const LONG_MS = 1_200_000;
/** Rows whose key was changed have keys from here on. */
const MOVED = 100_000_000;
const ITEMS = { schema: "public", name: "items" };
const { signal } = new AbortController();
const isOfBeats = ({ table }: { readonly table: string }): boolean => table === "public.beats";

async function itemsDatabase(): Promise<TestDatabase> {
  const database = await (await postgres()).createDatabase("items");
  await database.sql("CREATE TABLE items (id int PRIMARY KEY, name text NOT NULL, n bigint, body text)");
  await database.sql("ALTER TABLE items ALTER body SET STORAGE EXTERNAL");
  // One row of a hundred has a body of 10 kB, TOASTed, which most changes leave alone.
  await database.sql(
    `INSERT INTO items SELECT i, 'name ' || i, i, CASE WHEN i % 100 = 0 THEN repeat(md5(i::text), 320) END FROM generate_series(1, ${ROWS}) i`,
  );
  return database;
}

/** Writes by a connection of its own, until stop(). */
class Writer {
  readonly #stop = new AbortController();
  readonly #done: Promise<void>;

  constructor(url: string, write: (client: pg.Client) => Promise<void>) {
    this.#done = this.#run(url, write);
    this.#done.catch(() => undefined); // stop() tells
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#done;
  }

  async #run(url: string, write: (client: pg.Client) => Promise<void>): Promise<void> {
    const client = new pg.Client({ connectionString: url });
    client.on("error", () => undefined); // shows in the next query
    await client.connect();
    try {
      while (!this.#stop.signal.aborted) await write(client);
    } finally {
      await client.end();
    }
  }
}

/** Inserts, updates, deletes and key changes of rows all over the table, and of some few again and again, until stop(). */
class Changes extends Writer {
  readonly #made: { count: number };

  constructor(url: string) {
    const made = { count: 0 };
    const each = 20;
    let next = performance.now();
    super(url, async (client) => {
      await client.query(Array.from({ length: each }, () => change(made.count++)).join("; "));
      next += (1_000 * each) / CHANGES_PER_SECOND;
      await sleep(Math.max(0, next - performance.now()));
    });
    this.#made = made;
  }

  get count(): number {
    return this.#made.count;
  }
}

function change(number: number): string {
  const any = 1 + Math.floor(Math.random() * ROWS);
  const withBody = Math.max(100, any - (any % 100));
  switch (number % 8) {
    case 0:
      return `INSERT INTO items VALUES (${ROWS + 1 + number}, 'new', ${number}, NULL)`;
    case 1:
      return `DELETE FROM items WHERE id = ${any}`;
    case 2:
      return `UPDATE items SET id = ${MOVED + number} WHERE id = ${withBody}`;
    case 3:
      return `UPDATE items SET id = ${MOVED + number} WHERE id = ${any}`;
    case 4:
      return `INSERT INTO items VALUES (${any}, 'again', ${number}, repeat('x', 10000)) ON CONFLICT (id) DO UPDATE SET name = 'over', body = excluded.body`;
    case 5:
      return `UPDATE items SET name = 'touched', n = ${number} WHERE id = ${withBody}`;
    default:
      return `UPDATE items SET n = n + 1 WHERE id = ${any}`;
  }
}

/** One row a transaction, a hundred a second, until stop(): what a user waits for while a table is read. */
function beat(url: string): Writer {
  return new Writer(url, async (client) => {
    await client.query("INSERT INTO beats DEFAULT VALUES");
    await sleep(10);
  });
}

/** From commit to the warehouse, of the beats that were committed between two moments (ms since 1970), in ms. */
async function endToEnd(
  file: string,
  from: number,
  to: number,
): Promise<{ readonly beats: number; readonly p50: number; readonly p99: number }> {
  const instance = await DuckDBInstance.create(file, { access_mode: "READ_ONLY" });
  const connection = await instance.connect();
  const ms = "date_diff('microseconds', _tailrace_commit_ts, _tailrace_merged_ts) / 1000.0";
  const reader = await connection.runAndReadAll(
    `SELECT count(*)::int AS beats, quantile_cont(${ms}, 0.5) AS p50, quantile_cont(${ms}, 0.99) AS p99 FROM public.beats
     WHERE epoch_ms(_tailrace_commit_ts) BETWEEN ${Math.ceil(from)} AND ${Math.floor(to)}`,
  );
  connection.closeSync();
  instance.closeSync();
  const [row] = reader.getRowObjectsJS();
  return { beats: Number(row?.beats), p50: Number(row?.p50), p99: Number(row?.p99) };
}

type Durable = { readonly ends: ReadonlyMap<number, number>; readonly todo: readonly KeyRange[] };

/** What was durable when the service had been killed. */
async function durableNow(service: TestService): Promise<Durable | null> {
  return withLog(service, async (log) => {
    const state = await readState(log, service.prefix, signal);
    const record = state?.snapshots?.find(({ table }) => table.name === ITEMS.name);
    if (record === undefined) return null;
    const ends = new Map((await log.offsets(`${service.prefix}.public.items`, signal)).map(({ partition, end }) => [partition, end]));
    return { ends, todo: record.todo };
  });
}

/** The keys of the op=r events, with their places. */
async function snapshotKeys(
  log: EventLog,
  { registry: schemas }: Registry,
  topic: string,
): Promise<readonly { partition: number; offset: number; id: number }[]> {
  const keys: { partition: number; offset: number; id: number }[] = [];
  const decoders = new Map<number, EventDecoder>();
  for (const { partition, start, end } of await log.offsets(topic, signal)) {
    for (let offset = start; offset < end;) {
      const { records, next } = await log.read({ topic, partition, offset }, 1 << 23, signal);
      for (const record of records) {
        if (record.value === null) continue;
        const id = schemaIdOf(record.value);
        const decoder = decoders.get(id) ?? new EventDecoder(await schemas.schema(id, signal));
        decoders.set(id, decoder);
        const { op, after } = readEvent(decoder, record.value);
        if (op === "r") keys.push({ partition, offset: record.offset, id: Number(after?.[0]) });
      }
      if (next <= offset) break;
      offset = next;
    }
  }
  return keys;
}

function isIn(id: number, ranges: readonly KeyRange[]): boolean {
  return ranges.some(({ after, upTo }) => (after === null || id > Number(after[0])) && (upTo === null || id <= Number(upTo[0])));
}

async function settle(service: TestService, database: TestDatabase, target: Target): Promise<void> {
  await service.until("the snapshot is complete", (source) => source.snapshots.length === 0, 600_000);
  // Comparing holds a DuckDB file: of a large table for so long that the sink would hardly get at it.
  await service.until("every row is merged", (_, sink) => sink.lagRecords === 0 && sink.awaitingSnapshot === 0, 300_000);
  const { rows } = await expectSame(database.url, target, [ITEMS], 300_000);
  expect(rows).toBeGreaterThan(ROWS / 2);
}

describe("a large table that changes while it is read", () => {
  test(
    "R-window, R-window-toast, R-sweep: the target equals the source (embedded log, DuckDB)",
    async () => {
      await using database = await itemsDatabase();
      // By its name it is read first.
      await database.sql("CREATE TABLE beats (id bigserial PRIMARY KEY)");
      await using service = await TestService.create({ url: database.url, tables: ["public.*"], warehouse: "duckdb", snapshot: {} });
      const [changes, beats] = [new Changes(database.url), beat(database.url)];
      await service.start();
      await service.until(
        "beats are not read any more",
        ({ state, snapshots }) => state === "running" && !snapshots.some(isOfBeats),
        60_000,
      );
      const begun = Date.now();
      await service.until("the snapshot is complete", (source) => source.snapshots.length === 0, 600_000);
      const read = Date.now();
      if (ROWS >= LARGE) {
        await service.until("every row is merged", (_, sink) => sink.lagRecords !== null && sink.lagRecords < CHANGES_PER_SECOND, 300_000);
        await sleep(1_000);
      }
      const level = Date.now();
      if (ROWS >= LARGE) await sleep(20_000);
      const over = Date.now();
      await Promise.all([changes.stop(), beats.stop()]);
      await settle(service, database, { duckdb: service.duckdbFile });
      expect(changes.count).toBeGreaterThan(100);
      if (ROWS < LARGE) return;
      // What others wait for, while the table is read and merged and without: over a shorter time it would be chance.
      const [during, without] = [await endToEnd(service.duckdbFile, begun, level), await endToEnd(service.duckdbFile, level, over)];
      console.info(`end to end while reading for ${read - begun} ms and merging for ${level - read} ms`, during, "without", without);
      expect(during.p99).toBeLessThan(3 * without.p99);
    },
    LONG_MS,
  );

  test(
    "R-window-start: write transactions that are open when the slot is made, and when a table is to be read, are waited for and named; nothing is lost",
    async () => {
      await using database = await itemsDatabase();
      await using service = await TestService.create({ url: database.url, tables: ["public.*"], warehouse: "duckdb", snapshot: {} });
      const writer = new pg.Client({ connectionString: database.url, application_name: "month end" });
      await writer.connect();
      try {
        await writer.query("BEGIN; UPDATE items SET name = 'open' WHERE id % 10 = 0; INSERT INTO items VALUES (-1, 'open', 0, NULL)");
        await service.start();
        const line = await service.said("who the slot waits for", ({ error }) => error?.code === "SLOT_WAITS");
        expect(line.error?.message).toContain("month end");
        expect((await service.metricByLabels("tailrace_errors_total")).get('{code="SLOT_WAITS"}')).toBeGreaterThan(0);
        await sleep(OPEN_MS);
        expect(await service.metric("tailrace_snapshot_rows_total")).toBe(0);
        await writer.query("COMMIT");
        await settle(service, database, { duckdb: service.duckdbFile });

        await writer.query("BEGIN; UPDATE items SET name = 'again' WHERE id % 10 = 1; DELETE FROM items WHERE id % 10 = 2");
        const rows = await service.metric("tailrace_snapshot_rows_total");
        expect((await tailrace(["snapshot", service.folder, SOURCE, "public.items"], {})).code).toBe(0);
        const waits = await service.said("who the chunks wait for", ({ message }) => message.includes("waits until open transactions end"));
        expect(waits.holders).toContain("month end");
        await service.until("status names it", ({ snapshots }) => snapshots[0]?.waitingFor?.includes("month end") === true);
        const states = [...(await service.metricByLabels("tailrace_snapshot_state"))].filter(([, value]) => value > 0);
        expect(states).toEqual([[expect.stringContaining('state="waiting"'), 1]]);
        expect(await service.metric("tailrace_snapshot_rows_total")).toBe(rows);
        await writer.query("COMMIT");
      } finally {
        await writer.end();
      }
      await settle(service, database, { duckdb: service.duckdbFile });
    },
    LONG_MS,
  );

  test(
    "R-chunk: killed ten times, it goes on; what was durable is not read again, and the target equals the source",
    async () => {
      await using database = await itemsDatabase();
      const snapshot = { chunk_rows: 500, max_rows_per_second: Math.ceil(ROWS / 24) }; // so that it is killed while it reads
      await using service = await TestService.create({ url: database.url, tables: ["public.*"], warehouse: "duckdb", snapshot });
      await service.start();
      const changes = new Changes(database.url);
      const kills: Durable[] = [];
      for (let kill = 0; kill < KILLS; kill++) {
        await service.until(
          "chunks are durable",
          (source) => source.snapshots.some(({ chunks, table }) => table === "public.items" && chunks > 0),
          120_000,
        );
        await sleep(300 + Math.random() * 700);
        await service.kill();
        const durable = await durableNow(service);
        if (durable !== null) kills.push(durable);
        await service.start();
        if (durable === null) break; // it was faster
      }
      expect(kills.length).toBeGreaterThan(3);
      await changes.stop();
      await settle(service, database, { duckdb: service.duckdbFile });
      expect(await service.stop()).toMatchObject({ code: 0 });
      const keys = await withLog(service, async (log, schemas) => snapshotKeys(log, schemas, `${service.prefix}.public.items`));
      for (const { ends, todo } of kills) {
        const again = keys.filter(({ partition, offset, id }) => id < ROWS && offset >= (ends.get(partition) ?? 0) && !isIn(id, todo));
        expect(again).toEqual([]);
      }
    },
    LONG_MS,
  );
});

describeWithKafka("with Kafka", () => {
  test(
    "R-window, R-window-toast, R-sweep: the target equals the source (Kafka, Apicurio, PostgreSQL warehouse)",
    async () => {
      await using database = await itemsDatabase();
      await using warehouse = await (await postgres()).createDatabase("warehouse");
      const log = { brokers: (await kafka()).brokers, registryUrl: (await registry()).url };
      await using service = await TestService.create({
        url: database.url,
        tables: ["public.*"],
        kafka: log,
        warehouse: { postgres: warehouse.url },
        snapshot: {},
      });
      await service.start();
      const changes = new Changes(database.url);
      await service.until("the snapshot is complete", (source) => source.state === "running" && source.snapshots.length === 0, 600_000);
      await changes.stop();
      await settle(service, database, { postgres: warehouse.url });
    },
    LONG_MS,
  );
});
