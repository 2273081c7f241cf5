// `tailrace plan`: what the next start, or an ALTER TABLE, would do, said before anybody does it.
import { existsSync } from "node:fs";
import path from "node:path";
import pg from "pg";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { PlannedTable } from "../../src/commands/plan-table.ts";
import { postgres, uniqueName, type TestDatabase } from "../support/servers.ts";
import { Scene, sinkDocument, sourceDocument, until } from "./scene.ts";

let database: TestDatabase;
let warehouse: TestDatabase;
let scene: Scene;
let prefix: string;

beforeAll(async () => {
  database = await (await postgres()).createDatabase("plan");
  warehouse = await (await postgres()).createDatabase("warehouse");
  scene = await Scene.open();
  prefix = uniqueName("plan");
  await database.sql(`CREATE TYPE mood AS ENUM ('calm');
    CREATE TABLE items (gone int, id int PRIMARY KEY, n int DEFAULT 1, feeling mood, doubled int GENERATED ALWAYS AS (n * 2) STORED);
    ALTER TABLE items DROP gone;
    CREATE TABLE indexed (gone int, id bigserial PRIMARY KEY, code text NOT NULL, region text NOT NULL);
    CREATE UNIQUE INDEX by_code ON indexed (region, code);
    ALTER TABLE indexed REPLICA IDENTITY USING INDEX by_code; ALTER TABLE indexed DROP gone;
    CREATE TABLE parts (id int PRIMARY KEY, n int) PARTITION BY RANGE (id); CREATE TABLE parts_1 PARTITION OF parts DEFAULT;
    CREATE TABLE lines (id int PRIMARY KEY, n int); CREATE TABLE wide (id int PRIMARY KEY, n int); CREATE TABLE wide_v2 (id int PRIMARY KEY, n int);
    CREATE TABLE heap (n int); ALTER TABLE heap REPLICA IDENTITY FULL;
    CREATE TABLE outside (id int PRIMARY KEY); CREATE SCHEMA other; CREATE TABLE other.items (id int PRIMARY KEY)`);
  const tables = [{ table: "public.*", into: "copy.{table}" }];
  const versioned = ["heap", "lines", "wide", "wide_v2"].map((name) => ({
    table: `public.${name}`,
    schema_changes: { incompatible: "version" },
  }));
  await scene.configure(
    sourceDocument({
      name: "shop",
      url: database.url,
      tables: ["public.items", { table: "public.indexed", schema_changes: { incompatible: "stop" } }, "public.parts", ...versioned],
      postgres: { slot: prefix, publication: prefix },
      topics: { prefix, partitions: 1 },
    }),
    sinkDocument({ name: "lake", source: "shop", tables }),
    sinkDocument({ name: "mart", source: "shop", tables, warehouse: { postgres: { url: warehouse.url } } }),
  );
});

afterAll(async () => {
  await scene[Symbol.asyncDispose]();
  await warehouse[Symbol.asyncDispose]();
  await database[Symbol.asyncDispose]();
});

type Planned = { readonly code: number; readonly tables: readonly PlannedTable[]; readonly stderr: string };

async function plan(...options: string[]): Promise<Planned> {
  const { code, stdout, stderr } = await scene.command("plan", [...options, "--json"]);
  const { tables } = stdout === "" ? { tables: [] } : (JSON.parse(stdout) as { tables: readonly PlannedTable[] });
  return { code: code ?? -1, tables, stderr };
}

/** All that the catalogs hold of relations and their columns, with the transactions that wrote it. */
async function catalogs(): Promise<unknown> {
  return database.sql(`SELECT (SELECT md5(string_agg(c::text || c.xmin, '' ORDER BY c.oid)) FROM pg_class c WHERE relnamespace = ANY ('{public,other}'::regnamespace[])) AS relations,
    (SELECT md5(string_agg(a::text || a.xmin, '' ORDER BY attrelid, attnum)) FROM pg_attribute a WHERE attrelid >= 16384) AS columns,
    (SELECT count(*) FROM pg_class WHERE relpersistence = 't') AS temporary`);
}

test("before anything was made every schema is a first one, every target is to be made, and nothing is", async () => {
  const { code, tables } = await plan();
  expect([code, tables.map(({ table }) => table)]).toEqual([
    0,
    ["heap", "indexed", "items", "lines", "parts", "wide", "wide_v2"].map((name) => `public.${name}`),
  ]);
  expect(tables[2]).toMatchObject({
    topic: `${prefix}.public.items`,
    refused: null,
    subjects: [
      { subject: `${prefix}.public.items-key`, verdict: "first" },
      { subject: `${prefix}.public.items-value`, verdict: "first" },
    ],
    columns: ["id: int", "n: int?", "feeling: string?"],
  });
  for (const { ddl } of tables[2]!.targets) expect(ddl.at(-1)).toMatch(/^CREATE TABLE .*"copy"."items"/);
  expect(existsSync(path.join(scene.folder, "lake.duckdb")) || existsSync(path.join(scene.folder, "data"))).toBe(false);
  expect(await warehouse.sql("SELECT to_regnamespace('copy') AS made")).toEqual([{ made: null }]);
});

