// `as` of the configuration from end to end: what no default type holds arrives, by snapshot and by stream, in both warehouses;
// what can't be read so keeps the source from starting, and `check` says it before.
import { afterAll, beforeAll, expect, test } from "vitest";
import { postgres, uniqueName, type TestDatabase } from "../support/servers.ts";
import { Scene, sinkDocument, sourceDocument, until, type Document } from "./scene.ts";

let database: TestDatabase;
let warehouse: TestDatabase;
let scene: Scene;
const prefix = uniqueName("asked");

const AS = { amount: "string", ratio: "double", moment: "string", grid: "string", code: "bytes", until: "string" };
const ALL = Object.keys(AS).join(", ");

/** Each with a value that its own type's events do not hold. */
const rows = [
  "'NaN', '1e-3', '294276-12-31 23:59:59', '{{1,2},{3,NULL}}', '00112233-4455-6677-8899-aabbccddeeff', 'infinity'",
  "-1234.50, 'NaN', '-infinity', '[0:1]={1,2}', NULL, '5874897-12-31'",
  "NULL, 12345678901234567890, '2026-11-30 12:00:00.5', '{}', 'ffffffff-ffff-ffff-ffff-ffffffffffff', '0044-03-15 BC'",
];
const expected = [
  {
    id: 0,
    amount: "NaN",
    ratio: 0.001,
    moment: "294276-12-31 23:59:59",
    grid: "{{1,2},{3,NULL}}",
    code: "00112233445566778899aabbccddeeff",
    until: "infinity",
  },
  { id: 1, amount: "-1234.50", ratio: Number.NaN, moment: "-infinity", grid: "[0:1]={1,2}", code: null, until: "5874897-12-31" },
  {
    id: 2,
    amount: null,
    ratio: 12345678901234567000,
    moment: "2026-11-30 12:00:00.5",
    grid: "{}",
    code: "f".repeat(32),
    until: "0044-03-15 BC",
  },
];

function configured(tables: readonly unknown[]): readonly Document[] {
  return [
    {
      ...sourceDocument({
        name: "shop",
        url: database.url,
        tables,
        postgres: { slot: prefix, publication: prefix },
        topics: { prefix, partitions: 1 },
      }),
      snapshot: { mode: "initial" },
    },
    sinkDocument({ name: "lake", source: "shop" }),
    sinkDocument({ name: "mart", source: "shop", warehouse: { postgres: { url: warehouse.url } } }),
  ];
}

beforeAll(async () => {
  database = await (await postgres()).createDatabase("asked");
  warehouse = await (await postgres()).createDatabase("warehouse");
  scene = await Scene.open();
  await database.sql(
    `CREATE TABLE far (id int PRIMARY KEY, amount numeric(12,2), ratio numeric, moment timestamp, grid int[], code uuid, until date)`,
  );
});

afterAll(async () => {
  await scene[Symbol.asyncDispose]();
  await warehouse[Symbol.asyncDispose]();
  await database[Symbol.asyncDispose]();
});

test("`check` and `run` name a column that no table has and one that can't be read so, with what is allowed", async () => {
  await scene.configure(...configured([{ table: "public.far", as: { id: "double", amuont: "string", moment: "bytes" } }]));
  const { code, stdout } = await scene.command("check", ["--json"]);
  expect(code).toBe(3);
  expect(stdout.match(/COLUMN_AS/g)).toHaveLength(3);
  expect(stdout).toContain("its type integer can't be read as double in a key; allowed: string");
  expect(stdout).toContain("its type timestamp without time zone can't be read as bytes; allowed: string");
  expect(stdout).toContain("no such column is captured; allowed: the columns id, amount, ratio, moment, grid, code, until");
  expect((await scene.command("plan")).stderr).toContain("be read as double in a key");
  await scene.start();
  await scene.reaches({ shop: "waiting COLUMN_AS" });
});

test("the values arrive whole, of existing rows and of changes, once the configuration is right", async () => {
  await database.sql(`INSERT INTO far SELECT 0, ${rows[0]!}; INSERT INTO far SELECT 1, ${rows[1]!}`);
  await scene.configure(...configured([{ table: "public.far", as: AS }]));
  const { stdout } = await scene.command("plan", ["--json"]);
  const planned = JSON.parse(stdout) as { readonly tables: readonly { readonly columns: readonly string[] }[] };
  expect(planned.tables[0]?.columns).toEqual([
    "id: int",
    "amount: string?",
    "ratio: double?",
    "moment: string?",
    "grid: string?",
    "code: bytes?",
    "until: string?",
  ]);
  expect(await scene.command("reload")).toMatchObject({ code: 0 });
  await scene.reaches({ shop: "running", lake: "running", mart: "running" });
  await database.sql(`INSERT INTO far SELECT 2, ${rows[2]!}; UPDATE far SET code = code WHERE id = 0`);
  await until(async () => {
    const lake = await scene.duckdb(`SELECT id, ${ALL.replace("code", "lower(hex(code)) AS code")} FROM public.far ORDER BY id`);
    expect(lake.map((row) => ({ ...row, ratio: Number(row.ratio) }))).toEqual(expected);
    const mart = await warehouse.sql(`SELECT id, ${ALL.replace("code", "encode(code, 'hex') AS code")} FROM public.far ORDER BY id`);
    expect(mart).toEqual(expected);
  });
  const types = await warehouse.sql(
    "SELECT attname AS name, format_type(atttypid, atttypmod) AS type FROM pg_attribute WHERE attrelid = 'public.far'::regclass AND attnum > 1 AND attname NOT LIKE '\\_%' ORDER BY attnum",
  );
  expect(types.map(({ type }) => type)).toEqual(["numeric", "double precision", "text", "text", "bytea", "text"]);
  // An array as a string is read from its text, and puts the stream on the text protocol.
  expect(scene.lines.filter(({ message }) => message === "streaming").map(({ protocol }) => protocol)).toEqual(["text"]);
  expect(await scene.source("shop")).toMatchObject({ deadLetters: 0 });
});

