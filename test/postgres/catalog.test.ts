// Which tables are captured, by which key, and why not: read from real catalogs of both versions.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { AskedColumns } from "../../src/core/read-as.ts";
import type { ReadAs, TableName } from "../../src/core/table.ts";
import { describeTable, harmedTables, resolveTables, type ResolvedTables } from "../../src/postgres/catalog.ts";
import { Session } from "../../src/postgres/session.ts";
import { describeWithPostgres15, postgres, postgres15, type SharedPostgres, type TestDatabase } from "../support/servers.ts";
import { connectionOf } from "./collect.ts";

const SCHEMA_SQL = `
  CREATE EXTENSION citext;
  CREATE TYPE mood AS ENUM ('sad', 'ok');
  CREATE DOMAIN price AS numeric(10, 2); CREATE DOMAIN list_price AS price; CREATE DOMAIN prices AS list_price[]; CREATE TYPE pair AS (a int, b int);
  CREATE TYPE floatrange AS RANGE (subtype = float8);
  CREATE TABLE types (
    id bigint PRIMARY KEY, b bool, i2 int2, i4 int4, o oid, f4 real, f8 float8, n numeric, n2 numeric(12, 2), n0 numeric(5), t text, v varchar(9), c char(3), nm name,
    ci citext, m mood, j json, jb jsonb, x xml, u uuid, by bytea, d date, ti time, ts timestamp, tz timestamptz, iv interval, p list_price, arr int[], vec int2vector, rarr int4range[], ran tstzrange, mran int4multirange, crarr floatrange[], darr numeric(6, 1)[], pdom prices, pr pair, pt point,
    "char" "char", ttz timetz, mo money, ip inet);
  ALTER TABLE types DROP COLUMN i2;
  CREATE TABLE no_key (a int);
  CREATE TABLE deferrable_key (id int PRIMARY KEY DEFERRABLE INITIALLY DEFERRED);
  CREATE TABLE nothing (id int PRIMARY KEY); ALTER TABLE nothing REPLICA IDENTITY NOTHING;
  CREATE TABLE full_keyless (a int, b int); ALTER TABLE full_keyless REPLICA IDENTITY FULL;
  CREATE TABLE full_key (b int, a int, c int, PRIMARY KEY (a, b)); ALTER TABLE full_key REPLICA IDENTITY FULL;
  CREATE TABLE full_deferrable (id int PRIMARY KEY DEFERRABLE); ALTER TABLE full_deferrable REPLICA IDENTITY FULL;
  CREATE TABLE by_index (id int PRIMARY KEY, code text NOT NULL, region text NOT NULL, note text);
  CREATE UNIQUE INDEX by_index_code ON by_index (region, code) INCLUDE (note); ALTER TABLE by_index REPLICA IDENTITY USING INDEX by_index_code;
  CREATE TABLE index_dropped (id int PRIMARY KEY, code text NOT NULL);
  CREATE UNIQUE INDEX index_dropped_code ON index_dropped (code); ALTER TABLE index_dropped REPLICA IDENTITY USING INDEX index_dropped_code; DROP INDEX index_dropped_code;
  CREATE UNLOGGED TABLE unlogged (id int PRIMARY KEY);
  CREATE TABLE parent (id int PRIMARY KEY); CREATE TABLE child (PRIMARY KEY (id)) INHERITS (parent);
  CREATE VIEW a_view AS SELECT 1 AS id;
  CREATE TABLE generated (id int PRIMARY KEY, twice int GENERATED ALWAYS AS (id * 2) STORED, z int);
  CREATE TABLE full_generated (id int PRIMARY KEY, twice int GENERATED ALWAYS AS (id * 2) STORED); ALTER TABLE full_generated REPLICA IDENTITY FULL;
  CREATE TABLE parts (id int, day int, note text, PRIMARY KEY (id, day)) PARTITION BY RANGE (day);
  CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (10);
  CREATE TABLE parts_2 (gone int, day int NOT NULL, id int NOT NULL, note text); ALTER TABLE parts_2 DROP COLUMN gone; ALTER TABLE parts ATTACH PARTITION parts_2 FOR VALUES FROM (10) TO (20);
  CREATE TABLE mixed (id int PRIMARY KEY) PARTITION BY RANGE (id); CREATE TABLE mixed_1 PARTITION OF mixed FOR VALUES FROM (0) TO (10); ALTER TABLE mixed REPLICA IDENTITY FULL;
  CREATE SCHEMA "Größe ""q"""; CREATE TABLE "Größe ""q"""."naïve. Table" ("Ключ" int PRIMARY KEY, "a b" text);
  CREATE TABLE "other" (id int PRIMARY KEY);`;

