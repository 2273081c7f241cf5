// What can lose changes behind Tailrace's back: a slot, a publication, a topic or the state that is not the one it was. Each
// is named with what to do, by the source it concerns and no other, and nothing goes on as if nothing had happened.
import { rm } from "node:fs/promises";
import path from "node:path";
import kafkajs from "kafkajs";
import { describe, expect, test } from "vitest";
import { databaseOn, query } from "../support/databases.ts";
import { startTestPostgres } from "../support/postgres.ts";
import { describeWithKafka, kafka, postgres, registry, uniqueName, type TestDatabase } from "../support/servers.ts";
import { Scene, sinkDocument, sourceDocument, until, type Document } from "./scene.ts";

/** One source a gap: `name` is its table, and with a common prefix its slot, publication and topics. */
class Sources {
  readonly prefix = uniqueName("gaps");
  readonly database: TestDatabase;

  constructor(database: TestDatabase) {
    this.database = database;
  }

  async createTables(names: readonly string[]): Promise<void> {
    for (const name of names) await this.database.sql(`CREATE TABLE ${name} (id int PRIMARY KEY, note text)`);
  }

  slot(name: string): string {
    return `${this.prefix}_${name}`;
  }

  topic(name: string): string {
    return `${this.topics(name)}.public.${name}`;
  }

  topics(name: string): string {
    return `${this.prefix}-${name}`;
  }

  document(name: string, tables: readonly string[] = [name], url = this.database.url): Document {
    return sourceDocument({
      name,
      url,
      tables: tables.map((table) => `public.${table}`),
      postgres: { slot: this.slot(name), publication: this.slot(name) },
      topics: { prefix: this.topics(name), partitions: 2 },
    });
  }

  async insert(names: readonly string[], id: number): Promise<void> {
    for (const name of names) await this.database.sql(`INSERT INTO ${name} VALUES (${id}, 'x')`);
  }

  /** Bytes of WAL. */
  async acknowledged(name: string): Promise<number> {
    const sql = "SELECT (confirmed_flush_lsn - '0/0')::float8 AS lsn FROM pg_replication_slots WHERE slot_name = $1";
    return (await this.database.sql<{ lsn: number }>(sql, [this.slot(name)]))[0]?.lsn ?? 0;
  }

  /** Takes the slot from whoever reads it. */
  async dropSlot(name: string): Promise<void> {
    await until(async () => {
      await this.database.sql("SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = $1 AND active", [
        this.slot(name),
      ]);
      await this.database.sql("SELECT pg_drop_replication_slot($1)", [this.slot(name)]);
    });
  }

  async createSlot(name: string): Promise<void> {
    await this.database.sql("SELECT pg_create_logical_replication_slot($1, 'pgoutput')", [this.slot(name)]);
  }
}

/** Each of these has published so many events. */
async function published(scene: Scene, names: readonly string[], events: number): Promise<void> {
  await until(async () => {
    for (const name of names) expect(await scene.source(name), name).toMatchObject({ publishedEvents: events });
  });
}

/** The connector stopped with one line that says why and what to do. Its status may be heard of before the line. */
async function expectNamed(scene: Scene, name: string, code: string): Promise<void> {
  await until(async () => {
    const stops = scene.statesOf(name).filter(({ state, error }) => state === "stopped" && error?.code === code);
    expect(stops.at(-1), name).toMatchObject({ level: "error", error: { code, remedy: expect.stringMatching(/\w+ \w+/) } });
  });
}

