// R-chunk on real servers: each interleaving that loses rows is first shown with the naive use.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Session } from "../../src/postgres/session.ts";
import { describeWithPostgres15, postgres, postgres15, uniqueName, type SharedPostgres, type TestDatabase } from "../support/servers.ts";
import { eventually } from "../support/eventually.ts";
import { collect, commits, connectionOf, openClient, type Collector } from "./collect.ts";
import { EVERYTHING, errorOf, newMark, openReader, read, readRows, see, values } from "./snapshot-scene.ts";

for (const [name, suite, server, version] of [
  ["PostgreSQL 18", describe, postgres, 18],
  ["PostgreSQL 15", describeWithPostgres15, postgres15, 15],
] as [string, typeof describe, () => Promise<SharedPostgres>, number][])
  suite(name, () => {
    let database: TestDatabase;
    let session: Session;
    beforeAll(async () => {
      database = await (await server()).createDatabase("chunk");
      session = await openReader(database.url);
    });
    afterAll(async () => {
      await session[Symbol.asyncDispose]();
      await database[Symbol.asyncDispose]();
    });

    /** A table of its own, `id` 1 to `rows` and a note. */
    async function makeTable(rows: number): Promise<string> {
      const name = `public.${uniqueName("item")}`;
      await database.sql(`CREATE TABLE ${name} (id int PRIMARY KEY, note text)`);
      await database.sql(`INSERT INTO ${name} SELECT g, 'note ' || g FROM generate_series(1, ${rows}) g`);
      return name;
    }
    const openTransactions = async (): Promise<number> =>
      Number(
        (
          await database.sql(
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'tailrace test snapshot' AND state <> 'idle' AND datname = current_database()",
          )
        )[0]?.count,
      );

    async function isWaitingForLock(name: string): Promise<boolean> {
      const waiting = await database.sql("SELECT FROM pg_locks WHERE relation = $1::regclass AND NOT granted", [name]);
      return waiting.length > 0;
    }

    describe("R-chunk: the lock comes before the snapshot", () => {
      // New rows everywhere, in the same shape.
      const rewrite = (name: string): string => `ALTER TABLE ${name} ALTER id TYPE int USING id + 0`;

      test("with the snapshot first, a rewrite that commits in between leaves no row to be read", async () => {
        const name = await makeTable(100);
        await using naive = await openClient(database.url);
        await naive.query("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT pg_current_snapshot()");
        await database.sql(rewrite(name));
        await naive.query(`LOCK TABLE ${name} IN ACCESS SHARE MODE`);
        expect((await naive.query(`SELECT * FROM ${name}`)).rowCount).toBe(0);
      });

      test("a chunk waits for the rewrite and reads every row", async () => {
        const name = await makeTable(100);
        const table = await see(session, name);
        await using writer = await openClient(database.url);
        await writer.query(`BEGIN; ${rewrite(name)}`);
        const reading = readRows(session, table);
        await eventually("the chunk waits", () => isWaitingForLock(name));
        await writer.query("COMMIT");
        expect(await reading).toHaveLength(100);
      });

      test("a lock that stays is TABLE_LOCKED, with who holds it, and nothing is left behind", async () => {
        const name = await makeTable(1);
        const table = await see(session, name);
        await using writer = await openClient(database.url);
        await writer.query(`SET application_name = 'night shift'; BEGIN; LOCK TABLE ${name}`);
        await using impatient = await openReader(database.url, { lockMs: 100 });
        const error = await errorOf(read(impatient, table));
        expect(error).toMatchObject({ code: "TABLE_LOCKED", retry: "auto", message: expect.stringContaining("night shift") });
        await writer.query("ROLLBACK");
        expect(await readRows(impatient, table)).toEqual([["1", "note 1"]]);
        const gid = uniqueName("half way");
        await database.sql(`BEGIN; LOCK TABLE ${name}; PREPARE TRANSACTION '${gid}'`);
        expect((await errorOf(read(impatient, table))).message).toContain(gid);
        await database.sql(`ROLLBACK PREPARED '${gid}'`);
      });
    });

    describe("the mark", () => {
      async function streaming(table: string): Promise<Collector> {
        const [slot, publication] = [uniqueName("mark"), uniqueName("mark")];
        await database.sql(`CREATE PUBLICATION ${publication} FOR TABLE ${table}`);
        await database.sql(`SELECT pg_create_logical_replication_slot('${slot}', 'pgoutput')`);
        return collect({ connection: connectionOf(database.url), slot, publication });
      }

      test("R-chunk: it is a transaction of its own in the stream, behind every commit that the chunk's snapshot saw", async () => {
        const name = await makeTable(3);
        await using stream = await streaming(name);
        const table = await see(session, name);
        await database.sql(`INSERT INTO ${name} VALUES (4, 'seen')`);
        const mark = newMark();
        expect(await readRows(session, table, EVERYTHING, { mark })).toHaveLength(4);
        await stream.until(({ seen }) => seen.some((each) => each.tag === "message") && seen.at(-1)?.tag === "commit");
        expect(stream.seen.filter((each) => each.tag !== "other").map((each) => each.tag)).toEqual([
          "begin",
          "row",
          "commit",
          "begin",
          "message",
          "commit",
        ]);
        const message = stream.seen.find((each) => each.tag === "message");
        expect(message).toMatchObject({ transactional: true, mark });
      });

      test("one that is not transactional has no transaction and can bear the LSN of another's commit", async () => {
        const name = await makeTable(0);
        await using stream = await streaming(name);
        await using writer = await openClient(database.url);
        // Others use this server too, and any record of theirs may come between: try until the two are neighbours.
        const meets = async (id: number): Promise<boolean> => {
          await writer.query("BEGIN; SET LOCAL synchronous_commit = off");
          await writer.query(`INSERT INTO ${name} VALUES (${id}, 'unrelated')`);
          const emitting = database.sql("SELECT pg_logical_emit_message(false, 'naive', '')");
          await Promise.all([emitting, emitting.then(() => writer.query("COMMIT"))]);
          await stream.until(({ seen }) => commits(seen).length === id);
          const [message, begin] = stream.seen.filter((each) => each.tag === "message" || each.tag === "begin").slice(-2);
          expect(message).toMatchObject({ tag: "message", transactional: false });
          return message?.tag === "message" && begin?.tag === "begin" && message.lsn === begin.finalLsn;
        };
        let met = false;
        for (let id = 1, until = performance.now() + 90_000; !met && performance.now() < until; id++) met = await meets(id);
        expect(met).toBe(true);
      });

      test("what throws before the mark leaves no mark", async () => {
        const name = await makeTable(1);
        await using stream = await streaming(name);
        const table = await see(session, name);
        const refused = read(session, table, EVERYTHING, {
          seen: () => {
            throw new Error("not now");
          },
        });
        await expect(refused).rejects.toThrow("not now");
        expect(await openTransactions()).toBe(0);
        await database.sql(`INSERT INTO ${name} VALUES (2, 'last')`);
        await stream.until(({ seen }) => seen.some((each) => each.tag === "row"));
        expect(stream.seen.some((each) => each.tag === "message")).toBe(false);
      });
    });

    describe("what is read", () => {
      test("a partitioned table comes through its root, in the root's order of columns; COPY of the root itself is refused", async () => {
        const name = uniqueName("part");
        await database.sql(`CREATE TABLE ${name} (id int, day int, note text, PRIMARY KEY (id, day)) PARTITION BY RANGE (day);
          CREATE TABLE ${name}_1 PARTITION OF ${name} FOR VALUES FROM (0) TO (10);
          CREATE TABLE ${name}_2 (gone int, note text, day int NOT NULL, id int NOT NULL); ALTER TABLE ${name}_2 DROP COLUMN gone;
          ALTER TABLE ${name} ATTACH PARTITION ${name}_2 FOR VALUES FROM (10) TO (20)`);
        await database.sql(`INSERT INTO ${name} VALUES (1, 5, 'a'), (2, 15, 'b')`);
        await expect(database.sql(`COPY ${name} TO STDOUT (FORMAT binary)`)).rejects.toThrow("partitioned table");
        const table = await see(session, `public.${name}`);
        expect([...(await readRows(session, table))].sort()).toEqual([
          ["1", "5", "a"],
          ["2", "15", "b"],
        ]);
        expect(table.storage).toHaveLength(2);
      });

      test.runIf(version >= 15)("the publication's row filter and column list are kept to", async () => {
        const name = await makeTable(10);
        const publication = uniqueName("filtered");
        await database.sql(`CREATE PUBLICATION ${publication} FOR TABLE ${name} (id) WHERE (id > 7)`);
        const table = await see(session, name, publication);
        expect(await readRows(session, table, EVERYTHING, { publication })).toEqual([["8"], ["9"], ["10"]]);
        expect(await readRows(session, table, EVERYTHING, { publication, where: "id <> 9 -- not this one" })).toEqual([["8"], ["10"]]);
        await database.sql(`ALTER PUBLICATION ${publication} SET TABLE ${name} (id) WHERE (id > 8)`);
        expect(await read(session, table, EVERYTHING, { publication })).toMatchObject({ kind: "changed", table: { filter: "(id > 8)" } });
      });

      test.runIf(version >= 18)("generated columns come when the publication sends them", async () => {
        const name = uniqueName("generated");
        await database.sql(`CREATE TABLE ${name} (id int PRIMARY KEY, twice int GENERATED ALWAYS AS (id * 2) STORED);
          INSERT INTO ${name} VALUES (1);
          CREATE PUBLICATION ${name}_with FOR TABLE ${name} WITH (publish_generated_columns = stored);
          CREATE PUBLICATION ${name}_without FOR TABLE ${name}`);
        for (const [publication, row] of [
          [`${name}_with`, ["1", "2"]],
          [`${name}_without`, ["1"]],
        ] as const) {
          const table = await see(session, `public.${name}`, publication);
          expect(await readRows(session, table, EVERYTHING, { publication })).toEqual([row]);
        }
      });

      test("names with quotes, capitals and letters of any alphabet", async () => {
        const table = `"Größe"."Kunde ""A"", 'b'\\c"`;
        await database.sql(`CREATE SCHEMA "Größe"; CREATE TABLE ${table} ("Schlüssel %s" text PRIMARY KEY, "b""\\c'" tsquery);
          INSERT INTO ${table} VALUES (E'it''s \\\\ "key"', 'a & b')`);
        const seen = await see(session, table);
        const key = [`it's \\ "key"`];
        expect(await readRows(session, seen)).toEqual([[...key, "'a' & 'b'"]]);
        expect(await readRows(session, seen, { kind: "keys", keys: [key] })).toHaveLength(1);
        expect(await readRows(session, seen, { kind: "range", range: { after: key, upTo: null } })).toEqual([]);
      });

      test("a composite of NULLs is one, whatever IS NOT NULL says, and other types come by their output functions", async () => {
        const name = uniqueName("forms");
        await database.sql(`CREATE TYPE ${name}_pair AS (a int, b int);
          CREATE TYPE ${name}_span AS RANGE (subtype = int4);
          CREATE TABLE ${name} (id int PRIMARY KEY, address inet, pair ${name}_pair, span ${name}_span);
          INSERT INTO ${name} VALUES (1, '10.0.0.1', '(,)', '[1,3)'), (2, NULL, NULL, NULL)`);
        expect(await database.sql(`SELECT (pair IS NOT NULL)::text FROM ${name} WHERE id = 1`)).toEqual([{ text: "false" }]);
        expect(await readRows(session, await see(session, `public.${name}`))).toEqual([
          ["1", "022000040a000001", "0000000200000017ffffffff00000017ffffffff", "[1,3)"],
          ["2", null, null, null],
        ]);
      });

      test("rows that a policy hides are an error; left to itself PostgreSQL leaves them out in silence", async () => {
        const name = await makeTable(3);
        const role = uniqueName("reader");
        await database.sql(
          `ALTER TABLE ${name} ENABLE ROW LEVEL SECURITY; CREATE ROLE ${role} LOGIN PASSWORD 'x'; GRANT SELECT ON ${name} TO ${role}`,
        );
        const url = new URL(database.url);
        [url.username, url.password] = [role, "x"];
        await using naive = await openClient(url.href);
        expect((await naive.query(`SELECT * FROM ${name}`)).rowCount).toBe(0);
        await using reader = await openReader(url.href);
        const error = await errorOf(read(reader, await see(reader, name)));
        expect(error).toMatchObject({ code: "PRIVILEGE_MISSING", remedy: expect.stringContaining("BYPASSRLS") });
        await database.sql(`ALTER ROLE ${role} BYPASSRLS; REVOKE SELECT ON ${name} FROM ${role}`);
        const denied = await errorOf(read(reader, await see(session, name)));
        expect(denied).toMatchObject({ code: "PRIVILEGE_MISSING", remedy: expect.stringContaining("GRANT SELECT") });
        await database.sql(`DROP OWNED BY ${role}`);
      });

      test("an empty table is an empty chunk", async () => {
        expect(await readRows(session, await see(session, await makeTable(0)))).toEqual([]);
      });
    });

    describe("a table that is not what it was", () => {
      test("another column, another name, another table of that name: nothing is read", async () => {
        const name = await makeTable(2);
        const table = await see(session, name);
        await database.sql(`ALTER TABLE ${name} ADD COLUMN more int`);
        expect(await read(session, table)).toMatchObject({ kind: "changed", table: { attnums: [1, 2, 3] } });
        await database.sql(`ALTER TABLE ${name} DROP COLUMN more`);
        expect((await read(session, table)).kind).toBe("read");
        await database.sql(`ALTER TABLE ${name} RENAME TO ${name.slice(7)}_old; CREATE TABLE ${name} (id int PRIMARY KEY, note text)`);
        const outcome = await read(session, table);
        expect(outcome).toMatchObject({ kind: "changed", table: { table: { name: `${name.slice(7)}_old` } } });
        expect(await openTransactions()).toBe(0);
      });

      test("a column that was dropped and made again is another, TRUNCATE another file, a table that is gone TABLE_MISSING", async () => {
        const name = await makeTable(2);
        const table = await see(session, name);
        await database.sql(`TRUNCATE ${name}`);
        expect(await readRows(session, table)).toEqual([]);
        expect((await see(session, name)).storage[0]?.file).not.toBe(table.storage[0]?.file);
        await database.sql(`ALTER TABLE ${name} DROP COLUMN note; ALTER TABLE ${name} ADD COLUMN note text`);
        expect(await read(session, table)).toMatchObject({ kind: "changed", table: { attnums: [1, 3] } });
        await database.sql(`DROP TABLE ${name}`);
        expect((await errorOf(read(session, table))).code).toBe("TABLE_MISSING");
      });
    });

    describe("bounds", () => {
      test("over its bytes a chunk ends, says how far it came, and leaves nothing behind", async () => {
        const name = await makeTable(100_000);
        await using reader = await openReader(database.url);
        const table = await see(reader, name);
        const outcome = await read(reader, table, EVERYTHING, { limitBytes: 10_000 });
        expect(outcome).toMatchObject({ kind: "tooLarge" });
        if (outcome.kind !== "tooLarge") throw new Error("it was not");
        expect(outcome.bytes).toBeLessThanOrEqual(10_000);
        expect(outcome.rows).toBeGreaterThan(300);
        await eventually("no transaction is left", async () => (await openTransactions()) === 0);
        expect((await errorOf(reader.query("SELECT 1"))).code).toBe("DATABASE_UNREACHABLE");
      });

      test("one row is read whatever its size", async () => {
        const name = await makeTable(0);
        await database.sql(`INSERT INTO ${name} VALUES (1, repeat('x', 1000000))`);
        const outcome = await read(session, await see(session, name), EVERYTHING, { limitBytes: 1_000 });
        expect(outcome).toMatchObject({ kind: "read", rows: { count: 1 } });
      });

      test("a statement that takes too long is SNAPSHOT_SLOW, one that the server can't do SNAPSHOT_REFUSED", async () => {
        const table = await see(session, await makeTable(2));
        await using hasty = await openReader(database.url, { statementMs: 2_000 });
        expect((await errorOf(read(hasty, table, EVERYTHING, { where: "pg_sleep(30) IS NOT NULL" }))).code).toBe("SNAPSHOT_SLOW");
        expect(await readRows(hasty, table)).toHaveLength(2);
        const error = await errorOf(read(session, table, EVERYTHING, { where: "id / 0 = 1" }));
        expect(error).toMatchObject({ code: "SNAPSHOT_REFUSED", message: expect.stringContaining("division by zero") });
        expect(await readRows(session, table)).toHaveLength(2);
      });

      test("a row that PostgreSQL can't send is SNAPSHOT_ROW_WIDE", async () => {
        const table = await see(session, await makeTable(2));
        // The SQLSTATE of a row above 1 GiB, without the gibibyte.
        await database.sql(`CREATE FUNCTION too_wide() RETURNS bool LANGUAGE plpgsql AS $$
          BEGIN RAISE EXCEPTION 'string buffer exceeds maximum allowed length' USING ERRCODE = 'program_limit_exceeded'; END $$`);
        const error = await errorOf(read(session, table, EVERYTHING, { where: "public.too_wide()" }));
        expect(error).toMatchObject({ code: "SNAPSHOT_ROW_WIDE", retry: "operator" });
      });

      test("a transaction whose owner has stopped is ended by the server", async () => {
        const table = await see(session, await makeTable(2));
        await using frozen = await openReader(database.url, { idleMs: 200 });
        const freeze = (): void => {
          for (const until = performance.now() + 1_000; performance.now() < until;);
        };
        expect((await errorOf(read(frozen, table, EVERYTHING, { seen: freeze }))).code).toBe("DATABASE_UNREACHABLE");
      });

      test("an abort in the middle of a COPY is over within a second, on the server too", async () => {
        const name = await makeTable(300_000);
        const table = await see(session, name);
        const abort = new AbortController();
        await using reader = await openReader(database.url, {}, abort.signal);
        const reading = read(reader, table, EVERYTHING, { where: "pg_sleep(0.0001) IS NOT NULL" });
        await eventually("it reads", async () => (await openTransactions()) === 1);
        const since = performance.now();
        abort.abort(new Error("asked to stop"));
        await expect(reading).rejects.toThrow("asked to stop");
        await eventually("no transaction is left", async () => (await openTransactions()) === 0);
        // One second for the session, the rest for a busy machine: left alone the rows take more than half a minute.
        expect(performance.now() - since).toBeLessThan(10_000);
      });

      test("an abort while a lock is waited for is over at once, and the server waits no longer than the lock's bound", async () => {
        const name = await makeTable(1);
        const table = await see(session, name);
        await using writer = await openClient(database.url);
        await writer.query(`BEGIN; LOCK TABLE ${name}`);
        const abort = new AbortController();
        await using reader = await openReader(database.url, { lockMs: 5_000 }, abort.signal);
        const reading = read(reader, table);
        await eventually("it waits", () => isWaitingForLock(name));
        const since = performance.now();
        abort.abort(new Error("asked to stop"));
        await expect(reading).rejects.toThrow("asked to stop");
        expect(performance.now() - since).toBeLessThan(2_500); // half of the lock's bound
        await eventually("nobody waits", async () => !(await isWaitingForLock(name)), 30_000);
      });
    });

    test("rows as the chunk holds them are views of its own bytes", async () => {
      const table = await see(session, await makeTable(50_000));
      const outcome = await read(session, table);
      if (outcome.kind !== "read") throw new Error("it was not read");
      const all = values(table, outcome.rows);
      expect(all).toEqual(Array.from({ length: 50_000 }, (_, i) => [String(i + 1), `note ${i + 1}`]));
      expect(outcome.rows.memoryBytes).toBeLessThan(outcome.rows.length * 2 + 600_000);
    });
  });
