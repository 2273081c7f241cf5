// Gaps that the running service heals by itself: the target equals the source afterwards, rows that went meanwhile are gone.
import { Kafka, logLevel } from "kafkajs";
import { expect, test } from "vitest";
import { tailrace } from "../support/command.ts";
import { expectSame, type Target } from "../support/compare.ts";
import { describeWithKafka, kafka, postgres, registry, type TestDatabase } from "../support/servers.ts";
import { SOURCE, TestService, type ServiceSpec } from "../support/service.ts";

const NOTES = { schema: "public", name: "notes" };

async function notesDatabase(): Promise<TestDatabase> {
  const database = await (await postgres()).createDatabase("notes");
  await database.sql("CREATE TABLE notes (id int PRIMARY KEY, note text, body text)");
  await database.sql("ALTER TABLE notes ALTER body SET STORAGE EXTERNAL");
  await database.sql("INSERT INTO notes SELECT i, 'first', repeat('b', 5000) FROM generate_series(1, 1000) i");
  return database;
}

async function change(database: TestDatabase, round: number): Promise<void> {
  await database.sql(`DELETE FROM notes WHERE id % 7 = ${round % 7}`);
  await database.sql(`UPDATE notes SET note = 'round ${round}' WHERE id % 3 = 0`);
  await database.sql(`UPDATE notes SET id = id + ${100_000 * round} WHERE id % 11 = ${round % 11}`);
  await database.sql(`INSERT INTO notes VALUES (${90_000 + round}, 'new', 'n')`);
}

async function isLevel(service: TestService, database: TestDatabase, target: Target): Promise<void> {
  await service.ready();
  await service.until("no snapshot is unfinished", (source) => source.state === "running" && source.snapshots.length === 0);
  await expectSame(database.url, target, [NOTES]).catch((error: unknown) => {
    throw new Error(`${String(error)}\n${service.tail()}`);
  });
  await service.until("nothing awaits a snapshot", (_, sink) => sink.awaitingSnapshot === 0);
}

async function serve(
  spec: Partial<ServiceSpec>,
  work: (service: TestService, database: TestDatabase, target: Target) => Promise<void>,
): Promise<void> {
  await using database = await notesDatabase();
  await using service = await TestService.create({ url: database.url, tables: ["public.*"], warehouse: "duckdb", snapshot: {}, ...spec });
  await service.start();
  await isLevel(service, database, { duckdb: service.duckdbFile });
  await work(service, database, { duckdb: service.duckdbFile });
}

test("R-epoch, R-sweep: the source is dropped and begins again, in a later epoch than before; its sink goes on by itself", async () => {
  await serve({}, async (service, database, target) => {
    for (const round of [1, 2]) {
      expect(await service.stop()).toMatchObject({ code: 0 });
      // A source that is in epoch 2 is dropped, then: its sink must not meet a state of epoch 1.
      if (round === 1) await database.sql(`SELECT pg_drop_replication_slot('${service.slot}')`);
      else expect(await tailrace(["drop", service.folder, SOURCE, "--yes"])).toMatchObject({ code: 0 });
      await change(database, round);
      await service.start();
      await isLevel(service, database, target);
    }
    await change(database, 3);
    await isLevel(service, database, target);
  });
});

test("R-slot, R-epoch, R-sweep: the slot is dropped while rows are deleted and changed; the service starts again", async () => {
  await serve({}, async (service, database, target) => {
    expect(await service.stop()).toMatchObject({ code: 0 });
    await database.sql(`SELECT pg_drop_replication_slot('${service.slot}')`);
    await change(database, 1);
    await service.start();
    await isLevel(service, database, target);
    await change(database, 2);
    await isLevel(service, database, target);
  });
});

describeWithKafka("with Kafka", () => {
  test("R-epoch: the topics of state and barriers are deleted; source and sink go on in a later epoch by themselves", async () => {
    const brokers = [...(await kafka()).brokers];
    await serve({ kafka: { brokers, registryUrl: (await registry()).url } }, async (service, database, target) => {
      expect(await service.stop()).toMatchObject({ code: 0 });
      const admin = new Kafka({ brokers, logLevel: logLevel.NOTHING }).admin();
      await admin.connect();
      await admin.deleteTopics({ topics: [`${service.prefix}.state`, `${service.prefix}.barriers`] });
      await admin.disconnect();
      await change(database, 1);
      await service.start();
      await isLevel(service, database, target);
      await change(database, 2);
      await isLevel(service, database, target);
    });
  });

  test("R-routing: a topic is deleted while the service runs; source and sink go on in a new epoch without a restart", async () => {
    const brokers = [...(await kafka()).brokers];
    await serve({ kafka: { brokers, registryUrl: (await registry()).url } }, async (service, database, target) => {
      const admin = new Kafka({ brokers, logLevel: logLevel.NOTHING }).admin();
      await admin.connect();
      await admin.deleteTopics({ topics: [`${service.prefix}.public.notes`] });
      await admin.disconnect();
      await change(database, 1);
      await isLevel(service, database, target);
      await change(database, 2);
      await isLevel(service, database, target);
    });
  });
});
