// Values of every type that docs/types.md names, with both ends of each, and the text that a query finds of them on either side.
// What is compared is what the servers print of their own columns; where they print the same value in other words (`-inf`, `(BC)`),
// `canonical` says so. None of it goes through Tailrace's encoders and decoders.

export type TypeValues = {
  /** As docs/types.md has it, where it has the name; otherwise the type's own. */
  readonly name: string;
  /** As CREATE TABLE takes it. */
  readonly type: string;
  readonly duckdb: string;
  /** At least LEAST different literals, as PostgreSQL takes them in quotes; tests add NULL. */
  readonly values: readonly string[];
  /** The type has no more values than these. */
  readonly complete?: true;
  /** It has no order, so no key. */
  readonly keyless?: true;
  /** Of a composite, in order. */
  readonly attributes?: Readonly<Record<string, Attribute>>;
  /** Read as PostgreSQL's text, which puts the whole stream on the text protocol. */
  readonly text?: true;
};

/** `list`: it is an array of these. */
type Attribute = { readonly of: TypeValues; readonly list?: true };

/** Values that a type must have here. */
export const LEAST = 6;

const BASES_SQL = `CREATE EXTENSION hstore; CREATE EXTENSION citext; CREATE EXTENSION ltree;
  CREATE TYPE mood AS ENUM ('sad', 'it''s fine', '', 'größer', '{a,b}', '🐘'); CREATE TYPE floatrange AS RANGE (subtype = float8); CREATE DOMAIN price AS numeric(12,2); CREATE DOMAIN short AS varchar(10)`;

const nines = (count: number): string => "9".repeat(count);
const everyPlane = Array.from({ length: 17 }, (_, plane) => String.fromCodePoint(plane * 0x1_0000 + 0x20, plane * 0x1_0000 + 0xffff)).join(
  "",
);
const texts = [
  "",
  "plain",
  " padded ",
  "NULL",
  "ünï © 🐘 e\u0301 \u202eback",
  everyPlane,
  "tab\t, line\r\n, 'quote', \"double\", \\backslash \\N {curly,} \u0001\u007f",
  "x".repeat(10_000),
];
/** Without 0: of 0 and -0 in a column DuckDB 1.5 may write one alone to its file (duckdb/duckdb#25580). */
const floats = ["NaN", "Infinity", "-Infinity", "-0", "-1", "0.1"];
const moments = [
  "4714-11-24 00:00:00 BC",
  "0001-12-31 23:59:59.999999 BC",
  "1969-12-31 23:59:59.999999",
  "2000-02-29 12:00:00.5",
  "294247-01-10 04:00:54.775806",
  "infinity",
  "-infinity",
];
const zoned = moments.slice(0, 5).map((moment) => moment.replace(/( BC)?$/, "+00$1"));
const numbers = ["0", "1", "2", "2147483647", "2147483648", "4294967295"];

/** A range type and its multirange, whose bounds are `from` < `between` < `to`, as they are printed in a range of type `[)`. */
function ranges(name: string, from: string, between: string, to: string): readonly TypeValues[] {
  const range = (least: string, greatest: string): string => `[${least},${greatest})`;
  const one = ["empty", "(,)", range(from, between), range(between, to), `[${from},)`, `(,${to})`, range(from, to)];
  const many = ["{}", "{(,)}", `{${range(from, between)}}`, `{${range(from, to)}}`, `{[${from},)}`, `{(,${from}),${range(between, to)}}`];
  const multi = name.replace("range", "multirange");
  return [
    { name, type: name, duckdb: "VARCHAR", values: one },
    { name: multi, type: multi, duckdb: "VARCHAR", values: many },
  ];
}

