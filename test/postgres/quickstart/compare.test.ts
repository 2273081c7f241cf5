import { DuckDBInstance, type DuckDBConnection } from "@duckdb/node-api";
import { expect, test } from "vitest";
import { compareTables } from "../../../src/quickstart/compare.ts";
import { postgres, type TestDatabase } from "../../support/servers.ts";

const TABLE = { schema: "public", name: "things" };
const SIGNAL = new AbortController().signal;

const SOURCE = `
CREATE TYPE mood AS ENUM ('good', 'bad');
CREATE TABLE things (b integer, a bigint, PRIMARY KEY (a, b), name text, price numeric(12,2), ref uuid, doc jsonb, made timestamptz,
  day date, yes boolean, mood mood, raw bytea, during interval);
INSERT INTO things VALUES
  (1, 9, 'Zoë 👩‍🚀', 0.10, '00000000-0000-4000-8000-00000000000a', '{"b": 1.50, "a": [null]}', '2024-02-29 23:59:59.123456+00',
   '0044-03-15', true, 'bad', '\\x00ff', '1 year 2 days 03:04:05.25'),
  (2, 10, '', -1234567890.12, null, 'null', '1969-12-31 23:59:59.999999+00', '2024-02-29', false, 'good', '', '-3 mons'),
  (-1, 10, null, null, null, null, null, null, null, null, null, null);`;

/** The types that the sink gives a copy; values written as DuckDB's SQL has them. */
const COPY = `
CREATE SCHEMA public;
CREATE TABLE public.things (a BIGINT NOT NULL, b INTEGER NOT NULL, name VARCHAR, price DECIMAL(12,2), ref UUID, doc JSON,
  made TIMESTAMP WITH TIME ZONE, day DATE, yes BOOLEAN, mood VARCHAR, raw BLOB, during VARCHAR, _tailrace_seq VARCHAR);
INSERT INTO public.things VALUES
  (10, -1, null, null, null, null, null, null, null, null, null, null, 'x'),
  (10, 2, '', -1234567890.12, null, 'null', '1969-12-31 23:59:59.999999+00', '2024-02-29', false, 'good', ''::BLOB, 'P-3M', 'x'),
  (9, 1, 'Zoë 👩‍🚀', 0.10, '00000000-0000-4000-8000-00000000000a', '{"a": [null], "b": 1.50}', '2024-02-29 23:59:59.123456+00',
   '0044-03-15', true, 'bad', '\\x00\\xFF'::BLOB, 'P1Y2DT3H4M5.25S', 'x');`;

async function pair(): Promise<AsyncDisposable & { source: TestDatabase; copy: DuckDBConnection }> {
  const source = await (await postgres()).createDatabase();
  await source.sql(SOURCE);
  const instance = await DuckDBInstance.create(":memory:");
  const copy = await instance.connect();
  await copy.run(COPY);
  return {
    source,
    copy,
    [Symbol.asyncDispose]: async () => {
      instance.closeSync();
      await source[Symbol.asyncDispose]();
    },
  };
}

test("the same values are the same, whatever each side's text for them is", async () => {
  await using sides = await pair();
  const { tables, differences, first } = await compareTables(sides.source.url, sides.copy, [TABLE], SIGNAL);
  expect(first).toEqual([]);
  expect({ tables, differences }).toEqual({ tables: [{ table: "public.things", rows: 3, differences: 0 }], differences: 0 });
});

const changes = [
  ["name", "'Zoe 👩‍🚀'"],
  ["price", "0.11"],
  ["ref", "'00000000-0000-4000-8000-00000000000b'"],
  ["doc", `'{"a": [null], "b": 1.5}'`],
  ["made", "made + INTERVAL 1 MICROSECOND"],
  ["day", "day + 1"],
  ["yes", "NOT yes"],
  ["mood", "'good'"],
  ["raw", "'\\x00\\xFE'::BLOB"],
  ["during", "'P1Y2DT3H4M5S'"],
  ["name", "NULL"],
] as const;

test.each(changes)("a copy whose %s is %s differs in one row, named by its key", async (column, value) => {
  await using sides = await pair();
  await sides.copy.run(`UPDATE public.things SET ${column} = ${value} WHERE a = 9`);
  const { differences, first } = await compareTables(sides.source.url, sides.copy, [TABLE], SIGNAL);
  expect(differences).toBe(1);
  expect(first).toEqual([expect.objectContaining({ table: "public.things", key: "a=9, b=1", column })]);
});

test("an empty text is no null", async () => {
  await using sides = await pair();
  await sides.copy.run("UPDATE public.things SET name = NULL WHERE a = 10 AND b = 2");
  const { first } = await compareTables(sides.source.url, sides.copy, [TABLE], SIGNAL);
  expect(first).toEqual([{ table: "public.things", key: "a=10, b=2", column: "name", source: "", copy: null }]);
});

