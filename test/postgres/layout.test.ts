// R-silent-ddl: what the catalogs show of rows that change without events, on real servers of both versions.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { layoutOf, readLayouts, silentChange, type SeenLayout } from "../../src/postgres/layout.ts";
import { Session } from "../../src/postgres/session.ts";
import { describeWithPostgres15, postgres, postgres15, uniqueName, type SharedPostgres, type TestDatabase } from "../support/servers.ts";
import { connectionOf } from "./collect.ts";

for (const [name, suite, server] of [
  ["PostgreSQL 18", describe, postgres],
  ["PostgreSQL 15", describeWithPostgres15, postgres15],
] as [string, typeof describe, () => Promise<SharedPostgres>][])
  suite(name, () => {
    let database: TestDatabase;
    let session: Session;
    beforeAll(async () => {
      database = await (await server()).createDatabase("layout");
      session = await Session.open(connectionOf(database.url), new AbortController().signal);
    });
    afterAll(async () => {
      await session[Symbol.asyncDispose]();
      await database[Symbol.asyncDispose]();
    });

    const layout = async (table: string): Promise<SeenLayout> => {
      const [row] = await database.sql<{ oid: string }>(`SELECT '${table}'::regclass::oid::text AS oid`);
      const [seen] = await readLayouts(session, [Number(row?.oid)]);
      if (seen === undefined) throw new Error(`no layout of ${table}`);
      return seen;
    };

    /** What is said of the change that `sql` makes to a table with a row; `$t` is its name. */
    const said = async (sql: string, partitioned = false): Promise<string | null> => {
      const table = uniqueName("t");
      await database.sql(
        `CREATE TABLE ${table} (id int PRIMARY KEY, n int, note varchar(20)) ${partitioned ? "PARTITION BY RANGE (id)" : ""}`,
      );
      if (partitioned) await database.sql(`CREATE TABLE ${table}_1 PARTITION OF ${table} FOR VALUES FROM (0) TO (10)`);
      await database.sql(`INSERT INTO ${table} VALUES (1, 1, 'x')`);
      const before = layoutOf(await layout(table), undefined);
      for (const statement of sql.replaceAll("$t", table).split(";")) await database.sql(statement);
      return silentChange(before, await layout(table), null)?.words ?? null;
    };

    for (const partitioned of [false, true]) {
      describe(partitioned ? "of a partitioned table" : "of a plain table", () => {
        test.each([
          ["a constant default", "ALTER TABLE $t ADD x int DEFAULT 7", /column x was added with a default/],
          ["a volatile default", "ALTER TABLE $t ADD x float8 DEFAULT random()", /rewritten together with column x/],
          ["a stored generated column", "ALTER TABLE $t ADD x int GENERATED ALWAYS AS (n * 2) STORED", /rewritten together with column x/],
          ["ALTER TYPE USING of the same type", "ALTER TABLE $t ALTER n TYPE int USING n + 1", /rewritten together with column n/],
          ["ALTER TYPE with a rewrite", "ALTER TABLE $t ALTER n TYPE bigint", /rewritten together with column n/],
          [
            "a column that is dropped and made again",
            "ALTER TABLE $t DROP n; ALTER TABLE $t ADD n int",
            /column n was dropped and made again/,
          ],
          ["a renamed column", "ALTER TABLE $t RENAME n TO m", /column n was renamed to m/],
        ])("%s: read again", async (_, sql, words) => {
          expect(await said(sql, partitioned)).toMatch(words);
        });

        test.each([
          ["VACUUM FULL", "VACUUM FULL $t"],
          ["VACUUM FULL and a column without a value", "VACUUM FULL $t; ALTER TABLE $t ADD x int"],
          ["TRUNCATE", "TRUNCATE $t"],
          ["a column without a value", "ALTER TABLE $t ADD x int"],
          ["a default for rows to come", "ALTER TABLE $t ALTER n SET DEFAULT 5"],
          ["a longer varchar", "ALTER TABLE $t ALTER note TYPE varchar(40)"],
          [
            "NOT NULL, statistics, a dropped column, an index",
            "ALTER TABLE $t ALTER n SET NOT NULL; ALTER TABLE $t ALTER n SET STATISTICS 10; ALTER TABLE $t DROP note; CREATE INDEX ON $t (n)",
          ],
          ["rows", "UPDATE $t SET n = 2; ANALYZE $t"],
        ])("%s: not read again", async (_, sql) => {
          expect(await said(sql, partitioned)).toBeNull();
        });
      });
    }

    test("a table that is rewritten during the look is seen as before it or as after it, never as half of each", async () => {
      const table = uniqueName("t");
      await database.sql(`CREATE TABLE ${table} (id int PRIMARY KEY); INSERT INTO ${table} VALUES (1)`);
      const before = await layout(table);
      // The look's snapshot is older than the commit, the server's caches are as new as they get.
      await session.query("BEGIN ISOLATION LEVEL REPEATABLE READ");
      await session.query("SELECT pg_current_snapshot()");
      await database.sql(`ALTER TABLE ${table} ADD x float8 DEFAULT random()`);
      const during = await layout(table);
      await session.query("COMMIT");
      expect({ ...during, lsn: before.lsn }).toEqual(before);
      expect(silentChange(layoutOf(during, undefined), await layout(table), null)?.words).toMatch(/rewritten together with column x/);
    });

    describe("of a column whose type has labels", () => {
      const kinds = {
        enum: (type: string) => type,
        domain: (type: string) => `${type}_domain`,
        array: (type: string) => `${type}[]`,
        "array of a domain": (type: string) => `${type}_domain[]`,
        composite: (type: string) => `${type}_pair`,
        range: (type: string) => `${type}_range`,
      };

      test.each(Object.keys(kinds) as (keyof typeof kinds)[])("%s: read again after RENAME VALUE, not after ADD VALUE", async (kind) => {
        const [table, type] = [uniqueName("t"), uniqueName("mood")];
        await database.sql(`CREATE TYPE ${type} AS ENUM ('low', 'high'); CREATE DOMAIN ${type}_domain AS ${type};
          CREATE TYPE ${type}_pair AS (a int, b ${type}[]); CREATE TYPE ${type}_range AS RANGE (subtype = ${type});
          CREATE TABLE ${table} (id int PRIMARY KEY, n ${kinds[kind](type)})`);
        const first = layoutOf(await layout(table), undefined);
        await database.sql(`ALTER TYPE ${type} ADD VALUE 'middle' BEFORE 'high'`);
        await database.sql(`ALTER TYPE ${type} ADD VALUE 'last'`);
        const second = await layout(table);
        expect(silentChange(first, second, null)).toBeNull();
        await database.sql(`ALTER TYPE ${type} RENAME VALUE 'middle' TO 'mid'`);
        const third = await layout(table);
        expect(silentChange(layoutOf(second, first), third, null)?.words).toBe("a label of column n was renamed");
        expect(silentChange(layoutOf(second, first), third, [1])).toBeNull();
        expect(silentChange(layoutOf(third, first), await layout(table), null)).toBeNull();
      });

      test("a state that says nothing of labels asks for nothing", async () => {
        const [table, type] = [uniqueName("t"), uniqueName("mood")];
        await database.sql(`CREATE TYPE ${type} AS ENUM ('low'); CREATE TABLE ${table} (id int PRIMARY KEY, n ${type})`);
        const { labels: _, ...before } = layoutOf(await layout(table), undefined);
        expect(silentChange(before, await layout(table), null)).toBeNull();
      });
    });

    test("an identity column that is added: read again", async () => {
      expect(await said("ALTER TABLE $t ADD x int GENERATED ALWAYS AS IDENTITY")).toMatch(/rewritten together with column x/);
    });

    test("a new partition is none; one that is attached, by itself or below another, may bring rows, which are chosen by where they are", async () => {
      const table = uniqueName("t");
      await database.sql(`CREATE TABLE ${table} (id int PRIMARY KEY, n int) PARTITION BY RANGE (id);
        CREATE TABLE ${table}_1 PARTITION OF ${table} FOR VALUES FROM (0) TO (10) PARTITION BY RANGE (id)`);
      const first = layoutOf(await layout(table), undefined);
      await database.sql(`CREATE TABLE ${table}_2 PARTITION OF ${table} FOR VALUES FROM (10) TO (20)`);
      const second = await layout(table);
      expect(silentChange(first, second, null)).toBeNull();
      await database.sql(`CREATE TABLE ${table}_1a (id int PRIMARY KEY, n int)`);
      await database.sql(`INSERT INTO ${table}_1a VALUES (3, 3); INSERT INTO ${table} VALUES (11, 11)`);
      await database.sql(`ALTER TABLE ${table}_1 ATTACH PARTITION ${table}_1a FOR VALUES FROM (0) TO (5)`);
      const third = await layout(table);
      const change = silentChange(layoutOf(second, first), third, null);
      expect(change?.words).toMatch(/become a partition/);
      expect(await database.sql(`SELECT id FROM ${table} WHERE ${change?.where}`)).toEqual([{ id: 3 }]);
      expect(silentChange(layoutOf(third, first), await layout(table), null)).toBeNull();
      const role = uniqueName("owner");
      await database.sql(`CREATE ROLE ${role}; ALTER TABLE ${table}_2 OWNER TO ${role}; ALTER TABLE ${table}_2 RENAME TO ${table}_renamed`);
      expect(silentChange(layoutOf(third, first), await layout(table), null)).toBeNull();
      await database.sql(`DROP OWNED BY ${role}; DROP ROLE ${role}`);
      await database.sql(`ALTER TABLE ${table}_1 DETACH PARTITION ${table}_1a`);
      expect(silentChange(layoutOf(third, first), await layout(table), null)).toBeNull();
      await database.sql(`ALTER TABLE ${table}_1 ATTACH PARTITION ${table}_1a FOR VALUES FROM (0) TO (5)`);
      expect(silentChange(layoutOf(third, first), await layout(table), null)?.words).toMatch(/become a partition/);
    });

    test("a table that is made, filled and attached in one transaction brings rows; a partition that is made in one with others is none", async () => {
      const table = uniqueName("t");
      await database.sql(`CREATE TABLE ${table} (id int PRIMARY KEY, n int DEFAULT 7) PARTITION BY RANGE (id)`);
      const first = layoutOf(await layout(table), undefined);
      await database.sql(`BEGIN; CREATE TABLE ${table}_1 PARTITION OF ${table} FOR VALUES FROM (0) TO (10);
        CREATE TABLE ${table}_2 PARTITION OF ${table} FOR VALUES FROM (10) TO (20); COMMIT`);
      const second = await layout(table);
      expect(silentChange(first, second, null)).toBeNull();
      await database.sql(`BEGIN; CREATE TABLE ${table}_3 (LIKE ${table} INCLUDING ALL); INSERT INTO ${table}_3 VALUES (25, 25);
        ALTER TABLE ${table} ATTACH PARTITION ${table}_3 FOR VALUES FROM (20) TO (30); COMMIT`);
      const change = silentChange(layoutOf(second, first), await layout(table), null);
      expect(await database.sql(`SELECT id FROM ${table} WHERE ${change?.where}`)).toEqual([{ id: 25 }]);
    });

    test("a column under the name of one that was dropped, or renamed, at some time before: read again", async () => {
      const table = uniqueName("t");
      await database.sql(`CREATE TABLE ${table} (id int PRIMARY KEY, n int, m int); INSERT INTO ${table} VALUES (1, 1, 1)`);
      const first = layoutOf(await layout(table), undefined);
      await database.sql(`ALTER TABLE ${table} DROP n`);
      await database.sql(`ALTER TABLE ${table} RENAME m TO o`);
      const second = layoutOf(await layout(table), first);
      const third = layoutOf(await layout(table), second);
      expect(third.formerNames).toEqual(["n", "m"]);
      await database.sql(`ALTER TABLE ${table} ADD m int`);
      const fourth = await layout(table);
      expect(silentChange(third, fourth, null)?.words).toMatch(/column m was dropped and made again/);
      expect(layoutOf(fourth, third).formerNames).toEqual(["n"]);
      expect(silentChange(layoutOf(fourth, third), await layout(table), null)).toBeNull();
    });

    test("a column that is not published is none", async () => {
      const table = uniqueName("t");
      await database.sql(`CREATE TABLE ${table} (id int PRIMARY KEY, n int); INSERT INTO ${table} VALUES (1, 1)`);
      const before = layoutOf(await layout(table), undefined);
      await database.sql(`ALTER TABLE ${table} RENAME n TO m`);
      const after = await layout(table);
      expect(silentChange(before, after, [1])).toBeNull();
      expect(silentChange(before, after, [1, 2])).not.toBeNull();
    });
  });