const plainTypes: readonly TypeValues[] = [
  { name: "boolean", type: "bool", duckdb: "BOOLEAN", values: ["true", "false"], complete: true },
  { name: "smallint", type: "int2", duckdb: "SMALLINT", values: ["-32768", "32767", "0", "-1", "1", "255"] },
  { name: "integer", type: "int4", duckdb: "INTEGER", values: ["-2147483648", "2147483647", "0", "-1", "63", "64"] },
  {
    name: "bigint",
    type: "int8",
    duckdb: "BIGINT",
    values: ["-9223372036854775808", "9223372036854775807", "0", "-1", "9007199254740993", "4294967296"],
  },
  { name: "oid", type: "oid", duckdb: "BIGINT", values: numbers },
  { name: "real", type: "float4", duckdb: "FLOAT", values: [...floats, "-3.4028235e+38", "1.1754942e-38", "1e-45", "16777217"] },
  {
    name: "double precision",
    type: "float8",
    duckdb: "DOUBLE",
    values: [...floats, "1.7976931348623157e+308", "2.225073858507201e-308", "5e-324", "0.30000000000000004", "9007199254740993"],
  },
  {
    name: "numeric(12,2)",
    type: "numeric(12,2)",
    duckdb: "DECIMAL(12,2)",
    values: [`${nines(10)}.99`, `-${nines(10)}.99`, "0", "-0.01", "0.01", "12.5"],
  },
  {
    name: "numeric(38,10)",
    type: "numeric(38,10)",
    duckdb: "DECIMAL(38,10)",
    values: [`${nines(28)}.${nines(10)}`, `-${nines(28)}.${nines(10)}`, "0.0000000001", "0", "-1", "128"],
  },
  {
    name: "numeric(18,18)",
    type: "numeric(18,18)",
    duckdb: "DECIMAL(18,18)",
    values: [`0.${nines(18)}`, `-0.${nines(18)}`, "0", "0.1", "-0.1", "1e-18"],
  },
  {
    name: "numeric(60,4)",
    type: "numeric(60,4)",
    duckdb: "VARCHAR",
    values: [`-${nines(56)}.9999`, `${nines(56)}.9999`, "0.0001", "0", "-1", "1.5"],
  },
  {
    name: "numeric(1000,500)",
    type: "numeric(1000,500)",
    duckdb: "VARCHAR",
    values: [`${nines(500)}.${nines(500)}`, `-${nines(500)}.${nines(500)}`, `1e-500`, "0", "-1", "1e499"],
  },
  {
    name: "numeric",
    type: "numeric",
    duckdb: "VARCHAR",
    values: [
      "NaN",
      "Infinity",
      "-Infinity",
      "0.000",
      "1.50",
      `${nines(500)}.${nines(500)}`,
      `-1e-1000`,
      `${nines(131_072)}.${"1".repeat(16_383)}`,
    ],
  },
  { name: "numeric(5,-2)", type: "numeric(5,-2)", duckdb: "VARCHAR", values: ["9999900", "-9999900", "0", "-100", "149", "150"] },
  { name: "numeric(2,4)", type: "numeric(2,4)", duckdb: "VARCHAR", values: ["0.0099", "-0.0099", "0", "-0.0001", "0.0001", "NaN"] },
  {
    name: "money",
    type: "money",
    duckdb: "DECIMAL(19,2)",
    values: ["-92233720368547758.08", "92233720368547758.07", "0", "-0.01", "0.01", "1234.5"],
  },
  { name: "text", type: "text", duckdb: "VARCHAR", values: texts },
  { name: "character varying", type: "varchar", duckdb: "VARCHAR", values: texts },
  { name: "citext", type: "citext", duckdb: "VARCHAR", values: texts },
  { name: "varchar(10)", type: "varchar(10)", duckdb: "VARCHAR", values: ["", "ten chars.", "trailing ", "ünïcödé 🐘", "a", "A"] },
  { name: "character", type: "char(5)", duckdb: "VARCHAR", values: ["", "a", "abcde", "  ab", "🐘🐘", "ß"] },
  { name: "name", type: "name", duckdb: "VARCHAR", values: ["", "a_name", "x".repeat(63), "ü".repeat(31), '"', "A"] },
  { name: "enums", type: "mood", duckdb: "VARCHAR", values: ["sad", "it's fine", "", "größer", "{a,b}", "🐘"] },
  {
    name: "json",
    type: "json",
    duckdb: "JSON",
    values: ['{"b": 1,   "b": [null, 1e2]}', "null", '""', "[]", ` "\\ud800 ${everyPlane}"`, "1e999999"],
    keyless: true,
  },
  {
    name: "jsonb",
    type: "jsonb",
    duckdb: "JSON",
    values: ['{"b": 1,   "b": [null, 1.50]}', "null", '""', "[]", `{"${everyPlane}": "\\n\\u0001"}`, nines(1000)],
  },
  {
    name: "xml",
    type: "xml",
    duckdb: "VARCHAR",
    values: [
      "",
      "<a/>",
      "<a b='c'>&amp;</a>",
      "text <b/>",
      '<?xml version="1.1"?><a/>',
      `<a>${everyPlane.replace(/[\ufffe\uffff]/g, "")}</a>`,
    ],
    keyless: true,
  },
  {
    name: "jsonpath",
    type: "jsonpath",
    duckdb: "VARCHAR",
    values: ["$", 'strict $."a"[*]?(@."b" > 1.5)', "lax $.a[0 to last]", "$.**{2}.type()", '$ ? (@ like_regex "^a" flag "i")', "1 + 2"],
    keyless: true,
  },
  {
    name: "uuid",
    type: "uuid",
    duckdb: "UUID",
    values: [
      "00000000-0000-0000-0000-000000000000",
      "ffffffff-ffff-ffff-ffff-ffffffffffff",
      "80000000-0000-4000-8000-000000000001",
      "7fffffff-ffff-ffff-ffff-ffffffffffff",
      "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
      "00000000-0000-0000-8000-000000000000",
    ],
  },
  {
    name: "bytea",
    type: "bytea",
    duckdb: "BLOB",
    values: ["\\x", "\\x00", "\\x00ff41", "\\x5c78", "\\x27220a", `\\x${"ab".repeat(10_000)}`],
  },
  {
    name: "date",
    type: "date",
    duckdb: "DATE",
    values: ["4714-11-24 BC", "0001-12-31 BC", "1969-12-31", "2024-02-29", "5874897-12-31", "infinity", "-infinity"],
  },
  {
    name: "time without time zone",
    type: "time",
    duckdb: "TIME",
    values: ["00:00:00", "00:00:00.000001", "23:59:59.999999", "24:00:00", "12:34:56.5", "01:02:03"],
  },
  {
    name: "time with time zone",
    type: "timetz",
    duckdb: "VARCHAR",
    values: ["24:00:00-15:59:59", "00:00:00+15:59:59", "12:00:00.5+05:30", "23:59:59.999999+00", "00:00:00.000001-01", "12:00+00"],
  },
  { name: "timestamp without time zone", type: "timestamp", duckdb: "TIMESTAMP", values: moments },
  {
    name: "timestamp with time zone",
    type: "timestamptz",
    duckdb: "TIMESTAMP WITH TIME ZONE",
    values: [...zoned, "infinity", "-infinity", "2026-01-02 03:04:05.678901+02"],
  },
  {
    name: "interval",
    type: "interval",
    duckdb: "VARCHAR",
    values: [
      "1 year 2 mons -3 days 04:05:06.789",
      "0",
      "infinity",
      "-infinity",
      "-178000000 years",
      "178000000 years",
      "1 day -00:00:00.000001",
      "24:00",
    ],
  },
  {
    name: "inet",
    type: "inet",
    duckdb: "VARCHAR",
    values: ["10.0.0.1", "10.0.0.1/8", "0.0.0.0/0", "::1", "::ffff:1.2.3.4/96", "255.255.255.255", "::/0"],
  },
  { name: "cidr", type: "cidr", duckdb: "VARCHAR", values: ["10.0.0.0/8", "10.0.0.1/32", "0.0.0.0/0", "2001:db8::/32", "::1/128", "::/0"] },
  {
    name: "macaddr",
    type: "macaddr",
    duckdb: "VARCHAR",
    values: ["08:00:2b:01:02:03", "00:00:00:00:00:00", "ff:ff:ff:ff:ff:ff", "00:00:00:00:00:01", "80:00:00:00:00:00", "0a:0b:0c:0d:0e:0f"],
  },
  {
    name: "macaddr8",
    type: "macaddr8",
    duckdb: "VARCHAR",
    values: [
      "08:00:2b:01:02:03:04:05",
      "00:00:00:00:00:00:00:00",
      "ff:ff:ff:ff:ff:ff:ff:ff",
      "00:00:00:00:00:00:00:01",
      "80:00:00:00:00:00:00:00",
      "0a:0b:0c:0d:0e:0f:00:01",
    ],
  },
  {
    name: "bit",
    type: "bit(9)",
    duckdb: "VARCHAR",
    values: ["000000000", "111111111", "100000000", "000000001", "101010101", "011111111"],
  },
  { name: "bit varying", type: "varbit", duckdb: "VARCHAR", values: ["", "0", "1", "10000000", "101010101", "1".repeat(1000)] },
  {
    name: "tsvector",
    type: "tsvector",
    duckdb: "VARCHAR",
    values: ["", "'cat':1A,2 'it''s' 'x\\\\y':16383", "'a'", "'a':1D,16382B", "'größer' '🐘':3C", "' ' '\"':1"],
  },
  {
    name: "ltree",
    type: "ltree",
    duckdb: "VARCHAR",
    values: ["", "Top", "Top.Science.Astronomy", "a_b.c-d", `x.${"y".repeat(1000)}`, "1.2.3"],
  },
  {
    name: "hstore",
    type: "hstore",
    duckdb: "MAP(VARCHAR, VARCHAR)",
    values: ["", "a=>1", "a=>1, bb=>NULL", '""=>""', '"c\\"d"=>"e, f"', `"é"=>"${everyPlane}", NULL=>"NULL"`],
  },
  { name: "pg_lsn", type: "pg_lsn", duckdb: "VARCHAR", values: ["0/0", "0/1", "1/0", "16/B374D848", "0/FFFFFFFF", "FFFFFFFF/FFFFFFFF"] },
  { name: "xid", type: "xid", duckdb: "VARCHAR", values: numbers, keyless: true },
  { name: "cid", type: "cid", duckdb: "VARCHAR", values: numbers, keyless: true },
  { name: "xid8", type: "xid8", duckdb: "VARCHAR", values: [...numbers, "9223372036854775808", "18446744073709551615"] },
  ...ranges("int4range", "-2147483648", "0", "2147483647"),
  ...ranges("int8range", "-9223372036854775808", "0", "9223372036854775807"),
  ...ranges("numrange", "-Infinity", "0.00", `${nines(300)}.50`),
  ...ranges("daterange", "-infinity", '"0044-03-15 BC"', "5874897-12-31"),
  ...ranges("tsrange", "-infinity", '"0044-03-15 12:00:00.25 BC"', '"2026-01-02 03:04:05"'),
  ...ranges("tstzrange", "-infinity", '"0044-03-15 12:00:00.25+00 BC"', "infinity"),
  {
    name: "a domain over numeric",
    type: "price",
    duckdb: "DECIMAL(12,2)",
    values: ["0", "-0.01", "1", `${nines(10)}.99`, `-${nines(10)}.99`, "0.1"],
  },
  { name: "a domain over varchar", type: "short", duckdb: "VARCHAR", values: ["", "ten chars.", "🐘", " ", "NULL", "a"] },
  ...(
    [
      [
        "point",
        "STRUCT(x DOUBLE, y DOUBLE)",
        ["(1,1)", "(1.5,-2)", "(NaN,Infinity)", "(-0,1e-300)", "(1e+300,-1e+300)", "(0.1,0.30000000000000004)"],
      ],
      ["line", "STRUCT(a DOUBLE, b DOUBLE, c DOUBLE)", ["{1,0,0}", "{0,1,0}", "{1,-1,0}", "{-1,-1,1e+300}", "{1,2,3}", "{0.1,0.2,0.3}"]],
      [
        "lseg",
        "STRUCT(x1 DOUBLE, y1 DOUBLE, x2 DOUBLE, y2 DOUBLE)",
        ["[(0,0),(0,0)]", "[(1,2),(3,4)]", "[(-1,-2),(-3,-4)]", "[(NaN,0),(0,0)]", "[(Infinity,0),(0,-Infinity)]", "[(0.1,0),(0,1e-300)]"],
      ],
      [
        "box",
        "STRUCT(x1 DOUBLE, y1 DOUBLE, x2 DOUBLE, y2 DOUBLE)",
        ["(0,0),(0,0)", "(3,4),(1,2)", "(1,1),(-1,-1)", "(Infinity,1),(0,0)", "(0.1,0.2),(0,0)", "(1e+300,1),(1,1)"],
      ],
      [
        "path",
        "STRUCT(closed BOOLEAN, points STRUCT(x DOUBLE, y DOUBLE)[])",
        ["[(0,0)]", "((0,0))", "[(1,2),(3,4)]", "((1,2),(3,4))", "[(NaN,0),(0,0)]", "((0.1,0),(0,1e-300))"],
      ],
      [
        "polygon",
        "STRUCT(x DOUBLE, y DOUBLE)[]",
        ["((0,0))", "((1,2),(3,4))", "((0,0),(1,0),(0,1))", "((NaN,0))", "((Infinity,1))", "((0.1,1e-300))"],
      ],
      [
        "circle",
        "STRUCT(x DOUBLE, y DOUBLE, radius DOUBLE)",
        ["<(0,0),0>", "<(1,2),3>", "<(-1,-2),1e+300>", "<(0.1,0),0.2>", "<(Infinity,0),1>", "<(0,0),Infinity>"],
      ],
    ] as const
  ).map(([type, duckdb, values]): TypeValues => ({ name: type, type, duckdb, values, keyless: true })),
];