describeWithKafka("with Kafka", () => {
  const service = async (): Promise<Document> => ({
    kind: "service",
    log: { kafka: { brokers: (await kafka()).brokers } },
    registry: { url: (await registry()).url },
  });

  test("R-slot, R-publication, R-routing, R-epoch: what happened while the service was away is named at the next start, and again at the one after it", async () => {
    await using database = await (await postgres()).createDatabase("gaps");
    await using other = await startTestPostgres();
    await using scene = await Scene.open();
    const sources = new Sources(database);
    const expected = {
      slot_gone: "SLOT_MISSING",
      slot_remade: "SLOT_AHEAD",
      slot_moved: "SLOT_AHEAD",
      pub_gone: "PUBLICATION_MISSING",
      pub_remade: "PUBLICATION_CHANGED",
      pub_readded: "PUBLICATION_CHANGED",
      pub_silenced: "PUBLICATION_CHANGED",
      topic_gone: "TOPIC_LOST",
      topic_remade: "TOPIC_LOST",
      topic_grown: "TOPIC_PARTITIONS",
      state_gone: "STATE_MISSING",
      barriers_gone: "TOPIC_LOST",
      elsewhere: "ANOTHER_DATABASE",
    } as const;
    const damaged = Object.keys(expected);
    const all = [...damaged, "fine", "left_out", "trimmed"];
    await sources.createTables([...all, "companion"]);
    const documents = (leftOut: boolean, lateSink = false): Document[] => [
      ...damaged.filter((name) => name !== "elsewhere").map((name) => sources.document(name)),
      sources.document("elsewhere", ["elsewhere"], "${ELSEWHERE_URL}"),
      sources.document("fine"),
      sources.document("left_out", leftOut ? ["companion"] : ["companion", "left_out"]),
      sinkDocument({ name: "lake", source: "fine" }),
      sinkDocument({ name: "remade_lake", source: "topic_remade" }),
      sources.document("trimmed"),
      ...(lateSink ? [sinkDocument({ name: "late_lake", source: "trimmed" })] : []),
    ];
    await scene.configure(await service(), ...documents(false));
    await scene.start({ ELSEWHERE_URL: database.url });
    await scene.reaches(Object.fromEntries([...all, "lake", "remade_lake"].map((name) => [name, "running"])));
    await sources.insert(all, 1);
    await published(scene, all, 1);
    await until(async () => {
      for (const table of ["fine", "topic_remade"]) expect(await scene.duckdb(`SELECT id FROM public.${table}`)).toEqual([{ id: 1 }]);
    });
    expect(await scene.stop()).toMatchObject({ code: 0 });

    for (const name of ["slot_gone", "slot_remade"]) await sources.dropSlot(name);
    for (const name of ["pub_gone", "pub_remade"]) await database.sql(`DROP PUBLICATION ${sources.slot(name)}`);
    await database.sql(`ALTER PUBLICATION ${sources.slot("pub_readded")} DROP TABLE pub_readded`);
    await database.sql(`ALTER PUBLICATION ${sources.slot("pub_silenced")} SET (publish = 'insert, update, truncate')`);
    await sources.insert(damaged, 2);
    await sources.createSlot("slot_remade");
    await database.sql("SELECT pg_replication_slot_advance($1, pg_current_wal_lsn())", [sources.slot("slot_moved")]);
    await database.sql(`CREATE PUBLICATION ${sources.slot("pub_remade")} FOR TABLE pub_remade WITH (publish_via_partition_root = true)`);
    await database.sql(`ALTER PUBLICATION ${sources.slot("pub_readded")} ADD TABLE pub_readded`);
    await withAdmin(async (admin) => {
      const lost = [
        sources.topic("topic_gone"),
        sources.topic("topic_remade"),
        `${sources.topics("state_gone")}.state`,
        `${sources.topics("barriers_gone")}.barriers`,
      ];
      await admin.deleteTopics({ topics: lost });
      await until(async () => {
        expect(
          await admin.createTopics({
            topics: [{ topic: sources.topic("topic_remade"), numPartitions: 2, replicationFactor: 1 }],
            waitForLeaders: true,
          }),
        ).toBe(true);
      });
      const trimmed = await admin.fetchTopicOffsets(sources.topic("trimmed"));
      await admin.deleteTopicRecords({
        topic: sources.topic("trimmed"),
        partitions: trimmed.map(({ partition, high }) => ({ partition, offset: high })),
      });
      await admin.createPartitions({ topicPartitions: [{ topic: sources.topic("topic_grown"), count: 3 }] });
    });
    // The same database, as far as names go, on another server.
    const elsewhere = await databaseOn(other.url, database.name);
    await query(elsewhere, "CREATE TABLE elsewhere (id int PRIMARY KEY, note text)");

    const checked = await scene.command("check", ["--json"], { ELSEWHERE_URL: elsewhere });
    expect(checked.code).toBe(3);
    const { findings } = JSON.parse(checked.stdout) as { findings: { of: string; kind: string; code?: string }[] };
    const problems = findings.filter(({ kind }) => kind === "problem").map(({ of, code }) => [of.replace("source ", ""), code]);
    // Of each source the first: what else is wrong with it comes behind the gap.
    expect(Object.fromEntries(problems.reverse())).toEqual(expected);

    // Whatever table was not captured for a while has a hole, too.
    await scene.configure(await service(), ...documents(true));
    for (const leftOut of [true, false]) {
      await scene.start({ ELSEWHERE_URL: elsewhere });
      await scene.reaches(Object.fromEntries(Object.entries(expected).map(([name, code]) => [name, `stopped ${code}`])));
      await scene.reaches({ fine: "running", lake: "running", trimmed: "running" });
      if (leftOut) {
        await scene.reaches({ left_out: "running" });
        await sources.insert(["left_out"], 2);
      } else {
        await scene.reaches({ left_out: "stopped TABLE_GAP" });
        await expectNamed(scene, "left_out", "TABLE_GAP");
        expect((await scene.errorOf("left_out")).message).toContain("public.left_out");
        // A new sink can't have what retention has taken.
        await scene.reaches({ late_lake: "stopped LOG_GAP" });
        await expectNamed(scene, "late_lake", "LOG_GAP");
      }
      for (const [name, code] of Object.entries(expected)) await expectNamed(scene, name, code);
      await sources.insert(["fine"], leftOut ? 2 : 3);
      await published(scene, ["fine"], 1);
      await published(scene, damaged, 0);
      await until(async () => {
        expect(await scene.duckdb("SELECT max(id) AS id FROM public.fine")).toEqual([{ id: leftOut ? 2 : 3 }]);
      });
      // The sink's place is in a topic that is another one now.
      await until(async () => {
        expect((await scene.sink("remade_lake")).error?.code).toMatch(/^(TOPIC_LOST|LOG_GAP)$/);
      });
      expect(await scene.stop()).toMatchObject({ code: 0 });
      await scene.configure(await service(), ...documents(false, true));
    }
  });

  test("R-slot, R-publication, R-routing, R-epoch: what happens while the service runs is named within seconds", async () => {
    await using database = await (await postgres()).createDatabase("gaps");
    await using scene = await Scene.open();
    const sources = new Sources(database);
    const expected = {
      pub_gone: "PUBLICATION_MISSING",
      pub_readded: "PUBLICATION_CHANGED",
      topic_gone: "TOPIC_LOST",
      topic_remade: "TOPIC_LOST",
      state_gone: "STATE_MISSING",
      barriers_gone: "TOPIC_LOST",
    } as const;
    const damaged = Object.keys(expected);
    const all = [...damaged, "slot_remade", "fine"];
    await sources.createTables(all);
    await scene.configure(await service(), ...all.map((name) => sources.document(name)), sinkDocument({ name: "lake", source: "fine" }));
    await scene.start();
    await scene.reaches(Object.fromEntries([...all, "lake"].map((name) => [name, "running"])));
    await sources.insert(all, 1);
    await published(scene, all, 1);
    // Before its row is acknowledged it would come again, and a lost topic were no loss.
    const [{ written } = { written: 0 }] = await database.sql<{ written: number }>(
      "SELECT (pg_current_wal_lsn() - '0/0')::float8 AS written",
    );
    await until(async () => {
      for (const name of all) expect(await sources.acknowledged(name), name).toBeGreaterThanOrEqual(written);
    });

    await withAdmin(async (admin) => {
      const lost = [
        sources.topic("topic_gone"),
        sources.topic("topic_remade"),
        `${sources.topics("state_gone")}.state`,
        `${sources.topics("barriers_gone")}.barriers`,
      ];
      await admin.deleteTopics({ topics: lost });
      await until(async () => {
        expect(
          await admin.createTopics({
            topics: [{ topic: sources.topic("topic_remade"), numPartitions: 2, replicationFactor: 1 }],
            waitForLeaders: true,
          }),
        ).toBe(true);
      });
    });
    await database.sql(`ALTER PUBLICATION ${sources.slot("pub_readded")} DROP TABLE pub_readded`);
    await database.sql(`DROP PUBLICATION ${sources.slot("pub_gone")}`);
    await sources.insert([...damaged, "fine"], 2);
    await database.sql(`ALTER PUBLICATION ${sources.slot("pub_readded")} ADD TABLE pub_readded`);
    await sources.dropSlot("slot_remade");
    await sources.insert(["slot_remade"], 99);
    await sources.createSlot("slot_remade");
    await sources.insert([...damaged, "slot_remade", "fine"], 3);

    await scene.reaches(Object.fromEntries(Object.entries(expected).map(([name, code]) => [name, `stopped ${code}`])));
    // Whether it looks before or after the slot stands again, it may not go on.
    await until(async () => {
      expect(await scene.source("slot_remade")).toMatchObject({
        state: "stopped",
        error: { code: expect.stringMatching(/^SLOT_(AHEAD|MISSING)$/) },
      });
    });
    for (const [name, code] of Object.entries(expected)) await expectNamed(scene, name, code);
    await scene.reaches({ fine: "running", lake: "running" });
    await until(async () => {
      expect(await scene.duckdb("SELECT id FROM public.fine ORDER BY id")).toEqual([{ id: 1 }, { id: 2 }, { id: 3 }]);
    });
  });
});