test("rows that stand on one side only are counted, and so is a row that stands twice", async () => {
  await using sides = await pair();
  await sides.source.sql("INSERT INTO things (a, b) VALUES (7, 7), (100, 1)");
  await sides.copy.run("INSERT INTO public.things (a, b) VALUES (10, 3), (7, 8), (10, -1)");
  const { differences, first } = await compareTables(sides.source.url, sides.copy, [TABLE], SIGNAL);
  expect(differences).toBe(5);
  const seen = first.map(({ key, source, copy }) => [key, source, copy]).sort();
  expect(seen).toEqual([
    ["a=10, b=-1", null, "a row"],
    ["a=10, b=3", null, "a row"],
    ["a=100, b=1", "a row", null],
    ["a=7, b=7", "a row", null],
    ["a=7, b=8", null, "a row"],
  ]);
});

test("a table or a column without a copy differs in every row", async () => {
  await using sides = await pair();
  await sides.copy.run("ALTER TABLE public.things DROP COLUMN during");
  expect(await compareTables(sides.source.url, sides.copy, [TABLE], SIGNAL)).toMatchObject({ differences: 3 });
  await sides.copy.run("DROP TABLE public.things");
  expect(await compareTables(sides.source.url, sides.copy, [TABLE], SIGNAL)).toMatchObject({ differences: 3 });
});

test("types that the two sides write differently are the same, and so are the ends of time", async () => {
  await using sides = await pair();
  await sides.source
    .sql(`CREATE DOMAIN dozen AS numeric(4,1); CREATE TABLE more (k double precision, name text COLLATE "C", d double precision, r real,
    padded char(5), at timestamp, t time, day date, made timestamptz, many int[], dom dozen, twice int GENERATED ALWAYS AS (2) STORED);
    CREATE UNIQUE INDEX identity ON more (k, name) INCLUDE (d);
    ALTER TABLE more ALTER k SET NOT NULL, ALTER name SET NOT NULL, REPLICA IDENTITY USING INDEX identity;
    INSERT INTO more VALUES (10, 'z', 1e20, 0.1, 'ab', '2024-02-29 23:59:59.5', '24:00', 'infinity', '-infinity', '{1,null}', 1.5),
      (9, '𝒳', 'NaN', '-Infinity', '', 'infinity', '00:00:00.25', '0044-03-15 BC', '0001-01-01 00:00:00+00 BC', '{}', null),
      (9, '\uffee', -0.0, 1e-30, null, null, null, null, null, null, null),
      ('NaN', 'x', 1e15, 3, null, '1969-12-31 23:59:59.999999', null, '-infinity', null, null, null)`);
  await sides.copy
    .run(`CREATE TABLE public.more (k DOUBLE, name VARCHAR, d DOUBLE, r FLOAT, padded VARCHAR, "at" TIMESTAMP, t TIME, day DATE,
    made TIMESTAMP WITH TIME ZONE, many VARCHAR, dom DECIMAL(4,1));
    INSERT INTO public.more VALUES (10, 'z', 1e20, 0.1, 'ab   ', '2024-02-29 23:59:59.5', '24:00:00', 'infinity', '-infinity', '{1,NULL}', 1.5),
      (9, '𝒳', 'NaN', '-Infinity', '     ', 'infinity', '00:00:00.25', '0044-03-15 (BC)', '0001-01-01 (BC) 00:00:00+00', '{}', null),
      (9, '\uffee', 0, 1e-30, null, null, null, null, null, null, null),
      ('NaN', 'x', 1e15, 3, null, '1969-12-31 23:59:59.999999', null, '-infinity', null, null, null)`);
  const table = { schema: "public", name: "more" };
  const same = await compareTables(sides.source.url, sides.copy, [table], SIGNAL);
  expect(same.first).toEqual([]);
  expect(same.tables).toEqual([{ table: "public.more", rows: 4, differences: 0 }]);
  await sides.copy.run(
    "UPDATE public.more SET d = d + 1 WHERE k = 9; UPDATE public.more SET padded = 'ab' WHERE k = 10; UPDATE public.more SET day = NULL WHERE isnan(k)",
  );
  const { first } = await compareTables(sides.source.url, sides.copy, [table], SIGNAL);
  expect(first.map(({ key, column }) => `${key} ${column}`)).toEqual(["k=9, name=\uffee d", "k=10, name=z padded", "k=NaN, name=x day"]);
});

