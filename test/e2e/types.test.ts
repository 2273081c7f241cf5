// Every type of this version from end to end, at the ends of its range, through both protocols into both warehouses; and
// what happens to a value that no event can hold.
import { afterAll, beforeAll, expect, test } from "vitest";
import { deadLetterTopic } from "../../src/source/dead-letters.ts";
import { withLog } from "../support/scan.ts";
import { postgres, uniqueName, type TestDatabase } from "../support/servers.ts";
import { Scene, sinkDocument, sourceDocument, until } from "./scene.ts";

/** A column: PostgreSQL's type, DuckDB's, and values as PostgreSQL takes them beside what DuckDB prints. */
type TypeCase = {
  readonly type: string;
  readonly duckdb: string;
  readonly values: readonly (readonly [literal: string, printed: string])[];
};

/** Types that are another one in a PostgreSQL target. */
const AS_THERE: Readonly<Record<string, string>> = { money: "::numeric", "public.hstore": "::jsonb" };

const same = (...texts: string[]): (readonly [string, string])[] => texts.map((text) => [text, text]);
const nines = (count: number): string => "9".repeat(count);

const everyPlane = Array.from({ length: 17 }, (_, plane) => String.fromCodePoint(plane * 0x1_0000 + 0x20, plane * 0x1_0000 + 0xffff)).join(
  "",
);

