// R-version at the source: what comes again after a version has begun, and where it goes.
import { expect, test } from "vitest";
import { formatSequence, LAST_ORDINAL } from "../../../src/core/sequence.ts";
import { parseLsn } from "../../../src/core/lsn.ts";
import { eventually } from "../../support/eventually.ts";
import { postgres } from "../../support/servers.ts";
import { SourceScene } from "./source-scene.ts";

const server = postgres();

test("R-version: rows behind those that a version's topic of before has are taken, though one RELATION stands before both", async () => {
  await using database = await (await server).createDatabase("versions");
  await database.sql(
    "CREATE TABLE bills (id int PRIMARY KEY, total numeric(10,2)); CREATE TABLE notes (id int PRIMARY KEY, total numeric(10,2))",
  );
  await using scene = await SourceScene.open(database);
  scene.options = { ...scene.options, incompatible: () => "version" };
  await scene.while(async () => {
    await database.sql("INSERT INTO bills VALUES (1, 1); INSERT INTO notes VALUES (1, 1)");
    await scene.untilRows("bills", 1);
    await scene.untilRows("notes", 1);
    await scene.untilLevel(database);
  });
  await database.sql("ALTER TABLE bills ALTER total TYPE numeric(12,4); ALTER TABLE notes ALTER total TYPE numeric(12,4)");
  await database.sql("INSERT INTO bills VALUES (2, 2); INSERT INTO notes VALUES (2, 2)");
  const [row] = await database.sql<{ lsn: string }>("SELECT pg_current_wal_lsn()::text AS lsn");
  await database.sql("INSERT INTO bills VALUES (3, 3); DELETE FROM bills WHERE id = 2");
  await database.sql("TRUNCATE notes; INSERT INTO notes VALUES (3, 3)");
  // As a version begins whose rows came in another shape when the source was here before: a composite's, or by another `as`.
  const state = (await scene.state())!;
  const after = formatSequence({ epoch: state.epoch, commitLsn: parseLsn(row!.lsn), ordinal: LAST_ORDINAL });
  const versions = ["bills", "notes"].map((name) => ({
    table: { schema: "public", name },
    version: 2,
    after,
    difference: "total: numeric(10,2) → numeric(12,4)",
    words: "no",
  }));
  await scene.write({ ...state, number: state.number + 1, versions });
  await scene.while(async () => {
    await scene.untilRows("notes_v2", 1);
    await scene.untilLevel(database);
  });
  const ops = async (table: string) => (await scene.events(table)).map(({ op }) => op);
  expect(await Promise.all(["bills", "bills_v2", "notes", "notes_v2"].map(ops))).toEqual([["c"], ["c", "d"], ["c"], ["t", "c"]]);
  expect(await scene.rows("bills_v2")).toMatchObject([{ id: 3 }]);
});

test("R-version: a table without a key has no versions: it is parked, and one that loses its key stops the source", async () => {
  await using database = await (await server).createDatabase("versions");
  await database.sql(
    "CREATE TABLE heap (id int, total numeric(10,2)); ALTER TABLE heap REPLICA IDENTITY FULL; CREATE TABLE bills (id int PRIMARY KEY, total numeric(10,2))",
  );
  await using scene = await SourceScene.open(database, { snapshot: { mode: "initial" } });
  scene.options = { ...scene.options, incompatible: () => "version" };
  await scene.while(async () => {
    await database.sql("INSERT INTO heap VALUES (1, 1); INSERT INTO bills VALUES (1, 1)");
    await scene.untilRows("bills", 1);
    await scene.untilRead();
    await database.sql("ALTER TABLE heap ALTER total TYPE numeric(12,4); INSERT INTO heap VALUES (2, 2)");
    await eventually("the table parked", () => scene.parked.includes("public.heap"));
    await scene.untilRead();
    expect((await scene.state())?.versions).toEqual([]);
  });
  const keyless = scene.while(async () => {
    await database.sql("ALTER TABLE bills DROP CONSTRAINT bills_pkey; INSERT INTO bills VALUES (2, 2)");
    await new Promise(() => undefined); // it ends by itself
  });
  await expect(keyless).rejects.toMatchObject({ code: "SCHEMA_CHANGED" });
  expect((await scene.state())?.versions).toEqual([]);
});

test("R-version: a chunk whose shape is taken begins no version, though what the table had when the session began was refused", async () => {
  await using database = await (await server).createDatabase("versions");
  await database.sql("CREATE TABLE bills (id int PRIMARY KEY, total numeric(10,2)); INSERT INTO bills VALUES (1, 1)");
  await using scene = await SourceScene.open(database, { snapshot: { mode: "initial" } });
  scene.options = { ...scene.options, incompatible: () => "version" };
  await scene.while(async () => {
    await scene.untilRows("bills", 0);
    await scene.untilRead();
    await scene.untilLevel(database);
  });
  await database.sql("ALTER TABLE bills ALTER total TYPE numeric(12,4)");
  scene.paused.add("public.bills");
  await scene.while(async () => {
    await database.sql("ALTER TABLE bills ALTER total TYPE numeric(10,2)");
    await scene.control?.requestSnapshot([{ table: { schema: "public", name: "bills" }, where: null }], "a test");
    scene.paused.delete("public.bills");
    await scene.untilRead();
    await scene.untilLevel(database);
  });
  expect((await scene.state())?.versions).toEqual([]);
  expect((await scene.events("bills")).map(({ op }) => op)).toEqual(["r", "r"]);
});
