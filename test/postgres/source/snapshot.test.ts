// Snapshots of a real source: what is in the log at their end is what is in the tables, whatever happens meanwhile.
import { describe, expect, test } from "vitest";
import { query, withClient } from "../../support/databases.ts";
import { eventually } from "../../support/eventually.ts";
import { startTestPostgres } from "../../support/postgres.ts";
import { postgres, type TestDatabase } from "../../support/servers.ts";
import { SourceScene } from "./source-scene.ts";

const server = postgres();

async function tableRows(database: TestDatabase, table: string): Promise<readonly object[]> {
  return database.sql(`SELECT id, name, md5(big) AS big FROM ${table} ORDER BY id`);
}

async function expectLevel(scene: SourceScene, database: TestDatabase, table: string): Promise<void> {
  const target = await scene.target(table);
  const { createHash } = await import("node:crypto");
  const rows = target
    .map(({ id, name, big }) => ({ id, name, big: typeof big === "string" ? createHash("md5").update(big).digest("hex") : null }))
    .sort((a, b) => Number(a.id) - Number(b.id));
  expect(rows).toEqual(await tableRows(database, table));
}

const CREATE = "CREATE TABLE items (id int PRIMARY KEY, name text NOT NULL, big text); ALTER TABLE items ALTER big SET STORAGE EXTERNAL";
const fill = (rows: number): string =>
  `INSERT INTO items SELECT i, 'name ' || i, repeat(md5(i::text), 100) FROM generate_series(1, ${rows}) i`;

describe("snapshot.mode initial", () => {
  test("R-chunk: the rows that are there come once each as op=r, and only then is the snapshot said to be complete", async () => {
    await using database = await (await server).createDatabase("snapshot");
    await database.sql(CREATE);
    await database.sql(fill(3000));
    await using scene = await SourceScene.open(database, { snapshot: { mode: "initial" } });
    await scene.while(async () => scene.untilRead());
    const events = await scene.events("items");
    expect(new Set(events.map(({ op }) => op))).toEqual(new Set(["r"]));
    expect(new Set(events.map(({ key }) => key)).size).toBe(3000);
    expect(events).toHaveLength(3000);
    expect(scene.snapshotRows).toBe(3000);
    expect(await scene.sweptBelow("items")).not.toBe("");
    await expectLevel(scene, database, "items");
  });

  test("R-window, R-window-toast: changes made while it runs win over rows that were read, unsent columns come from them", async () => {
    await using database = await (await server).createDatabase("snapshot");
    await database.sql(CREATE);
    await database.sql(fill(5000));
    await using scene = await SourceScene.open(database, { snapshot: { mode: "initial", chunkRows: 200 } });
    await scene.while(async () => {
      const deadline = Date.now() + 4_000;
      let changes = 0;
      while (Date.now() < deadline || (await scene.state())?.snapshots?.length !== 0) {
        const id = 1 + Math.floor(Math.random() * 5000);
        const other = 10_000 + Math.floor(Math.random() * 100_000);
        const statements = [
          `UPDATE items SET name = 'changed ${changes}' WHERE id = ${id}`,
          `DELETE FROM items WHERE id = ${id}`,
          `UPDATE items SET id = ${other} WHERE id = ${id} AND NOT EXISTS (SELECT FROM items WHERE id = ${other})`,
          `INSERT INTO items VALUES (${id}, 'again ${changes}', repeat('x', 3000)) ON CONFLICT DO NOTHING`,
        ];
        await database.sql(statements[changes++ % statements.length] ?? "");
        if (changes > 20_000) break;
      }
      await scene.untilLevel(database);
      await scene.untilRead();
      await scene.untilLevel(database);
    });
    await expectLevel(scene, database, "items");
  });

  test("an empty table is complete, too", async () => {
    await using database = await (await server).createDatabase("snapshot");
    await database.sql(CREATE);
    await using scene = await SourceScene.open(database, { snapshot: { mode: "initial" } });
    await scene.while(async () => scene.untilRead());
    expect(await scene.sweptBelow("items")).not.toBe("");
  });

  test("a restart goes on at the next chunk, and reads none again that was durable", async () => {
    await using database = await (await server).createDatabase("snapshot");
    await database.sql(CREATE);
    await database.sql(fill(4000));
    await using scene = await SourceScene.open(database, {
      snapshot: { mode: "initial", chunkRows: 100, maxRowsPerSecond: 2000, parallel: 1 },
    });
    await scene.while(async () => {
      while (scene.snapshotRows < 500) await new Promise((resolve) => setTimeout(resolve, 20));
    });
    const rest = (await scene.state())?.snapshots?.[0];
    expect(rest?.rows).toBeGreaterThanOrEqual(400);
    scene.forget();
    await scene.while(async () => scene.untilRead());
    const events = await scene.events("items");
    expect(new Set(events.map(({ key }) => key)).size).toBe(4000);
    expect(events.length - 4000).toBeLessThanOrEqual(400); // what was under way alone
    await expectLevel(scene, database, "items");
  });
});

