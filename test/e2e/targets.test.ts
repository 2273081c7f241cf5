// What a target looks like after each kind of change, in a DuckDB file and in a PostgreSQL database alike: the same events
// go to both, and the same questions are asked of both.
import { DuckDBInstance } from "@duckdb/node-api";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { postgres, uniqueName, type TestDatabase } from "../support/servers.ts";
import { Scene, sinkDocument, sourceDocument, until } from "./scene.ts";

/** Stays out of line, so that an UPDATE of another column does not send it. */
const LARGE = "repeat('large', 2000)";

let database: TestDatabase;
let warehouse: TestDatabase;
let scene: Scene;

/** The same rows in both warehouses, sooner or later. */
async function bothHave(sql: string, rows: readonly Record<string, unknown>[]): Promise<void> {
  await until(async () => {
    expect(await warehouse.sql(sql), "PostgreSQL").toEqual(rows);
    expect(await scene.duckdb(sql), "DuckDB").toEqual(rows);
  });
}

/** Codes and states of a table's dead letters, in the order of their events. */
async function bothHaveLetters(table: string, letters: readonly (readonly [code: string, state: string])[]): Promise<void> {
  await bothHave(
    `SELECT code, state FROM _tailrace.dead_letters WHERE topic LIKE '%.${table}' ORDER BY sequence`,
    letters.map(([code, state]) => ({ code, state })),
  );
}

const tables = [
  { table: "public.kept", into: "copy.kept", deletes: "soft" },
  { table: "public.*", into: "copy.{table}", deletes: "hard" },
];

beforeAll(async () => {
  database = await (await postgres()).createDatabase("targets");
  warehouse = await (await postgres()).createDatabase("warehouse");
  scene = await Scene.open();
  await database.sql(`
    CREATE TABLE gone (id int PRIMARY KEY, note text);
    CREATE TABLE kept (id int PRIMARY KEY, note text);
    CREATE TABLE docs (id int PRIMARY KEY, title text, body text);
    ALTER TABLE docs ALTER COLUMN body SET STORAGE EXTERNAL;
    CREATE TABLE sheets (book int, title text, page text, body text, PRIMARY KEY (page, book));
    ALTER TABLE sheets ALTER COLUMN body SET STORAGE EXTERNAL;
    CREATE TABLE picky (id int PRIMARY KEY, amount int);
    CREATE TABLE grows (id int PRIMARY KEY, note text);
    CREATE TABLE moves (id int PRIMARY KEY, a int, b text);
    CREATE TABLE members (team int, nr int, note text, PRIMARY KEY (nr, team));
    INSERT INTO docs VALUES (100, 'there before the slot', ${LARGE})`);
  // A target that its user made first, with a constraint and a column of their own.
  const made =
    "CREATE SCHEMA copy; CREATE TABLE copy.picky (id int PRIMARY KEY, amount int CHECK (amount < 100), remark text DEFAULT 'theirs')";
  await warehouse.sql(made);
  await inDuckdb(path.join(scene.folder, "lake.duckdb"), made.replaceAll(" text", " varchar"));
  const name = uniqueName("targets");
  await scene.configure(
    sourceDocument({
      name: "shop",
      url: database.url,
      tables: ["public.*"],
      postgres: { slot: name, publication: name },
      topics: { prefix: name },
    }),
    sinkDocument({ name: "lake", source: "shop", tables }),
    sinkDocument({ name: "mart", source: "shop", tables, warehouse: { postgres: { url: warehouse.url } } }),
  );
  await scene.start();
  await scene.reaches({ shop: "running", lake: "running", mart: "running" });
});

afterAll(async () => {
  await scene[Symbol.asyncDispose]();
  await warehouse[Symbol.asyncDispose]();
  await database[Symbol.asyncDispose]();
});

