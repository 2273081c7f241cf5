// The quickstart on a database of the reader's: a copy that equals it, and nothing left behind, however it ends.
import { type ChildProcess, spawn } from "node:child_process";
import { readdir, readFile, rm } from "node:fs/promises";
import path from "node:path";
import { text } from "node:stream/consumers";
import { afterAll, beforeAll, expect, test } from "vitest";
import { build, MAIN } from "../support/command.ts";
import { query } from "../support/databases.ts";
import { eventually } from "../support/eventually.ts";
import { startTestPostgres } from "../support/postgres.ts";
import { postgres, uniqueName, type TestDatabase } from "../support/servers.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";

const PASSWORD = "s3cret-Pässwort";
const CLEAN = { dead_letters: 0, duplicates: 0, differences: 0 };

type Result = { readonly events: number; readonly merged: number };
type Ended = { readonly code: number | null; readonly out: string; readonly err: string };
type Run = { readonly child: ChildProcess; readonly ended: Promise<Ended>; readonly err: () => string };

let folder: string;
let database: TestDatabase;
let url: string;
const [owner, other] = [uniqueName("owner"), uniqueName("other")];

beforeAll(async () => {
  await build();
  folder = await temporaryFolder("quickstart-own");
  database = await (await postgres()).createDatabase();
  await database.sql(`CREATE ROLE ${owner} LOGIN REPLICATION PASSWORD '${PASSWORD}'; CREATE ROLE ${other};
    GRANT CREATE ON DATABASE ${database.name} TO ${owner}; GRANT CREATE ON SCHEMA public TO ${owner};
    SET ROLE ${owner};
    CREATE TABLE orders (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, note text, total numeric(12,2), twice numeric GENERATED ALWAYS AS (total * 2) STORED);
    CREATE TABLE "Größe $1" (a text, b date, big text, PRIMARY KEY (a, b));
    CREATE TABLE keyless (a int);
    RESET ROLE;
    CREATE TABLE foreign_one (id int PRIMARY KEY); ALTER TABLE foreign_one OWNER TO ${other};
    CREATE PUBLICATION theirs FOR TABLE orders;
    INSERT INTO orders (note, total) SELECT 'order ' || n, n / 3.0 FROM generate_series(1, 5000) n;
    INSERT INTO "Größe $1" SELECT 'ä' || n, date '2024-01-01' + n, repeat(md5(n::text), 200) FROM generate_series(1, 500) n`);
  await database.sql("SELECT pg_create_logical_replication_slot($1, 'pgoutput')", [uniqueName("theirs")]);
  const own = new URL(database.url);
  [own.username, own.password] = [owner, encodeURIComponent(PASSWORD)];
  url = own.href;
});
afterAll(async () => {
  await database[Symbol.asyncDispose]();
  await query((await postgres()).url, `DROP ROLE ${owner}, ${other}`);
  await rm(folder, { recursive: true, force: true });
});

/** The URL in the environment, which is where a reader puts it who minds. */
function start(...args: string[]): Run {
  return startOn(url, ...args);
}

function startOn(address: string, ...args: string[]): Run {
  const env = { ...process.env, QUICKSTART_URL: address };
  const child = spawn(process.execPath, [MAIN, "quickstart", ...args], { cwd: folder, env, stdio: ["ignore", "pipe", "pipe"] });
  let seen = "";
  child.stderr.on("data", (chunk: Buffer) => (seen += chunk.toString()));
  const [out, err] = [text(child.stdout), text(child.stderr)];
  const exit = new Promise<number | null>((resolve) => child.once("exit", resolve));
  return { child, ended: exit.then(async (code) => ({ code, out: await out, err: await err })), err: () => seen };
}

/** All that a stranger could find changed; of pg_class without what VACUUM and ANALYZE write. */
async function traces(): Promise<unknown> {
  const rows = async (from: string, less = ""): Promise<unknown> =>
    database.sql(`SELECT to_jsonb(t) ${less} AS row FROM ${from} t ORDER BY to_jsonb(t)::text COLLATE "C"`);
  const statistics = ["relpages", "reltuples", "relallvisible", "relallfrozen", "relfrozenxid", "relminmxid"];
  return {
    publications: await rows("pg_publication"),
    members: await rows("pg_publication_rel"),
    slots: await rows("pg_replication_slots"),
    roles: await rows("pg_roles"),
    relations: await rows("pg_class", statistics.map((column) => `- '${column}'`).join(" ")),
    attributes: await rows("pg_attribute"),
    origins: await rows("pg_replication_origin"),
    privileges: await rows("pg_database", "-> 'datacl'"),
  };
}

