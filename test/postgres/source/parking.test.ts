// R-park: a table whose new schema is refused goes to a topic of its own, and comes back from there whole.
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import { eventually } from "../../support/eventually.ts";
import { postgres, type TestDatabase } from "../../support/servers.ts";
import { SourceScene } from "./source-scene.ts";

const server = postgres();

async function shop(
  work: (database: TestDatabase, scene: SourceScene) => Promise<void>,
  mode: "initial" | "no_data" = "no_data",
): Promise<void> {
  await using database = await (await server).createDatabase("parking");
  await database.sql("CREATE TABLE bills (id int PRIMARY KEY, total numeric(10,2)); CREATE TABLE notes (id int PRIMARY KEY, note text)");
  await using scene = await SourceScene.open(database, { snapshot: { mode, chunkRows: 100 } });
  await work(database, scene);
}

async function ids(scene: SourceScene, table: string): Promise<readonly unknown[]> {
  return (await scene.rows(table)).map(({ id }) => id);
}

async function expectSame(database: TestDatabase, scene: SourceScene, table: string): Promise<void> {
  const rows = await database.sql(`SELECT id FROM ${table}`);
  const text = (list: readonly object[]): readonly string[] => list.map((row) => JSON.stringify(row)).sort();
  expect(text((await scene.target(table)).map(({ id }) => ({ id })))).toEqual(text(rows));
}

/** In the order of their sequences, none twice. */
async function expectOrdered(scene: SourceScene, table: string): Promise<void> {
  const sequences = (await scene.events(table)).map(({ sequence }) => sequence);
  expect(sequences).toEqual([...new Set(sequences)].sort());
}

const from = (first: number, last: number): readonly number[] => Array.from({ length: last - first + 1 }, (_, at) => first + at);
const ALTER = "ALTER TABLE bills ALTER total TYPE numeric(12,4)";
const PARKED = "bills.parked";

test("R-park: in the midst of a transaction a refused schema parks its table alone, and unpark brings every event back, in order and once", async () => {
  await shop(async (database, scene) => {
    await scene.while(async () => {
      await database.sql("INSERT INTO bills SELECT i, i FROM generate_series(1, 100) i");
      await database.sql(
        `BEGIN; INSERT INTO bills VALUES (101, 1); ${ALTER}; INSERT INTO bills VALUES (102, 1.2345); INSERT INTO notes VALUES (1, 'x'); COMMIT`,
      );
      await scene.untilRows(PARKED, 1);
      await scene.untilRows("notes", 1);
      expect(scene.parked).toEqual(["public.bills"]);
      expect(await ids(scene, "bills")).toEqual(from(1, 101));
      expect(await ids(scene, PARKED)).toEqual([102]);
      expect(scene.warnings.find(({ message }) => message.startsWith("the table is parked"))).toMatchObject({
        table: "public.bills",
        difference: "total: numeric(10,2) → numeric(12,4)",
        fix: expect.stringContaining(`; then tailrace unpark DIR ${scene.options.name} public.bills`),
      });
      await database.sql("UPDATE bills SET total = 3 WHERE id = 1; DELETE FROM bills WHERE id = 2; INSERT INTO notes VALUES (2, 'y')");
      await scene.untilRows("notes", 2);
      await scene.untilLevel(database);
      await expect(scene.unpark("bills")).rejects.toMatchObject({
        code: "STILL_REFUSED",
        message: expect.stringContaining("total: numeric(10,2) → numeric(12,4)"),
        remedy: expect.stringContaining("curl -X DELETE"),
      });
      expect(await ids(scene, "bills")).toEqual(from(1, 101));
    });
    // It is parked still in another process, whose first words are of what was parked.
    scene.forget();
    await scene.while(async () => {
      await database.sql("INSERT INTO bills VALUES (103, 1)");
      await scene.untilRows(PARKED, 3);
      expect(scene.parked).toEqual(["public.bills"]);
      await scene.accept("bills");
      expect(await scene.unpark("bills")).toBe(5); // the delete's tombstone among them
      expect(scene.parked).toEqual([]);
      await database.sql("INSERT INTO bills VALUES (104, 1.5)");
      await scene.untilRows("bills", 105);
      await expect(scene.unpark("bills")).rejects.toMatchObject({ code: "USAGE" });
    });
    expect(await ids(scene, "bills")).toEqual([...from(1, 102), 1, 103, 104]);
    expect((await scene.state())?.parked).toEqual([]);
    await expectOrdered(scene, "bills");
    await expectSame(database, scene, "bills");
    scene.forget();
    await scene.while(async () => {
      await database.sql("INSERT INTO bills VALUES (105, 1.5)");
      await scene.untilRows("bills", 106);
    });
    await expectOrdered(scene, "bills");
  });
});

