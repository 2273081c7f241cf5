// Snapshots of tables of every sort: composite keys, partitions, generated columns, names that need quotes, filters.
import { describe, expect, test } from "vitest";
import { withClient } from "../../support/databases.ts";
import { eventually } from "../../support/eventually.ts";
import { postgres, type TestDatabase } from "../../support/servers.ts";
import { TableSnapshot } from "../../../src/source/snapshot-progress.ts";
import { SourceScene } from "./source-scene.ts";

const server = postgres();

async function read(
  sql: readonly string[],
  table: string,
  work: (scene: SourceScene, database: TestDatabase) => Promise<void>,
  snapshot: { chunkRows?: number; parallel?: number } = {},
): Promise<void> {
  await using database = await (await server).createDatabase("tables");
  for (const statement of sql) await database.sql(statement);
  await using scene = await SourceScene.open(database, { snapshot: { mode: "initial", chunkRows: 700, ...snapshot } });
  await scene.while(async () => {
    await scene.untilRead();
    await scene.untilLevel(database);
  });
  expect((await scene.events(table)).every(({ op }) => op === "r")).toBe(true);
  await work(scene, database);
}

async function expectCount(scene: SourceScene, table: string, count: number): Promise<void> {
  const keys = (await scene.events(table)).map(({ key }) => key);
  expect(keys).toHaveLength(count);
  expect(new Set(keys).size).toBe(count);
}

describe("R-chunk: every row once, whatever the key", () => {
  test("200,000 rows keyed by text of an ICU collation, uuid and timestamptz, unevenly", async () => {
    await read(
      [
        'CREATE TABLE wide (region text COLLATE "und-x-icu", id uuid, at timestamptz, n int, PRIMARY KEY (region, id, at))',
        `INSERT INTO wide SELECT CASE WHEN i % 10 < 7 THEN 'Straße' ELSE (ARRAY['äpfel', 'Zebra', 'zebra', 'apfel', 'Ö', 'o''o', E'tab\\t', '\\\\'])[1 + i % 8] END,
           md5((i % 50000)::text)::uuid, timestamptz '2020-01-01' + i * interval '1 second', i FROM generate_series(1, 200000) i`,
        "ANALYZE wide",
      ],
      "wide",
      async (scene) => expectCount(scene, "wide", 200_000),
      { chunkRows: 20_000 },
    );
  }, 240_000);

  test.each([
    ["numeric, with values that differ in their scale alone", "numeric", "i + 0.50"],
    ["bytea", "bytea", "decode(md5(i::text), 'hex')"],
    ["boolean and float8", "float8", "i / 7.0"],
    ["a domain over varchar", "code", "'c' || i"],
    ["an enum, few values, and an int", "mood", "(ARRAY['sad', 'ok', 'happy'])[1 + i % 3]::mood"],
    ["character(n)", "character(12)", "'k' || i"],
    ["inet", "inet", "inet '10.0.0.0' + i"],
    ["int4range", "int4range", "int4range(i, i + 1)"],
    ["an array, with nulls", "int[]", "ARRAY[i % 10, NULL, i]"],
    ["an array of text that is quoted", "text[]", `ARRAY['a,"b', NULL, i::text]`],
    ["hstore", "hstore", "hstore('k', i::text)"],
    ["a range of one's own, which the stream sends as text", "floatrange", "floatrange(i, i + 1)"],
  ])("%s", async (_, type, value) => {
    await read(
      [
        "CREATE DOMAIN code AS varchar(20) CHECK (value <> '')",
        "CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy')",
        "CREATE TYPE floatrange AS RANGE (subtype = float8)",
        "CREATE EXTENSION hstore",
        `CREATE TABLE keyed (k ${type}, i int, note text, PRIMARY KEY (k, i))`,
        `INSERT INTO keyed SELECT ${value}, i, 'note ' || i FROM generate_series(1, 3000) i`,
      ],
      "keyed",
      async (scene) => expectCount(scene, "keyed", 3000),
    );
  });
});