const cases: readonly TypeCase[] = [
  { type: "bool", duckdb: "BOOLEAN", values: same("true", "false") },
  { type: "int2", duckdb: "SMALLINT", values: same("-32768", "32767") },
  { type: "int4", duckdb: "INTEGER", values: same("-2147483648", "2147483647") },
  { type: "int8", duckdb: "BIGINT", values: same("-9223372036854775808", "9223372036854775807") },
  { type: "oid", duckdb: "BIGINT", values: same("0", "4294967295") },
  {
    type: "float4",
    duckdb: "FLOAT",
    values: [
      ["-3.4028235e+38", "-3.4028235e+38"],
      ["1e-45", "1e-45"],
      ["NaN", "nan"],
      ["-Infinity", "-inf"],
      ["-0", "-0.0"],
    ],
  },
  {
    type: "float8",
    duckdb: "DOUBLE",
    values: [
      ["1.7976931348623157e+308", "1.7976931348623157e+308"],
      ["5e-324", "5e-324"],
      ["NaN", "nan"],
      ["Infinity", "inf"],
      ["0.1", "0.1"],
    ],
  },
  {
    type: "numeric(38,10)",
    duckdb: "DECIMAL(38,10)",
    values: same(`${nines(28)}.${nines(10)}`, `-${nines(28)}.${nines(10)}`, "0.0000000001"),
  },
  { type: "numeric(60,4)", duckdb: "VARCHAR", values: same(`-${nines(56)}.9999`, "0.0001") },
  { type: "numeric(5,2)", duckdb: "DECIMAL(5,2)", values: same("-999.99", "0.00", "12.50") },
  { type: "numeric", duckdb: "VARCHAR", values: same("NaN", "Infinity", `1${"0".repeat(400)}`, "-0.00000000000000000000000000000001") },
  { type: "numeric(3,-2)", duckdb: "VARCHAR", values: same("99900", "-100") },
  { type: "numeric(2,4)", duckdb: "VARCHAR", values: same("0.0099", "-0.0001") },
  { type: "money", duckdb: "DECIMAL(19,2)", values: same("-92233720368547758.08", "92233720368547758.07", "0.00") },
  { type: "text", duckdb: "VARCHAR", values: same("", "plain", "ünï © 🐘", everyPlane, "tab\t, line\n, 'quote', \\backslash") },
  { type: "varchar(10)", duckdb: "VARCHAR", values: same("ten chars.") },
  {
    type: "char(5)",
    duckdb: "VARCHAR",
    values: [
      ["ab", "ab   "],
      ["", "     "],
    ],
  },
  { type: "name", duckdb: "VARCHAR", values: same("a_name") },
  { type: "uuid", duckdb: "UUID", values: same("00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff") },
  {
    type: "bytea",
    duckdb: "BLOB",
    values: [
      ["\\x", ""],
      ["\\x00ff41", "\\x00\\xFFA"],
    ],
  },
  { type: "json", duckdb: "JSON", values: same('{"b": 1,   "a": [null, 1e2]}', "null") },
  {
    type: "jsonb",
    duckdb: "JSON",
    values: [
      ['{"b": 1,   "a": [null, 100]}', '{"a": [null, 100], "b": 1}'],
      ['"text"', '"text"'],
    ],
  },
  { type: "mood", duckdb: "VARCHAR", values: same("sad", "it's fine") },
  {
    type: "date",
    duckdb: "DATE",
    values: [
      ["4714-11-24 BC", "4714-11-24 (BC)"],
      ["2024-02-29", "2024-02-29"],
      ["5874897-12-31", "5874897-12-31"],
      ["infinity", "infinity"],
      ["-infinity", "-infinity"],
    ],
  },
  { type: "time", duckdb: "TIME", values: same("00:00:00", "23:59:59.999999", "24:00:00") },
  {
    type: "timestamp",
    duckdb: "TIMESTAMP",
    values: [
      ["4714-11-24 00:00:00 BC", "4714-11-24 (BC) 00:00:00"],
      ["1969-12-31 23:59:59.999999", "1969-12-31 23:59:59.999999"],
      ["294246-12-31 23:59:59.999999", "294246-12-31 23:59:59.999999"],
      ["infinity", "infinity"],
      ["-infinity", "-infinity"],
    ],
  },
  {
    type: "timestamptz",
    duckdb: "TIMESTAMP WITH TIME ZONE",
    values: [
      ["2026-01-02 03:04:05.678901+02", "2026-01-02 01:04:05.678901+00"],
      ["infinity", "infinity"],
      ["-infinity", "-infinity"],
    ],
  },
  {
    type: "interval",
    duckdb: "VARCHAR",
    values: [
      ["1 year 2 mons -3 days 04:05:06.789", "P1Y2M-3DT4H5M6.789S"],
      ["0", "PT0S"],
    ],
  },
  { type: "inet", duckdb: "VARCHAR", values: same("10.0.0.1/8", "::1", "::ffff:1.2.3.4") },
  { type: "cidr", duckdb: "VARCHAR", values: same("10.0.0.0/8", "2001:db8::/32") },
  { type: "macaddr", duckdb: "VARCHAR", values: same("08:00:2b:01:02:03") },
  { type: "macaddr8", duckdb: "VARCHAR", values: same("08:00:2b:01:02:03:04:05") },
  { type: "bit(3)", duckdb: "VARCHAR", values: same("101", "000") },
  { type: "varbit", duckdb: "VARCHAR", values: same("", "1", "101010101") },
  { type: "timetz", duckdb: "VARCHAR", values: same("24:00:00-15:59:59", "12:00:00.5+05:30") },
  { type: "tsvector", duckdb: "VARCHAR", values: same("'cat':1A,2 'it''s' 'x\\\\y':16383", "") },
  { type: "pg_lsn", duckdb: "VARCHAR", values: same("0/0", "FFFFFFFF/FFFFFFFF") },
  { type: "xid8", duckdb: "VARCHAR", values: same("18446744073709551615") },
  { type: "jsonpath", duckdb: "VARCHAR", values: same('strict $."a"[*]?(@."b" > 1.5)') },
  {
    type: "int[]",
    duckdb: "INTEGER[]",
    values: [
      ["{1,NULL,3}", "[1, NULL, 3]"],
      ["{}", "[]"],
    ],
  },
  { type: "text[]", duckdb: "VARCHAR[]", values: [[`{"a,b",NULL,"NULL",""}`, `['a,b', NULL, 'NULL', '']`]] },
  { type: "numeric(12,2)[]", duckdb: "DECIMAL(12,2)[]", values: [["{1.5,-0.01}", "[1.50, -0.01]"]] },
  { type: "timestamptz[]", duckdb: "TIMESTAMP WITH TIME ZONE[]", values: [["{infinity}", "[infinity]"]] },
  {
    type: "public.hstore",
    duckdb: "MAP(VARCHAR, VARCHAR)",
    values: [
      ["a=>1, bb=>NULL", "{a=1, bb=NULL}"],
      ["", "{}"],
    ],
  },
  {
    type: "point",
    duckdb: "STRUCT(x DOUBLE, y DOUBLE)",
    values: [
      ["(1.5,-2)", "{'x': 1.5, 'y': -2.0}"],
      ["(NaN,-Infinity)", "{'x': nan, 'y': -inf}"],
    ],
  },
  { type: "line", duckdb: "STRUCT(a DOUBLE, b DOUBLE, c DOUBLE)", values: [["{1,-2,0.1}", "{'a': 1.0, 'b': -2.0, 'c': 0.1}"]] },
  {
    type: "lseg",
    duckdb: "STRUCT(x1 DOUBLE, y1 DOUBLE, x2 DOUBLE, y2 DOUBLE)",
    values: [["[(1,2),(3,4)]", "{'x1': 1.0, 'y1': 2.0, 'x2': 3.0, 'y2': 4.0}"]],
  },
  {
    type: "box",
    duckdb: "STRUCT(x1 DOUBLE, y1 DOUBLE, x2 DOUBLE, y2 DOUBLE)",
    values: [["(1,2),(3,4)", "{'x1': 3.0, 'y1': 4.0, 'x2': 1.0, 'y2': 2.0}"]],
  },
  {
    type: "path",
    duckdb: "STRUCT(closed BOOLEAN, points STRUCT(x DOUBLE, y DOUBLE)[])",
    values: [
      ["((0,0),(1,2))", "{'closed': true, 'points': [{'x': 0.0, 'y': 0.0}, {'x': 1.0, 'y': 2.0}]}"],
      ["[(0.1,0)]", "{'closed': false, 'points': [{'x': 0.1, 'y': 0.0}]}"],
    ],
  },
  { type: "polygon", duckdb: "STRUCT(x DOUBLE, y DOUBLE)[]", values: [["((0,0),(1,2))", "[{'x': 0.0, 'y': 0.0}, {'x': 1.0, 'y': 2.0}]"]] },
  {
    type: "circle",
    duckdb: "STRUCT(x DOUBLE, y DOUBLE, radius DOUBLE)",
    values: [["<(1,2),0.5>", "{'x': 1.0, 'y': 2.0, 'radius': 0.5}"]],
  },
  { type: "box[]", duckdb: "STRUCT(x1 DOUBLE, y1 DOUBLE, x2 DOUBLE, y2 DOUBLE)[]", values: [["{NULL}", "[NULL]"]] },
  { type: "int4range", duckdb: "VARCHAR", values: same("[1,5)", "empty", "(,)") },
  { type: "tstzrange", duckdb: "VARCHAR", values: same('["2024-02-29 23:59:59.5+00",infinity)', '(,"0044-03-15 12:00:00+00 BC"]') },
  { type: "datemultirange", duckdb: "VARCHAR", values: same("{}", "{[2026-01-01,2026-02-01),[2027-01-01,)}") },
  { type: "int4range[]", duckdb: "VARCHAR[]", values: [['{"[1,5)",NULL}', "['[1,5)', NULL]"]] },
  { type: "inet[]", duckdb: "VARCHAR[]", values: [["{10.0.0.1/8,NULL}", "[10.0.0.1/8, NULL]"]] },
];
/** Types that are read as PostgreSQL's text, which puts the whole stream on the text protocol. */
const others: readonly TypeCase[] = [
  { type: "public.floatrange", duckdb: "VARCHAR", values: same("[1.5,5)", "empty") },
  { type: "public.floatrange[]", duckdb: "VARCHAR", values: same('{"[1.5,5)",NULL}', "{}") },
];

