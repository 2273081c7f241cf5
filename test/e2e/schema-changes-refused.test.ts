// ALTER TABLEs that the registry refuses, or that no registry is asked about, and the way back that the messages give, from end to end
// in both warehouses: in the end the targets hold what the source holds.
import path from "node:path";
import { DuckDBInstance } from "@duckdb/node-api";
import { afterAll, beforeAll, expect, test } from "vitest";
import { postgres, uniqueName, type TestDatabase } from "../support/servers.ts";
import { Scene, sinkDocument, sourceDocument, until, type Document } from "./scene.ts";

let database: TestDatabase;
let warehouse: TestDatabase;
let scene: Scene;
const prefix = uniqueName("refused");
const TABLES = ["narrowed", "retyped", "swapped", "keyed"];

beforeAll(async () => {
  database = await (await postgres()).createDatabase("refused");
  warehouse = await (await postgres()).createDatabase("warehouse");
  scene = await Scene.open();
  await database.sql(`CREATE TABLE narrowed (id int PRIMARY KEY, n int8); CREATE TABLE retyped (id int PRIMARY KEY, n int);
    CREATE TABLE swapped (id int PRIMARY KEY, n int); CREATE TABLE keyed (id int PRIMARY KEY, n int NOT NULL)`);
  for (const table of TABLES) await database.sql(`INSERT INTO ${table} SELECT i, i * 10 FROM generate_series(1, 20) i`);
  await scene.configure(...connectors("shop", ["public.*"], prefix));
  await scene.start();
  for (const table of TABLES) await untilSame(table);
}, 120_000);

afterAll(async () => {
  await scene[Symbol.asyncDispose]();
  await warehouse[Symbol.asyncDispose]();
  await database[Symbol.asyncDispose]();
});

/** A source with a sink into either warehouse. `into`: the targets' schema. */
function connectors(name: string, tables: readonly string[], slot: string, into = "public"): readonly Document[] {
  const source = { name, url: database.url, tables, postgres: { slot, publication: slot }, topics: { prefix: slot, partitions: 2 } };
  const targets = [{ table: "*.*", into: `${into}.{schema}_{table}` }];
  return [
    { ...sourceDocument(source), snapshot: { mode: "initial" } },
    sinkDocument({ name: `${name}_lake`, source: name, tables: targets }),
    sinkDocument({ name: `${name}_mart`, source: name, tables: targets, warehouse: { postgres: { url: warehouse.url } } }),
  ];
}

async function untilSame(table: string, into = "public"): Promise<void> {
  await until(async () => {
    const expected = await database.sql(`SELECT id, CAST(n AS varchar) AS n FROM ${table} ORDER BY 1, 2`);
    const sql = `SELECT id, CAST(n AS varchar) AS n FROM ${into}.public_${table} ORDER BY 1, 2`;
    expect(await warehouse.sql(sql), "PostgreSQL").toEqual(expected);
    expect(await scene.duckdb(sql), "DuckDB").toEqual(expected);
  });
}

/** What the status says of the table once it is parked. */
async function parked(table: string): Promise<{ readonly difference: string; readonly words: string }> {
  return until(async () => {
    const source = await scene.source("shop");
    const one = source.parked.find((each) => each.table === `public.${table}`);
    expect([source.state, one?.table]).toEqual(["running", `public.${table}`]);
    return { difference: one?.difference ?? "", words: one?.words ?? "" };
  });
}

/** As the operator who lets readers have the new schema: the commands of the status, and unpark. */
async function accept(table: string): Promise<void> {
  const { parked: all } = await scene.source("shop");
  const commands = all.find((each) => each.table === `public.${table}`)?.commands ?? "";
  for (const command of commands.split(" && ")) {
    const place = new URL(command.split(" ").at(-1) ?? "").pathname;
    expect((await scene.get(place, "DELETE")).ok, command).toBe(true);
  }
  const unparked = await scene.command("unpark", ["shop", `public.${table}`]);
  expect([unparked.code, unparked.stderr]).toEqual([0, ""]);
}

/** Runs what a stopped sink says, and resumes it. */
async function mend(sink: string, run: (sql: string) => Promise<unknown>): Promise<void> {
  await scene.reaches({ [sink]: "stopped TARGET_DIFFERS" });
  const sql = /^run: (.*); or name another table/s.exec((await scene.errorOf(sink)).remedy)?.[1] ?? "";
  await run(sql);
  expect(await scene.command("resume", [sink])).toMatchObject({ code: 0 });
}

