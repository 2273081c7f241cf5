// Cutting a table by its key: every row once, by the key's index, whatever the key is made of.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Tuple } from "../../src/core/tuple.ts";
import { messageTag, PgoutputReader } from "../../src/postgres/pgoutput.ts";
import type { Session } from "../../src/postgres/session.ts";
import { keyOrder, rangeCondition } from "../../src/postgres/snapshot-key.ts";
import { blockCount, estimateRows, keyTexts, nextBoundary, type WireKey } from "../../src/postgres/snapshot-plan.ts";
import { rowsSql, type SnapshotTable } from "../../src/postgres/snapshot-table.ts";
import { describeWithPostgres15, postgres, postgres15, uniqueName, type SharedPostgres, type TestDatabase } from "../support/servers.ts";
import { collect, commits, connectionOf, openClient } from "./collect.ts";
import { openReader, readRows, see, walk, WHOLE } from "./snapshot-scene.ts";

/** Keys by the SQL of their columns; `values` gives 500 different ones for g = 1 to 500, in no order. */
const KEYS: readonly { readonly title: string; readonly columns: string; readonly key: string; readonly values: string }[] = [
  { title: "int8", columns: "a int8", key: "a", values: "(g * 7919) % 1000003" },
  {
    title: "text of an ICU collation",
    columns: `a text COLLATE "en-x-icu"`,
    key: "a",
    values: "chr(65 + g % 26) || lower(chr(65 + g % 7)) || g || 'ß''\\'",
  },
  { title: "text of a collation that takes a for A", columns: "a text COLLATE public.loose", key: "a", values: "md5(g::text)" },
  {
    title: "citext",
    columns: "a public.citext",
    key: "a",
    values: "chr(CASE WHEN g % 2 = 0 THEN 65 ELSE 97 END + g % 26) || md5(g::text)",
  },
  { title: "uuid", columns: "a uuid", key: "a", values: "md5(g::text)::uuid" },
  { title: "timestamptz", columns: "a timestamptz", key: "a", values: "to_timestamp((g * 7919) % 1003 + 0.000001 * g)" },
  { title: "numeric", columns: "a numeric", key: "a", values: "((g * 7919) % 1003) * 1e-7 - g * 1e20" },
  {
    title: "numeric with NaN",
    columns: "a numeric(30, 5)",
    key: "a",
    values: "CASE WHEN g = 250 THEN 'NaN' ELSE (g * 7919 % 1003 + 0.00001 * g)::numeric END",
  },
  { title: "bytea", columns: "a bytea", key: "a", values: "decode(md5(g::text), 'hex')" },
  {
    title: "float8",
    columns: "a float8",
    key: "a",
    values: "CASE WHEN g = 1 THEN 'NaN' WHEN g = 2 THEN '-Infinity' ELSE sin(g) * 1e-300 END",
  },
  { title: "bpchar", columns: "a char(12)", key: "a", values: "'k' || (g * 7919) % 1003" },
  { title: "interval", columns: "a interval", key: "a", values: "make_interval(days => g * 7919 % 1003, secs => g)" },
  { title: "int4[]", columns: "a int[]", key: "a", values: "ARRAY[g % 10, g]" },
  { title: "inet", columns: "a inet", key: "a", values: "'10.0.0.0'::inet + g * 3" },
  { title: "a domain that its rows would not pass any more", columns: "a public.narrow", key: "a", values: "g" },
  {
    title: "enum and bool",
    columns: "a public.mood, b bool, c int",
    key: "a, b, c",
    values: "(ARRAY['sad', 'so so', 'ok'])[1 + g % 3]::public.mood, g % 2 = 0, g",
  },
  {
    title: "text with ICU, uuid, timestamptz",
    columns: `a text COLLATE "de-x-icu", b uuid, c timestamptz`,
    key: "a, b, c",
    values: "'Tür ' || g % 3, md5((g % 50)::text)::uuid, to_timestamp(g)",
  },
  {
    title: "citext and int8",
    columns: "a public.citext, b int8",
    key: "a, b",
    values: "CASE WHEN g % 4 < 2 THEN 'Left' ELSE 'right' END, g",
  },
  { title: "quoted names", columns: `"A ""a""" int, "Ä %" text`, key: `"A ""a""", "Ä %"`, values: "g % 5, g" },
];

