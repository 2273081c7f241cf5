import { rm } from "node:fs/promises";
import path from "node:path";
import pg from "pg";
import { expect, test } from "vitest";
import { startPostgres } from "../../src/quickstart/postgres-server.ts";
import { startTestPostgres } from "../support/postgres.ts";
import { describeWithPostgres15, postgres, postgres15, uniqueName } from "../support/servers.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";

async function ask(url: string, text: string): Promise<unknown> {
  const client = new pg.Client({ connectionString: url });
  client.on("error", () => undefined); // a killed server ends the session
  await client.connect();
  try {
    return Object.values((await client.query<Record<string, unknown>>(text)).rows[0] ?? {})[0];
  } finally {
    await client.end();
  }
}

test("a server of our own answers on 127.0.0.1 with logical decoding on, and wants its password", async () => {
  await using server = await startTestPostgres();
  expect(server.made).toBe(true);
  expect(await ask(server.url, "SHOW wal_level")).toBe("logical");
  expect(await ask(server.url, "SHOW listen_addresses")).toBe("127.0.0.1");
  expect(Number(await ask(server.url, "SHOW server_version_num"))).toBeGreaterThanOrEqual(180_000);
  await expect(ask(`postgres://postgres:wrong@127.0.0.1:${server.port}/postgres`, "SELECT 1")).rejects.toMatchObject({ code: "28P01" });
});

test("what was committed is there after kill -9 and a restart, on the same port", async () => {
  await using server = await startTestPostgres();
  const { port, pid } = server;
  await ask(server.url, "CREATE TABLE kept AS SELECT 42 AS answer");
  await server.kill();
  expect(server.pid).toBeNull();
  await server.restart();
  expect(server.port).toBe(port);
  expect(server.pid).not.toBe(pid);
  expect(await ask(server.url, "SELECT answer FROM kept")).toBe(42);
});

test("a stopped cluster is started again from its folder, with the data and the password it had", async () => {
  const folder = await temporaryFolder("again");
  try {
    const first = await startPostgres({ dataDir: path.join(folder, "data"), settings: { fsync: "off" } });
    await ask(first.url, "CREATE TABLE kept AS SELECT 1 AS answer");
    const password = new URL(first.url).password;
    // The same folder asked for while it is in use: whoever runs it is named.
    await expect(startPostgres({ dataDir: path.join(folder, "data") })).rejects.toThrow(`already run by process ${process.pid}`);
    await first.stop();
    await using second = await startPostgres({ dataDir: path.join(folder, "data"), settings: { fsync: "off" } });
    expect(second.made).toBe(false);
    expect(new URL(second.url).password).toBe(password);
    expect(await ask(second.url, "SELECT answer FROM kept")).toBe(1);
    await second.stop();
    await rm(second.dataDir, { recursive: true });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});

test("a setting that the server refuses is named with the server's words", async () => {
  await expect(startTestPostgres(18, { shared_buffers: "lots" })).rejects.toThrow(/shared_buffers.*lots/s);
});

test("databases of the shared server are apart, and go away with the slots that were made in them", async () => {
  const server = await postgres();
  const slot = uniqueName("slot");
  {
    await using one = await server.createDatabase();
    await using two = await server.createDatabase();
    await one.sql("CREATE TABLE t (id int); INSERT INTO t VALUES (1)");
    expect(await one.sql("SELECT id FROM t")).toEqual([{ id: 1 }]);
    await expect(two.sql("SELECT id FROM t")).rejects.toMatchObject({ code: "42P01" });
    await one.sql("SELECT pg_create_logical_replication_slot($1, 'pgoutput')", [slot]);
  }
  expect(await ask(server.url, `SELECT count(*)::int FROM pg_replication_slots WHERE slot_name = '${slot}'`)).toBe(0);
});

describeWithPostgres15("PostgreSQL 15", () => {
  test("runs beside 18, from Debian's programs", async () => {
    await using database = await (await postgres15()).createDatabase();
    expect(await database.sql("SELECT current_setting('server_version_num')::int / 10000 AS major")).toEqual([{ major: 15 }]);
  });
});