const plainType = (name: string): TypeValues => plainTypes.find((type) => type.name === name)!;

/** As record_in takes it; null for an attribute that is null. */
function record(...attributes: readonly (string | null)[]): string {
  return `(${attributes.map((value) => (value === null ? "" : `"${value.replace(/["\\]/g, "$&$&")}"`)).join(",")})`;
}

function composite(
  type: string,
  attributes: Readonly<Record<string, Attribute>>,
  values: readonly string[],
  more: Partial<TypeValues> = {},
): TypeValues {
  const fields = Object.entries(attributes).map(([name, { of, list }]) => {
    const quoted = /^[a-z]\w*$/.test(name) ? name : `"${name}"`;
    return `${quoted} ${of.duckdb}${list === true ? "[]" : ""}`;
  });
  return { name: `composite ${type}`, type, duckdb: `STRUCT(${fields.join(", ")})`, values, keyless: true, attributes, ...more };
}

const address = composite(
  "address",
  {
    street: { of: plainType("text") },
    number: { of: plainType("integer") },
    seen: { of: plainType("timestamp with time zone"), list: true },
  },
  [
    "(,,)",
    '("",0,{})',
    '("a ""b"" \\\\ c",-2147483648,{NULL})',
    `(${everyPlane.slice(2)}x,2147483647,"{infinity,""2026-01-02 03:04:05.678901+02""}")`,
    '("(,)",1,"{""4714-11-24 00:00:00+00 BC"",NULL}")',
    "(NULL,,{-infinity})",
  ],
  { name: "composites" },
);