describe("rows that go", () => {
  test("a hard delete leaves no row, a soft one marks the row and keeps its values; both come again", async () => {
    const [gone, kept] = ["SELECT id, note FROM copy.gone ORDER BY id", "SELECT id, note, _tailrace_deleted FROM copy.kept ORDER BY id"];
    for (const table of ["gone", "kept"]) await database.sql(`INSERT INTO ${table} VALUES (1, 'one'), (2, 'two')`);
    await bothHave(gone, [
      { id: 1, note: "one" },
      { id: 2, note: "two" },
    ]);
    for (const table of ["gone", "kept"]) await database.sql(`DELETE FROM ${table} WHERE id = 1`);
    await bothHave(gone, [{ id: 2, note: "two" }]);
    await bothHave(kept, [
      { id: 1, note: "one", _tailrace_deleted: true },
      { id: 2, note: "two", _tailrace_deleted: false },
    ]);
    for (const table of ["gone", "kept"]) await database.sql(`INSERT INTO ${table} VALUES (1, 'again')`);
    await bothHave(gone, [
      { id: 1, note: "again" },
      { id: 2, note: "two" },
    ]);
    await bothHave(kept, [
      { id: 1, note: "again", _tailrace_deleted: false },
      { id: 2, note: "two", _tailrace_deleted: false },
    ]);
  });

  test("a TRUNCATE takes what was there and spares what comes after it, in one transaction too", async () => {
    await database.sql(
      "BEGIN; INSERT INTO gone VALUES (7, 'x'); TRUNCATE gone, kept; INSERT INTO gone VALUES (8, 'after'); INSERT INTO kept VALUES (8, 'after'); COMMIT",
    );
    await bothHave("SELECT id, note FROM copy.gone ORDER BY id", [{ id: 8, note: "after" }]);
    await bothHave("SELECT id, note, _tailrace_deleted FROM copy.kept ORDER BY id", [
      { id: 1, note: "again", _tailrace_deleted: true },
      { id: 2, note: "two", _tailrace_deleted: true },
      { id: 8, note: "after", _tailrace_deleted: false },
    ]);
  });
});

test("a row whose key changes moves, also to a key that another row leaves in the same statement", async () => {
  await database.sql("INSERT INTO members VALUES (1, 1, 'a'), (1, 2, 'b'), (2, 1, 'c')");
  await database.sql("UPDATE members SET nr = nr + 10 WHERE team = 1");
  await database.sql("UPDATE members SET team = 3 WHERE team = 2");
  await bothHave("SELECT team, nr, note FROM copy.members ORDER BY note", [
    { team: 1, nr: 11, note: "a" },
    { team: 1, nr: 12, note: "b" },
    { team: 3, nr: 1, note: "c" },
  ]);
});