test("an hstore is compared pair by pair with the copy's map, whatever their order", async () => {
  await using sides = await pair();
  await sides.source.sql(`CREATE EXTENSION hstore; CREATE TABLE maps (k int PRIMARY KEY, h hstore, l hstore[]);
    INSERT INTO maps VALUES (1, 'a=>1, bb=>NULL, c=>"x, y"', ARRAY['a=>1'::hstore, NULL, '']), (2, '', '{}'), (3, NULL, NULL), (4, 'a=>NULL', NULL)`);
  await sides.copy.run(`CREATE TABLE public.maps (k INTEGER, h MAP(VARCHAR, VARCHAR), l MAP(VARCHAR, VARCHAR)[]);
    INSERT INTO public.maps VALUES (1, MAP {'c': 'x, y', 'bb': NULL, 'a': '1'}, [MAP {'a': '1'}, NULL, MAP {}]), (2, MAP {}, []), (3, NULL, NULL),
      (4, MAP {'a': NULL}, NULL)`);
  const table = { schema: "public", name: "maps" };
  const same = await compareTables(sides.source.url, sides.copy, [table], SIGNAL);
  expect(same.first).toEqual([]);
  expect(same.tables).toEqual([{ table: "public.maps", rows: 4, differences: 0 }]);
  await sides.copy.run(
    "UPDATE public.maps SET h = MAP {'a': 'null'} WHERE k = 4; UPDATE public.maps SET l = [MAP {'a': '2'}, NULL, MAP {}] WHERE k = 1",
  );
  const { first } = await compareTables(sides.source.url, sides.copy, [table], SIGNAL);
  expect(first.map(({ key, column }) => `${key} ${column}`)).toEqual(["k=1 l", "k=4 h"]);
});

test("geometric values are compared number by number with the copy's structs", async () => {
  await using sides = await pair();
  await sides.source.sql(`CREATE TABLE figures (k int PRIMARY KEY, p point, w path, g polygon, l box[]);
    INSERT INTO figures VALUES (1, '(1e20,NaN)', '((0,0),(1,2))', '((0,0),(1,2))', '{(3,4),(1,2);NULL}'), (2, '(-Infinity,-0.5)', '[(0.1,0)]', NULL, '{}'), (3, '(1,2)', '[(1,1)]', NULL, NULL)`);
  await sides.copy
    .run(`CREATE TABLE public.figures (k INTEGER, p STRUCT(x DOUBLE, y DOUBLE), w STRUCT(closed BOOLEAN, points STRUCT(x DOUBLE, y DOUBLE)[]),
      g STRUCT(x DOUBLE, y DOUBLE)[], l STRUCT(x1 DOUBLE, y1 DOUBLE, x2 DOUBLE, y2 DOUBLE)[]);
    INSERT INTO public.figures VALUES (1, {x: 1e20, y: 'nan'}, {closed: true, points: [{x: 0, y: 0}, {x: 1, y: 2}]}, [{x: 0, y: 0}, {x: 1, y: 2}], [{x1: 3, y1: 4, x2: 1, y2: 2}, NULL]),
      (2, {x: '-inf', y: -0.5}, {closed: false, points: [{x: 0.1, y: 0}]}, NULL, []), (3, {x: 1, y: 2}, {closed: false, points: [{x: 1, y: 1}]}, NULL, NULL)`);
  const table = { schema: "public", name: "figures" };
  const same = await compareTables(sides.source.url, sides.copy, [table], SIGNAL);
  expect(same.first).toEqual([]);
  await sides.copy.run(
    "UPDATE public.figures SET p = {x: 1e20, y: 0} WHERE k = 1; UPDATE public.figures SET w = {closed: true, points: [{x: 0.1, y: 0}]} WHERE k = 2; UPDATE public.figures SET l = [NULL] WHERE k = 3",
  );
  const { first } = await compareTables(sides.source.url, sides.copy, [table], SIGNAL);
  expect(first.map(({ key, column }) => `${key} ${column}`)).toEqual(["k=1 p", "k=2 w", "k=3 l"]);
});

