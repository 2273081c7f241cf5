// kill -9 of the service under load. Twenty times wherever it happens to be, and once at each place where a promise hangs on
// the order of two writes.
import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import { failpoints, type Failpoint } from "../../src/core/failpoint.ts";
import { expectSame, type Target } from "../support/compare.ts";
import { createLoadTables, Load, loadTables } from "../support/load.ts";
import { expectEachOnce } from "../support/scan.ts";
import { describeWithKafka, kafka, postgres, registry, type TestDatabase } from "../support/servers.ts";
import { TestService, type ServiceSpec } from "../support/service.ts";

const KILLS = 20;
/** Most of it is Node.js starting 20 times: a minute and a half, much more on a busy machine. */
const KILLS_MS = 600_000;
/** Longer than it takes to come to a place that it is to die at. */
const DIES_MS = 120_000;
/** Reached only where a schema is refused: parking.test.ts and versioning.test.ts die there. */
const ofRefusals: readonly Failpoint[] = [
  "source.before_versioned",
  "source.after_versioned",
  "source.after_version_topic",
  "source.before_parked",
  "source.after_parked",
  "source.while_drained",
  "source.after_drained",
  "source.after_unparked",
];
/** Every so many kills the sink was seen to merge before; between them the service may die while it starts. */
const SINK_EVERY = { embedded: 2, kafka: 5 };

test(
  "R-ack, R-tail, R-checkpoint: the service is killed 20 times, with the embedded log and a DuckDB file",
  async () => {
    await using database = await loadDatabase();
    await using service = await TestService.create({ ...specOf(database), warehouse: "duckdb" });
    await killUnderLoad(service, database, { duckdb: service.duckdbFile }, SINK_EVERY.embedded);
  },
  KILLS_MS,
);

describeWithKafka("with Kafka", () => {
  test(
    "R-ack, R-tail, R-checkpoint: the service is killed 20 times, with Kafka, Apicurio and a PostgreSQL warehouse",
    async () => {
      await using database = await loadDatabase();
      await using warehouse = await (await postgres()).createDatabase("warehouse");
      const log = { brokers: (await kafka()).brokers, registryUrl: (await registry()).url };
      await using service = await TestService.create({ ...specOf(database), kafka: log, warehouse: { postgres: warehouse.url } });
      await killUnderLoad(service, database, { postgres: warehouse.url }, SINK_EVERY.kafka);
    },
    KILLS_MS,
  );
});

test("R-ack, R-epoch, R-checkpoint: the service dies at each place where a write has happened and the next has not (DuckDB)", async () => {
  await using database = await loadDatabase();
  await using service = await TestService.create({ ...specOf(database), warehouse: "duckdb" });
  await dieAtEach(
    failpoints.filter((point) => !ofRefusals.includes(point)),
    service,
    database,
    { duckdb: service.duckdbFile },
  );
});

test("R-checkpoint: the sink dies at each place of a flush into PostgreSQL", async () => {
  await using database = await loadDatabase();
  await using warehouse = await (await postgres()).createDatabase("warehouse");
  await using service = await TestService.create({ ...specOf(database), warehouse: { postgres: warehouse.url } });
  const ofSink = failpoints.filter((point) => point.startsWith("sink."));
  await dieAtEach(ofSink, service, database, { postgres: warehouse.url });
});

