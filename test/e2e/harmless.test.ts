// R-harmless: whatever a glob matches, the application's statements go on as before.
import { expect, test } from "vitest";
import { readdir } from "node:fs/promises";
import { postgres, uniqueName } from "../support/servers.ts";
import { withLog } from "../support/scan.ts";
import { Scene, sinkDocument, sourceDocument, until } from "./scene.ts";

test("R-harmless: over a schema with tables that can't be published, every UPDATE and DELETE of the application works; each such table is named", async () => {
  await using database = await (await postgres()).createDatabase("harmless");
  await using scene = await Scene.open();
  await database.sql(`
    CREATE TABLE orders (id int PRIMARY KEY, note text);
    CREATE TABLE journal (at int, note text);
    CREATE TABLE lazy (id int PRIMARY KEY DEFERRABLE INITIALLY DEFERRED, note text);
    CREATE TABLE nothing (id int PRIMARY KEY, note text);
    ALTER TABLE nothing REPLICA IDENTITY NOTHING;
    CREATE UNLOGGED TABLE fleeting (id int PRIMARY KEY, note text);
    CREATE TABLE audit (at int, note text);
    ALTER TABLE audit REPLICA IDENTITY FULL;
    CREATE VIEW sums AS SELECT count(*) FROM orders`);
  const tables = ["orders", "journal", "lazy", "nothing", "fleeting", "audit"];
  for (const table of tables) await database.sql(`INSERT INTO ${table} VALUES (1, 'before'), (2, 'before')`);
  const name = uniqueName("harmless");
  await scene.configure(
    sourceDocument({
      name: "shop",
      url: database.url,
      tables: ["public.*"],
      postgres: { slot: name, publication: name },
      topics: { prefix: name },
    }),
    sinkDocument({ name: "lake", source: "shop" }),
  );
  const useEverything = async (note: string): Promise<void> => {
    for (const table of tables)
      await database.sql(
        `UPDATE ${table} SET note = '${note}'; INSERT INTO ${table} VALUES (3, '${note}'); DELETE FROM ${table} WHERE note = '${note}' AND ${table === "journal" || table === "audit" ? "at" : "id"} = 3`,
      );
  };

  await useEverything("before");
  await scene.start();
  await scene.reaches({ shop: "running", lake: "running" });
  await useEverything("during");
  await until(async () => {
    expect(await scene.duckdb("SELECT id, note FROM public.orders ORDER BY id")).toEqual([
      { id: 1, note: "during" },
      { id: 2, note: "during" },
    ]);
    expect((await scene.sink("lake")).lagRecords).toBe(0);
  });

  const published = await database.sql("SELECT tablename FROM pg_publication_tables WHERE pubname = $1 ORDER BY 1", [name]);
  expect(published.map(({ tablename }) => tablename)).toEqual(["audit", "orders"]);
  const skipped = scene.lines.filter(({ message }) => message.startsWith("not captured")).map(({ table, message }) => [table, message]);
  expect(skipped).toEqual([
    ["public.fleeting", expect.stringContaining("unlogged")],
    ["public.journal", expect.stringContaining("no primary key")],
    ["public.lazy", expect.stringContaining("deferrable")],
    ["public.nothing", expect.stringContaining("NOTHING")],
  ]);

  // A table of REPLICA IDENTITY FULL without a key is captured, and its events have nothing to be merged by.
  await useEverything("again");
  await until(async () => {
    expect((await scene.sink("lake")).lagRecords).toBe(0);
  });
  expect(await scene.sink("lake")).toMatchObject({ state: "running", restarts: 0, deadLetters: 0 });
  await until(async () => {
    const unmerged = scene.lines.filter(({ message }) => message.startsWith("not merged"));
    expect(unmerged).toEqual([expect.objectContaining({ level: "warn", connector: "lake", table: "public.audit" })]);
  });
  await until(async () => {
    await expect(scene.duckdb("FROM public.audit")).rejects.toThrow("audit does not exist");
  });

  expect(await scene.stop()).toMatchObject({ code: 0 });
  await useEverything("after");
  expect(await readdir(scene.folder)).toContain("data");
  await withLog(scene, async (log) => {
    const never = new AbortController().signal;
    const topic = `${name}.public.audit`;
    const held = (await log.offsets(topic, never)).filter(({ end }) => end > 0);
    expect(held.length).toBe(1);
    const { records } = await log.read({ topic, partition: held[0]!.partition, offset: 0 }, 1 << 20, never);
    expect(records.length).toBe(2 * (2 + 1 + 1)); // two updates, an insert and a delete, twice; no tombstones
    expect(records.every(({ key, value }) => key === null && value !== null)).toBe(true);
  });
});
