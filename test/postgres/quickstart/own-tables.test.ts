// What the quickstart sees in a database of the reader's before it makes anything there, and how it takes away what it made.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import pg from "pg";
import { expect, onTestFinished, test } from "vitest";
import type { TailraceError } from "../../../src/core/errors.ts";
import { tableLabel } from "../../../src/core/table.ts";
import { makeTemporarySlot } from "../../../src/postgres/slot.ts";
import { writeOwnConfig } from "../../../src/quickstart/config.ts";
import { isOurName, newName, removeMade } from "../../../src/quickstart/made.ts";
import { lookAt, type SeenOwn } from "../../../src/quickstart/own-tables.ts";
import { query } from "../../support/databases.ts";
import { postgres, uniqueName, type TestDatabase } from "../../support/servers.ts";

const { signal } = new AbortController();

type Scene = AsyncDisposable & { readonly database: TestDatabase; readonly url: string; readonly user: string; readonly other: string };

/** A database, and the URL of a user without any rights in it. */
async function open(): Promise<Scene> {
  const database = await (await postgres()).createDatabase();
  const [user, other] = [uniqueName("reader"), uniqueName("other")];
  await database.sql(`CREATE ROLE ${user} LOGIN PASSWORD 'secret'; CREATE ROLE ${other}`);
  const url = new URL(database.url);
  [url.username, url.password] = [user, "secret"];
  return {
    database,
    url: url.href,
    user,
    other,
    [Symbol.asyncDispose]: async () => {
      await database[Symbol.asyncDispose]();
      await query((await postgres()).url, `DROP ROLE ${user}, ${other}`);
    },
  };
}

async function look(url: string, ...patterns: string[]): Promise<SeenOwn & { readonly problems: readonly TailraceError[] }> {
  const dir = await mkdtemp(path.join(tmpdir(), "tailrace-own-"));
  onTestFinished(() => rm(dir, { recursive: true }));
  const config = await writeOwnConfig(dir, { url, tables: patterns, name: newName(), httpPort: 0 });
  const problems: TailraceError[] = [];
  return { ...(await lookAt(config.sources[0]!, (error) => problems.push(error), signal)), problems };
}

test("of the tables that a pattern takes, those that can't be merged, read or published are skipped with their reason", async () => {
  await using scene = await open();
  const { database, url, user, other } = scene;
  await database.sql(`ALTER ROLE ${user} REPLICATION; GRANT CREATE ON DATABASE ${database.name} TO ${user};
    CREATE TABLE fine (id int PRIMARY KEY); CREATE TABLE "a.b $x" (id int PRIMARY KEY); CREATE TABLE whole (id int); ALTER TABLE whole REPLICA IDENTITY FULL;
    CREATE TABLE bare (id int); CREATE TABLE theirs (id int PRIMARY KEY); CREATE TABLE closed (id int PRIMARY KEY);
    ALTER TABLE fine OWNER TO ${user}; ALTER TABLE "a.b $x" OWNER TO ${user}; ALTER TABLE theirs OWNER TO ${other}; ALTER TABLE closed OWNER TO ${other};
    GRANT SELECT ON theirs, whole, bare TO ${user}`);
  const { tables, skipped, problems } = await look(url, "public.*");
  expect(tables.map(tableLabel)).toEqual(["public.a.b $x", "public.fine"]);
  expect(problems).toEqual([]);
  expect(Object.fromEntries(skipped.map(({ table, reason }) => [table.name, reason]))).toEqual({
    bare: "it has no primary key",
    whole: "it has no primary key that rows could be merged by",
    closed: `the user may not read it (GRANT USAGE ON SCHEMA public TO ${user}; GRANT SELECT ON TABLE public.closed TO ${user})`,
    theirs: `only its owner may publish it (GRANT ${other} TO ${user})`,
  });
  expect((await look(url, 'public."a.b $x"')).tables.map(tableLabel)).toEqual(["public.a.b $x"]);
});

test("a table that is named must do, and everything that is wrong is told at once", async () => {
  await using scene = await open();
  const { database, url, user, other } = scene;
  await database.sql(`CREATE TABLE theirs (id int PRIMARY KEY); ALTER TABLE theirs OWNER TO ${other}; GRANT SELECT ON theirs TO ${user}`);
  const problems: TailraceError[] = [];
  const dir = await mkdtemp(path.join(tmpdir(), "tailrace-own-"));
  onTestFinished(() => rm(dir, { recursive: true }));
  const config = await writeOwnConfig(dir, { url, tables: ["public.theirs", "public.absent"], name: newName(), httpPort: 0 });
  const last = await lookAt(config.sources[0]!, (error) => problems.push(error), signal).catch((error: unknown) => error as TailraceError);
  expect([...problems, last].map((error) => `${(error as TailraceError).code}: ${(error as TailraceError).message}`)).toEqual([
    "TABLE_MISSING: table public.absent does not exist",
    `PRIVILEGE_MISSING: user ${user} lacks the REPLICATION attribute`,
    `PRIVILEGE_MISSING: user ${user} lacks CREATE on database ${database.name}`,
    `PRIVILEGE_MISSING: user ${user} lacks ownership of table public.theirs`,
  ]);
});

test("where no table is left, each is named with its reason; where none matches, that is said", async () => {
  await using scene = await open();
  const { database } = scene;
  await expect(look(database.url, "public.*")).rejects.toMatchObject({ message: expect.stringContaining("no table that the patterns") });
  await database.sql("CREATE TABLE bare (id int)");
  await expect(look(database.url, "public.*")).rejects.toMatchObject({
    code: "QUICKSTART_FAILED",
    message: expect.stringContaining("can be captured: public.bare: it has no primary key"),
  });
});

test("what was made goes, also when a connection still holds the slot, and nobody else's", async () => {
  await using scene = await open();
  const { database } = scene;
  const name = newName();
  expect(isOurName(name)).toBe(true);
  expect(await removeMade({ url: database.url, name }, signal)).toBe(true);
  await database.sql(`CREATE PUBLICATION ${name}`);
  await database.sql("CREATE PUBLICATION theirs");
  const walsender = new pg.Client({ connectionString: database.url, replication: "database" } as pg.ClientConfig);
  walsender.on("error", () => undefined);
  await walsender.connect();
  await makeTemporarySlot(walsender, name);
  expect(await removeMade({ url: database.url, name }, signal)).toBe(false);
  await expect.poll(async () => removeMade({ url: database.url, name }, signal), { timeout: 60_000 }).toBe(true);
  expect(await database.sql("SELECT pubname FROM pg_publication")).toEqual([{ pubname: "theirs" }]);
  expect(await database.sql("SELECT FROM pg_replication_slots WHERE slot_name = $1", [name])).toEqual([]);
});

test.each(["theirs", "tailrace_shop", "tailrace_quickstart_0; DROP", 7, undefined])("%s is no name of ours to drop", (name) => {
  expect(isOurName(name)).toBe(false);
});