describe("R-keyless", () => {
  test("a table without a key comes once each under load: what its snapshot saw is passed over in the stream, what it did not is not", async () => {
    await using database = await (await server).createDatabase("snapshot");
    await database.sql("CREATE TABLE lines (n int, word text); ALTER TABLE lines REPLICA IDENTITY FULL");
    await database.sql("INSERT INTO lines SELECT i % 1000, repeat('w', 50) FROM generate_series(1, 30000) i");
    await using scene = await SourceScene.open(database, { snapshot: { mode: "initial" } });
    const stop = new AbortController();
    const load = (async () => {
      for (let i = 0; !stop.signal.aborted; i++) {
        await database.sql(`INSERT INTO lines VALUES (${5000 + i}, 'new')`);
        await database.sql(`UPDATE lines SET word = 'changed ${i}' WHERE n = ${i % 1000}`);
        await database.sql(`DELETE FROM lines WHERE n = ${(i * 7) % 1000} AND word LIKE 'changed%'`);
      }
    })();
    load.catch(() => undefined); // awaited below, unless something else fails first
    try {
      await scene.while(async () => {
        await scene.untilRead();
        await new Promise((resolve) => setTimeout(resolve, 500));
        stop.abort();
        await load;
        await scene.untilLevel(database);
      });
    } finally {
      stop.abort();
    }
    const count = new Map<string, number>();
    const add = (values: readonly unknown[], by: number): void => {
      const row = values.join(" ");
      count.set(row, (count.get(row) ?? 0) + by);
    };
    // What failed began again under another snapshot: everything below the last one's place is superseded.
    const floor = await scene.sweptBelow("lines");
    const events = (await scene.events("lines")).filter(({ sequence }) => sequence >= floor);
    expect(events.filter(({ op }) => op === "r").length).toBeGreaterThan(20_000);
    for (const { op, values, before } of events) {
      if (op !== "d") add(values, 1);
      if (op === "u" || op === "d") add(before ?? [], -1);
    }
    const rows = await database.sql<{ row: string; count: number }>(
      "SELECT n || ' ' || word AS row, count(*)::int AS count FROM lines GROUP BY 1",
    );
    const left = [...count].filter(([, times]) => times !== 0).sort();
    expect(left).toEqual(rows.map(({ row, count: times }) => [row, times]).sort());
  });
});

describe("R-window", () => {
  test("R-window-start: a transaction that the stream has brought but no session sees, since it waits for its standby, is waited for by name", async () => {
    await using own = await startTestPostgres();
    const sql = async <Row>(text: string): Promise<Row[]> => (await query(own.url, text)) as Row[];
    const database: TestDatabase = { name: "postgres", url: own.url, sql, [Symbol.asyncDispose]: async () => undefined };
    await database.sql(CREATE);
    await database.sql(fill(300));
    await using scene = await SourceScene.open(database, { snapshot: { mode: "initial" } });
    await scene.while(async () => scene.untilRead());
    await database.sql("ALTER SYSTEM SET synchronous_standby_names = 'nobody'");
    await database.sql("SELECT pg_reload_conf()");
    const isSet = async (): Promise<boolean> =>
      (await database.sql<{ value: string }>("SELECT current_setting('synchronous_standby_names') AS value"))[0]?.value === "nobody";
    await eventually("the setting", isSet);
    await scene.while(async () => {
      await withClient(database.url, async (writer) => {
        const waiting = writer.query("UPDATE items SET name = 'waits for its standby' WHERE id <= 100");
        const seen = async (): Promise<boolean> =>
          (await scene.events("items")).some(({ values }) => values[1] === "waits for its standby");
        await eventually("the update in the stream", seen);
        const [old] = await database.sql<{ count: number }>(
          "SELECT count(*)::int AS count FROM items WHERE name = 'waits for its standby'",
        );
        expect(old?.count).toBe(0);
        await scene.control?.requestSnapshot([{ table: { schema: "public", name: "items" }, where: null }], "a test");
        await scene.untilWarned("waits until open transactions end");
        await database.sql("ALTER SYSTEM RESET synchronous_standby_names");
        await database.sql("SELECT pg_reload_conf()");
        await waiting;
      });
      await scene.untilRead();
      await scene.untilLevel(database);
    });
    await expectLevel(scene, database, "items");
  });
});