describe("with the embedded log", () => {
  test("R-epoch, R-slot: a deleted log folder, a slot made again, and both at once", async () => {
    await using database = await (await postgres()).createDatabase("gaps");
    await using scene = await Scene.open();
    const sources = new Sources(database);
    await sources.createTables(["shop"]);
    await scene.configure(sources.document("shop"), sinkDocument({ name: "lake", source: "shop" }));
    await scene.start();
    await scene.reaches({ shop: "running", lake: "running" });
    await sources.insert(["shop"], 1);
    await until(async () => {
      expect(await scene.duckdb("SELECT id FROM public.shop")).toEqual([{ id: 1 }]);
    });
    expect(await scene.stop()).toMatchObject({ code: 0 });

    await sources.dropSlot("shop");
    await sources.insert(["shop"], 2);
    await sources.createSlot("shop");
    await scene.start();
    await scene.reaches({ shop: "stopped SLOT_AHEAD", lake: "running" });
    const checked = await scene.command("status", ["--json"]);
    expect(checked.code).toBe(1);
    expect(await scene.stop()).toMatchObject({ code: 0 });
    expect((await scene.command("check")).stdout).toMatch(/FAIL source shop: .*\[SLOT_AHEAD\]\n {5}fix: /);

    await rm(path.join(scene.folder, "data"), { recursive: true });
    await scene.start();
    await scene.reaches({ shop: "stopped STATE_MISSING" });
    expect((await scene.errorOf("shop")).message).toContain(sources.slot("shop"));
    expect(await scene.stop()).toMatchObject({ code: 0 });

    // Without slot and log the source begins anew, as it was told; its sink's checkpoint knows that this is another log.
    await sources.dropSlot("shop");
    await rm(path.join(scene.folder, "data"), { recursive: true });
    await scene.start();
    await scene.reaches({ shop: "running", lake: "stopped TOPIC_LOST" });
    await sources.insert(["shop"], 3);
    await published(scene, ["shop"], 1);
    await expectNamed(scene, "lake", "TOPIC_LOST");
    expect(await scene.duckdb("SELECT id FROM public.shop")).toEqual([{ id: 1 }]);
  });
});

async function withAdmin<T>(work: (admin: kafkajs.Admin) => Promise<T>): Promise<T> {
  const admin = new kafkajs.Kafka({ clientId: "gaps", brokers: [...(await kafka()).brokers], logLevel: kafkajs.logLevel.NOTHING }).admin();
  await admin.connect();
  try {
    return await work(admin);
  } finally {
    await admin.disconnect();
  }
}
