// Snapshots when something is in their way: a table that can't be read, several without a key, a shape that is still being
// registered, more changed keys than a state record takes.
import { createHash } from "node:crypto";
import { expect, test } from "vitest";
import { withClient } from "../../support/databases.ts";
import { eventually } from "../../support/eventually.ts";
import { postgres, uniqueName, type TestDatabase } from "../../support/servers.ts";
import { stateTopicSpec } from "../../../src/core/source-state.ts";
import { SourceScene } from "./source-scene.ts";

const server = postgres();

/** Statements one after the other, until stop(). */
class Load {
  count = 0;
  readonly #stop = new AbortController();
  readonly #done: Promise<void>;

  constructor(database: TestDatabase, statement: (n: number) => string) {
    this.#done = (async () => {
      while (!this.#stop.signal.aborted) await database.sql(statement(this.count++));
    })();
    this.#done.catch(() => undefined); // stop() tells
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#done;
  }
}

test("a table that may not be read costs that table: the others are read to their end, and it is when it may", async () => {
  await using database = await (await server).createDatabase("troubles");
  const role = uniqueName("reader");
  await database.sql(`CREATE ROLE ${role} LOGIN REPLICATION PASSWORD 'p'`);
  try {
    await database.sql(`GRANT CREATE ON DATABASE ${database.name} TO ${role}`);
    for (const [table, rows] of [
      ["a_denied", 100],
      ["b_fine", 20_000],
    ] as const) {
      await database.sql(`CREATE TABLE ${table} (id int PRIMARY KEY)`);
      await database.sql(`INSERT INTO ${table} SELECT generate_series(1, ${rows})`);
      await database.sql(`ALTER TABLE ${table} OWNER TO ${role}`);
    }
    await database.sql(`REVOKE SELECT ON a_denied FROM ${role}`);
    const url = new URL(database.url);
    url.username = role;
    url.password = "p";
    await using scene = await SourceScene.open(database, { url: url.href, snapshot: { mode: "initial", parallel: 1, chunkRows: 500 } });
    await scene.while(async () => {
      await eventually("b_fine is read", async () => (await scene.sweptBelow("b_fine")) !== "", 30_000);
      const said = scene.warnings.map((warning) => JSON.stringify(warning)).filter((text) => text.includes("PRIVILEGE_MISSING"));
      expect(said).toHaveLength(1);
      expect(said[0]).toContain(`GRANT SELECT ON \\"public\\".\\"a_denied\\" TO \\"${role}\\"`);
      await database.sql(`GRANT SELECT ON a_denied TO ${role}`);
      await scene.untilRead();
    });
    expect(await scene.target("a_denied")).toHaveLength(100);
    expect(await scene.target("b_fine")).toHaveLength(20_000);
  } finally {
    await database.sql(`DROP OWNED BY ${role} CASCADE`);
    await database.sql(`DROP ROLE ${role}`);
  }
}, 90_000);

test("R-keyless: of several tables without a key that are read at once under load every row comes once", async () => {
  await using database = await (await server).createDatabase("troubles");
  const names = ["one", "two", "three"];
  for (const name of names) {
    await database.sql(`CREATE TABLE ${name} (n int)`);
    await database.sql(`ALTER TABLE ${name} REPLICA IDENTITY FULL`);
    await database.sql(`INSERT INTO ${name} SELECT -i FROM generate_series(1, 20000) i`);
  }
  await using scene = await SourceScene.open(database, { snapshot: { mode: "initial", parallel: 3 } });
  const load = new Load(database, (n) => names.map((name) => `INSERT INTO ${name} VALUES (${n})`).join("; "));
  try {
    await scene.while(async () => {
      await scene.untilRead();
      const already = load.count;
      await eventually("more rows", () => load.count > already + 50);
      await load.stop();
      await scene.untilLevel(database);
    });
  } finally {
    await load.stop();
  }
  for (const name of names) {
    const floor = await scene.sweptBelow(name);
    const seen = (await scene.events(name)).filter(({ sequence }) => sequence >= floor).map(({ values }) => Number(values[0]));
    expect(seen.sort((a, b) => a - b)).toEqual((await database.sql<{ n: number }>(`SELECT n FROM ${name} ORDER BY n`)).map(({ n }) => n));
  }
}, 90_000);

