// What PostgreSQL is told that it may forget. Each test has a server of its own: nobody else writes WAL, and the walsender
// asks for a sign of life every second.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { parseLsn, type Lsn } from "../../src/core/lsn.ts";
import type { PostgresServer } from "../../src/quickstart/postgres-server.ts";
import { expectSame } from "../support/compare.ts";
import { databaseOn, query, withClient } from "../support/databases.ts";
import { eventually } from "../support/eventually.ts";
import { freeze } from "../support/freeze.ts";
import { startKafka } from "../support/kafka.ts";
import { startTestPostgres } from "../support/postgres.ts";
import { expectEachOnce } from "../support/scan.ts";
import { describeWithKafka, registry, uniqueName } from "../support/servers.ts";
import { TestService, type ServiceSpec } from "../support/service.ts";

const items = [{ schema: "public", name: "items" }];
/** Status updates that must pass without the slot moving, or with it. */
const UPDATES = 6;
/** Tries to have two commits side by side, and the slot confirmed exactly there. */
const ADJACENT_TRIES = 10;

let server: PostgresServer;
beforeAll(async () => {
  server = await startTestPostgres(18, { wal_sender_timeout: "2s", autovacuum: "off" });
});
afterAll(async () => {
  await server[Symbol.asyncDispose]();
});

describeWithKafka("while the broker does not answer", () => {
  test("R-ack: confirmed_flush_lsn does not pass what is durable, and does once the broker answers", async () => {
    await using broker = await startKafka();
    const url = await newDatabase();
    await using service = await serviceOf(url, { kafka: { brokers: broker.brokers, registryUrl: (await registry()).url } });
    await service.start();
    await service.ready();
    await confirmedPast(service, url, await insert(url, "before"));
    await service.until("the sink merges", (_, sink) => sink.mergedRows === 1);

    const frozen = freeze([broker.pid!]);
    const lost = await insert(url, "while frozen");
    await insert(url, "ignored", "ignored");
    await afterUpdates(service, url, async () => expect(await confirmed(service, url)).toBeLessThan(lost));
    // Dead and started again, with nobody to ask, it acknowledges no more than before.
    await service.kill();
    await service.start();
    const later = await insert(url, "after the kill");
    expect(await confirmed(service, url)).toBeLessThan(lost);

    frozen.thaw();
    await confirmedPast(service, url, later);
    await arrived(service, url, 3);
  });
});

describe("with the embedded log", () => {
  test("R-ack: when only tables change that nobody watches, confirmed_flush_lsn goes on", async () => {
    const url = await newDatabase();
    await using service = await serviceOf(url);
    await service.start();
    await service.ready();
    for (let round = 0; round < 3; round++) await confirmedPast(service, url, await insert(url, "nobody watches", "ignored"));
    await confirmedPast(service, url, await insert(url, "somebody does"));
    await arrived(service, url, 1);
  });

  test("R-ack: a transaction that stays open across idle keepalives arrives after a restart", async () => {
    const url = await newDatabase();
    await using service = await serviceOf(url);
    await service.start();
    await service.ready();
    await withClient(url, async (client) => {
      await client.query("BEGIN; INSERT INTO items (note) SELECT 'open ' || n FROM generate_series(1, 3) n");
      // The slot is confirmed far beyond the open transaction's rows.
      await confirmedPast(service, url, await insert(url, "meanwhile", "ignored"));
      await confirmedPast(service, url, await insert(url, "meanwhile"));
      await service.kill();
      await service.start();
      await service.ready();
      await confirmedPast(service, url, await insert(url, "after the restart", "ignored"));
      await client.query("COMMIT");
      await arrived(service, url, 4);
    });
  });

  test("R-ack: a transaction whose keepalives were acknowledged while it was open, and that commits while nobody listens, arrives", async () => {
    const url = await newDatabase();
    await using service = await serviceOf(url);
    await service.start();
    await service.ready();
    await withClient(url, async (client) => {
      await client.query("BEGIN; INSERT INTO items (note) VALUES ('open')");
      await confirmedPast(service, url, await insert(url, "meanwhile", "ignored"));
      await service.kill();
      await client.query("COMMIT");
    });
    await service.start();
    await arrived(service, url, 1);
  });

  test("R-ack: of two adjacent commits with nothing between them, the second arrives after the first was acknowledged", async () => {
    const url = await newDatabase();
    await using service = await serviceOf(url);
    let rows = 0;
    const adjacent = async (): Promise<boolean> =>
      withClient(url, (first) =>
        withClient(url, async (second) => {
          await service.start();
          await service.ready();
          await second.query("BEGIN; INSERT INTO items (note) VALUES ('second')");
          await first.query("BEGIN; INSERT INTO items (note) VALUES ('first')");
          // Now and then a record of the running transactions is written.
          using _quiet = freeze(await writers());
          // Both have written their rows: what follows are two commit records.
          await first.query("COMMIT");
          const between = await insertLsn(url);
          await confirmedPast(service, url, between);
          await service.kill();
          const isAdjacent = (await insertLsn(url)) === between && (await confirmed(service, url)) === between;
          await second.query("COMMIT");
          rows += 2;
          return isAdjacent;
        }),
      );
    for (let attempt = 1; !(await adjacent()); attempt++) expect(attempt).toBeLessThan(ADJACENT_TRIES);
    await service.start();
    await arrived(service, url, rows);
  });
});

