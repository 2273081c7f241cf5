// The interleavings for which R-window-start has two waits, and R-sweep its opening mark: each on a real server, arranged so
// that the target goes wrong when the rule is taken out.
import { expect, test } from "vitest";
import { query, withClient } from "../../support/databases.ts";
import { eventually } from "../../support/eventually.ts";
import { startTestPostgres } from "../../support/postgres.ts";
import { postgres, type TestDatabase } from "../../support/servers.ts";
import { SourceScene } from "./source-scene.ts";

const server = postgres();
const ITEMS = { schema: "public", name: "items" };

async function expectSame(scene: SourceScene, database: TestDatabase): Promise<void> {
  const rows = (await scene.target("items")).map(({ id, name }) => ({ id, name })).sort((a, b) => Number(a.id) - Number(b.id));
  expect(rows).toEqual(await database.sql("SELECT id, name FROM items ORDER BY id"));
}

async function fill(database: TestDatabase, rows: number): Promise<void> {
  await database.sql("CREATE TABLE items (id int PRIMARY KEY, name text)");
  await database.sql(`INSERT INTO items SELECT i, 'old' FROM generate_series(1, ${rows}) i`);
}

test("R-window-start, the first wait: a transaction that is published by half, since its table left the publication meanwhile, leaves nothing", async () => {
  await using database = await (await server).createDatabase("interleaved");
  await fill(database, 500);
  await using scene = await SourceScene.open(database, { snapshot: { mode: "initial", chunkRows: 100 } });
  await scene.while(async () => scene.untilRead());
  const { publication } = scene.options;
  await withClient(database.url, async (half) => {
    await half.query("BEGIN; INSERT INTO items VALUES (9001, 'published')");
    await database.sql(`ALTER PUBLICATION ${publication} DROP TABLE items`);
    await half.query("DELETE FROM items WHERE id = 9001"); // nobody is told of it
    await database.sql(`ALTER PUBLICATION ${publication} ADD TABLE items`);
    await scene.while(async () => {
      await scene.untilWarned("waits until open transactions end");
      await half.query("COMMIT");
      await scene.untilRead();
      await scene.untilLevel(database);
    });
  });
  expect((await scene.events("items")).some(({ op, values }) => op === "c" && values[0] === 9001)).toBe(true);
  await expectSame(scene, database);
});

test("R-window-start, the second wait: a transaction that came by before its table was watched, and that no session sees yet, is waited for", async () => {
  await using own = await startTestPostgres();
  const sql = async <Row>(text: string): Promise<Row[]> => (await query(own.url, text)) as Row[];
  const database: TestDatabase = { name: "postgres", url: own.url, sql, [Symbol.asyncDispose]: async () => undefined };
  await fill(database, 300);
  await using scene = await SourceScene.open(database, { snapshot: { mode: "initial" } });
  await scene.while(async () => {
    await scene.untilRead();
    await withClient(own.url, async (older) => {
      await older.query("BEGIN; SELECT pg_current_xact_id()"); // keeps the first wait waiting
      await scene.control?.requestSnapshot([{ table: ITEMS, where: null }], "a test");
      await scene.untilWarned("waits until open transactions end");
      await database.sql("ALTER SYSTEM SET synchronous_standby_names = 'nobody'");
      await database.sql("SELECT pg_reload_conf()");
      await eventually("the setting", async () => {
        const [row] = await database.sql<{ names: string }>("SELECT current_setting('synchronous_standby_names') AS names");
        return row?.names === "nobody";
      });
      await withClient(own.url, async (writer) => {
        const waiting = writer.query("UPDATE items SET name = 'new' WHERE id <= 100");
        waiting.catch(() => undefined); // awaited below, unless something fails before
        await eventually(
          "the update in the stream",
          async () => (await scene.events("items")).some(({ values }) => values[1] === "new"),
          30_000,
        );
        await older.query("ROLLBACK"); // the first wait is over, the update still stands in no snapshot
        // With the rule a chunk is read once the update is seen; without it one is read before.
        const begun = scene.snapshotRows;
        await eventually(
          "a chunk is read, or its reader waits",
          async () => scene.snapshotRows > begun || scene.warnings.some(isSecondWait),
          20_000,
        );
        await database.sql("ALTER SYSTEM RESET synchronous_standby_names");
        await database.sql("SELECT pg_reload_conf()");
        await waiting;
      });
    });
    await scene.untilRead();
    await scene.untilLevel(database);
  });
  await expectSame(scene, database);
}, 120_000);

/** Who is waited for is the update that waits for its standby. */
function isSecondWait(warning: object): boolean {
  return JSON.stringify(warning).includes("waiting for a synchronous standby");
}

test("R-sweep: what changed while the first chunk was read stands before its mark, and is not swept", async () => {
  await using database = await (await server).createDatabase("interleaved");
  await fill(database, 20_000);
  await using scene = await SourceScene.open(database, { snapshot: { mode: "initial", chunkRows: 200_000, parallel: 1 } });
  await scene.while(async () => {
    await scene.untilRead();
    const stop = new AbortController();
    const load = (async () => {
      for (let n = 0; !stop.signal.aborted; n++)
        await database.sql(`UPDATE items SET name = 'changed ${n}' WHERE id = ${1 + ((n * 7919) % 20_000)}`);
    })();
    try {
      await scene.control?.requestSnapshot([{ table: ITEMS, where: null }], "a test");
      await scene.untilRead();
    } finally {
      stop.abort();
      await load;
    }
    await scene.untilLevel(database);
  });
  const opening = await scene.sweptBelow("items");
  const events = await scene.events("items");
  const firstMark = events.find(({ op, sequence }) => op === "r" && sequence > opening)?.sequence ?? "";
  expect(events.some(({ op, sequence }) => op === "u" && sequence > opening && sequence < firstMark)).toBe(true);
  await expectSame(scene, database);
});