test("R-window: a snapshot that begins while another shape of the table is being registered loses no change", async () => {
  await using database = await (await server).createDatabase("troubles");
  await database.sql("CREATE TABLE items (id int PRIMARY KEY, n int)");
  await database.sql("INSERT INTO items SELECT i, 0 FROM generate_series(1, 20000) i");
  await using scene = await SourceScene.open(database, { snapshot: { mode: "initial", chunkRows: 200 } });
  let load: Load | null = null;
  try {
    await scene.while(async () => {
      await scene.untilRead();
      scene.registerMs = 700;
      await database.sql("ALTER TABLE items ADD more int");
      load = new Load(database, (n) => `UPDATE items SET n = ${n} WHERE id % 500 = ${n % 500}`);
      await eventually("changes of the new shape", () => (load?.count ?? 0) > 3);
      await scene.control?.requestSnapshot([{ table: { schema: "public", name: "items" }, where: null }], "a test");
      await scene.untilRead();
      await load.stop();
      await scene.untilLevel(database);
    });
  } finally {
    await (load as Load | null)?.stop();
  }
  const rows = (await scene.target("items")).map(({ id, n }) => ({ id, n })).sort((a, b) => Number(a.id) - Number(b.id));
  expect(rows).toEqual(await database.sql("SELECT id, n FROM items ORDER BY id"));
}, 90_000);

test("R-window-toast: more changed keys than a state record takes: the table is read whole instead", async () => {
  await using database = await (await server).createDatabase("troubles");
  await database.sql("CREATE TABLE items (id int PRIMARY KEY, name text, big text)");
  await database.sql("ALTER TABLE items ALTER big SET STORAGE EXTERNAL");
  await database.sql("INSERT INTO items SELECT i, 'old', repeat(md5(i::text), 70) FROM generate_series(1, 30000) i");
  await using scene = await SourceScene.open(database, { snapshot: { mode: "initial" } });
  await scene.while(async () => {
    await scene.untilRead();
    await database.sql("UPDATE items SET id = id + 1000000, name = 'new'");
    await scene.untilLevel(database);
    await scene.untilRead();
    await scene.untilLevel(database);
  });
  const digest = (value: unknown): string => createHash("md5").update(String(value)).digest("hex");
  const rows = (await scene.target("items")).map(({ id, name, big }) => `${String(id)} ${String(name)} ${digest(big)}`).sort();
  const expected = await database.sql<{ row: string }>("SELECT format('%s %s %s', id, name, md5(big)) AS row FROM items");
  expect(rows).toEqual(expected.map(({ row }) => row).sort());
}, 180_000);

test("no chunk is begun while the server keeps too much WAL for the slot, and that is said", async () => {
  await using database = await (await server).createDatabase("troubles");
  await database.sql("CREATE TABLE items (id int PRIMARY KEY)");
  await database.sql("INSERT INTO items SELECT generate_series(1, 20000)");
  await database.sql("CREATE SCHEMA elsewhere; CREATE TABLE elsewhere.bulk (filler text)");
  const snapshot = { mode: "initial", parallel: 1, chunkRows: 100, maxRowsPerSecond: 1_000, maxRetainedBytes: 16 * 2 ** 20 } as const;
  await using scene = await SourceScene.open(database, { snapshot });
  await scene.while(async () => {
    await eventually("rows are read", () => scene.snapshotRows > 0);
    await withClient(database.url, async (writer) => {
      await writer.query("BEGIN; INSERT INTO elsewhere.bulk SELECT repeat(md5(i::text), 30) FROM generate_series(1, 40000) i");
      await eventually("the snapshot yields", () => scene.snapshots[0]?.waitingFor?.includes("max_retained_wal") === true, 60_000);
      const rows = scene.snapshotRows;
      expect(rows).toBeLessThan(20_000);
      await writer.query("COMMIT");
    });
    scene.options = { ...scene.options, snapshot: { ...scene.options.snapshot, maxRowsPerSecond: null } };
  });
  scene.forget();
  await scene.while(async () => scene.untilRead());
  expect(new Set((await scene.events("items")).map(({ key }) => key)).size).toBe(20_000);
}, 120_000);