test("a partitioned table is read through its root, rows of every partition under the root's name", async () => {
  await read(
    [
      "CREATE TABLE parted (id int, region text, note text, PRIMARY KEY (id, region)) PARTITION BY LIST (region)",
      "CREATE TABLE parted_a PARTITION OF parted FOR VALUES IN ('a')",
      "CREATE TABLE parted_b PARTITION OF parted FOR VALUES IN ('b', 'c')",
      "INSERT INTO parted SELECT i, (ARRAY['a', 'b', 'c'])[1 + i % 3], 'n' FROM generate_series(1, 3000) i",
    ],
    "parted",
    async (scene) => expectCount(scene, "parted", 3000),
  );
});

test("a generated column is in a snapshot's row as it is in the stream's: not at all, where it is not published", async () => {
  await read(
    [
      "CREATE TABLE made (id int PRIMARY KEY, twice int GENERATED ALWAYS AS (id * 2) STORED, name text)",
      "INSERT INTO made (id, name) VALUES (1, 'one')",
    ],
    "made",
    async (scene, database) => {
      scene.forget();
      await scene.while(async () => {
        await database.sql("INSERT INTO made (id, name) VALUES (2, 'two')");
        await scene.untilLevel(database);
      });
      const [read1, streamed] = await scene.events("made");
      expect(read1?.columns).toEqual(streamed?.columns);
    },
  );
});

test("names with quotes, capitals, dots and letters beyond ASCII", async () => {
  await read(
    [
      'CREATE TABLE "Ünïque ""Tàble"".1" ("Schlüssel" int PRIMARY KEY, "a ""b"" c" text)',
      `INSERT INTO "Ünïque ""Tàble"".1" SELECT i, 'x' FROM generate_series(1, 1500) i`,
    ],
    'Ünïque "Tàble".1',
    async (scene) => expectCount(scene, 'Ünïque "Tàble".1', 1500),
  );
});

test("an inheritance parent is not captured, and that is said by name", async () => {
  await using database = await (await server).createDatabase("tables");
  await database.sql("CREATE TABLE parent (id int PRIMARY KEY)");
  await database.sql("CREATE TABLE child (PRIMARY KEY (id)) INHERITS (parent)");
  await database.sql("INSERT INTO child VALUES (1)");
  await using scene = await SourceScene.open(database, { snapshot: { mode: "initial" } });
  await scene.while(async () => scene.untilRead());
  expect(scene.warnings.find(({ table }) => table === "public.parent")?.message).toContain("inherit");
  await expectCount(scene, "child", 1);
});

test("a condition reads what it chooses, and nothing is swept", async () => {
  await read(
    [
      "CREATE TABLE halves (id int PRIMARY KEY, kind text)",
      "INSERT INTO halves SELECT i, CASE WHEN i % 2 = 0 THEN 'even' ELSE 'odd' END FROM generate_series(1, 1000) i",
    ],
    "halves",
    async (scene, database) => {
      const swept = await scene.sweptBelow("halves");
      scene.forget();
      await scene.while(async () => {
        await scene.control?.requestSnapshot([{ table: { schema: "public", name: "halves" }, where: "kind = 'even' -- half" }], "a test");
        await scene.untilRead();
        await scene.untilLevel(database);
      });
      expect(await scene.events("halves")).toHaveLength(1500);
      expect(await scene.sweptBelow("halves")).toBe(swept);
    },
  );
});

test("R-sweep: an end that no barrier has said is said after a crash though nothing is written", async () => {
  await using database = await (await server).createDatabase("ending");
  await database.sql("CREATE TABLE items (id int PRIMARY KEY); INSERT INTO items SELECT generate_series(1, 100)");
  await using scene = await SourceScene.open(database, { snapshot: { mode: "initial" } });
  await scene.while(async () => scene.untilRead());
  // What stands in the state when the process dies between the last chunk and its barrier.
  const state = (await scene.state())!;
  const opening = `${(await scene.sweptBelow("items")).slice(0, -1)}1`;
  const begun = TableSnapshot.begin({ schema: "public", name: "items" }, "table", "first start").record();
  const ending = { ...begun, opening, todo: [], rows: 100, chunks: 1 };
  await scene.write({ ...state, generation: state.generation + 1, number: 1, snapshots: [ending] });
  scene.forget();
  await scene.while(async () => scene.untilRead());
  expect(await scene.sweptBelow("items")).toBe(opening);
});