const kinds = { bin: cases, txt: [...cases, ...others] };
type Kind = keyof typeof kinds;

let database: TestDatabase;
let warehouse: TestDatabase;
let scene: Scene;
const prefix = uniqueName("types");

beforeAll(async () => {
  database = await (await postgres()).createDatabase("types");
  warehouse = await (await postgres()).createDatabase("warehouse");
  scene = await Scene.open();
  await database.sql(
    "CREATE TYPE mood AS ENUM ('sad', 'it''s fine'); CREATE EXTENSION IF NOT EXISTS hstore; CREATE TYPE floatrange AS RANGE (subtype = float8)",
  );
  for (const [kind, columns] of Object.entries(kinds)) {
    await database.sql(`CREATE SCHEMA ${kind};
      CREATE TABLE ${kind}.every (id int PRIMARY KEY, ${columns.map(({ type }, index) => `c${index} ${type.replace("mood", "public.mood")}`).join(", ")});
      CREATE TABLE ${kind}.limits (id int PRIMARY KEY, amount numeric(12,2), at timestamp, body text, list int[])`);
  }
  await database.sql("CREATE TABLE bin.late (id int PRIMARY KEY, note text)");
  await scene.configure(
    ...Object.keys(kinds).flatMap((kind) => [
      sourceDocument({
        name: kind,
        url: database.url,
        tables: [`${kind}.*`],
        postgres: { slot: `${prefix}_${kind}`, publication: `${prefix}_${kind}` },
        topics: { prefix: `${prefix}-${kind}` },
      }),
      sinkDocument({ name: `${kind}-lake`, source: kind }),
      sinkDocument({ name: `${kind}-mart`, source: kind, warehouse: { postgres: { url: warehouse.url } } }),
    ]),
  );
  await scene.start();
  await scene.reaches(
    Object.fromEntries(
      Object.keys(kinds).flatMap((kind) => [
        [kind, "running"],
        [`${kind}-lake`, "running"],
        [`${kind}-mart`, "running"],
      ]),
    ),
  );
});