test("arrays are compared element by element where the copy has lists: null is no text, and no element looks like two", async () => {
  await using sides = await pair();
  await sides.source
    .sql(`CREATE DOMAIN tag AS text; CREATE TABLE lists (k int PRIMARY KEY, t tag[], n numeric(5,2)[], d float8[], at timestamptz[], c char(3)[], other int4range[]);
    INSERT INTO lists VALUES (1, '{"a,b",NULL,"NULL",""}', '{1.50,NULL}', '{1e20,NaN,-Infinity,NULL,-0}', '{2024-02-29 23:59:59.5+00,infinity}', '{ab}', '{"[1,5)"}'),
      (2, '{}', '{}', '{}', '{}', '{}', '{}'), (3, NULL, NULL, NULL, NULL, NULL, NULL), (4, '{"a","b"}', NULL, '{1,2}', NULL, NULL, NULL)`);
  await sides.copy
    .run(`CREATE TABLE public.lists (k INTEGER, t VARCHAR[], n DECIMAL(5,2)[], d DOUBLE[], "at" TIMESTAMP WITH TIME ZONE[], c VARCHAR[], other VARCHAR);
    INSERT INTO public.lists VALUES
      (1, ['a,b', NULL, 'NULL', ''], [1.50, NULL], [1e20, 'NaN', '-Infinity', NULL, 0], ['2024-02-29 23:59:59.5+00', 'infinity'], ['ab '], '{"[1,5)"}'),
      (2, [], [], [], [], [], '{}'), (3, NULL, NULL, NULL, NULL, NULL, NULL), (4, ['a', 'b'], NULL, [1, 2], NULL, NULL, NULL)`);
  const table = { schema: "public", name: "lists" };
  const same = await compareTables(sides.source.url, sides.copy, [table], SIGNAL);
  expect(same.first).toEqual([]);
  expect(same.tables).toEqual([{ table: "public.lists", rows: 4, differences: 0 }]);
  await sides.copy.run(
    "UPDATE public.lists SET t = ['a,1:b'] WHERE k = 4; UPDATE public.lists SET d = [1e20, 'NaN', '-Infinity', NULL, 1] WHERE k = 1; UPDATE public.lists SET n = NULL WHERE k = 2",
  );
  const { first } = await compareTables(sides.source.url, sides.copy, [table], SIGNAL);
  expect(first.map(({ key, column }) => `${key} ${column}`)).toEqual(["k=1 d", "k=2 n", "k=4 t"]);
});

test("composites are compared attribute by attribute, as each one's own type is, in arrays and in one another", async () => {
  await using sides = await pair();
  await sides.source
    .sql(`CREATE TYPE part AS (f float8, at timestamptz, raw bytea); CREATE TYPE whole AS ("No, 1" int, parts part[], part part, fs float8[]);
    CREATE TABLE whole_things (id int PRIMARY KEY, w whole, ws whole[]);
    INSERT INTO whole_things VALUES (1, ROW(7, ARRAY[ROW(1e300, '2024-02-29 23:59:59.123456+00', '\\x00ff')::part, NULL], ROW('NaN', 'infinity', NULL), '{1.5,NULL,-0}'), NULL),
      (2, NULL, ARRAY[ROW(NULL, '{}', NULL, NULL)::whole, NULL]), (3, ROW(NULL, NULL, NULL, NULL), '{}')`);
  await sides.copy
    .run(`CREATE TABLE public.whole_things (id INTEGER, w STRUCT(parts STRUCT(f DOUBLE, "at" TIMESTAMP WITH TIME ZONE, raw BLOB)[], "No, 1" INTEGER,
      part STRUCT(gone INTEGER, f DOUBLE, "at" TIMESTAMP WITH TIME ZONE, raw BLOB), fs DOUBLE[]), ws STRUCT("No, 1" INTEGER, parts STRUCT(f DOUBLE, "at" TIMESTAMP WITH TIME ZONE, raw BLOB)[],
      part STRUCT(f DOUBLE, "at" TIMESTAMP WITH TIME ZONE, raw BLOB), fs DOUBLE[])[]);
    INSERT INTO public.whole_things VALUES (1, {'parts': [{'f': 1e300, 'at': '2024-02-29 23:59:59.123456+00', 'raw': '\\x00\\xFF'::BLOB}, NULL], 'No, 1': 7,
      'part': {'gone': 5, 'f': 'NaN', 'at': 'infinity', 'raw': NULL}, 'fs': [1.5, NULL, -0.0]}, NULL),
      (2, NULL, [{'No, 1': NULL, 'parts': [], 'part': NULL, 'fs': NULL}, NULL]), (3, {'parts': NULL, 'No, 1': NULL, 'part': NULL, 'fs': NULL}, [])`);
  const table = { schema: "public", name: "whole_things" };
  const same = await compareTables(sides.source.url, sides.copy, [table], SIGNAL);
  expect([same.first, same.differences]).toEqual([[], 0]);
  for (const [place, sql] of [
    ["id=1 w", "UPDATE whole_things SET w.part.f = 1 WHERE id = 1"],
    ["id=3 w", "UPDATE whole_things SET w = NULL WHERE id = 3"],
    ["id=2 ws", "UPDATE whole_things SET ws[1].parts = NULL WHERE id = 2"],
  ] as const) {
    await sides.source.sql(sql);
    const { first } = await compareTables(sides.source.url, sides.copy, [table], SIGNAL);
    expect(
      first.map(({ key, column }) => `${key} ${column}`),
      sql,
    ).toContain(place);
  }
});
