// R-seen: a transaction is in the stream before any session sees it, as long as its standby takes. What the catalogs say of a table is asked
// for once they have what that transaction made of it.
import { afterAll, beforeAll, expect, test } from "vitest";
import { query, withClient } from "../../support/databases.ts";
import { eventually } from "../../support/eventually.ts";
import type { PostgresServer } from "../../../src/quickstart/postgres-server.ts";
import { startTestPostgres } from "../../support/postgres.ts";
import type { TestDatabase } from "../../support/servers.ts";
import { SourceScene } from "./source-scene.ts";

let server: PostgresServer;
let database: TestDatabase;

beforeAll(async () => {
  server = await startTestPostgres();
  const sql = async <Row>(text: string): Promise<Row[]> => (await query(server.url, text)) as Row[];
  database = { name: "postgres", url: server.url, sql, [Symbol.asyncDispose]: async () => undefined };
});
afterAll(async () => server[Symbol.asyncDispose]());

/** Whether commits wait for a standby, by default one that never comes. */
async function standby(isAwaited: boolean, name = "nobody"): Promise<void> {
  await database.sql(isAwaited ? `ALTER SYSTEM SET synchronous_standby_names = '${name}'` : "ALTER SYSTEM RESET synchronous_standby_names");
  await database.sql("SELECT pg_reload_conf()");
  await eventually("the setting", async () => {
    const [row] = await database.sql<{ names: string }>("SELECT current_setting('synchronous_standby_names') AS names");
    return row?.names === (isAwaited ? name : "");
  });
}

/** Commits `sql`, which no session sees until `meanwhile` has been done. */
async function unseen(sql: string, meanwhile: () => Promise<void>): Promise<void> {
  await standby(true);
  try {
    await withClient(database.url, async (writer) => {
      const waiting = writer.query(sql);
      waiting.catch(() => undefined); // awaited below, unless something fails before
      await eventually("the commit waits", async () => {
        const waits = "SELECT FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
        return (await database.sql(waits)).length > 0;
      });
      await meanwhile();
      await standby(false);
      await waiting;
    });
  } finally {
    await standby(false);
  }
}

const WAITS = "waits until sessions see a transaction";

test("another primary key under REPLICA IDENTITY FULL parks the table though no session sees it yet", async () => {
  await database.sql("CREATE TABLE bills (id int PRIMARY KEY, owner int NOT NULL); ALTER TABLE bills REPLICA IDENTITY FULL");
  await using scene = await SourceScene.open(database);
  await scene.while(async () => {
    await database.sql("INSERT INTO bills VALUES (1, 1)");
    await scene.untilRows("bills", 1);
    const change = "ALTER TABLE bills DROP CONSTRAINT bills_pkey, ADD PRIMARY KEY (id, owner); INSERT INTO bills VALUES (1, 3), (1, 4)";
    await unseen(change, async () => scene.untilWarned(WAITS));
    await scene.untilRows(scene.parkedOf("bills"), 2);
  });
  expect(JSON.stringify(scene.warnings)).toContain("committed, waiting for a synchronous standby");
  expect((await scene.events("bills")).map(({ op }) => op)).toEqual(["c"]);
});

test("where commits wait for this source as for a synchronous standby none of them is waited for: the stream goes on, and the commit returns", async () => {
  await database.sql("CREATE TABLE items (id int PRIMARY KEY); ALTER TABLE items REPLICA IDENTITY FULL");
  await using scene = await SourceScene.open(database);
  await scene.while(async () => {
    await database.sql("INSERT INTO items VALUES (1)");
    await scene.untilRows("items", 1);
    await standby(true, "*");
    try {
      await eventually("the source is a standby", async () => {
        return (await database.sql("SELECT FROM pg_stat_replication WHERE sync_state = 'sync'")).length > 0;
      });
      await database.sql("ALTER TABLE items ADD note text; INSERT INTO items VALUES (2, 'x')");
      await database.sql("INSERT INTO items VALUES (3, 'y')");
      await scene.untilRows("items", 3);
    } finally {
      await standby(false);
    }
  });
  expect((await scene.rows("items")).map(({ note }) => note)).toEqual([undefined, "x", "y"]);
  expect(JSON.stringify(scene.warnings)).toContain("commits wait for this source as for a synchronous standby");
});

test("a column of a type that was made in the same transaction is read as that type", async () => {
  await database.sql("CREATE TABLE orders (id int PRIMARY KEY)");
  await using scene = await SourceScene.open(database);
  await scene.while(async () => {
    await database.sql("INSERT INTO orders VALUES (1)");
    await scene.untilRows("orders", 1);
    const change =
      "CREATE TYPE state AS ENUM ('open', 'paid'); ALTER TABLE orders ADD state state NOT NULL DEFAULT 'open'; INSERT INTO orders VALUES (2, 'paid')";
    await unseen(change, async () => scene.untilWarned(WAITS));
    await scene.untilRows("orders", 2);
  });
  expect((await scene.events("orders")).map(({ values }) => values)).toEqual([[1], [2, "paid"]]);
});