/** A half of a surrogate is kept in a json, but PostgreSQL's operators on it refuse the whole. */
const inJson = (value: string): string => value.replace("\\ud800", "");

const composites: readonly TypeValues[] = [
  address,
  composite("nested", { "Größe in cm": { of: plainType("numeric(12,2)") }, home: { of: address }, homes: { of: address, list: true } }, [
    "(,,)",
    record("0.5", "(,,)", "{}"),
    record(null, address.values[2]!, '{NULL,"(,,)"}'),
    record("-1", null, `{"${address.values[2]!.replace(/["\\]/g, "\\$&")}",NULL,"${address.values[4]!.replace(/["\\]/g, "\\$&")}"}`),
    record("9999999999.99", address.values[4]!, "{NULL}"),
    record("12.5", address.values[3]!, '{"(,1,)"}'),
  ]),
  composite(
    "everything",
    Object.fromEntries(plainTypes.map((of, index) => [`a${index}`, { of }])),
    Array.from({ length: 8 }, (_, row) =>
      record(...plainTypes.map(({ values }, index) => (index % 8 === row - 1 ? null : inJson(values[row % values.length]!)))),
    ),
  ),
];

const charType: TypeValues = {
  name: '"char"',
  type: '"char"',
  duckdb: "VARCHAR",
  values: ["", "x", "é", " ", "'", '"'],
  keyless: true,
  text: true,
};