describe("beside a service that runs", () => {
  beforeAll(async () => {
    await scene.start();
    await scene.reaches({ shop: "running", lake: "running", mart: "running" });
    await database.sql(
      "INSERT INTO items (id, n) VALUES (1, 1); INSERT INTO indexed (code, region) VALUES ('a', 'b'); INSERT INTO parts VALUES (1)",
    );
    await database.sql("INSERT INTO lines VALUES (1); INSERT INTO wide VALUES (1); INSERT INTO wide_v2 VALUES (1)");
    await until(async () => {
      for (const table of ["items", "indexed", "parts", "lines", "wide", "wide_v2"]) {
        expect(await warehouse.sql(`SELECT 1 AS one FROM copy.${table}`)).toHaveLength(1);
        expect(await scene.duckdb(`SELECT 1 FROM copy.${table}`)).toHaveLength(1);
      }
    });
  });

  test("what is registered and fits is said to be", async () => {
    const { code, tables } = await plan();
    expect(code).toBe(0);
    for (const { table, subjects, targets } of tables) {
      if (table === "public.heap") continue; // it has no key
      expect(subjects.map(({ verdict }) => verdict)).toEqual(["known", "known"]);
      expect(targets).toMatchObject([
        { sink: "lake", ddl: [], refused: null },
        { sink: "mart", ddl: [], refused: null },
      ]);
    }
    const { stdout } = await scene.command("plan");
    expect(stdout).toContain(`source shop: public.items → topic ${prefix}.public.items\n  id: int\n`);
    expect(stdout).toContain("  sink mart: copy.items fits\n");
  });

  test.each([
    [
      "ALTER TABLE items ADD x numeric(10,2), DROP COLUMN n CASCADE",
      ["+ x: decimal(10,2)?", "- n: int?"],
      ['ADD COLUMN "x" DECIMAL(10,2)', 'ADD COLUMN "x" numeric(10,2)'],
    ],
    ["ALTER TABLE public.items ADD now mood DEFAULT 'calm'", ["+ now: string?"], ['ADD COLUMN "now" VARCHAR', 'ADD COLUMN "now" text']],
    ["ALTER TABLE indexed ALTER code TYPE varchar(100)", [], []],
    ["ALTER TABLE parts ALTER n TYPE int8", ["~ n: int? → long?"], ['ALTER COLUMN "n" TYPE BIGINT', 'ALTER COLUMN "n" TYPE bigint']],
    ["ALTER TABLE indexed RENAME id TO nr", ["+ nr: long?", "- id: long?"], ['ADD COLUMN "nr" BIGINT', 'ADD COLUMN "nr" bigint']],
    ["ALTER TABLE items ADD CHECK (n > 0), ALTER n SET NOT NULL", [], []],
  ])("%s would be taken: exit 0, and the database is as it was", async (sql, columns, ddl) => {
    const before = await catalogs();
    const { code, tables, stderr } = await plan("--assume", sql);
    expect([code, stderr]).toEqual([0, ""]);
    expect(tables).toHaveLength(1);
    expect(tables[0]?.columns).toEqual(columns);
    expect(tables[0]?.targets.flatMap((target) => target.ddl.map((one) => one.replace(/^ALTER TABLE \S+ /, "")))).toEqual(ddl);
    expect(await catalogs()).toEqual(before);
  });

  test.each([
    ["ALTER TABLE items DROP CONSTRAINT items_pkey", /no primary key/],
    ["ALTER TABLE items DROP id", /no primary key/],
    ["ALTER TABLE indexed DROP region", /REPLICA IDENTITY was dropped/],
  ])("%s would be refused: exit 3, and the database is as it was", async (sql, why) => {
    const before = await catalogs();
    const { code, stdout } = await scene.command("plan", ["--assume", sql]);
    expect(stdout).toMatch(new RegExp(`REFUSED .*${why.source}`));
    expect(stdout).not.toMatch(/PARKED|STOPS/); // the source stops, or leaves the table out, whatever the policy is
    expect(code).toBe(3);
    expect(await catalogs()).toEqual(before);
  });

  test("what the registry would refuse of a table whose policy is park is set aside: exit 3, with the topic and the way back", async () => {
    const assume = ["--assume", "ALTER TABLE parts ALTER n TYPE text"];
    const { code, tables } = await plan(...assume);
    const topic = `${prefix}.public.parts`;
    expect(code).toBe(3);
    const fix = expect.stringMatching(
      `^curl -X DELETE http://\\S+/registry/subjects/${topic}-value; then tailrace unpark DIR shop public.parts$`,
    ) as string;
    expect(tables).toMatchObject([{ refused: null, refusal: { then: "parked", parkedTopic: `${topic}.parked`, fix } }]);
    const { stdout } = await scene.command("plan", assume);
    expect(stdout).toMatch(new RegExp(`  REFUSED ${topic}-value: .*string`));
    expect(stdout).toMatch(
      new RegExp(`  PARKED: the table's events go to ${topic}.parked .*; to let it pass: curl .*tailrace unpark DIR shop public.parts\n`),
    );
  });

  test.each([
    ["ALTER TABLE lines ALTER n TYPE text", /REFUSED \S+-value: .*string/],
    ["ALTER TABLE lines ALTER n SET NOT NULL, DROP CONSTRAINT lines_pkey, ADD PRIMARY KEY (n)", /~ n: int\? → int/],
  ])(
    "R-version: %s begins a version of a table whose policy that is: exit 3, with its topic and targets, and what readers do",
    async (sql, why) => {
      const topic = `${prefix}.public.lines`;
      const { code, tables } = await plan("--assume", sql);
      expect(code).toBe(3);
      expect(tables).toMatchObject([
        { version: 1, refused: null, refusal: { then: "versioned", parkedTopic: null, version: 2, topic: `${topic}_v2` } },
      ]);
      for (const { target, ddl, refused } of tables[0]!.targets) {
        expect([target, refused]).toEqual(["copy.lines_v2", null]);
        expect(ddl.at(-1)).toMatch(/^CREATE TABLE .*"copy"."lines_v2"/);
      }
      const { stdout } = await scene.command("plan", ["--assume", sql]);
      expect(stdout).toMatch(why);
      expect(stdout).toContain(`  VERSIONED: the table's events go to topic ${topic}_v2, into which it is read, and to the targets below`);
      expect(stdout).toContain(`who reads topic ${topic}, or its targets, has to go on with those`);
    },
  );

  test("R-key: of a table whose key would be another the policy decides, though the registry's level may take it", async () => {
    const { code, tables } = await plan(
      "--assume",
      "ALTER TABLE parts DROP CONSTRAINT parts_pkey, ALTER n SET NOT NULL, ADD PRIMARY KEY (id, n)",
    );
    expect(code).toBe(3);
    expect(tables).toMatchObject([{ refused: null, refusal: { then: "parked" } }]);
    for (const subject of tables[0]!.subjects)
      expect(subject).toMatchObject({ verdict: "refused", reason: expect.stringContaining("its key was (id) and is (id, n)") as string });
  });

  test("R-version: a table without a key is parked though its policy is a version", async () => {
    const assume = ["--assume", "ALTER TABLE heap ALTER n TYPE text"];
    const { tables } = await plan(...assume);
    expect(tables).toMatchObject([{ refused: null, refusal: { then: "parked", version: null } }]);
    const { stdout } = await scene.command("plan", assume);
    expect(stdout).toContain("(schema_changes.incompatible; without a key it has no versions); to let it pass: curl");
  });

  test("R-version: a version whose topic would be that of another table is refused by name", async () => {
    const { code, tables } = await plan("--assume", "ALTER TABLE wide ALTER n TYPE text");
    const why = expect.stringMatching(/^NAME_COLLISION: .*wide_v2/) as string;
    expect([code, tables]).toMatchObject([3, [{ refused: why, refusal: null }]]);
  });

  test("of a table whose policy is stop the source would stop: exit 3, with the way back", async () => {
    const { code, tables } = await plan("--assume", "ALTER TABLE indexed ALTER id DROP DEFAULT, ALTER id TYPE text");
    expect(code).toBe(3);
    const fix = expect.stringMatching(/^curl -X DELETE \S+-value; then tailrace resume DIR shop$/) as string;
    expect(tables).toMatchObject([{ refused: null, refusal: { then: "stopped", parkedTopic: null, fix } }]);
    const { stdout } = await scene.command("plan", ["--assume", "ALTER TABLE indexed ALTER id DROP DEFAULT, ALTER id TYPE text"]);
    expect(stdout).toMatch(/ {2}STOPS the source .*; to let it pass: curl .*tailrace resume DIR shop\n/);
  });

  test.each([
    ["DROP TABLE items", "it is no ALTER TABLE"],
    ["ALTER TABLE items ADD x int; DROP TABLE items", "more than one statement"],
    ["ALTER TABLE items RENAME TO other", "RENAME TO"],
    ["ALTER TABLE items ADD x int REFERENCES outside", "a foreign key"],
    ["ALTER TABLE outside ADD x int", "captures no table"],
    ["ALTER TABLE other.items ADD x int", "captures no table"],
    ["ALTER TABLE missing ADD x int", "captures no table"],
    ["ALTER TABLE items DROP nothing", 'column "nothing" of relation "items" does not exist'],
    ["ALTER TABLE items ADD", "syntax error"],
    ["ALTER TABLE items ADD x nonsense", 'type "nonsense" does not exist'],
  ])("%s is bad input: exit 2, and the database is as it was", async (sql, why) => {
    const before = await catalogs();
    const { code, stderr } = await scene.command("plan", ["--assume", sql]);
    expect(stderr).toContain(why);
    expect(code).toBe(2);
    expect(await catalogs()).toEqual(before);
  });

  test("it waits for no writer, and for moments only behind a lock that keeps readers out", async () => {
    const assume = ["--assume", "ALTER TABLE items ADD x int"];
    const writer = new pg.Client({ connectionString: database.url });
    await writer.connect();
    await writer.query("BEGIN; LOCK TABLE items IN EXCLUSIVE MODE");
    expect((await plan(...assume)).code).toBe(0);
    await writer.query("ROLLBACK; BEGIN; LOCK TABLE items IN ACCESS EXCLUSIVE MODE");
    const from = performance.now();
    const { code, stderr } = await plan(...assume);
    expect(stderr).toContain("lock timeout");
    expect([code, performance.now() - from < 20_000]).toEqual([1, true]);
    await writer.end();
  });

  test("a source that is not there is named", async () => {
    expect(await plan("--source", "shp")).toMatchObject({ code: 2, stderr: expect.stringContaining("did you mean shop?") as string });
  });

  test("the schemas that it prints are those that the ALTER TABLE then registers, a changed key's too", async () => {
    const alter = "ALTER TABLE parts ADD planned date";
    const topic = `${prefix}.public.parts`;
    const { stdout } = await scene.command("plan", ["--assume", alter]);
    const printed = new Map([...stdout.matchAll(/^ {2}schema of (\S+): (.*)$/gm)].map(([, subject, schema]) => [subject, schema]));
    expect([...printed.keys()]).toEqual([`${topic}-value`]);
    await database.sql(`${alter}; INSERT INTO parts VALUES (2, 2, '2026-11-30')`);
    await until(async () => {
      const latest = await scene.get(`/registry/subjects/${topic}-value/versions/latest`);
      expect(((await latest.json()) as { readonly schema: string }).schema).toBe(printed.get(`${topic}-value`));
    });
    const key = await scene.command("plan", ["--assume", "ALTER TABLE lines ALTER id TYPE bigint"]);
    expect(key.stdout).toMatch(/^ {2}schema of \S+lines-key: .*"long"/m);
    expect(key.stdout).toMatch(/^ {2}schema of \S+lines-value: /m);
  });

  test("`check` says of each table what becomes of a schema that it has by now and that is refused; only where the source would stop is it a problem", async () => {
    expect(await scene.stop()).toMatchObject({ code: 0 });
    const before = await scene.command("check");
    expect([before.code, before.stdout]).toEqual([
      0,
      expect.stringContaining("ok   schemas of source shop: 7 table(s) tried in the registry"),
    ]);
    const schemas = async (): Promise<readonly unknown[]> => {
      const { stdout } = await scene.command("check", ["--json"]);
      const { findings } = JSON.parse(stdout) as { readonly findings: readonly { readonly of: string }[] };
      return findings.filter(({ of }) => of === "schemas of source shop"); // the sinks' targets differ too
    };
    const refused = (table: string, then: string): unknown =>
      expect.stringContaining(`table public.${table} has a schema that is refused, ${then}: `);
    await database.sql("ALTER TABLE parts ALTER n TYPE text; ALTER TABLE lines ALTER n TYPE text");
    const way = expect.stringMatching(/^curl -X DELETE \S+parts-value; then tailrace unpark DIR shop public.parts$/) as string;
    expect(await schemas()).toMatchObject([
      { kind: "warning", message: refused("lines", "it will begin version 2") },
      { kind: "warning", message: refused("parts", "it is parked, or will be"), fix: way },
      { kind: "ok" },
    ]);
    await database.sql("ALTER TABLE indexed ALTER id DROP DEFAULT, ALTER id TYPE text");
    expect(await schemas()).toMatchObject([
      { kind: "problem", code: "SCHEMA_REFUSED", message: refused("indexed", "the source stops") },
      { kind: "warning" },
      { kind: "warning" },
    ]);
    expect((await scene.command("check")).code).toBe(3);
  });
});
