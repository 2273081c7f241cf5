// Values of a real server, through its own pgoutput in both protocols, as Avro: avsc must read what SQL prints.
import avro from "avsc";
import fc from "fast-check";
import pg from "pg";
import { beforeAll, describe, expect, test } from "vitest";
import { EventDecoder } from "../../src/avro/decoder.ts";
import { TableEncoder } from "../../src/avro/encoder.ts";
import { tableSchemas } from "../../src/avro/schema.ts";
import { ByteWriter } from "../../src/core/byte-writer.ts";
import { isReadAsText, typeAsAsked } from "../../src/core/read-as.ts";
import {
  geometricFields,
  readAsNames,
  type Column,
  type ColumnType,
  type CompositeType,
  type PlainKind,
  type RangeName,
  type ReadAs,
  type Table,
} from "../../src/core/table.ts";
import { Tuple, tupleState } from "../../src/core/tuple.ts";
import { readEvent } from "../support/row-values.ts";
import { describeWithPostgres15, postgres, postgres15, uniqueName, type SharedPostgres } from "../support/servers.ts";
import { avscType } from "../unit/avro/events.ts";
import { decimalText } from "../unit/avro/rows.ts";

/** A column, its values as SQL literals, and SQL that prints a value of it (`v`) whatever the session's settings are. */
type Case = Pick<Column, "type" | "sent"> & { readonly sql: string; readonly values: readonly string[]; readonly print: string };

const AS_TEXT = "v::text";
/** What the type's output function prints; the cast of some types to text is another function. */
const AS_PRINTED = "format('%s', v)";
const MICROS =
  "CASE WHEN v = 'infinity' THEN '9223372036854775807' WHEN v = '-infinity' THEN '-9223372036854775808' ELSE trunc(extract(epoch FROM v) * 1000000)::text END";
const plain = (sql: string, kind: PlainKind, print: string, values: readonly string[]): Case => ({
  sql,
  type: { kind },
  values,
  print,
});
const decimal = (precision: number, scale: number, values: readonly string[]): Case => ({
  sql: `numeric(${precision},${scale})`,
  type: { kind: "decimal", precision, scale },
  values,
  print: AS_TEXT,
});
/** `count` values of an expression with random() in it. */
const random = (count: number, expression: string): readonly string[] => Array.from({ length: count }, () => expression);

/** The first code point (but 0, which text has not) and the last of each of Unicode's planes. */
const everyPlane = Array.from({ length: 17 }, (_, plane) =>
  String.fromCodePoint(plane * 0x1_0000 + (plane === 0 ? 1 : 0), plane * 0x1_0000 + 0xffff),
).join("");

