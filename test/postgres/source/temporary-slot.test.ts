// R-epoch with a slot that goes with its connection: every session is a new beginning.
import pg from "pg";
import { expect, test } from "vitest";
import { makeTemporarySlot } from "../../../src/postgres/slot.ts";
import { eventually } from "../../support/eventually.ts";
import { describeWithPostgres15, postgres, postgres15, type SharedPostgres, type TestDatabase } from "../../support/servers.ts";
import { untilOldest } from "../collect.ts";
import { SourceScene } from "./source-scene.ts";

async function open(
  server: Promise<SharedPostgres> = postgres(),
): Promise<{ readonly database: TestDatabase; readonly scene: SourceScene } & AsyncDisposable> {
  const database = await (await server).createDatabase();
  await database.sql(
    "CREATE TABLE things (id int PRIMARY KEY, name text); INSERT INTO things SELECT n, 'first' FROM generate_series(1, 700) n",
  );
  const scene = await SourceScene.open(database, { snapshot: { mode: "initial" } });
  scene.options = { ...scene.options, temporary: true };
  return {
    database,
    scene,
    [Symbol.asyncDispose]: async () => {
      await scene[Symbol.asyncDispose]();
      await database[Symbol.asyncDispose]();
    },
  };
}

async function slots(database: TestDatabase): Promise<unknown[]> {
  return database.sql("SELECT slot_name, temporary FROM pg_replication_slots WHERE database = current_database()");
}

async function names(scene: SourceScene): Promise<Record<string, unknown>> {
  return Object.fromEntries((await scene.target("things")).map(({ id, name }) => [String(id), name]));
}

const rows = (of: TestDatabase): Promise<{ id: number; name: string }[]> => of.sql("SELECT id, name FROM things");
const expected = async (of: TestDatabase): Promise<Record<string, string>> =>
  Object.fromEntries((await rows(of)).map(({ id, name }) => [String(id), name]));

async function bringsAll(server?: Promise<SharedPostgres>): Promise<void> {
  await using opened = await open(server);
  const { database, scene } = opened;
  await scene.while(async () => {
    expect(await slots(database)).toEqual([{ slot_name: scene.options.slot, temporary: true }]);
    await database.sql(
      "UPDATE things SET name = 'second' WHERE id % 7 = 0; DELETE FROM things WHERE id = 1; INSERT INTO things VALUES (701, 'new')",
    );
    await scene.untilRead();
    await scene.untilLevel(database);
  });
  await eventually("no slot", async () => (await slots(database)).length === 0);
  expect(await names(scene)).toEqual(await expected(database));
}

test("a temporary slot is there while the source streams, brings rows and changes, and is gone afterwards", async () => bringsAll());
describeWithPostgres15("PostgreSQL 15", () => {
  test("takes the same command", async () => bringsAll(postgres15()));
});

test("R-epoch: every session with a temporary slot begins a new epoch and reads again, so that what happened in between is not missing", async () => {
  await using opened = await open();
  const { database, scene } = opened;
  await scene.while(async () => scene.untilRead());
  expect((await scene.state())?.epoch).toBe(1);
  await database.sql("DELETE FROM things WHERE id <= 100; UPDATE things SET name = 'meanwhile' WHERE id > 600");
  scene.forget();
  await scene.while(async () => {
    await scene.untilRead();
    await scene.untilLevel(database);
  });
  expect((await scene.state())?.epoch).toBe(2);
  expect(await names(scene)).toEqual(await expected(database));
  expect(scene.warnings).toEqual([]);
});

test("a connection that is lost under a temporary slot is such a beginning too", async () => {
  await using opened = await open();
  const { database, scene } = opened;
  await scene.while(async () => {
    await scene.untilRead();
    await database.sql("SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE database = current_database()");
    await database.sql("DELETE FROM things WHERE id = 2");
    await eventually("a new epoch", async () => (await scene.state())?.epoch === 2);
    await scene.untilRead();
    await scene.untilLevel(database);
  });
  expect(await names(scene)).toEqual(await expected(database));
});

test("an open transaction that a temporary slot waits for is named", async () => {
  await using opened = await open();
  const { database, scene } = opened;
  const walsender = new pg.Client({ connectionString: database.url, replication: "database" } as pg.ClientConfig);
  const writer = new pg.Client({ connectionString: database.url, application_name: "nightly" });
  await Promise.all([walsender.connect(), writer.connect()]);
  try {
    await writer.query("BEGIN; INSERT INTO things VALUES (9999, 'open')");
    await untilOldest(database, "nightly");
    await expect(makeTemporarySlot(walsender, scene.options.slot, 300)).rejects.toMatchObject({
      code: "SLOT_WAITS",
      message: expect.stringContaining("nightly"),
    });
    await writer.query("ROLLBACK");
    expect(await makeTemporarySlot(walsender, scene.options.slot, 60_000)).toBeGreaterThan(0n); // others may have one open, too
  } finally {
    await Promise.all([walsender.end(), writer.end()]);
  }
});