export const typeValues: readonly TypeValues[] = [
  ...plainTypes,
  ...composites,
  charType,
  // Of an attribute that is read as text, like all the rest of the composite then.
  composite(
    "tagged",
    {
      a: { of: plainType("integer") },
      tag: { of: charType },
      b: { of: plainType("text") },
      at: { of: plainType("double precision"), list: true },
    },
    ["(,,,)", "(1,x,,{})", '(,"","a b",{0.1})', '(-1,,"","{NULL,NaN}")', '(2147483647,"""","a""b\\\\c",{1e+300})', "(0, ,🐘,{-0})"],
    { text: true },
  ),
  ...(
    [
      ["tsquery", ["'a'", "'a' & 'b'", "!'a' | 'b':*A", "'a' <-> 'b'", "'it''s'", "'größer' <3> '🐘'"]],
      ["int2vector", ["", "0", "1 2 3", "-32768 32767", "1", "-1"]],
      ["regclass", ["pg_class", "pg_type", "pg_proc", "pg_attribute", "pg_index", "-"]],
      ["pg_snapshot", ["1:1:", "1:10:", "10:20:11,12", "10:9223372036854775807:", "10:20:10", "5:6:5"]],
      ["floatrange", ["empty", "(,)", "[1.5,5)", "[-Infinity,NaN]", "(0.1,0.2]", "[5e-324,)"]],
    ] as const
  ).map(([type, values]): TypeValues => ({ name: type, type, duckdb: "VARCHAR", values, keyless: true, text: true })),
];