describe("unchanged TOAST columns", () => {
  const rows = "SELECT id, title, length(body) AS bytes FROM copy.docs ORDER BY id";
  // PostgreSQL's length is an int, DuckDB's a bigint.
  const both = (sql: string): string => sql.replace("length(body)", "CAST(length(body) AS int)");

  test("the target's value is kept", async () => {
    await database.sql(`INSERT INTO docs VALUES (1, 'draft', ${LARGE})`);
    await bothHave(both(rows), [{ id: 1, title: "draft", bytes: 10_000 }]);
    await database.sql("UPDATE docs SET title = 'final' WHERE id = 1");
    await bothHave(both(rows), [{ id: 1, title: "final", bytes: 10_000 }]);
  });

  test("of a composite key, in the transaction of the insert and in later ones; of a row made again under its key they are its own", async () => {
    const sheets =
      "SELECT book, page, title, left(body, 1) AS body, CAST(length(body) AS int) AS bytes FROM copy.sheets ORDER BY book, page";
    const body = (letter: string): string => `repeat('${letter}', 10000)`;
    await database.sql(`BEGIN; INSERT INTO sheets VALUES (1, 'new', 'a', ${body("p")}), (1, 'new', 'b', ${body("q")}), (2, 'new', 'a', ${body("r")});
      UPDATE sheets SET title = 'same transaction' WHERE book = 1; COMMIT`);
    await bothHave(sheets, [
      { book: 1, page: "a", title: "same transaction", body: "p", bytes: 10_000 },
      { book: 1, page: "b", title: "same transaction", body: "q", bytes: 10_000 },
      { book: 2, page: "a", title: "new", body: "r", bytes: 10_000 },
    ]);
    await database.sql("UPDATE sheets SET title = 'later'");
    await bothHave(sheets, [
      { book: 1, page: "a", title: "later", body: "p", bytes: 10_000 },
      { book: 1, page: "b", title: "later", body: "q", bytes: 10_000 },
      { book: 2, page: "a", title: "later", body: "r", bytes: 10_000 },
    ]);
    await database.sql(`BEGIN; DELETE FROM sheets WHERE page = 'a'; INSERT INTO sheets VALUES (1, 'again', 'a', NULL), (2, 'again', 'a', ${body("s")});
      UPDATE sheets SET title = 'once more'; COMMIT`);
    await database.sql("UPDATE sheets SET title = 'last' WHERE book = 1");
    await bothHave(sheets, [
      { book: 1, page: "a", title: "last", body: null, bytes: null },
      { book: 1, page: "b", title: "last", body: "q", bytes: 10_000 },
      { book: 2, page: "a", title: "once more", body: "s", bytes: 10_000 },
    ]);
    await bothHaveLetters("sheets", []);
  });

  test("R-dead: a key change that leaves them unsent is a dead letter, its later updates join it, and a complete update supersedes them", async () => {
    await database.sql("UPDATE docs SET id = 2 WHERE id = 1");
    await bothHaveLetters("docs", [["KEY_CHANGE_UNSENT", "open"]]);
    await bothHave(both(rows), []);
    await database.sql("UPDATE docs SET title = 'moved' WHERE id = 2");
    await bothHaveLetters("docs", [
      ["KEY_CHANGE_UNSENT", "open"],
      ["UNCHANGED_WITHOUT_ROW", "open"],
    ]);
    await database.sql("UPDATE docs SET body = body || '' WHERE id = 2");
    await bothHave(both(rows), [{ id: 2, title: "moved", bytes: 10_000 }]);
    await bothHaveLetters("docs", [
      ["KEY_CHANGE_UNSENT", "superseded"],
      ["UNCHANGED_WITHOUT_ROW", "superseded"],
    ]);
  });

  test("R-dead: an update that leaves them unsent, of a row that the target never had, is a dead letter until a complete one comes", async () => {
    await database.sql("UPDATE docs SET title = 'unseen' WHERE id = 100");
    await bothHave("SELECT code, state FROM _tailrace.dead_letters WHERE topic LIKE '%.docs' AND state = 'open'", [
      { code: "UNCHANGED_WITHOUT_ROW", state: "open" },
    ]);
    await until(async () => {
      expect((await scene.sink("mart")).openDeadLetters).toBe(1);
    });
    await database.sql("UPDATE docs SET title = 'seen', body = body || '' WHERE id = 100");
    await bothHave(both(rows), [
      { id: 2, title: "moved", bytes: 10_000 },
      { id: 100, title: "seen", bytes: 10_000 },
    ]);
    await bothHave("SELECT code, state FROM _tailrace.dead_letters WHERE topic LIKE '%.docs' AND state = 'open'", []);
    await until(async () => {
      expect((await scene.sink("mart")).openDeadLetters).toBe(0);
    });
  });
});

test("R-dead: a row that a constraint of the target refuses is a dead letter, and the rows beside it arrive", async () => {
  await database.sql("INSERT INTO picky SELECT id, CASE id WHEN 50 THEN 1000 ELSE id % 10 END FROM generate_series(1, 99) id");
  await bothHave("SELECT CAST(count(*) AS int) AS count, CAST(sum(amount) AS int) AS sum, min(remark) AS remark FROM copy.picky", [
    { count: 98, sum: 450, remark: "theirs" },
  ]);
  await bothHaveLetters("picky", [["ROW_REFUSED", "open"]]);
  const [letter] = await warehouse.sql<{ message: string }>("SELECT message FROM _tailrace.dead_letters WHERE code = 'ROW_REFUSED'");
  expect(letter?.message).toContain("copy.picky");
  await until(async () => {
    expect((await scene.metricByLabels("tailrace_dead_letters_total")).get('{connector="mart",code="ROW_REFUSED"}')).toBe(1);
  });
  await database.sql("UPDATE picky SET amount = 5 WHERE id = 50");
  await bothHave("SELECT amount, remark FROM copy.picky WHERE id = 50", [{ amount: 5, remark: "theirs" }]);
  await bothHaveLetters("picky", [["ROW_REFUSED", "superseded"]]);
});