test("snapshot.mode initial_only reads everything, then ends and leaves neither slot nor publication", async () => {
  await using database = await (await server).createDatabase("tables");
  await database.sql("CREATE TABLE once (id int PRIMARY KEY)");
  await database.sql("INSERT INTO once SELECT generate_series(1, 1000)");
  await using scene = await SourceScene.open(database, { snapshot: { mode: "initial_only" } });
  await scene.toItsEnd();
  await expectCount(scene, "once", 1000);
  expect(await database.sql("SELECT slot_name FROM pg_replication_slots WHERE database = current_database()")).toEqual([]);
  expect(await database.sql("SELECT pubname FROM pg_publication")).toEqual([]);
  scene.forget();
  await scene.toItsEnd();
  await expectCount(scene, "once", 1000);
});

test("snapshot.mode initial_only: a process that died before it dropped slot and publication is followed by one that does", async () => {
  await using database = await (await server).createDatabase("tables");
  await database.sql("CREATE TABLE once (id int PRIMARY KEY); INSERT INTO once VALUES (1)");
  await using scene = await SourceScene.open(database, { snapshot: { mode: "initial" } });
  await scene.while(async () => scene.untilRead());
  const state = (await scene.state())!;
  await scene.write({ ...state, generation: state.generation + 1, number: 1, phase: "over" });
  scene.forget();
  scene.options = { ...scene.options, snapshot: { ...scene.options.snapshot, mode: "initial_only" }, create: false };
  await scene.toItsEnd();
  expect(await database.sql("SELECT pubname FROM pg_publication")).toHaveLength(1);
  scene.options = { ...scene.options, create: true };
  for (const _ of ["leftovers", "nothing left"]) {
    await scene.toItsEnd();
    expect(await database.sql("SELECT slot_name FROM pg_replication_slots WHERE database = current_database()")).toEqual([]);
    expect(await database.sql("SELECT pubname FROM pg_publication")).toEqual([]);
  }
});

test("more changed rows than are kept: the chunks that are open are read again, and nothing is lost", async () => {
  await using database = await (await server).createDatabase("tables");
  await database.sql("CREATE TABLE bulk (id text STORAGE PLAIN PRIMARY KEY, note text)");
  await database.sql("INSERT INTO bulk SELECT lpad(i::text, 2500, '.'), 'old' FROM generate_series(1, 30000) i"); // 75 MB of keys
  // A chunk whose condition asks for it stays open for as long as somebody else has the lock.
  await database.sql(`CREATE FUNCTION let_go() RETURNS boolean LANGUAGE plpgsql AS
    $$ BEGIN WHILE NOT pg_try_advisory_xact_lock_shared(1) LOOP PERFORM pg_sleep(0.02); END LOOP; RETURN true; END $$`);
  const isHeld = async (): Promise<boolean> =>
    (await database.sql("SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'")).length > 0;
  await using scene = await SourceScene.open(database, { snapshot: { mode: "initial", chunkRows: 1_000 } });
  await scene.while(async () => {
    await scene.untilRead();
    const table = { schema: "public", name: "bulk" };
    await withClient(database.url, async (holder) => {
      await holder.query("SELECT pg_advisory_lock(1)");
      await scene.control?.requestSnapshot([{ table, where: "(SELECT public.let_go()) AND id LIKE '%7'" }], "a test");
      await eventually("a chunk is open", isHeld);
      await database.sql("UPDATE bulk SET note = 'new'");
      await scene.untilWarned("too many changed rows to keep");
    });
    await scene.untilRead();
    await scene.untilLevel(database);
  });
  expect(scene.snapshotRows).toBe(33_000);
  const rows = await scene.target("bulk");
  expect(rows).toHaveLength(30_000);
  expect(rows.every(({ note }) => note === "new")).toBe(true);
}, 240_000);
