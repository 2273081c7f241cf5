// SIGTERM: within 10 s everything that was read is durable, merged and acknowledged, and the slot is free.
import { expect, test } from "vitest";
import { lastBarrier } from "../../src/core/barrier.ts";
import { formatLsn } from "../../src/core/lsn.ts";
import { readState } from "../../src/core/source-state.ts";
import { STOP_MS } from "../../src/service.ts";
import { expectSame } from "../support/compare.ts";
import { databaseOn } from "../support/databases.ts";
import { eventually } from "../support/eventually.ts";
import { freeze, postgresPids } from "../support/freeze.ts";
import { startKafka } from "../support/kafka.ts";
import { createLoadTables, Load, loadTables } from "../support/load.ts";
import { startTestPostgres } from "../support/postgres.ts";
import { expectEachOnce, withLog } from "../support/scan.ts";
import { describeWithKafka, postgres, registry } from "../support/servers.ts";
import { TestService } from "../support/service.ts";

/** What a busy machine may add to a stop that ends itself, and not well, after 10 s. */
const SLACK_MS = 5_000;
const never = new AbortController().signal;

test("R-ack: SIGTERM under load flushes, acknowledges and releases the slot within 10 s; a second start is sent nothing again", async () => {
  await using database = await (await postgres()).createDatabase("shop");
  await createLoadTables(database.url);
  await using service = await TestService.create({ url: database.url, tables: ["public.*"], warehouse: "duckdb" });
  await service.start();
  await service.ready();
  const load = new Load({ url: database.url });
  await service.until("the sink merges", (_, sink) => sink.mergedEvents > 500);
  const exit = await service.stop();
  expect(exit).toMatchObject({ code: 0, signal: null });
  expect(exit.ms).toBeLessThan(STOP_MS + SLACK_MS);
  await load.stop();

  const slot = await eventually("the slot is free", async () => {
    const [row] = await database.sql<{ active: boolean; confirmed: string }>(
      "SELECT active, confirmed_flush_lsn::text AS confirmed FROM pg_replication_slots WHERE slot_name = $1",
      [service.slot],
    );
    return row?.active === false ? row : null;
  });
  await withLog(service, async (log) => {
    const state = await readState(log, service.prefix, never);
    const barrier = await lastBarrier(log, service.prefix, never);
    expect(formatLsn(state!.acknowledged)).toBe(slot.confirmed);
    expect(state!.published).toBe(barrier!.commitLsn);
    // Everything published is acknowledged: the server has nothing to send again.
    expect(state!.acknowledged).toBeGreaterThan(barrier!.commitLsn);
  });

  await service.start();
  await expectSame(database.url, { duckdb: service.duckdbFile }, loadTables);
  expect(await service.stop()).toMatchObject({ code: 0 });
  await expectEachOnce(service, loadTables);
});

test("what the sink has read and not flushed yet is flushed by SIGTERM", async () => {
  await using database = await (await postgres()).createDatabase("shop");
  await createLoadTables(database.url);
  await using service = await TestService.create({ url: database.url, tables: ["public.*"], warehouse: "duckdb", flushEvery: "1h" });
  await service.start();
  await service.ready();
  await database.sql("INSERT INTO accounts SELECT n, 'Ada' FROM generate_series(1, 100) n");
  // The sink is woken by the same commit of the log, before this question is answered.
  await service.until("the log holds the rows", (source) => source.publishedEvents === 100);
  expect(await service.stop()).toMatchObject({ code: 0 });
  expect((await expectSame(database.url, { duckdb: service.duckdbFile }, loadTables, 0)).rows).toBe(100);
});

test("a PostgreSQL, source and warehouse in one, that does not answer holds SIGTERM up for no more than 10 s, and nothing is lost", async () => {
  await using server = await startTestPostgres();
  const url = await databaseOn(server.url, "shop");
  const warehouse = { postgres: await databaseOn(server.url, "warehouse") };
  await createLoadTables(url);
  await using service = await TestService.create({ url, tables: ["public.*"], warehouse });
  await service.start();
  await service.ready();
  const load = new Load({ url });
  await service.until("the sink merges", (_, sink) => sink.mergedEvents > 100);
  {
    using _frozen = freeze(await postgresPids(server));
    const exit = await service.stop();
    expect(exit.signal).toBeNull();
    expect(exit.ms).toBeLessThan(STOP_MS + SLACK_MS);
  }
  await service.start();
  await service.ready();
  await load.stop();
  await expectSame(url, warehouse, loadTables);
  expect(await service.stop()).toMatchObject({ code: 0 });
  await expectEachOnce(service, loadTables);
});

describeWithKafka("with Kafka", () => {
  test("a broker that does not answer holds SIGTERM up for no more than 10 s, and nothing is lost or doubled", async () => {
    await using broker = await startKafka();
    await using database = await (await postgres()).createDatabase("shop");
    await createLoadTables(database.url);
    const kafka = { brokers: broker.brokers, registryUrl: (await registry()).url };
    await using service = await TestService.create({ url: database.url, tables: ["public.*"], kafka, warehouse: "duckdb" });
    await service.start();
    await service.ready();
    const load = new Load({ url: database.url });
    await service.until("the sink merges", (_, sink) => sink.mergedEvents > 100);
    {
      using _frozen = freeze([broker.pid!]);
      const exit = await service.stop();
      expect(exit.signal).toBeNull();
      expect(exit.ms).toBeLessThan(STOP_MS + SLACK_MS);
    }
    await service.start();
    await service.ready();
    await load.stop();
    await expectSame(database.url, { duckdb: service.duckdbFile }, loadTables);
    expect(await service.stop()).toMatchObject({ code: 0 });
    await expectEachOnce(service, loadTables);
  });
});