async function ours(): Promise<{ readonly publications: string[]; readonly slots: { slot: string; temporary: boolean }[] }> {
  const publications = await database.sql<{ name: string }>("SELECT pubname AS name FROM pg_publication WHERE pubname LIKE 'tailrace%'");
  const slots = await database.sql<{ slot: string; temporary: boolean }>(
    "SELECT slot_name AS slot, temporary FROM pg_replication_slots WHERE slot_name LIKE 'tailrace%' AND database = current_database()",
  );
  return { publications: publications.map(({ name }) => name), slots };
}

/** Until it streams and everything that was there is read. */
async function running({ err, child }: Run): Promise<void> {
  await eventually("the quickstart runs", () => err().includes("running: ") || child.exitCode !== null, 60_000);
  expect(child.exitCode, err()).toBeNull();
  const { publications, slots } = await ours();
  expect(publications).toEqual([expect.stringMatching(/^tailrace_quickstart_[0-9a-f]{12}$/)]);
  expect(slots).toEqual([{ slot: publications[0], temporary: true }]);
}

async function filesBelow(at: string): Promise<string[]> {
  return (await readdir(at, { withFileTypes: true, recursive: true }))
    .filter((entry) => entry.isFile())
    .map((entry) => path.join(entry.parentPath, entry.name));
}

test("the copy equals the database, and the database is as it was", async () => {
  const before = await traces();
  const run = start("--exit-after", "10s", "--json");
  await running(run);
  await database.sql(`UPDATE orders SET note = 'changed' WHERE id % 10 = 0; DELETE FROM orders WHERE id % 100 = 1;
    UPDATE "Größe $1" SET b = b + 1000 WHERE a < 'ä2'; INSERT INTO orders (note) VALUES (NULL)`);
  const { code, out, err } = await run.ended;
  expect(code, err).toBe(0);
  const result = JSON.parse(out) as Result;
  expect(result).toMatchObject(CLEAN);
  expect(result.events).toBeGreaterThan(5_500);
  expect(await traces()).toEqual(before);
  const name = /publication (tailrace_quickstart_\w+) of 2 tables, dropped at the end/.exec(err)?.[1];
  expect(err).toContain(`replication slot ${name}, a temporary one`);
  expect(err).toContain(`is as it was: publication ${name} is dropped, the slot is gone`);
  expect(err).toMatch(/not captured: public\.keyless: it has no primary key/);
  expect(err).toMatch(/not captured: public\.foreign_one: .*GRANT/);
});

test("a second start in the folder begins a new epoch and reads again: what went meanwhile is gone from the copy", async () => {
  await database.sql(`DELETE FROM orders WHERE id % 7 = 0; UPDATE orders SET total = total + 1 WHERE id % 3 = 0`);
  const before = await traces();
  const { code, out, err } = await start("--exit-after", "2s", "--json").ended;
  expect(code, err).toBe(0);
  expect(JSON.parse(out)).toMatchObject(CLEAN);
  expect(err).not.toMatch(/^(warn|error): /m);
  expect(await traces()).toEqual(before);
});

test("after Ctrl-C the database is as it was, and the password stands nowhere", async () => {
  const before = await traces();
  const run = start();
  await running(run);
  const started = performance.now();
  run.child.kill("SIGINT");
  const { code, out, err } = await run.ended;
  expect(performance.now() - started).toBeLessThan(10_000 + 5_000); // it ends by itself after ten, with another exit code
  expect({ code, out }, err).toEqual({ code: 0, out: "" });
  expect(await traces()).toEqual(before);
  const needles = [PASSWORD, encodeURIComponent(PASSWORD)];
  for (const needle of needles) {
    expect(err).not.toContain(needle);
    for (const file of await filesBelow(path.join(folder, ".tailrace"))) expect((await readFile(file)).includes(needle), file).toBe(false);
  }
});