test.each(["duckdb", "postgres"] as const)(
  "R-checkpoint: the service dies between the DDL of a target and the rows that need it, and the next one goes on from there (%s)",
  async (kind) => {
    await using database = await (await postgres()).createDatabase("shop");
    await using warehouse = await (await postgres()).createDatabase("warehouse");
    await database.sql("CREATE TABLE items (id int PRIMARY KEY, n int); CREATE TABLE pairs (id int PRIMARY KEY)");
    await using service = await TestService.create({
      ...specOf(database),
      warehouse: kind === "duckdb" ? "duckdb" : { postgres: warehouse.url },
      snapshot: { mode: "initial" },
    });
    const tables = ["items", "pairs"].map((name) => ({ schema: "public", name }));
    const target = kind === "duckdb" ? { duckdb: service.duckdbFile } : { postgres: warehouse.url };
    await service.start();
    await service.ready();
    await database.sql("INSERT INTO items SELECT n, n FROM generate_series(1, 50) n; INSERT INTO pairs SELECT generate_series(1, 50)");
    await expectSame(database.url, target, tables);
    expect(await service.stop()).toMatchObject({ code: 0 });

    await database.sql(
      "ALTER TABLE items ADD note text, ALTER n TYPE bigint; ALTER TABLE pairs ADD at date; CREATE TABLE fresh (id int PRIMARY KEY)",
    );
    await database.sql("UPDATE items SET n = 9000000000 + id, note = 'wide' WHERE id <= 20; INSERT INTO items VALUES (51, 1, 'new')");
    await database.sql("INSERT INTO pairs VALUES (51, '2026-11-30'); DELETE FROM pairs WHERE id = 1; INSERT INTO fresh VALUES (1)");
    for (const point of ["sink.after_stage", "sink.before_commit"] as const) {
      await service.start(point);
      expect({ point, ...(await service.ended(DIES_MS)) }).toEqual({ point, code: null, signal: "SIGKILL" });
    }
    await service.start();
    await service.ready();
    await expectSame(database.url, target, [...tables, { schema: "public", name: "fresh" }]);
    expect(await service.stop()).toMatchObject({ code: 0 });
  },
);

async function loadDatabase(): Promise<TestDatabase> {
  const database = await (await postgres()).createDatabase("shop");
  await createLoadTables(database.url);
  return database;
}

function specOf(database: TestDatabase): Pick<ServiceSpec, "url" | "tables"> {
  return { url: database.url, tables: ["public.*"] };
}

async function killUnderLoad(service: TestService, database: TestDatabase, target: Target, sinkEvery: number): Promise<void> {
  await service.start();
  await service.ready();
  const load = new Load({ url: database.url });
  for (let kill = 1; kill <= KILLS; kill++) {
    if (kill % sinkEvery === 0) await service.until("the sink merges", (_, sink) => sink.mergedEvents > 0);
    else if (kill % sinkEvery === 1) await service.until("the source publishes", (source) => source.publishedEvents > 0);
    await sleep(Math.random() * 700); // where it dies is left to chance
    await service.kill();
    service.spawn();
    if (kill % 7 === 0)
      await sleep(Math.random() * 1_500); // and now and then while it starts
    else await service.listening();
  }
  await service.ready();
  await load.stop();
  await settle(service, database, target);
  expect(load.failures).toBe(0);
}

async function dieAtEach(points: readonly Failpoint[], service: TestService, database: TestDatabase, target: Target): Promise<void> {
  const firstStart: readonly Failpoint[] = points.filter((point) => point === "source.after_slot");
  let load: Load | null = null;
  for (const point of [...firstStart, ...points.filter((other) => !firstStart.includes(other))]) {
    // The load can't begin before the slot exists; later the third time is one in the middle of the work.
    await service.start(load === null && firstStart.length > 0 ? point : `${point}:3`);
    load ??= firstStart.length > 0 ? null : await loadOnceReady(service, database);
    expect({ point, ...(await service.ended(DIES_MS)) }).toEqual({ point, code: null, signal: "SIGKILL" });
    load ??= new Load({ url: database.url, seed: 7 });
  }
  await service.start();
  await service.ready();
  await load?.stop();
  await settle(service, database, target);
}

async function loadOnceReady(service: TestService, database: TestDatabase): Promise<Load> {
  await service.ready();
  return new Load({ url: database.url, seed: 7 });
}

/** The load is at rest. */
async function settle(service: TestService, database: TestDatabase, target: Target): Promise<void> {
  const { rows } = await expectSame(database.url, target, loadTables);
  expect(rows).toBeGreaterThan(100);
  expect(await service.stop()).toMatchObject({ code: 0 });
  expect((await expectSame(database.url, target, loadTables, 0)).rows).toBe(rows);
  const { events } = await expectEachOnce(service, loadTables);
  expect(events).toBeGreaterThan(1_000);
}
