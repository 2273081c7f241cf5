// Values at the edge of every kind, and what a query finds of them in each warehouse. What PostgreSQL finds is what its own
// type prints for the source's value; the tests ask for it with UTC and ISO dates.
import {
  DATE_INFINITY,
  DATE_MINUS_INFINITY,
  TIMESTAMP_INFINITY,
  TIMESTAMP_MINUS_INFINITY,
  type ColumnType,
  type ElementType,
} from "../../src/core/table.ts";
import type { Value } from "../support/row-values.ts";
import { composite } from "../unit/avro/rows.ts";

export type Sample = { readonly type: ColumnType; readonly cases: readonly Case[] };
/** `found`: the text in both warehouses, or in each. */
export type Case = {
  readonly value: Exclude<Value, null>;
  readonly found: string | { readonly duckdb: string; readonly postgres: string };
};

const nines = (count: number): string => "9".repeat(count);
const THOUSAND_DIGITS = `${nines(500)}.${"1".repeat(500)}`;
/** Everything that a text format of a bulk load would have to escape. */
const NASTY = `'single' "double" \\back \\N \\. tab\tnewline\nreturn\r, {curly} $1 ; -- 🚰 é 表 \u0001`;
/** 4713-01-01 BC and 5874897-12-31, PostgreSQL's first and last day; the last microsecond that 64 bits hold since 1970. */
const FIRST_DAY = -2_440_550;
const LAST_DAY = 2_145_042_905;
const FIRST_MICRO = BigInt(FIRST_DAY) * 86_400_000_000n;
const LAST_MICRO = 9_223_372_036_854_775_806n;

function same(value: Exclude<Value, null>, found: string): Case {
  return { value, found };
}

function each(value: Exclude<Value, null>, duckdb: string, postgres: string): Case {
  return { value, found: { duckdb, postgres } };
}

const texts: readonly Case[] = [
  same("", ""),
  same(NASTY, NASTY),
  same(" padded ", " padded "),
  same("NULL", "NULL"),
  same("x".repeat(100_000), "x".repeat(100_000)),
];
const floats: readonly Case[] = [
  each(NaN, "nan", "NaN"),
  each(Infinity, "inf", "Infinity"),
  each(-Infinity, "-inf", "-Infinity"),
  each(-0, "-0.0", "-0"),
];