test("a column that is added at the source is added to the targets, whose rows of before keep null there", async () => {
  await database.sql("INSERT INTO grows VALUES (1, 'before')");
  await bothHave("SELECT id, note FROM copy.grows", [{ id: 1, note: "before" }]);
  await database.sql("ALTER TABLE grows ADD COLUMN extra int; INSERT INTO grows VALUES (2, 'after', 5)");
  await database.sql(
    "BEGIN; INSERT INTO grows VALUES (3, 'same', 6); ALTER TABLE grows ADD COLUMN more text; INSERT INTO grows VALUES (4, 'same', 7, 'more'); COMMIT",
  );
  await bothHave("SELECT id, note, extra, more FROM copy.grows ORDER BY id", [
    { id: 1, note: "before", extra: null, more: null },
    { id: 2, note: "after", extra: 5, more: null },
    { id: 3, note: "same", extra: 6, more: null },
    { id: 4, note: "same", extra: 7, more: "more" },
  ]);
  expect((await scene.source("shop")).state).toBe("running");
});

test("every flush is a row of the runs table, and what they merged adds up", async () => {
  const { publishedEvents } = await scene.source("shop");
  const sums =
    "SELECT CAST(sum(events) AS int) AS events, CAST(sum(dead_letters) AS int) AS letters, bool_and(finished_at >= started_at) AS timed, bool_and(first_sequence <= last_sequence) AS ordered FROM _tailrace.runs";
  await bothHave(sums, [{ events: publishedEvents, letters: 4, timed: true, ordered: true }]);
});

test("rows of before and after several ALTER TABLEs arrive, though the service was away and the catalog shows the outcome only", async () => {
  expect(await scene.stop()).toMatchObject({ code: 0 });
  await database.sql("INSERT INTO moves VALUES (1, 1, 'first')");
  await database.sql("ALTER TABLE moves ADD COLUMN c varchar(5); INSERT INTO moves VALUES (2, 2, 'with c', 'short')");
  await database.sql("ALTER TABLE moves ALTER COLUMN c TYPE varchar(20); INSERT INTO moves VALUES (3, 3, 'wide c', 'not so short')");
  await database.sql("ALTER TABLE moves DROP COLUMN a; INSERT INTO moves VALUES (4, 'without a', 'c')");
  await scene.start();
  await bothHave("SELECT id, a, b, c FROM copy.moves ORDER BY id", [
    { id: 1, a: 1, b: "first", c: null },
    { id: 2, a: 2, b: "with c", c: "short" },
    { id: 3, a: 3, b: "wide c", c: "not so short" },
    { id: 4, a: null, b: "without a", c: "c" },
  ]);
  await scene.reaches({ shop: "running", lake: "running", mart: "running" });
});

test("a target whose column has another type stops its sink with the SQL that mends it, and no other", async () => {
  await using stiff = await Scene.open();
  await using own = await (await postgres()).createDatabase("warehouse");
  await own.sql("CREATE SCHEMA copy; CREATE TABLE copy.gone (id int NOT NULL, note int)");
  const name = uniqueName("targets");
  await database.sql("CREATE SCHEMA other; CREATE TABLE other.gone (id int PRIMARY KEY, note text)");
  const into = [{ table: "other.gone", into: "copy.gone" }];
  await stiff.configure(
    sourceDocument({
      name: "shop",
      url: database.url,
      tables: ["other.gone"],
      postgres: { slot: name, publication: name },
      topics: { prefix: name },
    }),
    sinkDocument({ name: "lake", source: "shop", tables: into }),
    sinkDocument({ name: "mart", source: "shop", tables: into, warehouse: { postgres: { url: own.url } } }),
  );
  await stiff.start();
  await stiff.reaches({ shop: "running", lake: "running", mart: "running" });
  await database.sql("INSERT INTO other.gone VALUES (1, 'text')");
  await stiff.reaches({ shop: "running", lake: "running", mart: "stopped TARGET_DIFFERS" });
  const { message, remedy } = await stiff.errorOf("mart");
  expect(message).toContain("note is integer, needed is text");
  const sql = /run: (.*); or name another table/.exec(remedy)?.[1] ?? "";
  expect(await stiff.stop()).toMatchObject({ code: 0 });
  await own.sql(sql);
  await stiff.start();
  await until(async () => {
    expect(await own.sql("SELECT id, note FROM copy.gone")).toEqual([{ id: 1, note: "text" }]);
    expect(await stiff.duckdb("SELECT id, note FROM copy.gone")).toEqual([{ id: 1, note: "text" }]);
  });
});

async function inDuckdb(file: string, sql: string): Promise<void> {
  const instance = await DuckDBInstance.create(file);
  const connection = await instance.connect();
  await connection.run(sql);
  connection.closeSync();
  instance.closeSync();
}