test("R-park: a schema that was refused while nobody read parks the table at the start; rows of both shapes that waited come back in order", async () => {
  await shop(async (database, scene) => {
    await scene.while(async () => {
      await database.sql("INSERT INTO bills VALUES (1, 1)");
      await scene.untilRows("bills", 1);
    });
    await database.sql("INSERT INTO bills VALUES (2, 2)");
    await database.sql(ALTER);
    await database.sql("INSERT INTO bills VALUES (3, 3.3333); INSERT INTO notes VALUES (1, 'x')");
    await scene.while(async () => {
      await scene.untilRows(PARKED, 2);
      await scene.untilRows("notes", 1);
      expect(await ids(scene, "bills")).toEqual([1]);
      await scene.accept("bills");
      expect(await scene.unpark("bills")).toBe(2);
    });
    expect(await ids(scene, "bills")).toEqual([1, 2, 3]);
    await expectOrdered(scene, "bills");
  });
});

test("R-park: shapes that change while a table is parked are each admitted before anything is drained", async () => {
  await shop(async (database, scene) => {
    await scene.while(async () => {
      await database.sql("INSERT INTO bills VALUES (1, 1)");
      await database.sql(ALTER);
      await database.sql("INSERT INTO bills VALUES (2, 2.2222)");
      await scene.untilRows(PARKED, 1);
      await database.sql("ALTER TABLE bills ALTER total TYPE numeric(10,2)");
      await database.sql("INSERT INTO bills VALUES (3, 3)");
      await scene.untilRows(PARKED, 2);
      // It is what it was; what was written meanwhile is not.
      await expect(scene.unpark("bills")).rejects.toMatchObject({ code: "STILL_REFUSED" });
      expect(await ids(scene, "bills")).toEqual([1]);
      await scene.accept("bills");
      await expect(scene.unpark("bills")).rejects.toMatchObject({
        code: "STILL_REFUSED",
        message: expect.stringContaining("numeric(12,4) → numeric(10,2)"),
      });
      expect(await ids(scene, "bills")).toEqual([1]);
      await scene.accept("bills");
      expect(await scene.unpark("bills")).toBe(2);
      expect(await ids(scene, "bills")).toEqual([1, 2, 3]);
      // And again: what was drained the first time stays where it is.
      await database.sql(ALTER);
      await database.sql("INSERT INTO bills VALUES (4, 4.4444)");
      await scene.untilRows(PARKED, 3);
      await scene.accept("bills");
      expect(await scene.unpark("bills")).toBe(1);
      await database.sql("INSERT INTO bills VALUES (5, 5)");
      await scene.untilRows("bills", 5);
    });
    await expectOrdered(scene, "bills");
    await expectSame(database, scene, "bills");
  });
});