const cases: readonly Case[] = [
  plain("bool", "bool", AS_TEXT, ["true", "false"]),
  plain("int2", "int2", AS_TEXT, ["-32768", "32767", "0"]),
  plain("int4", "int4", AS_TEXT, ["-2147483648", "2147483647"]),
  plain("int8", "int8", AS_TEXT, [
    "-9223372036854775808",
    "9223372036854775807",
    "9007199254740993",
    "-4294967296",
    ...random(20, "((random() - 0.5) * 1.8e19)::int8"),
  ]),
  plain("oid", "oid", AS_TEXT, ["0", "4294967295"]),
  plain("float4", "float4", "encode(float4send(v), 'hex')", [
    "'NaN'",
    "'Infinity'",
    "'-Infinity'",
    "'-0'",
    "'1e-45'",
    "'3.4028235e38'",
    "0.1",
    ...random(50, "(random() * 10 ^ (random() * 60 - 30))::float4"),
  ]),
  plain("float8", "float8", "encode(float8send(v), 'hex')", [
    "'NaN'",
    "'Infinity'",
    "'-Infinity'",
    "'-0'",
    "'5e-324'",
    "'1.7976931348623157e308'",
    "0.1",
    ...random(50, "random() * 10 ^ (random() * 600 - 300)"),
  ]),
  decimal(12, 2, [
    "0",
    "0.05",
    "-0.05",
    "9999999999.99",
    "-9999999999.99",
    "100",
    "10000",
    "-1.28",
    "1.28",
    ...random(20, "(random() * 1e10 - 5e9)"),
  ]),
  decimal(40, 0, ["0", "9999999999999999999999999999999999999999", "-18446744073709551616", "10000", "100000000"]),
  decimal(38, 38, ["0", "0.00000000000000000000000000000000000001", "-0.99999999999999999999999999999999999999"]),
  decimal(1000, 3, ["repeat('9', 997)::numeric", "-repeat('9', 997)::numeric", "0.001"]),
  decimal(21, 7, random(20, "(random() * 1e14 - 5e13)::numeric + random()::numeric")),
  plain("numeric", "numeric", AS_TEXT, [
    "0",
    "0.000",
    "'NaN'",
    "'Infinity'",
    "'-Infinity'",
    "1e-30",
    "-1e30",
    "1e1000",
    "1e-1000",
    "123456.7890123",
    "0.0001",
    "10000.00010000",
    ...random(20, "(random() * 10 ^ (random() * 30))::numeric"),
  ]),
  plain("numeric(5,-2)", "numeric", AS_TEXT, ["12345.67", "-50"]),
  {
    sql: "money",
    type: { kind: "money", precision: 19, scale: 2 },
    print: "v::numeric::text",
    values: [
      "'0'",
      "'-0.01'",
      "'1234.5'",
      "'-92233720368547758.08'",
      "'92233720368547758.07'",
      ...random(30, "((random() - 0.5) * 10 ^ (random() * 15))::numeric::money"),
    ],
  },
  plain("text", "text", AS_TEXT, ["''", `'${everyPlane}'`, "'snow ☃ 🐘'", "repeat('x', 5000)", "E'line\\n\\ttab\\\\'"]),
  plain("varchar(10)", "text", AS_TEXT, ["'ten chars!'"]),
  plain("char(5)", "text", "rpad(v::text, 5)", ["'ab'"]),
  plain("name", "text", AS_TEXT, ["'a name'"]),
  plain("mood", "enum", AS_TEXT, ["'so so'"]),
  plain("json", "json", AS_TEXT, [`'{"b": 1,  "a": [1.50, null]}'`]),
  plain("jsonb", "jsonb", AS_TEXT, [`'{"b": 1,  "a": [1.50, null, "☃"]}'`, "'null'"]),
  plain("uuid", "uuid", AS_TEXT, ["'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'", "gen_random_uuid()"]),
  plain("bytea", "bytea", "encode(v, 'hex')", ["''", "'\\x00ff5c'", "decode(repeat('ab', 300), 'hex')"]),
  plain(
    "date",
    "date",
    "CASE WHEN v = 'infinity' THEN '2147483647' WHEN v = '-infinity' THEN '-2147483648' ELSE (v - date '1970-01-01')::text END",
    [
      "'infinity'",
      "'-infinity'",
      "'4714-11-24 BC'",
      "'5874897-12-31'",
      "'0001-01-01'",
      "'0001-12-31 BC'",
      "'10000-01-01'",
      "'2000-02-29'",
      "'1900-02-28'",
      ...random(30, "date '1970-01-01' + ((random() - 0.1) * 3000000)::int"),
    ],
  ),
  plain("time", "time", MICROS.replace(/.*ELSE /, "").replace(/ END$/, ""), ["'00:00'", "'24:00'", "'23:59:59.999999'", "'12:34:56.5'"]),
  ...(["timestamp", "timestamptz"] as const).map((kind) =>
    plain(kind, kind, MICROS, [
      "'infinity'",
      "'-infinity'",
      "'4714-11-24 00:00:00+00 BC'",
      "'294246-12-31 23:59:59.999999+00'",
      "'1969-12-31 23:59:59.999999+00'",
      "'1970-01-01 00:00:00+00'",
      "'0044-03-15 12:00:00.25+00 BC'",
      "'10000-01-01 00:00:00+00'",
      ...random(30, "to_timestamp((random() - 0.5) * 1e11)"),
    ]),
  ),
  plain("interval", "interval", AS_TEXT, [
    "'0'",
    "'1 year 2 months 3 days 4:05:06'",
    "'-1 year -2 months -3 days -04:05:06.789'",
    "'-0.5 seconds'",
    "'-1 month +31 days 0.000001 seconds'",
    "'100000000 hours'",
    "'2147483647 months -2147483648 days 1 minute'",
    "'-11 months'",
    "'-59.999999 seconds'",
    "'1 day -1 second'",
    ...random(
      20,
      "make_interval(months => ((random() - 0.5) * 1000)::int, days => ((random() - 0.5) * 1000)::int, secs => (random() - 0.5) * 1e6)",
    ),
  ]),
];

/** `count` values that fast-check makes, always the same ones. */
const generated = (count: number, values: fc.Arbitrary<string>): readonly string[] =>
  fc.sample(values, { numRuns: count, seed: 11 }).map((value) => `'${value.replaceAll("'", "''")}'`);
const hex = (bytes: number): fc.Arbitrary<string> =>
  fc.uint8Array({ minLength: bytes, maxLength: bytes }).map((value) => Buffer.from(value).toString("hex"));
/** Words that are zero more often than not: what `::` and the embedded IPv4 addresses hang on. */
const ipv6 = fc
  .array(fc.constantFrom("0", "0", "0", "0", "1", "ffff", "a0", "102"), { minLength: 8, maxLength: 8 })
  .map((words) => words.join(":"));
const zone = fc
  .tuple(fc.constantFrom("+", "-"), fc.nat(15), fc.constantFrom("00", "30", "59"), fc.constantFrom("00", "00", "59"))
  .map(([sign, hour, minute, second]) => `${sign}${String(hour).padStart(2, "0")}:${minute}:${second}`);
/** Each lexeme and its positions as tsvector's input function takes them. */
const tsvectors = fc
  .array(
    fc.tuple(
      fc.string({ unit: fc.constantFrom("'", "\\", " ", ":", "a", "é", "表", "🐘", ","), minLength: 1, maxLength: 6 }),
      fc.array(fc.tuple(fc.integer({ min: 1, max: 16_383 }), fc.constantFrom("", "A", "B", "C", "D")), { maxLength: 4 }),
    ),
    { maxLength: 5 },
  )
  .map((lexemes) =>
    lexemes
      .map(([word, positions]) => {
        const places = positions.map(([position, weight]) => `${position}${weight}`).join(",");
        return `'${word.replace(/['\\]/g, "$&$&")}'${places === "" ? "" : `:${places}`}`;
      })
      .join(" "),
  );