test("killed, it is followed by its guardian: within seconds the database is as it was", async () => {
  const before = await traces();
  const run = start();
  await running(run);
  if (process.platform === "linux") {
    const commands = await Promise.all(
      (await readdir("/proc"))
        .filter((name) => /^\d+$/.test(name))
        .map(async (pid) => ({
          pid,
          line: await readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => ""),
          environment: await readFile(`/proc/${pid}/environ`, "utf8").catch(() => ""),
        })),
    );
    const guardian = commands.find(({ line }) => line.includes("guardian-process.js"));
    expect(guardian?.environment).not.toContain(encodeURIComponent(PASSWORD));
    expect(commands.filter(({ line }) => line.includes(encodeURIComponent(PASSWORD)))).toEqual([]);
  }
  run.child.kill("SIGKILL");
  await run.ended;
  await eventually(
    "nothing of it is left",
    async () => {
      const { publications, slots } = await ours();
      return publications.length === 0 && slots.length === 0;
    },
    30_000,
  );
  expect(await traces()).toEqual(before);
});

test("killed while it begins, it leaves nothing either", async () => {
  const before = await traces();
  // Right after it has said what it will make, and right after it has made the first of it.
  for (const waitMs of [0, 60_000]) {
    const run = start();
    await eventually("it begins", () => run.err().includes("this makes") || run.child.exitCode !== null, 60_000);
    const isMade = async (): Promise<boolean> => (await ours()).publications.length > 0;
    if (waitMs > 0) await eventually("something is made", isMade, waitMs);
    run.child.kill("SIGKILL");
    await run.ended;
    await eventually(
      "nothing of it is left",
      async () => {
        const { publications, slots } = await ours();
        return publications.length === 0 && slots.length === 0;
      },
      30_000,
    );
  }
  expect(await traces()).toEqual(before);
});

test("a database that is being written to is compared as well as that goes, and it is said", async () => {
  await database.sql("CREATE TABLE busy (id int PRIMARY KEY, n int); INSERT INTO busy VALUES (1, 0)");
  await database.sql(`ALTER TABLE busy OWNER TO ${owner}`);
  const stop = new AbortController();
  const writing = (async () => {
    while (!stop.signal.aborted) await database.sql("UPDATE busy SET n = n + 1");
  })();
  try {
    const run = start("--exit-after", "1s", "--tables", "public.bus*", "--dir", "busy");
    const { code, err } = await run.ended;
    expect(code, err).toBe(3);
    expect(err).toMatch(/somebody wrote to the database cluster meanwhile/);
    expect((await ours()).publications).toEqual([]);
  } finally {
    stop.abort();
    await writing;
    await database.sql("DROP TABLE busy");
  }
});

test("what keeps a database from being captured is named with its fix before anything is made", async () => {
  const before = await traces();
  const weak = uniqueName("weak");
  await database.sql(`CREATE ROLE ${weak} LOGIN PASSWORD '${PASSWORD}'`);
  try {
    const as = new URL(url);
    as.username = weak;
    const refused = await startOn(as.href, "--dir", "weak", "--tables", "public.orders").ended;
    expect(refused.code).toBe(1);
    expect(refused.err).toContain("lacks the REPLICATION attribute");
    expect(refused.err).toContain(`GRANT CREATE ON DATABASE "${database.name}" TO "${weak}"`);
    expect(refused.err).not.toContain(PASSWORD);
  } finally {
    await database.sql(`DROP ROLE ${weak}`);
  }
  expect(await traces()).toEqual(before);

  const nobody = await startOn("postgres://ada:s3cret@127.0.0.1:1/mine", "--dir", "nobody").ended;
  expect(nobody.code).toBe(1);
  expect(nobody.err).toMatch(/PostgreSQL at 127\.0\.0\.1:1\/mine does not answer/);
  expect(nobody.err).not.toContain("s3cret");

  await using physical = await startTestPostgres(18, { wal_level: "replica" });
  const low = await startOn(physical.url, "--dir", "low").ended;
  expect(low.code).toBe(1);
  expect(low.err).toContain("wal_level is replica");
  expect(low.err).toContain("ALTER SYSTEM SET wal_level = logical");
});