test("R-keyless: while a table without a key is read it can be held and let go on, and a table that is new meanwhile does not begin it anew", async () => {
  await using database = await (await server).createDatabase("troubles");
  await database.sql("CREATE TABLE words (n int); ALTER TABLE words REPLICA IDENTITY FULL");
  await database.sql("INSERT INTO words SELECT generate_series(1, 100000)");
  await using scene = await SourceScene.open(database, { snapshot: { mode: "initial", maxRowsPerSecond: 15_000 } });
  const rows = (): number => scene.snapshots.find(({ table }) => table === "public.words")?.rows ?? 0;
  await scene.while(async () => {
    await eventually("a chunk is durable", () => rows() > 0);
    scene.paused.add("public.words");
    await database.sql("CREATE TABLE late (id int PRIMARY KEY); INSERT INTO late VALUES (1)");
    await scene.untilWarned("a new table is captured when the one without a key has been read");
    const held = rows(); // a look at the catalogs is 5 s away: what was being read has long come by
    expect(held).toBeLessThan(100_000);
    await eventually(
      "another look",
      (
        (looks) => () =>
          scene.looks > looks
      )(scene.looks),
    );
    expect(rows()).toBe(held);
    expect(scene.snapshots.find(({ table }) => table === "public.words")?.state).toBe("paused");
    scene.paused.clear();
    await eventually("all words are read", async () => (await scene.sweptBelow("words")) !== "", 60_000);
    await scene.untilRows("late", 1);
    expect(scene.sessions).toBe(2);
  });
  expect(await scene.events("words")).toHaveLength(100_000);
}, 120_000);

test("R-keyless: a table without a key that is held longer than its snapshot may be kept lets go of it and of its reader, and is read again from its beginning", async () => {
  await using database = await (await server).createDatabase("troubles");
  await database.sql("CREATE TABLE items (id int PRIMARY KEY); INSERT INTO items SELECT generate_series(1, 100)");
  await database.sql("CREATE TABLE words (n int); ALTER TABLE words REPLICA IDENTITY FULL");
  await database.sql("INSERT INTO words SELECT generate_series(1, 50000)");
  const keptSnapshots = async (): Promise<number> =>
    (await database.sql("SELECT FROM pg_stat_activity WHERE datname = current_database() AND xact_start < now() - interval '1 second'"))
      .length;
  await using scene = await SourceScene.open(database, {
    snapshot: { mode: "initial", parallel: 1, maxRowsPerSecond: 30_000, keylessHeldMs: 2_000 },
  });
  const rows = (): number => scene.snapshots.find(({ table }) => table === "public.words")?.rows ?? 0;
  await scene.while(async () => {
    await eventually("a chunk is durable", () => rows() > 0);
    scene.paused.add("public.words");
    await eventually("its snapshot is kept", async () => (await keptSnapshots()) > 0);
    await eventually("its snapshot is kept no more", async () => (await keptSnapshots()) === 0, 20_000);
    await database.sql("DELETE FROM words WHERE n <= 20000; INSERT INTO words SELECT generate_series(-10, -1)");
    const swept = await scene.sweptBelow("items");
    await scene.control?.requestSnapshot([{ table: { schema: "public", name: "items" }, where: null }], "a test");
    await eventually("the only reader reads another table", async () => (await scene.sweptBelow("items")) !== swept, 20_000);
    expect(scene.snapshots.find(({ table }) => table === "public.words")?.state).toBe("paused");
    scene.paused.clear();
    await scene.untilRead();
  });
  const floor = await scene.sweptBelow("words");
  const read = (await scene.events("words")).filter(({ sequence }) => sequence >= floor);
  expect(read.every(({ op }) => op === "r")).toBe(true);
  expect(read.map(({ values }) => Number(values[0])).sort((a, b) => a - b)).toEqual(
    (await database.sql<{ n: number }>("SELECT n FROM words ORDER BY n")).map(({ n }) => n),
  );
}, 120_000);