/** Of an hstore, by each key's bytes. */
const PAIRS = `(SELECT coalesce(string_agg(key || '=' || coalesce(octet_length(value) || ':' || value, 'null'), ',' ORDER BY key COLLATE "C"), '') FROM each(v))`;

/** Types that Avro has no word for: their binary form is printed as their output functions print it. */
const printedCases: readonly Case[] = [
  plain("inet", "inet", AS_PRINTED, [
    ...[
      "'10.0.0.1'",
      "'10.0.0.1/8'",
      "'0.0.0.0/0'",
      "'255.255.255.255/32'",
      "'::'",
      "'::/0'",
      "'::1'",
      "'::ffff:1.2.3.4'",
      "'::1.2.3.4/96'",
    ],
    ...generated(150, ipv6),
    ...generated(
      50,
      fc.tuple(ipv6, fc.nat(128)).map(([address, bits]) => `${address}/${bits}`),
    ),
    ...generated(
      50,
      fc.tuple(fc.ipV4(), fc.nat(32)).map(([address, bits]) => `${address}/${bits}`),
    ),
    ...generated(50, fc.ipV6()),
  ]),
  plain("cidr", "cidr", AS_PRINTED, [
    ...["'10.0.0.1'", "'10.0.0.0/8'", "'0.0.0.0/0'", "'::1'", "'::/0'"],
    ...generated(50, ipv6),
    ...generated(30, fc.ipV4()),
    ...random(20, "network(set_masklen('2001:db8:ffff::1'::inet, (random() * 128)::int))"),
  ]),
  plain("macaddr", "macaddr", AS_PRINTED, ["'00:00:00:00:00:00'", "'ff:ff:ff:ff:ff:ff'", ...generated(20, hex(6))]),
  plain("macaddr8", "macaddr8", AS_PRINTED, ["'00:00:00:00:00:00:00:00'", "'08:00:2b:01:02:03'", ...generated(20, hex(8))]),
  plain("varbit", "bit", AS_PRINTED, ["''", "'1'", ...generated(60, fc.string({ unit: fc.constantFrom("0", "1"), maxLength: 70 }))]),
  plain("bit(9)", "bit", AS_PRINTED, ["'000000000'", "'111111111'", "'100000001'"]),
  plain("timetz", "timetz", AS_PRINTED, [
    ...["'00:00+00'", "'24:00-15:59:59'", "'24:00+15:59:59'", "'23:59:59.999999+00:00:01'", "'12:00:00.5-00:30'"],
    ...generated(
      60,
      fc
        .tuple(fc.nat(23), fc.nat(59), fc.nat(59_999_999), zone)
        .map(([hour, minute, micros, offset]) => `${hour}:${minute}:${micros / 1e6}${offset}`),
    ),
  ]),
  plain("tsvector", "tsvector", AS_PRINTED, [
    "''",
    "'a fat cat'",
    "to_tsvector('simple', 'the it''s of \\ 表')",
    ...generated(150, tsvectors),
  ]),
  plain("ltree", "ltree", AS_PRINTED, ["''", "'Top.Science.Astronomy'", "'a_1.B2'"]),
  plain("hstore", "hstore", PAIRS, [
    ...["''", `'a=>1, bb=>NULL, "NULL"=>"NULL"'`, `'"a\\"b"=>"c\\\\d, e=>f", ""=>""'`, "hstore('🐘', E'\t\n')"],
    "(SELECT hstore(array_agg(i::text), array_agg(nullif(i % 7, 0)::text)) FROM generate_series(1, 300) i)",
  ]),
  plain("pg_lsn", "pg_lsn", AS_PRINTED, [
    "'0/0'",
    "'FFFFFFFF/FFFFFFFF'",
    "'16/B374D848'",
    ...random(20, "'0/0'::pg_lsn + trunc(random() * 1e19)::numeric"),
  ]),
  plain("xid", "xid", AS_PRINTED, ["'0'", "'4294967295'", "'2147483648'"]),
  plain("cid", "xid", AS_PRINTED, ["'0'", "'4294967295'"]),
  plain("xid8", "xid8", AS_PRINTED, [
    "'0'",
    "'18446744073709551615'",
    "'1000000'",
    ...random(20, "(trunc(random() * 1e18)::bigint)::text::xid8"),
  ]),
  plain("jsonpath", "jsonpath", AS_PRINTED, ["'$'", `'strict $.a[*] ? (@.b > 1.50 && @ like_regex "^☃").c'`, `'$."a b"[last - 1].size()'`]),
];

/** The numbers of a geometric value, float8 by float8. */
const NUMBERS = `(SELECT string_agg(encode(float8send(n::float8), 'hex'), ',' ORDER BY place)
  FROM regexp_split_to_table(btrim(regexp_replace(format('%s', v), '[][(){}<>,]+', ',', 'g'), ','), ',') WITH ORDINALITY each(n, place))`;