afterAll(async () => {
  await scene[Symbol.asyncDispose]();
  await warehouse[Symbol.asyncDispose]();
  await database[Symbol.asyncDispose]();
});

const protocols = (kind: Kind): unknown[] =>
  scene.lines.filter(({ connector, message }) => connector === kind && message === "streaming").map(({ protocol }) => protocol);

test.each(Object.keys(kinds) as Kind[])("every value of every type arrives as it is: %s", async (kind) => {
  const columns = kinds[kind];
  const rows = Math.max(...columns.map(({ values }) => values.length));
  const literal = (text: string): string => `'${text.replaceAll("'", "''")}'`;
  for (let row = 0; row <= rows; row++) {
    const values = columns.map(({ values: all }) => (row === rows ? "NULL" : literal(all[row % all.length]![0])));
    await database.sql(`INSERT INTO ${kind}.every VALUES (${row}, ${values.join(", ")})`);
  }

  expect(protocols(kind)).toEqual([kind === "bin" ? "binary" : "text"]);
  const names = columns.map((_, index) => `c${index}`);
  const expected = Array.from({ length: rows + 1 }, (_, row) => ({
    id: row,
    ...Object.fromEntries(columns.map(({ values }, index) => [`c${index}`, row === rows ? null : values[row % values.length]![1]])),
  }));
  await until(async () => {
    expect(
      await scene.duckdb(
        `SELECT id, ${names.map((name) => `CAST(${name} AS VARCHAR) AS ${name}`).join(", ")} FROM ${kind}.every ORDER BY id`,
      ),
    ).toEqual(expected);
  });
  const types = await scene.duckdb(
    `SELECT data_type FROM duckdb_columns() WHERE schema_name = '${kind}' AND table_name = 'every' AND column_name LIKE 'c%' ORDER BY column_index`,
  );
  expect(types.map(({ data_type }) => data_type)).toEqual(columns.map(({ duckdb }) => duckdb));
  // %L is what the type's output function prints, and keeps null apart from the empty text.
  const value = ({ type }: TypeCase, index: number): string => `c${index}${AS_THERE[type] ?? ""}`;
  const printed = `SELECT id, ${columns.map((column, index) => `format('%L', ${value(column, index)}) AS c${index}`).join(", ")} FROM ${kind}.every ORDER BY id`;
  const atSource = await database.sql(printed);
  await until(async () => {
    expect(await warehouse.sql(printed)).toEqual(atSource);
  });
});

/** Of rows 2, 3, 5, 7 and 8 of the test below. */
const LETTERS = ["VALUE_OUT_OF_RANGE", "VALUE_OUT_OF_RANGE", "ROW_TOO_LARGE", "VALUE_OUT_OF_RANGE", "VALUE_OUT_OF_RANGE"];