/** What the values of `typeValues` need. */
export const TYPES_SQL = `${BASES_SQL}; ${typeValues
  .flatMap(({ type, attributes }) => (attributes === undefined ? [] : [{ type, attributes }]))
  .map(({ type, attributes }) => {
    const columns = Object.entries(attributes).map(([name, { of, list }]) => `"${name}" ${of.type}${list === true ? "[]" : ""}`);
    return `CREATE TYPE ${type} AS (${columns.join(", ")})`;
  })
  .join("; ")}`;

/** Where it is asked of: a column of its type, or, in the warehouse, a composite's attribute, which a json has as `json` or `text`. */
type Place = "source" | "warehouse" | "json";

/** What to ask PostgreSQL for, the source or the warehouse: the column's value as the type's output function prints it. */
export function postgresText(value: string, { type, attributes }: TypeValues, at: Place): string {
  if (attributes !== undefined) return postgresAttributes(value, attributes, at);
  const text = `(${value} #>> '{}')`;
  if (at === "json" && (type === "json" || type === "jsonb")) return `${value}::text`;
  if (at === "json") return type === "bytea" ? `upper(substr(${text}, 3))` : text;
  const printed: Readonly<Record<string, string>> = {
    bool: `${value}::text`, // true and false
    bytea: `upper(encode(${value}, 'hex'))`, // as DuckDB's hex()
    ...(at === "source" ? { money: `${value}::numeric::text`, hstore: `hstore_to_json(${value})::text` } : {}),
  };
  // `IS NULL` holds for a composite of nulls too.
  return printed[type] ?? `CASE WHEN ${value} IS DISTINCT FROM NULL THEN format('%s', ${value}) END`;
}

/** Of a composite, the JSON object of its attributes' texts. */
function postgresAttributes(value: string, attributes: Readonly<Record<string, Attribute>>, at: Place): string {
  const parts = Object.entries(attributes).map(([name, { of, list }]) => {
    const attribute = at === "source" ? `(${value})."${name}"` : `(${value} -> '${name}')`;
    const inside = at === "source" ? "source" : "json";
    return `json_build_object('${name}', ${list === true ? postgresArrayText(attribute, of, inside) : postgresText(attribute, of, inside)})::text`;
  });
  const there = at === "source" ? `${value} IS DISTINCT FROM NULL` : `json_typeof(${value}) <> 'null'`;
  // One object an attribute: a function takes 100 arguments.
  return `CASE WHEN ${there} THEN to_json(ARRAY[${parts.join(", ")}])::text END`;
}

/** What to ask DuckDB for. */
export function duckdbText(value: string, { duckdb, attributes }: TypeValues): string {
  if (attributes !== undefined) {
    const parts = Object.entries(attributes).map(([name, { of, list }]) => {
      const attribute = `struct_extract(${value}, '${name}')`;
      return `CAST(json_object('${name}', ${list === true ? duckdbArrayText(attribute, of) : duckdbText(attribute, of)}) AS VARCHAR)`;
    });
    return `CASE WHEN ${value} IS NOT NULL THEN CAST(to_json([${parts.join(", ")}]) AS VARCHAR) END`;
  }
  if (duckdb === "BLOB") return `hex(${value})`;
  // As it prints a TIMESTAMP: in the last year its ICU prints another millisecond than it stores.
  if (duckdb === "TIMESTAMP WITH TIME ZONE")
    return `CASE WHEN isfinite(${value}) THEN make_timestamp(epoch_us(${value})) || '+00' ELSE CAST(${value} AS VARCHAR) END`;
  return duckdb.startsWith("MAP")
    ? `CASE WHEN ${value} IS NOT NULL THEN CAST(to_json(${value}) AS VARCHAR) END`
    : `CAST(${value} AS VARCHAR)`;
}