async function inDuckdb(sql: string): Promise<void> {
  const instance = await DuckDBInstance.create(path.join(scene.folder, "lake.duckdb"));
  const connection = await instance.connect();
  await connection.run(sql);
  connection.closeSync();
  instance.closeSync();
}

/** Rows that are written, changed and deleted after an ALTER TABLE; `value`: of a new row's `n`. */
const rows = (table: string, value: string): string =>
  `INSERT INTO ${table} VALUES (101, ${value}); UPDATE ${table} SET n = ${value} WHERE id = 2; DELETE FROM ${table} WHERE id = 3`;

test("a narrower integer is parked; once readers may have it the targets, which are wider, take it as it is", async () => {
  await database.sql(`ALTER TABLE narrowed ALTER n TYPE int4; ${rows("narrowed", "5")}`);
  const { difference, words } = await parked("narrowed");
  expect(difference).toBe("n: int8 → int4");
  expect(words).toMatch(/\/n.*long/);
  await accept("narrowed");
  await database.sql("INSERT INTO narrowed VALUES (102, 2147483647)");
  await untilSame("narrowed");
  await scene.reaches({ shop: "running", shop_lake: "running", shop_mart: "running" });
});

test("a column that was dropped and made again with another type is parked under its name", async () => {
  await database.sql(`ALTER TABLE swapped DROP n; ALTER TABLE swapped ADD n date; ${rows("swapped", "'2026-11-30'")}`);
  expect((await parked("swapped")).difference).toBe("n: int4 → date");
  await accept("swapped");
  await mend("shop_mart", (sql) => warehouse.sql(sql));
  await mend("shop_lake", inDuckdb);
  await untilSame("swapped");
});

test("another type is parked; once readers may have it each sink stops with the SQL for its target, and goes on when that has run", async () => {
  await database.sql(`ALTER TABLE retyped ALTER n TYPE numeric(8,2) USING n + 0.25; ${rows("retyped", "'1.5'")}`);
  expect((await parked("retyped")).difference).toBe("n: int4 → numeric(8,2)");
  await accept("retyped");
  await mend("shop_mart", (sql) => warehouse.sql(sql));
  await mend("shop_lake", inDuckdb);
  await untilSame("retyped");
  await scene.reaches({ shop: "running", shop_lake: "running", shop_mart: "running" });
});

/** Rows that only the new key tells apart. */
const REKEYED = (table: string): string => `ALTER TABLE ${table} DROP CONSTRAINT ${table}_pkey, ADD PRIMARY KEY (id, n);
  INSERT INTO ${table} VALUES (1, 11), (1, 12); UPDATE ${table} SET n = 13 WHERE n = 12; DELETE FROM ${table} WHERE id = 3`;

test("another key parks the table, which goes on as a version once its policy is that, by `unpark`; the others go on meanwhile", async () => {
  await database.sql(REKEYED("keyed"));
  const { difference, words } = await parked("keyed");
  expect(difference).toBe("key: (id) → (id, n)");
  expect(words).toContain("its key was (id) and is (id, n): a table's key does not change under its topic");
  await database.sql("INSERT INTO narrowed VALUES (103, 7)");
  await untilSame("narrowed");
  expect(await scene.command("unpark", ["shop", "public.keyed"])).toMatchObject({
    code: 1,
    stderr: expect.stringContaining("public.keyed stays parked") as string,
  });
  const [source, ...sinks] = connectors("shop", ["public.*"], prefix);
  await scene.configure({ ...source, schema_changes: { incompatible: "version" } }, ...sinks);
  expect(await scene.command("reload")).toMatchObject({ code: 0 });
  await parked("keyed");
  const { code, stdout } = await scene.command("unpark", ["shop", "public.keyed"]);
  expect([code, stdout]).toEqual([0, expect.stringContaining("public.keyed goes on as its next version, into which it is read")]);
  await database.sql("INSERT INTO keyed VALUES (2, 21); DELETE FROM keyed WHERE id = 4");
  await until(async () => {
    const sql = "SELECT id, n FROM public.public_keyed_v2 ORDER BY 1, 2";
    const expected = await database.sql("SELECT id, n FROM keyed ORDER BY 1, 2");
    expect(await warehouse.sql(sql)).toEqual(expected);
    expect(await scene.duckdb(sql)).toEqual(expected);
  });
  expect((await scene.source("shop")).parked).toEqual([]);
  await scene.reaches({ shop: "running", shop_lake: "running", shop_mart: "running" });
});