test.each(Object.keys(kinds) as Kind[])(
  "a value that no event can hold is a dead letter of the source, which goes on: %s",
  async (kind) => {
    await database.sql(
      `INSERT INTO ${kind}.limits VALUES (1, 1, '2026-01-01'), (2, 'NaN', '2026-01-01'), (3, 1, '294276-12-31 23:59:59'), (4, 1, NULL)`,
    );
    await database.sql(`INSERT INTO ${kind}.limits SELECT 5, 1, NULL, repeat('x', 17 * 1024 * 1024)`);
    await database.sql(
      `INSERT INTO ${kind}.limits VALUES (7, 1, NULL, NULL, '{{1,2}}'), (8, 1, NULL, NULL, '[0:0]={1}'), (6, 1, NULL, NULL, '{1}')`,
    );
    const there = async (ids: readonly number[]): Promise<void> => {
      await until(async () => {
        const sql = `SELECT id FROM ${kind}.limits ORDER BY id`;
        expect(await warehouse.sql(sql)).toEqual(ids.map((id) => ({ id })));
        expect(await scene.duckdb(sql)).toEqual(ids.map((id) => ({ id })));
      });
    };
    await there([1, 4, 6]);
    expect(await scene.source(kind)).toMatchObject({ state: "running", restarts: 0, deadLetters: 5 });
    const metric = await scene.metricByLabels("tailrace_dead_letters_total");
    expect(metric.get(`{connector="${kind}",code="VALUE_OUT_OF_RANGE"}`)).toBe(4);
    expect(metric.get(`{connector="${kind}",code="ROW_TOO_LARGE"}`)).toBe(1);
    const said = scene.lines
      .filter(({ connector, message }) => connector === kind && message === "dead letter")
      .map(({ code, table }) => `${String(code)} ${String(table)}`);
    expect(said).toEqual(LETTERS.map((code) => `${code} ${kind}.limits`));
    // What the remedy says: the corrected row's next event supersedes it.
    await database.sql(`UPDATE ${kind}.limits SET amount = 2, at = NULL, list = NULL WHERE id IN (2, 3, 7, 8)`);
    await there([1, 2, 3, 4, 6, 7, 8]);
  },
);

test("a column whose type is read as text turns up while the stream is binary: it starts anew as text, once, and nothing is lost", async () => {
  await database.sql("INSERT INTO bin.late VALUES (1, 'before')");
  await database.sql(
    "BEGIN; INSERT INTO bin.late VALUES (2, 'same'); ALTER TABLE bin.late ADD COLUMN place public.floatrange; INSERT INTO bin.late VALUES (3, 'same', '[1,2)'); COMMIT",
  );
  await database.sql("INSERT INTO bin.late VALUES (4, 'after', '[-2,1.5)')");
  const rows = [
    { id: 1, note: "before", place: null },
    { id: 2, note: "same", place: null },
    { id: 3, note: "same", place: "[1,2)" },
    { id: 4, note: "after", place: "[-2,1.5)" },
  ];
  await until(async () => {
    expect(await warehouse.sql("SELECT id, note, place FROM bin.late ORDER BY id")).toEqual(rows);
    expect(await scene.duckdb("SELECT id, note, place FROM bin.late ORDER BY id")).toEqual(rows);
  });
  await scene.reaches({ bin: "running" });
  expect(protocols("bin")).toEqual(["binary", "text"]);
  expect((await scene.source("bin")).restarts).toBe(1);
});

test("the source's dead letters hold what is needed to find the row: table, operation, sequence, key, code and the message's bytes", async () => {
  expect(await scene.stop()).toMatchObject({ code: 0 });
  await withLog(scene, async (log) => {
    const topic = deadLetterTopic(`${prefix}-bin`);
    const { records } = await log.read({ topic, partition: 0, offset: 0 }, 1 << 22, AbortSignal.timeout(10_000));
    const letters = records.map(({ key, value }) => ({ key, ...(JSON.parse(value?.toString() ?? "") as Record<string, unknown>) }));
    expect(letters).toEqual(
      LETTERS.map((code) => {
        return expect.objectContaining({
          code,
          table: "bin.limits",
          op: "c",
          key: expect.any(Buffer),
          sequence: expect.stringMatching(/^0001-[0-9a-f]{16}-[0-9a-f]{12}$/),
        });
      }),
    );
    // The third byte of the key's body on is Avro's; ids 2, 3, 5, 7 and 8 are zigzag 4, 6, 10, 14 and 16.
    expect(letters.map(({ key }) => key?.[5])).toEqual([4, 6, 10, 14, 16]);
  });
});