const RANDOM_POINT = "point(random() * 10 ^ (random() * 600 - 300), (random() - 0.5) * 1e6)";
const geometricCases: readonly Case[] = [
  plain("point", "point", NUMBERS, ["'(1,2.5)'", "'(NaN,-Infinity)'", "'(-0,5e-324)'", ...random(30, RANDOM_POINT)]),
  plain("line", "line", NUMBERS, ["'{1,-2,0.1}'", "'{0,1,1.7976931348623157e308}'", ...random(10, `line(point '(0,0)', ${RANDOM_POINT})`)]),
  plain("lseg", "lseg", NUMBERS, ["'[(1,2),(3,4.5)]'", ...random(10, `lseg(${RANDOM_POINT}, ${RANDOM_POINT})`)]),
  plain("box", "box", NUMBERS, ["'(1,2),(3,4)'", "'(0,0),(0,0)'", ...random(10, `box(${RANDOM_POINT}, ${RANDOM_POINT})`)]),
  plain("circle", "circle", NUMBERS, ["'<(1,2),0>'", "'<(1,2),Infinity>'", ...random(10, `circle(${RANDOM_POINT}, random())`)]),
  plain("path", "path", `(NOT isopen(v))::text || ',' || ${NUMBERS}`, ["'((0,0),(1,2.5),(3,4))'", "'[(0.1,0)]'", "'[(1,1),(NaN,2)]'"]),
  plain("polygon", "polygon", NUMBERS, ["'((0,0))'", "'((0,0),(1,0),(1,1))'", "polygon(500, circle '<(0,0),1>')"]),
];

const range = (typeName: RangeName, values: readonly string[]): Case => ({
  sql: typeName,
  type: { kind: "range", typeName },
  values,
  print: AS_TEXT,
});
const bounds = (from: string, to: string, type: string): readonly string[] =>
  ["[]", "[)", "(]", "()"].map((form) => `${type}(${from}, ${to}, '${form}')`);
const moments = "to_timestamp((random() - 0.5) * 1e11)";
const rangeCases: readonly Case[] = [
  range("int4range", ["'empty'", "'(,)'", "'[-2147483648,2147483647)'", ...bounds("-5", "17", "int4range")]),
  range("int8range", [
    ...["'empty'", "'[-9223372036854775808,)'", "'(,9223372036854775807)'", "'[-4294967296,4294967296)'"],
    ...random(20, "int8range(least(0, -(random() * 9.2e18)::int8), (random() * 9.2e18)::int8)"),
  ]),
  range("numrange", [
    ...["'empty'", "'[-1.50,0.000]'", "'[NaN,NaN]'", "'(-Infinity,1e40)'", "'(1e-30,)'"],
    ...bounds("1.10", "2.2", "numrange"),
  ]),
  range("daterange", [
    ...["'empty'", "'[-infinity,infinity]'", "'[4714-11-24 BC,5874897-12-31)'", "'[0001-12-31 BC,0001-01-01)'", "'(,2000-02-29)'"],
    ...random(30, "daterange(date '1970-01-01' + ((random() - 0.2) * 3000000)::int, NULL)"),
  ]),
  range("tsrange", [
    ...["'empty'", "'[-infinity,infinity]'", `'["4714-11-24 00:00:00 BC","294276-12-31 23:59:59.999999")'`],
    ...random(30, `tsrange(${moments}::timestamp, NULL)`),
  ]),
  range("tstzrange", [
    ...["'empty'", "'[,infinity)'", `'["0044-03-15 12:00:00.25+00 BC","1999-12-31 23:59:59.9+01")'`],
    ...random(30, `tstzrange(NULL, ${moments}, '(]')`),
  ]),
  range("int4multirange", ["'{}'", "'{[1,3),[5,)}'"]),
  range("int8multirange", ["'{(,-9223372036854775807)}'"]),
  range("nummultirange", ["'{[1.0,1.0],(2,3.50)}'"]),
  range("datemultirange", ["'{[2026-01-01,2026-02-01),[2027-01-01,)}'"]),
  range("tsmultirange", ["'{[2026-01-01,2026-02-01),[infinity,)}'"]),
  range("tstzmultirange", ["'{[2026-01-01,2026-02-01)}'"]),
];

/** Arrays of a case's values, nulls among them, printed element by element. */
function arrayCase({ sql, type, values, print }: Case): Case {
  if (type.kind === "array" || type.kind === "other") throw new Error(`no array of ${sql}`);
  const list = (some: readonly string[]): string =>
    `ARRAY[${some.map((value) => (value === "NULL" ? value : `(${value})::${sql}`)).join(", ")}]::${sql}[]`;
  const [first = "NULL", ...others] = values;
  return {
    sql: `${sql}[]`,
    type: { kind: "array", element: type },
    values: [
      list([]),
      list(["NULL"]),
      list([first]),
      list(["NULL", first, "NULL", ...others.slice(0, 12)]),
      list(others.slice(12, 60).reverse()),
    ],
    print: `(SELECT coalesce(string_agg(coalesce(octet_length(p)::text || ':' || p, 'null'), ',' ORDER BY place), '')
      FROM (SELECT CASE WHEN v IS NOT NULL THEN ${print} END AS p, place FROM unnest(v) WITH ORDINALITY one(v, place)) each)`,
  };
}