test("`check` and the source's log name a column that an entry asks for in vain, because one before it takes the table", async () => {
  const asked = { table: "public.*", as: { total: "string", note: "string", code: "bytes" } } as const;
  await database.sql("CREATE TABLE covered (id int PRIMARY KEY, total numeric(12,2), note text, code uuid)");
  const shadowing = [{ table: "public.cov*", as: { code: "string" } }, { table: "public.far", as: AS }, asked];
  await scene.configure(...configured(shadowing));
  const words =
    "column total of public.covered is not read as string, as public.* of the source's tables asks: public.cov* takes the table before";
  const { stdout } = await scene.command("check", ["--json"]);
  expect(stdout).toContain(words);
  const named = [...stdout.matchAll(/column (\w+) of public\.\w+ is not read as/g)].map(([, column]) => column);
  expect(named).toEqual(["total", "note"]); // `code` is said by the entry that counts
  expect(await scene.command("reload")).toMatchObject({ code: 0 });
  await until(async () => {
    expect(scene.lines.filter(({ message }) => message.startsWith(words))).toHaveLength(1);
    await scene.reaches({ shop: "running" });
  });
  await database.sql("DROP TABLE covered");
});

test("a column with `as` that is dropped, or gets another type, while the source is away keeps no table waiting: it is said, once", async () => {
  await database.sql(`CREATE TABLE dropped (id int PRIMARY KEY, total numeric(12,2)); CREATE TABLE changed (LIKE dropped INCLUDING ALL);
    CREATE TABLE beside (id int PRIMARY KEY)`);
  const as = { total: "double" } as const;
  const entries = [{ table: "public.far", as: AS }, { table: "public.dropped", as }, { table: "public.changed", as }, "public.beside"];
  await scene.configure(...configured(entries));
  expect(await scene.command("reload")).toMatchObject({ code: 0 });
  await database.sql("INSERT INTO dropped VALUES (1, 0.5); INSERT INTO changed VALUES (1, 0.5)");
  const mart = async (sql: string): Promise<unknown> => (await warehouse.sql(sql)).map((row) => Object.values(row));
  await until(async () => {
    expect(await mart("SELECT d.id, d.total, c.total AS other FROM dropped d, changed c")).toEqual([[1, 0.5, 0.5]]);
  });
  expect(await scene.stop()).toMatchObject({ code: 0 });
  await database.sql(`INSERT INTO dropped VALUES (2, 1.5); ALTER TABLE dropped DROP total; INSERT INTO dropped VALUES (3);
    ALTER TABLE changed ALTER total TYPE text; INSERT INTO changed VALUES (2, 'a'); INSERT INTO beside VALUES (1)`);
  await scene.start();
  await until(async () => {
    expect(await mart("SELECT id FROM beside")).toEqual([[1]]);
    expect(await mart("SELECT id, total FROM dropped ORDER BY id")).toEqual([
      [1, 0.5],
      [2, 1.5],
      [3, null],
    ]);
    expect(await scene.source("shop")).toMatchObject({ state: "running", parked: [{ table: "public.changed" }] });
  });
  const said = scene.lines.filter(({ message }) => message.endsWith("until then it is read as it is")).map(({ table }) => table);
  expect(said.toSorted()).toEqual(["public.changed", "public.dropped"]);
  expect((await scene.command("check", ["--json"])).stdout.match(/COLUMN_AS/g)).toHaveLength(2);
});

test("another `as` of a table that has events is a change of schema: refused, it parks the table, as `plan` says before", async () => {
  await scene.configure(...configured([{ table: "public.far", as: { ...AS, amount: "double" } }]));
  expect(await scene.command("plan")).toMatchObject({ code: 3, stdout: expect.stringContaining("REFUSED") as string });
  expect(await scene.command("reload")).toMatchObject({ code: 0 });
  await until(async () => {
    expect((await scene.source("shop")).parked).toMatchObject([{ table: "public.far", difference: "amount: numeric → float8" }]);
  });
  await scene.reaches({ shop: "running" });
});