/** Its arrays are of kind `other` too. */
function isOther({ text, attributes }: TypeValues): boolean {
  return text === true && attributes === undefined;
}

/** Of an array, the JSON array of its elements' texts. */
export function postgresArrayText(column: string, of: TypeValues, at: Place): string {
  if (isOther(of)) return postgresText(column, of, at);
  const [there, elements] =
    at === "json"
      ? [`json_typeof(${column}) = 'array'`, `json_array_elements(${column}) WITH ORDINALITY AS u(e, n)`]
      : [`${column} IS NOT NULL`, `(SELECT (${column})[n] AS e, n FROM generate_subscripts(${column}, 1) n) u`];
  return `CASE WHEN ${there} THEN to_json(ARRAY(SELECT ${postgresText("e", of, at)} FROM ${elements} ORDER BY n))::text END`;
}

export function duckdbArrayText(column: string, of: TypeValues): string {
  if (isOther(of)) return duckdbText(column, of);
  return `CASE WHEN ${column} IS NOT NULL THEN CAST(to_json(list_transform(${column}, lambda e: ${duckdbText("e", of)})) AS VARCHAR) END`;
}

/** One wording of a value for all: the same text exactly when it is the same value. */
export function canonical(text: string | null, of: TypeValues): string | null {
  const { duckdb, attributes } = of;
  if (text === null || isOther(of)) return text;
  if (attributes !== undefined) {
    const values = (JSON.parse(text) as string[]).flatMap((each) => Object.entries(JSON.parse(each) as Record<string, string | null>));
    const reduced = values.map(([name, value]) => {
      const { of: type, list } = attributes[name]!;
      // Inside a json a null attribute is JSON's null, and its operators leave white space out.
      if (type.duckdb === "JSON") return [name, value?.trim() === "null" ? null : (value?.trim() ?? null)];
      return [name, list === true ? canonicalArray(value, type) : canonical(value, type)];
    });
    return JSON.stringify(reduced);
  }
  if (duckdb === "FLOAT" || duckdb === "DOUBLE") return canonicalNumber(text);
  if (duckdb === "DATE" || duckdb.startsWith("TIMESTAMP")) return text.replace(/^(\S+) \(BC\)(.*)$/, "$1$2 BC");
  if (duckdb.startsWith("DECIMAL")) return text.replace(/^(-?)\./, "$10."); // DuckDB leaves the zero out
  if (duckdb.startsWith("STRUCT")) return canonicalShape(text, duckdb.startsWith("STRUCT(closed"));
  if (duckdb.startsWith("MAP")) return JSON.stringify(Object.entries(JSON.parse(text) as Record<string, string | null>).sort());
  return text;
}

/** Of the JSON array of the elements' texts. */
export function canonicalArray(text: string | null, of: TypeValues): string | null {
  if (text === null || isOther(of)) return text;
  return JSON.stringify((JSON.parse(text) as (string | null)[]).map((element) => canonical(element, of)));
}

/* PostgreSQL, DuckDB ::= NaN, nan; Infinity, inf; -Infinity, -inf; otherwise the shortest decimal that is this number alone */
function canonicalNumber(text: string): string {
  const value = Number(text.replace(/^(-?)inf(inity)?$/i, "$1Infinity").replace(/^nan$/i, "NaN"));
  if (Number.isNaN(value) && text.toLowerCase() !== "nan") throw new Error(`no number: ${text}`);
  return Object.is(value, -0) ? "-0" : String(value);
}

/* PostgreSQL ::= numbers among brackets, of a path square ones when it is open; DuckDB ::= {'x': 1.0, …}, {'closed': true, 'points': […]} */
function canonicalShape(text: string, isPath: boolean): string {
  const open = isPath && (text.startsWith("[(") || text.includes("'closed': false"));
  const numbers = text.replaceAll(/'\w+': /g, "").match(/-?(?:\d[\d.]*(?:e[+-]?\d+)?|inf(?:inity)?|nan)/gi) ?? [];
  return `${open ? "open " : ""}${numbers.map(canonicalNumber).join(" ")}`;
}