export const samples: readonly Sample[] = [
  { type: { kind: "bool" }, cases: [same(true, "true"), same(false, "false")] },
  { type: { kind: "int2" }, cases: [same(32_767, "32767"), same(-32_768, "-32768"), same(0, "0")] },
  { type: { kind: "int4" }, cases: [same(2_147_483_647, "2147483647"), same(-2_147_483_648, "-2147483648")] },
  {
    type: { kind: "int8" },
    cases: [same(9_223_372_036_854_775_807n, "9223372036854775807"), same(-9_223_372_036_854_775_808n, "-9223372036854775808")],
  },
  { type: { kind: "oid" }, cases: [same(4_294_967_295n, "4294967295"), same(2_147_483_648n, "2147483648"), same(0n, "0")] },
  {
    type: { kind: "float4" },
    cases: [...floats, same(Math.fround(3.4028234663852886e38), "3.4028235e+38"), each(Math.fround(1e-45), "1e-45", "1e-45")],
  },
  {
    type: { kind: "float8" },
    cases: [
      ...floats,
      each(0.1 + 0.2, "0.30000000000000004", "0.30000000000000004"),
      each(5e-324, "5e-324", "5e-324"),
      same(1.7976931348623157e308, "1.7976931348623157e+308"),
    ],
  },
  { type: { kind: "decimal", precision: 4, scale: 2 }, cases: [same(9_999n, "99.99"), same(-1n, "-0.01"), same(0n, "0.00")] },
  { type: { kind: "decimal", precision: 9, scale: 0 }, cases: [same(-999_999_999n, "-999999999")] },
  { type: { kind: "decimal", precision: 18, scale: 18 }, cases: [each(BigInt(nines(18)), `.${nines(18)}`, `0.${nines(18)}`)] },
  {
    type: { kind: "decimal", precision: 38, scale: 10 },
    cases: [same(BigInt(nines(38)), `${nines(28)}.${nines(10)}`), same(-BigInt(nines(38)), `-${nines(28)}.${nines(10)}`)],
  },
  {
    type: { kind: "decimal", precision: 39, scale: 39 },
    cases: [same(-BigInt(nines(39)), `-0.${nines(39)}`), same(1n, `0.${"0".repeat(38)}1`)],
  },
  { type: { kind: "decimal", precision: 1000, scale: 500 }, cases: [same(BigInt(THOUSAND_DIGITS.replace(".", "")), THOUSAND_DIGITS)] },
  {
    type: { kind: "numeric" },
    cases: [
      same(THOUSAND_DIGITS, THOUSAND_DIGITS),
      same("NaN", "NaN"),
      same("-Infinity", "-Infinity"),
      same("1.500", "1.500"),
      same(nines(1_000), nines(1_000)),
    ],
  },
  {
    type: { kind: "money", precision: 19, scale: 2 },
    cases: [same(-(2n ** 63n), "-92233720368547758.08"), same(2n ** 63n - 1n, "92233720368547758.07"), same(-1n, "-0.01")],
  },
  { type: { kind: "money", precision: 19, scale: 0 }, cases: [same(2n ** 63n - 1n, "9223372036854775807")] },
  { type: { kind: "text" }, cases: texts },
  { type: { kind: "enum" }, cases: texts },
  { type: { kind: "xml" }, cases: [same("<a b='c'>&amp;</a>", "<a b='c'>&amp;</a>"), same("no <closed", "no <closed")] },
  {
    type: { kind: "hstore" },
    cases: [
      each([], "{}", "{}"),
      each(
        [
          ["a", "1"],
          ["bc", null],
        ],
        "{a=1, bc=NULL}",
        '{"a": "1", "bc": null}',
      ),
      each(
        [
          ["", '"\\\n\u0001'],
          ["k", "é 表 🚰"],
        ],
        "{''='\"\\\\\n\u0001', k=é 表 🚰}",
        '{"": "\\"\\\\\\n\\u0001", "k": "é 表 🚰"}',
      ),
    ],
  },
  { type: { kind: "range", typeName: "int4range" }, cases: [same("[1,5)", "[1,5)"), same("empty", "empty"), same("(,)", "(,)")] },
  { type: { kind: "range", typeName: "nummultirange" }, cases: [same("{}", "{}"), same("{[1.50,2),(3,)}", "{[1.50,2),(3,)}")] },
  {
    type: { kind: "range", typeName: "tstzrange" },
    cases: [
      same('["0044-03-15 12:00:00.25+00 BC","1999-12-31 23:59:59.9+00")', '["0044-03-15 12:00:00.25+00 BC","1999-12-31 23:59:59.9+00")'),
      same("[-infinity,infinity]", "[-infinity,infinity]"),
    ],
  },
  {
    type: { kind: "point" },
    cases: [
      each([1, -2.5], "{'x': 1.0, 'y': -2.5}", "(1,-2.5)"),
      each([NaN, -Infinity], "{'x': nan, 'y': -inf}", "(NaN,-Infinity)"),
      each([-0, 5e-324], "{'x': -0.0, 'y': 5e-324}", "(-0,5e-324)"),
    ],
  },
  { type: { kind: "line" }, cases: [each([1, -2, 0.1], "{'a': 1.0, 'b': -2.0, 'c': 0.1}", "{1,-2,0.1}")] },
  { type: { kind: "lseg" }, cases: [each([1, 2, 3, 4.5], "{'x1': 1.0, 'y1': 2.0, 'x2': 3.0, 'y2': 4.5}", "[(1,2),(3,4.5)]")] },
  { type: { kind: "box" }, cases: [each([3, 4, 1, 2], "{'x1': 3.0, 'y1': 4.0, 'x2': 1.0, 'y2': 2.0}", "(3,4),(1,2)")] },
  { type: { kind: "circle" }, cases: [each([1, 2, 0.5], "{'x': 1.0, 'y': 2.0, 'radius': 0.5}", "<(1,2),0.5>")] },
  {
    type: { kind: "path" },
    cases: [
      each([true, [0, 0], [1, 2.5]], "{'closed': true, 'points': [{'x': 0.0, 'y': 0.0}, {'x': 1.0, 'y': 2.5}]}", "((0,0),(1,2.5))"),
      each([false, [0, 0.1]], "{'closed': false, 'points': [{'x': 0.0, 'y': 0.1}]}", "[(0,0.1)]"),
    ],
  },
  {
    type: { kind: "polygon" },
    cases: [
      each(
        [
          [0, 0],
          [1, 0],
          [1, 1],
        ],
        "[{'x': 0.0, 'y': 0.0}, {'x': 1.0, 'y': 0.0}, {'x': 1.0, 'y': 1.0}]",
        "((0,0),(1,0),(1,1))",
      ),
    ],
  },
  {
    type: { kind: "geometry" },
    cases: [each(Buffer.from("0101000020e6100000", "hex"), "\\x01\\x01\\x00\\x00 \\xE6\\x10\\x00\\x00", "\\x0101000020e6100000")],
  },
  {
    type: { kind: "vector" },
    cases: [each([1, -2.5, Math.fround(0.1)], "[1.0, -2.5, 0.1]", "{1,-2.5,0.1}"), each([Math.fround(1e-45)], "[1e-45]", "{1e-45}")],
  },
  {
    type: composite("whole", {
      ...{ n: { kind: "int4" }, 'a "b"': { kind: "text" }, big: { kind: "int8" }, price: { kind: "decimal", precision: 38, scale: 2 } },
      ...{ free: { kind: "numeric" }, f: { kind: "float8" }, f4: { kind: "float4" }, yes: { kind: "bool" }, raw: { kind: "bytea" } },
      ...{
        day: { kind: "date" },
        at: { kind: "timestamptz" },
        t: { kind: "time" },
        doc: { kind: "json" },
        id: { kind: "uuid" },
        h: { kind: "hstore" },
      },
      ...{
        pt: { kind: "point" },
        way: { kind: "path" },
        area: { kind: "polygon" },
        v: { kind: "vector" },
        xs: { kind: "array", element: { kind: "int4" } },
      },
      parts: { kind: "array", element: composite("part", { p: { kind: "text" }, q: { kind: "money", precision: 19, scale: 2 } }) },
    }),
    cases: [
      each(
        [
          ...[-1, 'x "y" \\ \n', 9_223_372_036_854_775_807n, -1n, "NaN", -0, Math.fround(0.1), true, Buffer.from([0, 255])],
          ...[-1, -1n, 86_400_000_000n, '{ "b":1 }', "80000000-0000-4000-8000-000000000001", [["k", null]]],
          ...[[1, -2.5], [false, [0, 0.5], [1, NaN]], [[0, 0]], [1, Math.fround(1e-45)], [1, null]],
          [["é", -1n], null, [null, null]],
        ],
        `{'n': -1, 'a "b"': 'x "y" \\\\ \n', 'big': 9223372036854775807, 'price': -0.01, 'free': NaN, 'f': -0.0, 'f4': 0.1, 'yes': true, 'raw': \\x00\\xFF, 'day': 1969-12-31, 'at': '1969-12-31 23:59:59.999999+00', 't': '24:00:00', 'doc': '{ "b":1 }', 'id': 80000000-0000-4000-8000-000000000001, 'h': {k=NULL}, 'pt': {'x': 1.0, 'y': -2.5}, 'way': {'closed': false, 'points': [{'x': 0.0, 'y': 0.5}, {'x': 1.0, 'y': nan}]}, 'area': [{'x': 0.0, 'y': 0.0}], 'v': [1.0, 1e-45], 'xs': [1, NULL], 'parts': [{'p': é, 'q': -0.01}, NULL, {'p': NULL, 'q': NULL}]}`,
        `{"n":-1,"a \\"b\\"":"x \\"y\\" \\\\ \\u000a","big":9223372036854775807,"price":-0.01,"free":"NaN","f":-0,"f4":0.1,"yes":true,"raw":"\\\\x00ff","day":"1969-12-31","at":"1969-12-31 23:59:59.999999+00","t":"24:00:00","doc":{ "b":1 },"id":"80000000-0000-4000-8000-000000000001","h":{"k":null},"pt":"(1,-2.5)","way":"[(0,0.5),(1,NaN)]","area":"((0,0))","v":[1,1e-45],"xs":[1,null],"parts":[{"p":"é","q":-0.01},null,{"p":null,"q":null}]}`,
      ),
      each(
        [
          ...[null, "", 0n, 0n, `${nines(30)}.50`, Infinity, NaN, false, Buffer.from([])],
          ...[DATE_INFINITY, TIMESTAMP_MINUS_INFINITY, 0n, "null", null, []],
          ...[null, [true, [0, 0]], null, [], [], null],
        ],
        `{'n': NULL, 'a "b"': '', 'big': 0, 'price': 0.00, 'free': ${nines(30)}.50, 'f': inf, 'f4': nan, 'yes': false, 'raw': '', 'day': infinity, 'at': -infinity, 't': '00:00:00', 'doc': 'null', 'id': NULL, 'h': {}, 'pt': NULL, 'way': {'closed': true, 'points': [{'x': 0.0, 'y': 0.0}]}, 'area': NULL, 'v': [], 'xs': [], 'parts': NULL}`,
        `{"n":null,"a \\"b\\"":"","big":0,"price":0.00,"free":${nines(30)}.50,"f":"Infinity","f4":"NaN","yes":false,"raw":"\\\\x","day":"infinity","at":"-infinity","t":"00:00:00","doc":null,"id":null,"h":{},"pt":null,"way":"((0,0))","area":null,"v":[],"xs":[],"parts":null}`,
      ),
    ],
  },
  { type: { kind: "other", typeName: "pair" }, cases: [same("(1,a)", "(1,a)"), ...texts] },
  // The json type keeps its text, also what stricter parsers refuse.
  {
    type: { kind: "json" },
    cases: [
      same('{ "b":1, "b":2,"a": 12345678901234567890.123456789 }', '{ "b":1, "b":2,"a": 12345678901234567890.123456789 }'),
      same('"\\ud800"', '"\\ud800"'),
      same("1e999999", "1e999999"),
      same("null", "null"),
    ],
  },
  {
    type: { kind: "jsonb" },
    cases: [
      same('{"a": [1, 2.50, null], "🚰": "\\"\\\\"}', '{"a": [1, 2.50, null], "🚰": "\\"\\\\"}'),
      same(`[${nines(60)}]`, `[${nines(60)}]`),
    ],
  },
  {
    type: { kind: "uuid" },
    cases: ["00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff", "80000000-0000-4000-8000-000000000001"].map(
      (uuid) => same(uuid, uuid),
    ),
  },
  {
    type: { kind: "bytea" },
    cases: [each(Buffer.from([]), "", "\\x"), each(Buffer.from([0, 1, 0x5c, 0x78, 0xff]), "\\x00\\x01\\x5Cx\\xFF", "\\x00015c78ff")],
  },
  {
    type: { kind: "date" },
    cases: [
      same(0, "1970-01-01"),
      same(-1, "1969-12-31"),
      same(LAST_DAY, "5874897-12-31"),
      each(FIRST_DAY, "4713-01-01 (BC)", "4713-01-01 BC"),
      same(DATE_INFINITY, "infinity"),
      same(DATE_MINUS_INFINITY, "-infinity"),
    ],
  },
  { type: { kind: "time" }, cases: [same(0n, "00:00:00"), same(86_399_999_999n, "23:59:59.999999"), same(86_400_000_000n, "24:00:00")] },
  {
    type: { kind: "timestamp" },
    cases: [
      same(-1n, "1969-12-31 23:59:59.999999"),
      each(FIRST_MICRO, "4713-01-01 (BC) 00:00:00", "4713-01-01 00:00:00 BC"),
      same(LAST_MICRO, "294247-01-10 04:00:54.775806"),
      same(TIMESTAMP_INFINITY, "infinity"),
      same(TIMESTAMP_MINUS_INFINITY, "-infinity"),
    ],
  },
  {
    type: { kind: "timestamptz" },
    cases: [
      same(-1n, "1969-12-31 23:59:59.999999+00"),
      each(FIRST_MICRO, "4713-01-01 (BC) 00:00:00+00", "4713-01-01 00:00:00+00 BC"),
      same(253_402_300_799_999_999n, "9999-12-31 23:59:59.999999+00"),
      same(TIMESTAMP_INFINITY, "infinity"),
      same(TIMESTAMP_MINUS_INFINITY, "-infinity"),
    ],
  },
  { type: { kind: "timetz" }, cases: ["00:00:00+00", "24:00:00-15:59:59", "12:34:56.789+05:30"].map((value) => same(value, value)) },
  {
    type: { kind: "inet" },
    cases: [each("10.0.0.1", "10.0.0.1", "10.0.0.1/32"), same("10.0.0.1/8", "10.0.0.1/8"), each("::1", "::1", "::1/128")], // the cast to text names the bits
  },
  { type: { kind: "cidr" }, cases: [same("10.0.0.0/8", "10.0.0.0/8"), same("2001:db8::/32", "2001:db8::/32")] },
  { type: { kind: "macaddr" }, cases: [same("08:00:2b:01:02:03", "08:00:2b:01:02:03"), same("ff:ff:ff:ff:ff:ff", "ff:ff:ff:ff:ff:ff")] },
  { type: { kind: "macaddr8" }, cases: [same("08:00:2b:01:02:03:04:05", "08:00:2b:01:02:03:04:05")] },
  { type: { kind: "bit" }, cases: [same("", ""), same("101", "101"), same("10".repeat(500), "10".repeat(500))] },
  { type: { kind: "tsvector" }, cases: [same("", ""), same("'a':1A,16383 'it''s' 'x\\\\y':2", "'a':1A,16383 'it''s' 'x\\\\y':2")] },
  { type: { kind: "ltree" }, cases: [same("Top.Science", "Top.Science"), same("", "")] },
  { type: { kind: "pg_lsn" }, cases: [same("0/0", "0/0"), same("FFFFFFFF/FFFFFFFF", "FFFFFFFF/FFFFFFFF")] },
  { type: { kind: "xid" }, cases: [same("4294967295", "4294967295")] },
  { type: { kind: "xid8" }, cases: [same("18446744073709551615", "18446744073709551615"), same("0", "0")] },
  { type: { kind: "jsonpath" }, cases: [same('$."a"[*]?(@."b" > 1.5)', '$."a"[*]?(@."b" > 1.5)'), same("strict $", "strict $")] },
  {
    type: { kind: "interval" },
    cases: [
      each("P1Y2M-3DT4H5M6.789S", "P1Y2M-3DT4H5M6.789S", "1 year 2 mons -3 days +04:05:06.789"),
      each("PT0S", "PT0S", "00:00:00"),
      each("P-178000000Y", "P-178000000Y", "-178000000 years"),
    ],
  },
  array({ kind: "int4" }, [
    [[], "[]", "{}"],
    [[null], "[NULL]", "{NULL}"],
    [[2_147_483_647, null, -1], "[2147483647, NULL, -1]", "{2147483647,NULL,-1}"],
  ]),
  array({ kind: "text" }, [
    [["", "NULL", null, "a,b", "{}", '"', "\\"], `['', 'NULL', NULL, 'a,b', '{}', '"', \\]`, `{"","NULL",NULL,"a,b","{}","\\"","\\\\"}`],
  ]),
  array({ kind: "bool" }, [[[true, false, null], "[true, false, NULL]", "{t,f,NULL}"]]),
  array({ kind: "int2" }, [[[-32_768], "[-32768]", "{-32768}"]]),
  array({ kind: "int8" }, [[[9_223_372_036_854_775_807n], "[9223372036854775807]", "{9223372036854775807}"]]),
  array({ kind: "oid" }, [[[4_294_967_295n], "[4294967295]", "{4294967295}"]]),
  array({ kind: "float4" }, [[[0.5, NaN, null], "[0.5, nan, NULL]", "{0.5,NaN,NULL}"]]),
  array({ kind: "float8" }, [[[0.1, -Infinity], "[0.1, -inf]", "{0.1,-Infinity}"]]),
  array({ kind: "decimal", precision: 38, scale: 10 }, [
    [[-BigInt(nines(38)), 0n], `[-${nines(28)}.${nines(10)}, 0.0000000000]`, `{-${nines(28)}.${nines(10)},0.0000000000}`],
  ]),
  array({ kind: "decimal", precision: 39, scale: 1 }, [[[1n, null], "[0.1, NULL]", "{0.1,NULL}"]]),
  array({ kind: "money", precision: 19, scale: 2 }, [[[-1n], "[-0.01]", "{-0.01}"]]),
  array({ kind: "numeric" }, [[["1.500", "NaN"], "[1.500, NaN]", "{1.500,NaN}"]]),
  array({ kind: "uuid" }, [
    [["80000000-0000-4000-8000-000000000001"], "[80000000-0000-4000-8000-000000000001]", "{80000000-0000-4000-8000-000000000001}"],
  ]),
  array({ kind: "bytea" }, [[[Buffer.from([0, 255])], "[\\x00\\xFF]", `{"\\\\x00ff"}`]]),
  array({ kind: "json" }, [[['{"a": 1}', null], `[{"a": 1}, NULL]`, `{"{\\"a\\": 1}",NULL}`]]),
  array({ kind: "jsonb" }, [[['{"a": 1}', null], `[{"a": 1}, NULL]`, `{"{\\"a\\": 1}",NULL}`]]),
  array({ kind: "date" }, [[[0, DATE_MINUS_INFINITY], "[1970-01-01, -infinity]", "{1970-01-01,-infinity}"]]),
  array({ kind: "time" }, [[[86_400_000_000n, 0n], "['24:00:00', '00:00:00']", "{24:00:00,00:00:00}"]]),
  array({ kind: "timestamp" }, [
    [[-1n, TIMESTAMP_INFINITY], "['1969-12-31 23:59:59.999999', infinity]", `{"1969-12-31 23:59:59.999999",infinity}`],
  ]),
  array({ kind: "timestamptz" }, [[[-1n, null], "['1969-12-31 23:59:59.999999+00', NULL]", `{"1969-12-31 23:59:59.999999+00",NULL}`]]),
  array({ kind: "interval" }, [[["P1Y"], "[P1Y]", `{"1 year"}`]]),
  array({ kind: "hstore" }, [
    [
      [
        [
          ["a", "1"],
          ["b", null],
        ],
        null,
      ],
      "[{a=1, b=NULL}, NULL]",
      `{"{\\"a\\": \\"1\\", \\"b\\": null}",NULL}`,
    ],
  ]),
  array({ kind: "point" }, [[[[1, 2], null], "[{'x': 1.0, 'y': 2.0}, NULL]", `{"(1,2)",NULL}`]]),
  array({ kind: "box" }, [
    [
      [[3, 4, 1, 2], null, [0, 0, 0, 0]],
      "[{'x1': 3.0, 'y1': 4.0, 'x2': 1.0, 'y2': 2.0}, NULL, {'x1': 0.0, 'y1': 0.0, 'x2': 0.0, 'y2': 0.0}]",
      "{(3,4),(1,2);NULL;(0,0),(0,0)}",
    ],
  ]),
  array(composite("pair", { a: { kind: "int4" }, b: { kind: "text" } }), [
    [
      [[1, "x"], null, [null, null]],
      "[{'a': 1, 'b': x}, NULL, {'a': NULL, 'b': NULL}]",
      `{"{\\"a\\":1,\\"b\\":\\"x\\"}",NULL,"{\\"a\\":null,\\"b\\":null}"}`,
    ],
    [[], "[]", "{}"],
  ]),
  array({ kind: "path" }, [
    [[[false, [0, 0.5]], null], "[{'closed': false, 'points': [{'x': 0.0, 'y': 0.5}]}, NULL]", `{"[(0,0.5)]",NULL}`],
  ]),
  array({ kind: "polygon" }, [[[[[0, 0]], null], "[[{'x': 0.0, 'y': 0.0}], NULL]", `{"((0,0))",NULL}`]]),
  array({ kind: "geometry" }, [[[Buffer.from([1, 255]), null], "[\\x01\\xFF, NULL]", `{"\\\\x01ff",NULL}`]]),
  array({ kind: "range", typeName: "int8range" }, [[["[1,5)", null], "['[1,5)', NULL]", `{"[1,5)",NULL}`]]),
  array({ kind: "inet" }, [[["10.0.0.1", "::1/64"], "[10.0.0.1, '::1/64']", "{10.0.0.1,::1/64}"]]),
  array({ kind: "bit" }, [[["101", ""], "[101, '']", `{101,""}`]]),
  array({ kind: "tsvector" }, [[["'a':1A"], `['\\'a\\':1A']`, "{'a':1A}"]]),
  array({ kind: "ltree" }, [[["Top.Science"], "[Top.Science]", "{Top.Science}"]]),
];

/** What DuckDB and PostgreSQL print of each value. */
function array(element: ElementType, cases: readonly (readonly [value: readonly Value[], duckdb: string, postgres: string])[]): Sample {
  return { type: { kind: "array", element }, cases: cases.map(([value, duckdb, postgres]) => each(value, duckdb, postgres)) };
}