/** A database with two tables, of which `items` alone is captured. */
async function newDatabase(): Promise<string> {
  const url = await databaseOn(server.url, uniqueName("acks"));
  for (const table of ["items", "ignored"])
    await query(url, `CREATE TABLE ${table} (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, note text)`);
  return url;
}

/** The processes that write WAL by themselves. */
async function writers(): Promise<readonly number[]> {
  const types = "('background writer', 'checkpointer', 'walwriter')";
  return (await query<{ pid: number }>(server.url, `SELECT pid FROM pg_stat_activity WHERE backend_type IN ${types}`)).map(
    ({ pid }) => pid,
  );
}

async function serviceOf(url: string, more: Partial<ServiceSpec> = {}): Promise<TestService> {
  return TestService.create({ url, tables: ["public.items"], warehouse: "duckdb", ...more });
}

/** The end of the WAL after the row's commit. */
async function insert(url: string, note: string, table = "items"): Promise<Lsn> {
  await query(url, `INSERT INTO ${table} (note) VALUES ($1)`, [note]);
  return insertLsn(url);
}

async function insertLsn(url: string): Promise<Lsn> {
  const [row] = await query<{ lsn: string }>(url, "SELECT pg_current_wal_insert_lsn()::text AS lsn");
  return parseLsn(row!.lsn);
}

async function confirmed(service: TestService, url: string): Promise<Lsn> {
  const [slot] = await query<{ lsn: string }>(
    url,
    "SELECT confirmed_flush_lsn::text AS lsn FROM pg_replication_slots WHERE slot_name = $1",
    [service.slot],
  );
  return parseLsn(slot!.lsn);
}

async function confirmedPast(service: TestService, url: string, lsn: Lsn): Promise<void> {
  await eventually("the slot is confirmed", async () => (await confirmed(service, url)) >= lsn);
}

/** Calls `check` after each of some status updates that the server has had from the service. */
async function afterUpdates(service: TestService, url: string, check: () => Promise<void>): Promise<void> {
  let last = "";
  for (let update = 0; update < UPDATES; update++) {
    last = await eventually("the service sends a status update", async () => {
      const [walsender] = await query<{ at: string | null }>(
        url,
        "SELECT reply_time::text AS at FROM pg_stat_replication JOIN pg_replication_slots ON active_pid = pid WHERE slot_name = $1",
        [service.slot],
      );
      const at = walsender?.at ?? last;
      return at === last ? null : at;
    });
    await check();
  }
}

async function arrived(service: TestService, url: string, rows: number): Promise<void> {
  expect((await expectSame(url, { duckdb: service.duckdbFile }, items)).rows).toBe(rows);
  await service.stop();
  expect((await expectEachOnce(service, items)).events).toBe(rows);
}