for (const [name, suite, server] of [
  ["PostgreSQL 18", describe, postgres],
  ["PostgreSQL 15", describeWithPostgres15, postgres15],
] as [string, typeof describe, () => Promise<SharedPostgres>][])
  suite(name, () => {
    let database: TestDatabase;
    let session: Session;
    beforeAll(async () => {
      database = await (await server()).createDatabase("plan");
      await database.sql(`CREATE EXTENSION citext; CREATE TYPE mood AS ENUM ('sad', 'so so', 'ok');
        CREATE COLLATION loose (provider = icu, locale = 'und-u-ks-level2', deterministic = false); CREATE DOMAIN narrow AS int`);
      session = await openReader(database.url);
    });
    afterAll(async () => {
      await session[Symbol.asyncDispose]();
      await database[Symbol.asyncDispose]();
    });

    async function makeTable(columns: string, key: string, values: string, rows = 500): Promise<string> {
      const name = `public.${uniqueName("keyed")}`;
      await database.sql(`CREATE TABLE ${name} (${columns}, n int, filler text, PRIMARY KEY (${key}));
        INSERT INTO ${name} SELECT ${values}, g, repeat('x', 100) FROM generate_series(1, ${rows}) g`);
      await database.sql(`ANALYZE ${name}`);
      return name;
    }

    /** Each row's `n`, the last column but one. */
    async function numbers(table: SnapshotTable, chunkRows: number): Promise<readonly number[]> {
      const { rows } = await walk(session, table, chunkRows);
      return rows.map((row) => Number(row.at(-2)));
    }
    const oneToFiveHundred = Array.from({ length: 500 }, (_, i) => i + 1);
    const ascending = (a: number, b: number): number => a - b;

    async function explain(sql: string): Promise<string> {
      return (await session.query(`EXPLAIN (COSTS OFF) ${sql}`)).map((row) => row["QUERY PLAN"]).join("\n");
    }
    const boundarySql = (table: SnapshotTable): string => `SELECT FROM ${rowsSql(table)} ORDER BY ${keyOrder(table.key)} OFFSET 9 LIMIT 1`;

    describe("R-chunk: every row once, by the key's index", () => {
      for (const { title, columns, key, values } of KEYS)
        test(title, async () => {
          const name = await makeTable(columns, key, values);
          if (title.startsWith("a domain"))
            await database.sql(
              "ALTER DOMAIN narrow DROP CONSTRAINT IF EXISTS low; ALTER DOMAIN narrow ADD CONSTRAINT low CHECK (VALUE < 0) NOT VALID",
            );
          const table = await see(session, name);
          expect([...(await numbers(table, 37))].sort(ascending)).toEqual(oneToFiveHundred);
          const { boundaries } = await walk(session, table, 200);
          expect(boundaries).toHaveLength(2);
          const [after = null, upTo = null] = boundaries;
          expect(await explain(boundarySql(table))).toMatch(/Index (Only )?Scan using \S+_pkey/);
          const chunk = await explain(`SELECT * FROM ${rowsSql(table)} WHERE ${rangeCondition(table.key, { after, upTo })}`);
          expect(chunk).toMatch(/Index Cond/);
          expect(chunk).not.toMatch(/Seq Scan/);
          const texts = [after ?? [], upTo ?? []];
          expect(await readRows(session, table, { kind: "keys", keys: [...texts, ...texts] })).toHaveLength(2);
        });

      test("text and numbers of the boundary are the last of their chunk: cutting by 200 gives 200, 200 and 100", async () => {
        const table = await see(session, await makeTable("a int8", "a", "(g * 7919) % 1000003"));
        const first = await nextBoundary(session, table, WHOLE, 200);
        expect(await readRows(session, table, { kind: "range", range: { after: null, upTo: first } })).toHaveLength(200);
        const second = await nextBoundary(session, table, { after: first, upTo: null }, 200);
        expect(await readRows(session, table, { kind: "range", range: { after: first, upTo: second } })).toHaveLength(200);
        expect(await nextBoundary(session, table, { after: second, upTo: null }, 200)).toBeNull();
        expect(await nextBoundary(session, table, { after: second, upTo: null }, 100)).toBeNull();
        expect(await nextBoundary(session, table, { after: first, upTo: second }, 200)).toBeNull();
        expect(await nextBoundary(session, table, { after: first, upTo: second }, 199)).not.toBeNull();
      });

      test("key columns whose names are those of columns elsewhere", async () => {
        const table = await see(session, await makeTable("k1 int, k0 int, place int", "k1, k0, place", "g % 7, g % 50, g"));
        expect([...(await numbers(table, 37))].sort(ascending)).toEqual(oneToFiveHundred);
        expect(await nextBoundary(session, table, WHOLE, 1)).toEqual(["0", "0", "350"]);
      });

      test("left to itself the planner reads the whole table for its first chunk: it counts a row comparison by the first column", async () => {
        const table = await see(session, await makeTable("tenant int, id int", "tenant, id", "1, g", 20_000));
        const range = { after: null, upTo: ["1", "50"] };
        const sql = `SELECT * FROM ${rowsSql(table)} WHERE ${rangeCondition(table.key, range)}`;
        const naive = await database.sql<{ "QUERY PLAN": string }>(`EXPLAIN ${sql}`);
        expect(naive[0]?.["QUERY PLAN"]).toContain("Seq Scan");
        expect(await explain(sql)).toMatch(/Index Cond/);
        expect(await readRows(session, table, { kind: "range", range })).toHaveLength(50);
      });

      test("a partitioned table is cut through its root", async () => {
        const name = uniqueName("parts");
        await database.sql(`CREATE TABLE ${name} (tenant int, id int, n int, filler text, PRIMARY KEY (tenant, id)) PARTITION BY HASH (id);
          CREATE TABLE ${name}_0 PARTITION OF ${name} FOR VALUES WITH (MODULUS 2, REMAINDER 0);
          CREATE TABLE ${name}_1 PARTITION OF ${name} FOR VALUES WITH (MODULUS 2, REMAINDER 1);
          INSERT INTO ${name} SELECT g % 3, g, g, 'x' FROM generate_series(1, 500) g`);
        const table = await see(session, `public.${name}`);
        expect([...(await numbers(table, 60))].sort(ascending)).toEqual(oneToFiveHundred);
        expect(await explain(boundarySql(table))).toMatch(/Merge Append/);
      });
    });

    describe("the order is the index's own", () => {
      test("citext: an unqualified comparison is text's, and between two of its bounds rows are lost", async () => {
        const name = await makeTable("a public.citext", "a", "CASE WHEN g % 2 = 0 THEN 'a' ELSE 'B' END || g");
        const table = await see(session, name);
        const [boundary] = (await nextBoundary(session, table, WHOLE, 300)) ?? [];
        const naive = await session.query(`SELECT count(*) FROM ${name} WHERE a <= '${boundary}'::public.citext`);
        expect(Number(naive[0]?.count)).not.toBe(300);
        expect(await readRows(session, table, { kind: "range", range: { after: null, upTo: [boundary ?? ""] } })).toHaveLength(300);
      });

      test("bpchar: a constant of type `character` is one character long", async () => {
        const table = await see(session, await makeTable("a char(12)", "a", "'k' || g"));
        expect(table.key[0]?.type).toBe("bpchar");
        expect(await session.query("SELECT 'key'::character AS k, 'key'::bpchar AS b")).toEqual([{ k: "k", b: "key" }]);
      });

      for (const [title, index] of [
        ["descending", "(a DESC, b DESC)"],
        ["of two directions", "(a DESC, b)"],
        ["with nulls first", "(a NULLS FIRST, b NULLS FIRST)"],
        ["of another operator class", "(a text_pattern_ops, b)"],
        ["of another collation", `(a COLLATE "sv-x-icu", b)`],
      ] as const)
        test(`a replica identity index ${title}`, async () => {
          const name = uniqueName("identity");
          await database.sql(`CREATE TABLE ${name} (a text COLLATE "C" NOT NULL, b int NOT NULL, n int, filler text);
            CREATE UNIQUE INDEX ${name}_key ON ${name} ${index}; ALTER TABLE ${name} REPLICA IDENTITY USING INDEX ${name}_key;
            INSERT INTO ${name} SELECT (ARRAY['z', 'Z', 'ö', 'o', 'Ö', 'a b', 'ab'])[1 + g % 7], g, g, 'x' FROM generate_series(1, 500) g`);
          const table = await see(session, `public.${name}`);
          expect([...(await numbers(table, 37))].sort(ascending)).toEqual(oneToFiveHundred);
          expect(await explain(boundarySql(table))).toMatch(new RegExp(`Index (Only )?Scan using ${name}_key`));
          const range = { after: ["o", "20"], upTo: ["z", "7"] };
          expect(await explain(`SELECT FROM ${rowsSql(table)} WHERE ${rangeCondition(table.key, range)}`)).toMatch(/Index Cond/);
        });
    });

    test("the estimate is the planner's: without ANALYZE, with a condition, over partitions; an empty table has none", async () => {
      const name = uniqueName("estimated");
      await database.sql(`CREATE TABLE ${name} (id int PRIMARY KEY, note text) WITH (autovacuum_enabled = false)`);
      const table = await see(session, `public.${name}`);
      expect(await estimateRows(session, table, null)).toBe(0);
      await database.sql(`INSERT INTO ${name} SELECT g, repeat('x', 50) FROM generate_series(1, 20000) g`);
      const unanalyzed = await estimateRows(session, table, null);
      expect(unanalyzed).toBeGreaterThan(5_000);
      expect(unanalyzed).toBeLessThan(80_000);
      await database.sql(`ANALYZE ${name}`);
      expect(await estimateRows(session, table, null)).toBe(20_000);
      const some = await estimateRows(session, table, "id <= 5000");
      expect(some).toBeGreaterThan(4_000);
      expect(some).toBeLessThan(6_000);
      const [size] = await database.sql<{ blocks: number }>(`SELECT (pg_relation_size('${name}') / 8192)::int AS blocks`);
      expect(await blockCount(session, table)).toBe(size?.blocks);
    });

    describe("R-window-toast: keys as the stream brought them", () => {
      for (const binary of [true, false])
        test(binary ? "in binary" : "in text", async () => {
          const name = await makeTable(
            "a timestamptz, b text, c numeric, d bytea",
            "a, b, c, d",
            "to_timestamp(g), 'k' || g, g / 4.0, '\\x00ff'",
            50,
          );
          const [slot, publication] = [uniqueName("keys"), uniqueName("keys")];
          await database.sql(`CREATE PUBLICATION ${publication} FOR TABLE ${name}`);
          await database.sql(`SELECT pg_create_logical_replication_slot('${slot}', 'pgoutput')`);
          const reader = new PgoutputReader();
          const keys: WireKey[] = [];
          const onMessage = (bytes: Buffer, start: number, end: number): void => {
            if (reader.read(bytes, start, end) === messageTag.update) keys.push(wireKey(reader.newTuple, 4, binary ? "binary" : "text"));
          };
          await using stream = await collect({ connection: connectionOf(database.url), slot, publication, binary, onMessage });
          await database.sql(`UPDATE ${name} SET filler = 'y' WHERE n % 5 = 0`);
          await stream.until(({ seen }) => commits(seen).length === 1);
          const table = await see(session, name);
          const texts = await keyTexts(session, table, keys);
          const rows = await readRows(session, table, { kind: "keys", keys: texts });
          expect(rows.map((row) => Number(row.at(-2))).sort(ascending)).toEqual([5, 10, 15, 20, 25, 30, 35, 40, 45, 50]);
          expect(await readRows(session, table, { kind: "keys", keys: [["2000-01-01 00:00:00+00", "none", "0", "\\x"]] })).toEqual([]);
        });

      test("pg's own binary results would not do: it reads them as UTF-8", async () => {
        await using client = await openClient(database.url);
        const naive = { text: "SELECT '\\x80ff'::bytea AS v", values: [], binary: true, queryMode: "extended" };
        const { rows } = await client.query<{ v: Buffer }>(naive);
        expect(Buffer.from(rows[0]?.v ?? "")).not.toEqual(Buffer.from([0x80, 0xff]));
      });

      function wireKey(tuple: Tuple, columns: number, form: "text" | "binary"): WireKey {
        return Array.from({ length: columns }, (_, i) => {
          const start = tuple.start[i] ?? 0;
          return { form, bytes: Buffer.from(tuple.bytes.subarray(start, start + (tuple.length[i] ?? 0))) };
        });
      }
    });
  });