describe("with snapshots", () => {
  test("R-park, R-sweep: a snapshot's rows are parked too, and its end is said when they are in the topic", async () => {
    await shop(async (database, scene) => {
      await database.sql(
        "INSERT INTO bills SELECT i, i FROM generate_series(1, 1000) i; INSERT INTO notes SELECT i, 'x' FROM generate_series(1, 300) i",
      );
      await scene.while(async () => {
        await scene.untilRead();
        const before = await scene.sweptBelow("bills");
        // The table is rewritten: R-silent-ddl has it read again.
        await database.sql(ALTER);
        await database.sql("DELETE FROM bills WHERE id <= 10");
        await eventually("it is parked", () => scene.parked.length === 1, 60_000);
        await eventually(
          "all of it is read",
          async () => (await scene.events(PARKED)).filter(({ op }) => op === "r").length >= 990,
          60_000,
        );
        await sleep(1_000); // time in which an end could be said
        expect(await scene.sweptBelow("bills")).toBe(before);
        expect((await scene.state())?.snapshots).toHaveLength(1);
        expect(await scene.lastBarrier()).toMatchObject({ parked: [{ schema: "public", name: "bills" }] });
        await scene.accept("bills");
        await scene.unpark("bills");
        await scene.untilRead();
        expect((await scene.sweptBelow("bills")) > before).toBe(true);
        await database.sql("INSERT INTO notes VALUES (1001, 'x')");
        await scene.untilLevel(database);
        expect(await scene.lastBarrier()).toMatchObject({ parked: [] });
      });
      await expectOrdered(scene, "bills");
      await expectSame(database, scene, "bills");
      await expectSame(database, scene, "notes");
    }, "initial");
  });

  test("R-park: a chunk whose shape the stream has not come to parks its table, without a row that would tell the stream", async () => {
    await shop(async (database, scene) => {
      await database.sql("INSERT INTO bills SELECT i, i FROM generate_series(1, 1000) i");
      await scene.while(async () => {
        await scene.untilRead();
        scene.paused.add("public.bills");
        await scene.control!.requestSnapshot([{ table: { schema: "public", name: "bills" }, where: null }], "a test");
        await database.sql(ALTER);
        scene.paused.clear();
        await eventually("it is parked", () => scene.parked.length === 1, 60_000);
        await scene.untilRows(PARKED, 1000);
        await scene.accept("bills");
        await scene.unpark("bills");
        await scene.untilRead();
      });
      await expectOrdered(scene, "bills");
      await expectSame(database, scene, "bills");
    }, "initial");
  });
});

test("R-park: under load the other tables stream on while one is parked and unparked, again and again", async () => {
  await shop(async (database, scene) => {
    scene.options = { ...scene.options, topics: { ...scene.options.topics, partitions: 3 } };
    const scales = [4, 2, 3];
    await scene.while(async () => {
      let written = 0;
      const ends = { load: false };
      const load = (async () => {
        while (!ends.load) {
          const [first, last] = [written + 1, written + 200];
          await database.sql(
            `BEGIN; INSERT INTO bills SELECT i, i FROM generate_series(${first}, ${last}) i; UPDATE bills SET total = total + 1 WHERE id % 7 = 0 AND id > ${first - 100};` +
              `DELETE FROM bills WHERE id % 11 = 0; INSERT INTO notes SELECT i, 'x' FROM generate_series(${first}, ${last}) i; COMMIT`,
          );
          written = last;
        }
      })();
      load.catch(() => undefined); // awaited below, unless something else fails first
      for (const scale of scales) {
        const at = written;
        await eventually("a load", () => written > at + 1_000, 60_000);
        await database.sql(`ALTER TABLE bills ALTER total TYPE numeric(12,${scale})`);
        await eventually("it is parked", () => scene.parked.length === 1, 60_000);
        const [parkedAt, notes] = [written, (await scene.rows("notes")).length];
        await eventually("the load goes on", () => written > parkedAt + 4_000, 60_000);
        expect((await scene.rows("notes")).length).toBeGreaterThan(notes);
        await scene.accept("bills");
        await scene.unpark("bills");
        expect(scene.parked).toEqual([]);
      }
      ends.load = true;
      await load;
      await scene.untilLevel(database);
      expect(scene.sessions).toBe(1);
    });
    const events = (await scene.events("bills")).map(({ sequence }) => sequence);
    expect(new Set(events).size).toBe(events.length);
    await expectSame(database, scene, "bills");
    await expectSame(database, scene, "notes");
  });
}, 120_000);