test("R-keyless: a table without a key whose reading fails, again and again, does not keep a new table out", async () => {
  await using database = await (await server).createDatabase("troubles");
  await database.sql("CREATE TABLE wide (n int, big text); ALTER TABLE wide ALTER big SET STORAGE EXTERNAL, REPLICA IDENTITY FULL");
  await database.sql("INSERT INTO wide SELECT i, repeat('x', 9 * 1024 * 1024) FROM generate_series(1, 2) i"); // one block: more than a chunk takes
  await using scene = await SourceScene.open(database, { snapshot: { mode: "initial" } });
  await scene.while(async () => {
    await scene.untilWarned("SNAPSHOT_ROW_WIDE");
    await database.sql("CREATE TABLE late (id int PRIMARY KEY); INSERT INTO late VALUES (1)");
    await eventually("the new table is read", async () => (await scene.sweptBelow("late")) !== "", 40_000);
    await eventually("the other fails still", () => scene.snapshots.length === 1 && scene.snapshots[0]?.state === "waiting");
    expect(scene.snapshots[0]).toMatchObject({ table: "public.wide", rows: 0 });
    await database.sql("DELETE FROM wide WHERE n = 1");
    await scene.untilRead();
  });
  const floor = await scene.sweptBelow("wide");
  const read = (await scene.events("wide")).filter(({ sequence }) => sequence >= floor);
  expect(read.map(({ op, values }) => [op, values[0]])).toEqual([["r", 2]]);
}, 120_000);

test("R-window-toast: while many keys of one table are read again, another table is read by the same reader", async () => {
  await using database = await (await server).createDatabase("troubles");
  await database.sql("CREATE TABLE moving (id int PRIMARY KEY, big text); ALTER TABLE moving ALTER big SET STORAGE EXTERNAL");
  await database.sql("INSERT INTO moving SELECT i, repeat(md5(i::text), 70) FROM generate_series(1, 15000) i");
  await database.sql("CREATE TABLE other (id int PRIMARY KEY); INSERT INTO other SELECT generate_series(1, 1000)");
  await using scene = await SourceScene.open(database, { snapshot: { mode: "initial", parallel: 1, chunkRows: 100 } });
  const chunks = (table: string): number => scene.chunks.get(table) ?? 0;
  await scene.while(async () => {
    await scene.untilRead();
    scene.chunks.clear();
    await database.sql("UPDATE moving SET id = id + 100000");
    await eventually("some keys are read again", () => chunks("public.moving") > 2);
    const swept = await scene.sweptBelow("other");
    await scene.control?.requestSnapshot([{ table: { schema: "public", name: "other" }, where: null }], "a test");
    await eventually("the other table is read", async () => (await scene.sweptBelow("other")) !== swept);
    expect(chunks("public.moving")).toBeLessThan(15_000 / 500);
    await scene.untilRead();
  });
}, 120_000);

test("R-window: while a table that is half read is held, the keys of its changes are kept for moments only", async () => {
  await using database = await (await server).createDatabase("troubles");
  await database.sql("CREATE TABLE items (id int PRIMARY KEY, n int); INSERT INTO items SELECT i, 0 FROM generate_series(1, 20000) i");
  await using scene = await SourceScene.open(database, { snapshot: { mode: "initial", chunkRows: 500, maxRowsPerSecond: 6_000 } });
  await scene.while(async () => {
    await eventually("a chunk is durable", () => scene.snapshotRows > 0);
    scene.paused.add("public.items");
    await eventually("the table is held", () => scene.snapshots[0]?.state === "paused");
    await database.sql("UPDATE items SET n = 1 WHERE id > 15000");
    await scene.untilLevel(database);
    await eventually("no key is kept", () => scene.touches === 0);
    expect(scene.snapshots).toHaveLength(1);
    await database.sql("UPDATE items SET n = n + 1 WHERE id > 18000");
    scene.paused.clear();
    await scene.untilRead();
  });
  const rows = (await scene.target("items")).map(({ id, n }) => ({ id, n })).sort((a, b) => Number(a.id) - Number(b.id));
  expect(rows).toEqual(await database.sql("SELECT id, n FROM items ORDER BY id"));
}, 120_000);

test("a topic of states that takes smaller records than a large snapshot's state is named before it is too small", async () => {
  await using database = await (await server).createDatabase("troubles");
  await database.sql("CREATE TABLE items (id int PRIMARY KEY)");
  await using scene = await SourceScene.open(database, { snapshot: { mode: "initial" } });
  const { name, partitions, replication, configs } = stateTopicSpec(scene.options.topics.prefix, -1);
  const { signal } = new AbortController();
  await scene.log.createTopic({ name, partitions, replication, configs: { ...configs, "max.message.bytes": "1048576" } }, signal);
  await scene.while(async () => scene.untilRead());
  await scene.while(async () => scene.untilLevel(database));
  const said = scene.warnings.filter(({ message }) => message.includes("max.message.bytes to 33554432"));
  expect(said).toEqual([expect.objectContaining({ topic: name, bytes: 1_048_576 })]);
}, 60_000);