for (const [name, suite, server] of [
  ["PostgreSQL 18", describe, postgres],
  ["PostgreSQL 15", describeWithPostgres15, postgres15],
] as [string, typeof describe, () => Promise<SharedPostgres>][])
  suite(name, () => {
    let database: TestDatabase;
    let session: Session;
    beforeAll(async () => {
      database = await (await server()).createDatabase("catalog");
      await database.sql(SCHEMA_SQL);
      session = await Session.open(connectionOf(database.url), new AbortController().signal);
    });
    afterAll(async () => {
      await session[Symbol.asyncDispose]();
      await database[Symbol.asyncDispose]();
    });

    const glob = (): Promise<ResolvedTables> =>
      resolveTables(session, { matches: (schema) => schema === "public", named: [], asked: () => null, overlooked: () => [] }, null);
    const named = (...names: string[]): Promise<ResolvedTables> =>
      resolveTables(
        session,
        {
          matches: () => false,
          named: names.map((each): TableName => ({ schema: "public", name: each })),
          asked: () => null,
          overlooked: () => [],
        },
        null,
      );
    const keyOf = async (table: string): Promise<unknown> => {
      const { tables } = await named(table);
      const columns = tables[0]?.columns.filter((column) => column.keyPosition > 0).sort((a, b) => a.keyPosition - b.keyPosition);
      return [tables[0]?.identity, columns?.map((column) => column.name)];
    };

    test("R-harmless: a glob skips, with the reason, every table whose UPDATE or DELETE would fail", async () => {
      const { skipped, problems } = await glob();
      expect(problems).toEqual([]);
      const reasons = Object.fromEntries(skipped.map(({ table, reason }) => [table.name, reason]));
      expect(reasons).toMatchObject({
        no_key: "it has no primary key",
        deferrable_key: "its primary key is deferrable",
        nothing: "its REPLICA IDENTITY is NOTHING",
        index_dropped: "the index of its REPLICA IDENTITY was dropped",
        unlogged: "it is unlogged, so its changes are not in the WAL",
        parent: "other tables inherit from it; name those instead",
        mixed: "its partition public.mixed_1 is not REPLICA IDENTITY FULL as the root is",
      });
      expect(Object.keys(reasons)).not.toContain("a_view");
    });

    test("R-harmless: what a glob skips, PostgreSQL does refuse; what it captures, PostgreSQL does not", async () => {
      const { tables, skipped } = await glob();
      const refused = async (table: string): Promise<boolean> => {
        await database.sql(`CREATE PUBLICATION harm FOR TABLE public.${table} WITH (publish_via_partition_root = true)`);
        const sql = `DO $$ BEGIN INSERT INTO public.${table} DEFAULT VALUES; EXCEPTION WHEN not_null_violation OR check_violation THEN NULL; END $$; DELETE FROM public.${table}`;
        return database
          .sql(sql)
          .then(
            () => false,
            () => true,
          )
          .finally(() => database.sql("DROP PUBLICATION harm"));
      };
      for (const { name: table } of tables) expect([table, await refused(table)]).toEqual([table, false]);
      for (const table of ["no_key", "deferrable_key", "nothing", "index_dropped"]) {
        expect(skipped.map((each) => each.table.name)).toContain(table);
        expect([table, await refused(table)]).toEqual([table, true]);
      }
      // Since 18 an unpublished generated column in the identity makes them fail too.
      expect(await refused("full_generated")).toBe(skipped.some((each) => each.table.name === "full_generated"));
    });

    test("a column that can't be read as it is asked for is a problem that names table, column and what is allowed; the others are", async () => {
      await database.sql(`CREATE SCHEMA asked; CREATE TABLE asked.one (id numeric PRIMARY KEY, total numeric(12,2), note text, code uuid);
        CREATE TABLE asked.two (id int PRIMARY KEY, note varchar(3), late timestamp)`);
      const columns = new Map<string, ReadAs>([
        ["id", "double"],
        ["total", "double"],
        ["note", "double"],
        ["code", "bytes"],
        ["late", "string"],
        ["gone", "string"],
      ]);
      const asked = (): AskedColumns => columns;
      const { tables, wronglyAsked } = await resolveTables(
        session,
        { matches: (schema) => schema === "asked", named: [], asked, overlooked: () => [] },
        null,
      );
      expect(wronglyAsked.map(({ error: { code, message } }) => [code, message.split("(`as`): ")[1]])).toEqual([
        ["COLUMN_AS", "its type numeric can't be read as double in a key; allowed: string"],
        ["COLUMN_AS", "its type text can't be read as double; allowed: string"],
        ["COLUMN_AS", "its type integer can't be read as double in a key; allowed: string"],
        ["COLUMN_AS", "its type character varying can't be read as double; allowed: string"],
        ["COLUMN_AS", "no such column is captured; allowed: the columns id, total, note, code, late"],
      ]);
      expect(wronglyAsked.at(-1)?.error.message).toContain("column gone of asked.one, asked.two");
      expect(tables[0]?.columns.map(({ type, sent }) => [type.kind, sent?.type.kind])).toEqual([
        ["numeric", undefined],
        ["float8", "decimal"],
        ["text", undefined],
        ["bytea", "uuid"],
      ]);
      expect(tables[1]?.columns.at(-1)).toMatchObject({ type: { kind: "text" }, sent: { type: { kind: "timestamp" }, as: "string" } });
      await database.sql("DROP SCHEMA asked CASCADE");
    });

    test("a named table that can't be captured is a problem, with its code", async () => {
      const { problems } = await named("nowhere", "no_key", "nothing", "a_view", "unlogged", "parent");
      expect(problems.map((problem) => [problem.code, /public\.\w+/.exec(problem.message)?.[0]])).toEqual([
        ["TABLE_MISSING", "public.nowhere"],
        ["TABLE_UNSUPPORTED", "public.a_view"],
        ["TABLE_WITHOUT_KEY", "public.no_key"],
        ["TABLE_WITHOUT_KEY", "public.nothing"],
        ["TABLE_UNSUPPORTED", "public.parent"],
        ["TABLE_UNSUPPORTED", "public.unlogged"],
      ]);
    });

    test("the key is the identity index's columns, or the primary key, in the order of the index", async () => {
      expect(await keyOf("by_index")).toEqual(["index", ["region", "code"]]);
      expect(await keyOf("full_key")).toEqual(["full", ["a", "b"]]);
      expect(await keyOf("full_keyless")).toEqual(["full", []]);
      expect(await keyOf("full_deferrable")).toEqual(["full", []]);
      expect(await keyOf("child")).toEqual(["default", ["id"]]);
    });

    test("a partitioned table is captured by its root, however its partitions order their columns", async () => {
      const { tables } = await glob();
      expect(tables.filter((table) => table.name.startsWith("parts")).map((table) => [table.name, table.partitioned])).toEqual([
        ["parts", true],
      ]);
      expect((await named("parts_1")).tables.map((table) => [table.name, table.partitioned])).toEqual([["parts_1", false]]);
    });

    test("columns are those of the stream's tuples, with types by kind: domains as their base, arrays by their elements, the rest as other", async () => {
      const { tables } = await named("types", "generated");
      const [generated, types] = tables;
      expect(generated?.columns.map((column) => column.name)).toEqual(["id", "z"]);
      const kinds = Object.fromEntries(
        (types?.columns ?? []).map(({ name: column, type }) => [
          column,
          "typeName" in type
            ? `${type.kind} ${type.typeName}`
            : "element" in type
              ? `array ${type.element.kind}`
              : "scale" in type
                ? `${type.kind} ${type.precision},${type.scale}`
                : type.kind,
        ]),
      );
      expect(kinds).toEqual({
        id: "int8",
        b: "bool",
        i4: "int4",
        o: "oid",
        f4: "float4",
        f8: "float8",
        n: "numeric",
        n2: "decimal 12,2",
        n0: "decimal 5,0",
        t: "text",
        v: "text",
        c: "text",
        nm: "text",
        ci: "text",
        m: "enum",
        j: "json",
        jb: "jsonb",
        x: "xml",
        u: "uuid",
        by: "bytea",
        d: "date",
        ti: "time",
        ts: "timestamp",
        tz: "timestamptz",
        iv: "interval",
        p: "decimal 10,2",
        arr: "array int4",
        vec: "other int2vector",
        rarr: "array range",
        ran: "range tstzrange",
        mran: "range int4multirange",
        crarr: "other public.floatrange[]",
        darr: "array decimal",
        pdom: "array decimal",
        pr: "composite",
        pt: "point",
        char: 'other "char"',
        ttz: "timetz",
        mo: "money 19,2",
        ip: "inet",
      });
    });

    test("a composite is of its attributes, by their numbers: of a table without its dropped columns, of none at all it is other", async () => {
      await database.sql(`CREATE DOMAIN amount AS numeric(8, 2); CREATE TYPE "an Item" AS (gone int, price amount, pairs pair[]); ALTER TYPE "an Item" DROP ATTRIBUTE gone;
        CREATE TABLE parts_of (gone int, id int PRIMARY KEY, item "an Item", items "an Item"[], one_part by_index)`);
      await database.sql("CREATE TYPE empty AS (); ALTER TABLE parts_of ADD nothing empty; ALTER TABLE parts_of ADD texts pair");
      const { tables } = await resolveTables(
        session,
        {
          matches: () => false,
          named: [{ schema: "public", name: "parts_of" }],
          asked: () => new Map([["texts", "string"]]),
          overlooked: () => [],
        },
        null,
      );
      const types = Object.fromEntries((tables[0]?.columns ?? []).map((column) => [column.name, column.type]));
      const pairType = {
        ...{ kind: "composite", schema: "public", name: "pair", given: 2 },
        attributes: [
          { name: "a", number: 1, type: { kind: "int4" }, typeOid: 23, typeModifier: -1 },
          { name: "b", number: 2, type: { kind: "int4" }, typeOid: 23, typeModifier: -1 },
        ],
      };
      const item = {
        ...{ kind: "composite", schema: "public", name: "an Item", given: 3 },
        attributes: [
          { name: "price", number: 2, type: { kind: "decimal", precision: 8, scale: 2 } },
          { name: "pairs", number: 3, type: { kind: "array", element: pairType } },
        ],
      };
      expect(types).toMatchObject({
        item,
        items: { kind: "array", element: item },
        one_part: {
          kind: "composite",
          name: "by_index",
          attributes: [{ name: "id" }, { name: "code" }, { name: "region" }, { name: "note" }],
        },
        nothing: { kind: "other", typeName: "public.empty" },
        texts: { kind: "text" },
      });
    });

    test("a composite is no key, unless as its text", async () => {
      await database.sql("CREATE TABLE by_pair (p pair PRIMARY KEY, n int)");
      const { problems } = await named("by_pair");
      expect(problems.map(({ code, message }) => [code, message])).toEqual([
        ["TABLE_UNSUPPORTED", expect.stringMatching(/its key column p is of a composite type/)],
      ]);
      const selection = {
        matches: () => false,
        named: [{ schema: "public", name: "by_pair" }],
        asked: () => new Map([["p", "string"]] as const),
        overlooked: () => [],
      };
      const { tables } = await resolveTables(session, selection, null);
      expect(tables[0]?.columns[0]).toMatchObject({ name: "p", type: { kind: "text" }, keyPosition: 1 });
    });

    test("names with quotes, dots, blanks and any script are taken as they are", async () => {
      const odd = { schema: 'Größe "q"', name: "naïve. Table" };
      const { tables } = await resolveTables(
        session,
        { matches: () => false, named: [odd], asked: () => null, overlooked: () => [] },
        null,
      );
      expect(tables.map(({ schema, name: table, columns }) => [schema, table, columns.map((column) => column.name)])).toEqual([
        [odd.schema, odd.name, ["Ключ", "a b"]],
      ]);
    });

    test("a table met by its OID is described as it is now, or is gone", async () => {
      const [row] = await database.sql<{ oid: number }>("SELECT 'public.other'::regclass::oid AS oid");
      expect(await describeTable(session, row?.oid ?? 0, null, () => null)).toMatchObject({
        schema: "public",
        name: "other",
        columns: [{ name: "id", keyPosition: 1 }],
      });
      await database.sql("DROP TABLE public.other");
      expect(await describeTable(session, row?.oid ?? 0, null, () => null)).toBeNull();
    });

    test("a publication's column list decides which columns the stream sends", async () => {
      await database.sql("CREATE PUBLICATION some_columns FOR TABLE by_index (id, code, region)");
      const { tables } = await resolveTables(
        session,
        { matches: () => false, named: [{ schema: "public", name: "by_index" }], asked: () => null, overlooked: () => [] },
        "some_columns",
      );
      expect(tables[0]?.columns.map((column) => column.name)).toEqual(["id", "code", "region"]);
    });

    test("R-harmless: a published table that loses its key is found", async () => {
      await database.sql("CREATE TABLE loses_key (id int PRIMARY KEY); CREATE PUBLICATION harmed FOR TABLE loses_key, by_index");
      expect(await harmedTables(session, "harmed")).toEqual([]);
      await database.sql("ALTER TABLE loses_key DROP CONSTRAINT loses_key_pkey");
      expect(await harmedTables(session, "harmed")).toEqual([
        { table: { schema: "public", name: "loses_key" }, reason: "it has no primary key" },
      ]);
    });
  });