/** Texts that array_out has to quote, and some that it does not. */
const nastyTexts = fc.array(
  fc.oneof(
    fc.constantFrom("NULL", "null", "nULL", "", " ", "a b", "NULLS"),
    fc.string({ unit: fc.constantFrom('"', "\\", "{", "}", ",", " ", "\n", "\t", "\v", "'", "a", "é", "🐘", "="), maxLength: 8 }),
  ),
  { maxLength: 12 },
);
const nastyArrays: Case = {
  ...arrayCase(plain("text", "text", AS_TEXT, [])),
  values: fc
    .sample(fc.array(fc.option(nastyTexts), { maxLength: 3 }), { numRuns: 150, seed: 5 })
    .map((lists) => lists.flatMap((list) => list ?? [null]))
    .map((items) => `ARRAY[${items.map((item) => (item === null ? "NULL" : `'${item.replaceAll("'", "''")}'`)).join(", ")}]::text[]`),
};

/** Numbers that PostgreSQL itself does not cast to a double. */
const BEYOND_DOUBLES = ["1e1000", "1e-1000", "repeat('9', 997)::numeric", "-repeat('9', 997)::numeric"];

/** The case, its column read as something else than its own type (`as` of the configuration), where that is another. */
function askedCases(each: Case): readonly Case[] {
  const { kind } = each.type;
  const prints: Readonly<Record<ReadAs, string>> = {
    string: kind === "money" ? "v::numeric::text" : AS_PRINTED,
    double: `encode(float8send(${kind === "money" ? "v::numeric::text" : kind === "float4" ? "v" : "v::text"}::float8), 'hex')`,
    bytes: `encode(${kind}_send(v), 'hex')`,
  };
  return readAsNames.flatMap((as) => {
    const column = typeAsAsked(each.type, as, false);
    if (column.sent === undefined) return [];
    const values = as === "double" ? each.values.filter((value) => !BEYOND_DOUBLES.includes(value)) : each.values;
    // A decimal's NaN has no place in its own case.
    return [{ ...each, ...column, print: prints[as], values: kind === "decimal" ? [...values, "'NaN'"] : values }];
  });
}

/** Far moments and lists of lists, which have no place in the cases of their own types. */
const farCases: readonly Case[] = [
  plain("timestamp", "timestamp", AS_PRINTED, ["'294276-12-31 23:59:59.999999'", "'294247-01-10 04:00:54.775807'"]),
  plain("timestamptz", "timestamptz", AS_PRINTED, ["'294276-12-31 23:59:59.999999+00'"]),
  {
    sql: "int4[]",
    type: { kind: "array", element: { kind: "int4" } },
    values: ["'{{1,2},{3,NULL}}'", "'[0:1]={1,2}'", "'[2:2][3:3]={{1}}'"],
    print: AS_PRINTED,
  },
  { sql: "text[]", type: { kind: "array", element: { kind: "text" } }, values: [`'{{"a,b",NULL},{"NULL",""}}'`], print: AS_PRINTED },
];

/** Attributes as `print` has them, each behind its length. */
const each = (attribute: string): string =>
  `CASE WHEN ${attribute} IS NULL THEN 'null' ELSE octet_length((${attribute})::text)::text || ':' || (${attribute})::text END`;
const pair: CompositeType = {
  kind: "composite",
  schema: "public",
  name: "pair",
  oid: 0,
  given: 2,
  attributes: [
    { name: "a", type: { kind: "int4" }, number: 1, typeOid: 23, typeModifier: -1 },
    { name: "b", type: { kind: "text" }, number: 2, typeOid: 25, typeModifier: -1 },
  ],
};
const compositeCases: readonly Case[] = [
  {
    sql: "pair",
    type: pair,
    values: [
      "'(1,a)'",
      "'(,)'",
      "ROW(-1, '')::pair",
      `ROW(0, '"(,)\\ ' || chr(10))::pair`,
      `ROW(7, '${everyPlane.replaceAll("'", "''")}')::pair`,
    ],
    print: `${each("(v).a")} || ',' || ${each("(v).b")}`,
  },
  {
    sql: "pair[]",
    type: { kind: "array", element: pair },
    values: [`ARRAY['(1,"a ""\\\\")'::pair, NULL, '(,)']`, "'{}'"],
    print: `coalesce((SELECT string_agg(CASE WHEN v[n] IS NOT DISTINCT FROM NULL THEN 'null' ELSE octet_length(one) || ':' || one END, ',' ORDER BY n)
      FROM generate_subscripts(v, 1) n, LATERAL (SELECT ${each("v[n].a")} || ',' || ${each("v[n].b")} AS one) o), '')`,
  },
];

/** What the protocol's text form alone carries. */
const textCases: readonly Case[] = ["floatrange:'[1,5)'", "floatrange[]:'{\"[1,5)\",NULL}'"].map((pair): Case => {
  const [sql = "", value = ""] = pair.split(/:(.*)/s);
  return { sql, type: { kind: "other", typeName: sql }, values: [value], print: AS_TEXT };
});

const SETTINGS =
  "SET DateStyle TO ISO; SET IntervalStyle TO iso_8601; SET TimeZone TO 'UTC'; SET bytea_output TO hex; SET extra_float_digits TO 1; SET lc_monetary TO 'C'";

type Seen = {
  readonly column: string;
  readonly printed: string;
  readonly text: Buffer;
  readonly binary: Buffer | null;
  readonly schema: string;
};

describe("PostgreSQL 18", () => behaves(postgres, ["'infinity'", "'-infinity'"]));
describeWithPostgres15("PostgreSQL 15", () => behaves(postgres15, []));

function behaves(server: () => Promise<SharedPostgres>, infiniteIntervals: readonly string[]): void {
  let seen: readonly Seen[] = [];
  beforeAll(async () => {
    const own = cases.map((each) => (each.type.kind === "interval" ? { ...each, values: [...each.values, ...infiniteIntervals] } : each));
    seen = await through(await server(), own);
  });

  test("both protocols give the same bytes for every value", () => {
    expect(seen.length).toBeGreaterThan(1000);
    for (const { column, printed, text, binary } of seen)
      if (binary !== null) expect(text.toString("hex"), `${column} ${printed}`).toBe(binary.toString("hex"));
  });

  test("avsc reads from our bytes what SQL prints", () => {
    for (const { column, printed, text, schema } of seen) {
      const decoded = readValue(schema, text);
      expect(decoded, column).toBe(printed);
    }
  });

  test("our decoder reads the same, by core's types", () => {
    for (const { column, printed, text, schema } of seen) {
      const decoder = new EventDecoder(schema);
      const type = decoder.shape.columns[1]?.type ?? { kind: "text" };
      const value = readEvent(decoder, text).after?.[1];
      expect(print(type, value), column).toBe(printed);
    }
  });
}

test("values that 64-bit microseconds, a decimal or an Avro array can't hold are refused in both protocols, as is a number beyond the doubles that was to be one", async () => {
  const shared = await postgres();
  const refused: readonly Case[] = [
    decimal(5, 2, ["'NaN'"]),
    ...askedCases(plain("numeric", "numeric", AS_TEXT, ["1e309", "-1e400"])),
    plain("timestamp", "timestamp", AS_TEXT, ["'294247-01-10 04:00:54.775807'", "'294276-12-31 23:59:59.999999'"]),
    {
      sql: "int4[]",
      type: { kind: "array", element: { kind: "int4" } },
      values: ["'{{1,2},{3,4}}'::int4[]", "'[0:1]={1,2}'::int4[]", "'[2:2][3:3]={{1}}'::int4[]"],
      print: AS_TEXT,
    },
  ];
  await using source = await openSource(shared);
  for (const [index, { sql, values, ...column }] of refused.entries()) {
    await source.client.query(`CREATE TABLE t${index} (id int PRIMARY KEY, v ${sql})`);
    for (const [id, value] of values.entries()) await source.client.query(`INSERT INTO t${index} SELECT ${id}, ${value}`);
    for (const binary of [false, true]) {
      const { encode } = encoding(`t${index}`, column);
      const rows = (await changes(source, binary)).get(`t${index}`) ?? [];
      expect(rows).toHaveLength(values.length);
      for (const row of rows) expect(() => encode(row.after)).toThrow(expect.objectContaining({ code: "VALUE_OUT_OF_RANGE" }));
    }
  }
});

const numbers = Array.from({ length: 5_000 }, (_, index) => index);
test.each([
  ["text", { kind: "text" }, "repeat('x', 10000)", "x".repeat(10_000)],
  ["int[]", { kind: "array", element: { kind: "int4" } }, `'{${numbers.join()}}'`, numbers],
] as const)(
  "an UPDATE that leaves a TOASTed column (%s) alone does not send it; with REPLICA IDENTITY FULL the row before has it",
  async (sql, type, value, read) => {
    await using source = await openSource(await postgres());
    await source.client.query(
      `CREATE TABLE t0 (id int PRIMARY KEY, v ${sql}); ALTER TABLE t0 ALTER v SET STORAGE EXTERNAL; INSERT INTO t0 VALUES (1, ${value})`,
    );
    await source.client.query("UPDATE t0 SET id = id; ALTER TABLE t0 REPLICA IDENTITY FULL; UPDATE t0 SET id = id");
    const [, unsent, full] = (await changes(source, true)).get("t0") ?? [];
    const { encodeUpdate, schema } = encoding("t0", { type });
    const decoder = new EventDecoder(schema);
    const first = readEvent(decoder, encodeUpdate(unsent));
    expect([first.after, first.unchanged]).toEqual([[1, null], [1]]);
    expect(full?.after.state[1]).toBe(tupleState.unchanged);
    const second = readEvent(decoder, encodeUpdate(full));
    expect([second.after?.[1], second.unchanged]).toEqual([read, []]);
  },
);

test("a TOASTed key column that an UPDATE leaves alone is not sent, but the old key is, and completes it", async () => {
  await using source = await openSource(await postgres());
  await source.client.query(`CREATE TABLE t0 (id text STORAGE EXTERNAL PRIMARY KEY, v int)`);
  await source.client.query(`INSERT INTO t0 SELECT string_agg(md5(i::text), ''), 1 FROM generate_series(1, 75) i; UPDATE t0 SET v = 2`);
  const [insert, update] = (await changes(source, true)).get("t0") ?? [];
  expect(update?.after.state[0]).toBe(tupleState.unchanged);
  const { encoder } = encoding("t0", { type: { kind: "int4" } }, { kind: "text" });
  const key = (row: Tuple | undefined, old: Tuple | null): Buffer => {
    const out = new ByteWriter(64);
    encoder.writeKey(row!, old, out);
    return Buffer.from(out.bytes.subarray(0, out.position));
  };
  expect(key(update?.after, update?.before ?? null)).toEqual(key(insert?.after, null));
});

/** A database with a publication of all tables, a slot, and a session set as the stream's is. */
type Source = AsyncDisposable & { readonly client: pg.Client; readonly slot: string };

async function openSource(server: SharedPostgres): Promise<Source> {
  const database = await server.createDatabase("avro");
  const client = new pg.Client({ connectionString: database.url });
  const slot = uniqueName("avro");
  await client.connect();
  await client.query(SETTINGS);
  await client.query("CREATE PUBLICATION p FOR ALL TABLES");
  await client.query("SELECT pg_create_logical_replication_slot($1, 'pgoutput')", [slot]);
  const dispose = async (): Promise<void> => {
    await client.end();
    await database[Symbol.asyncDispose]();
  };
  return { client, slot, [Symbol.asyncDispose]: dispose };
}

/** One table a case, `id` and `v`: its rows as events, in both protocols, beside what SQL prints. */
async function through(server: SharedPostgres, own: readonly Case[]): Promise<readonly Seen[]> {
  await using source = await openSource(server);
  const { client } = source;
  await client.query(
    "CREATE TYPE mood AS ENUM ('so so'); CREATE TYPE floatrange AS RANGE (subtype = float8); CREATE TYPE pair AS (a int, b text); CREATE EXTENSION ltree; CREATE EXTENSION hstore",
  );
  const scalars = [...own, ...printedCases, ...rangeCases, ...geometricCases];
  const arrays = scalars.map(arrayCase);
  const asked = [...scalars, ...farCases, ...arrays, nastyArrays].flatMap(askedCases);
  const all = [...scalars, ...arrays, nastyArrays, ...compositeCases, ...textCases, ...asked];
  for (const [index, { sql, values }] of all.entries()) {
    await client.query(`CREATE TABLE t${index} (id int PRIMARY KEY, v ${sql})`);
    for (const [id, value] of values.entries()) await client.query(`INSERT INTO t${index} SELECT ${id}, ${value}`);
  }
  const textRows = await changes(source, false);
  const binaryRows = await changes(source, true);
  const seen: Seen[] = [];
  for (const [index, each] of all.entries()) {
    const printed = await client.query<{ printed: string }>(`SELECT ${each.print} AS printed FROM t${index} ORDER BY id`);
    const { schema, encode } = encoding(`t${index}`, each);
    printed.rows.forEach((row, id) => {
      const [text, binary] = [textRows, binaryRows].map((rows) => rows.get(`t${index}`)?.[id]?.after);
      if (text === undefined || binary === undefined) throw new Error(`row ${id} of t${index} did not come`);
      const isText = isReadAsText(each);
      const column = `${each.sql}${each.sent === undefined ? "" : ` as ${each.sent.as}`}`;
      seen.push({ column, printed: row.printed, text: encode(text), binary: isText ? null : encode(binary), schema });
      if (!isText) expect([binary.state[0], text.state[0]]).toEqual([tupleState.binary, tupleState.text]);
    });
  }
  return seen;
}

type Encoding = {
  readonly schema: string;
  readonly encoder: TableEncoder;
  encode(row: Tuple): Buffer;
  encodeUpdate(change: Change | undefined): Buffer;
};

/** The events of a table (id, v), id its key. */
function encoding(name: string, { type, sent }: Pick<Column, "type" | "sent">, keyType: ColumnType = { kind: "int4" }): Encoding {
  const unknown = { typeOid: 0, typeModifier: -1 };
  const columns: readonly Column[] = [
    { name: "id", type: keyType, keyPosition: 1, ...unknown },
    { name: "v", type, ...(sent === undefined ? {} : { sent }), keyPosition: 0, ...unknown },
  ];
  const table: Table = { schema: "public", name, oid: 1, identity: "default", columns };
  const constants = { version: "0", connector: "shop", database: "d" };
  const encoder = new TableEncoder({ table, keySchemaId: 1, valueSchemaId: 2, constants });
  encoder.beginTransaction({ epoch: 1, commitLsn: 1n, commitMicros: 0n, xid: 1, processedMs: 0, snapshot: false });
  const event = (before: Tuple | null, after: Tuple): Buffer => {
    const out = new ByteWriter(64);
    encoder.writeEvent(before === null ? "c" : "u", before, after, 0, 0, 1, null, out);
    return Buffer.from(out.bytes.subarray(0, out.position));
  };
  const schema = tableSchemas(table, `shop.public.${name}`).value;
  return {
    schema,
    encoder,
    encode: (row) => event(null, row),
    encodeUpdate: (change) => event(change?.before ?? null, change!.after),
  };
}

type Change = { readonly before: Tuple | null; readonly after: Tuple };

/**
 * The slot's inserted and updated rows by table, in order. The messages are taken apart here by hand, so that this test
 * stands on the protocol's manual alone ("Logical Replication Message Formats"):
 * R oid schema\0 name\0 …      I oid 'N' tuple      U oid [('K' | 'O') tuple] 'N' tuple
 */
async function changes({ client, slot }: Source, binary: boolean): Promise<ReadonlyMap<string, readonly Change[]>> {
  const options = ["proto_version", "1", "publication_names", "p", "binary", String(binary)];
  const sql = "SELECT data FROM pg_logical_slot_peek_binary_changes($1, NULL, NULL, VARIADIC $2)";
  const answer = await client.query<{ data: Buffer }>(sql, [slot, options]);
  const names = new Map<number, string>();
  const found = new Map<string, Change[]>();
  for (const { data } of answer.rows) {
    const tag = String.fromCharCode(data[0] ?? 0);
    const oid = data.length >= 5 ? data.readInt32BE(1) : 0;
    if (tag === "R") {
      const schemaEnd = data.indexOf(0, 5);
      names.set(oid, data.toString("utf8", schemaEnd + 1, data.indexOf(0, schemaEnd + 1)));
    }
    if (tag !== "I" && tag !== "U") continue;
    const name = names.get(oid) ?? "";
    const first = tupleAt(data, 6);
    const change = data[5] === 0x4e ? { before: null, after: first.row } : { before: first.row, after: tupleAt(data, first.end + 1).row };
    found.set(name, [...(found.get(name) ?? []), change]);
  }
  return found;
}

/* tuple ::= columns Int16 (state Byte1 [length Int32 value]) × columns */
function tupleAt(data: Buffer, start: number): { readonly row: Tuple; readonly end: number } {
  const row = new Tuple(4);
  row.bytes = data;
  row.columns = data.readInt16BE(start);
  let at = start + 2;
  for (let index = 0; index < row.columns; index++) {
    const state = data.readUInt8(at++);
    row.state[index] = state;
    if (state === tupleState.null || state === tupleState.unchanged) continue;
    row.length[index] = data.readInt32BE(at);
    row.start[index] = at + 4;
    at += 4 + data.readInt32BE(at);
  }
  return { row, end: at };
}

/** Avro's decimal as a foreign reader has it: its digits with the point. */
class DecimalText extends avro.types.LogicalType {
  readonly #scale: number;

  constructor(schema: avro.Schema, options: unknown) {
    super(schema, options);
    this.#scale = (schema as unknown as { scale: number }).scale;
  }

  protected override _fromValue(bytes: Buffer): string {
    return decimalText(BigInt.asIntN(bytes.length * 8, BigInt(`0x${bytes.toString("hex")}`)), this.#scale);
  }
}

function readValue(schema: string, framed: Buffer): string {
  const decoded = avscType(schema, { decimal: DecimalText }).fromBuffer(framed.subarray(5)) as { after: { v: unknown } };
  return print(new EventDecoder(schema).shape.columns[1]?.type ?? { kind: "text" }, decoded.after.v);
}

/** Of a geometric value, as avsc has it (records) or our tests have it (lists); a path's first is whether it is closed. */
function numbersOf(value: unknown): readonly (number | boolean)[] {
  if (typeof value === "number" || typeof value === "boolean") return [value];
  return Object.values(value as object).flatMap(numbersOf);
}

function hexOf(value: number | boolean): string {
  if (typeof value === "boolean") return String(value);
  const bytes = Buffer.alloc(8);
  bytes.writeDoubleBE(value);
  return bytes.toString("hex");
}

/** A decoded value as the case's SQL prints it. */
function print(type: ColumnType, value: unknown): string {
  if (type.kind === "array") {
    const items = (value as unknown[]).map((item) => (item === null ? null : print(type.element, item)));
    return items.map((item) => (item === null ? "null" : `${Buffer.byteLength(item)}:${item}`)).join();
  }
  if (type.kind === "composite") {
    const values = Array.isArray(value) ? (value as readonly unknown[]) : Object.values(value as object);
    return print({ kind: "array", element: { kind: "text" } }, values);
  }
  if (type.kind === "hstore") {
    const pairs: readonly (readonly [string, string | null])[] = Array.isArray(value)
      ? (value as [string, string | null][])
      : Object.entries(value as object);
    const text = (each: string | null): string => (each === null ? "null" : `${Buffer.byteLength(each)}:${each}`);
    return [...pairs]
      .sort(([a], [b]) => Buffer.compare(Buffer.from(a), Buffer.from(b)))
      .map(([key, each]) => `${key}=${text(each)}`)
      .join();
  }
  if (type.kind === "path" || type.kind === "polygon" || type.kind in geometricFields) return numbersOf(value).map(hexOf).join();
  if ("scale" in type && typeof value === "bigint") return decimalText(value, type.scale);
  if (Buffer.isBuffer(value)) return value.toString("hex");
  if (type.kind !== "float4" && type.kind !== "float8") return String(value);
  const bytes = Buffer.alloc(type.kind === "float4" ? 4 : 8);
  if (type.kind === "float4") bytes.writeFloatBE(value as number);
  else bytes.writeDoubleBE(value as number);
  return bytes.toString("hex");
}
