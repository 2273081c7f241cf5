// docs/types.md is written from what the code does with each kind; what stands in its notes is proven by the tests of types.
import path from "node:path";
import { expect, test } from "vitest";
import { valueType, type AvroField, type AvroType } from "../../../src/avro/schema.ts";
import { typeAsAsked } from "../../../src/core/read-as.ts";
import { columnKinds, readAsNames, type ColumnKind, type ColumnType, type ReadAs } from "../../../src/core/table.ts";
import { builtInTypes, extensionTypes, needsText, rangeTypes } from "../../../src/postgres/types.ts";
import { columnType as duckdbType } from "../../../src/warehouses/duckdb/dialect.ts";
import { columnType as postgresType } from "../../../src/warehouses/postgres/dialect.ts";

const root = path.resolve(import.meta.dirname, "../../..");

test("docs/types.md has every kind of column with its types in Avro, DuckDB and PostgreSQL", async () => {
  await expect(
    typesPage(),
    "out of date; to write it again: npx vitest run --project unit test/unit/postgres/types-page.test.ts -u",
  ).toMatchFileSnapshot(path.join(root, "docs/types.md"));
});

/** The types that a kind stands for, where no table of the code names them. */
const examples: Readonly<Partial<Record<ColumnKind, readonly (readonly [name: string, type: ColumnType])[]>>> = {
  decimal: [
    ["`numeric(12,2)`", { kind: "decimal", precision: 12, scale: 2 }],
    ["`numeric(60,4)`", { kind: "decimal", precision: 60, scale: 4 }],
  ],
  numeric: [["`numeric`, `numeric(5,-2)`, `numeric(2,4)`", { kind: "numeric" }]],
  money: [["`money`", { kind: "money", precision: 19, scale: 2 }]],
  enum: [["enums", { kind: "enum" }]],
  range: [...rangeTypes.values()].map((typeName) => [`\`${typeName}\``, { kind: "range", typeName }] as const),
  composite: [
    [
      "composites",
      {
        kind: "composite",
        schema: "public",
        name: "address",
        oid: 0,
        given: 0,
        attributes: Object.entries({
          street: { kind: "text" },
          number: { kind: "int4" },
          seen: { kind: "array", element: { kind: "timestamptz" } },
        } as const).map(([name, type]) => ({ name, type, number: 0, typeOid: 0, typeModifier: -1 })),
      },
    ],
  ],
  array: [
    ["`integer[]`", { kind: "array", element: { kind: "int4" } }],
    ["`numeric(12,2)[]`", { kind: "array", element: { kind: "decimal", precision: 12, scale: 2 } }],
    ["`inet[]`, and so on", { kind: "array", element: { kind: "inet" } }],
  ],
  other: [["all others: range types that were made with CREATE TYPE, …, and arrays of them", { kind: "other", typeName: "" }]],
};

const notes: Readonly<Partial<Record<ColumnKind, string>>> = {
  float4:
    "NaN, the infinities and −0 are kept; all NaNs are one. Where a column has 0 and −0, DuckDB 1.5 may write one of them for both ([duckdb#25580](https://github.com/duckdb/duckdb/issues/25580))",
  float8: "as `real`",
  decimal: "0 ≤ scale ≤ precision. NaN is a dead letter. DuckDB holds up to 38 digits; more are text",
  numeric: "text with all its digits; NaN and the infinities are kept",
  money:
    "the stored integer, with as many digits behind the point as the `lc_monetary` has that the source's role finds in its database. A money written under another one counts otherwise",
  text: "`character(n)` with its padding",
  json: "the text as it was written",
  xml: "text, as the server prints it",
  uuid: "36 characters with hyphens",
  date: "days since 1970-01-01; ±infinity are the largest and the smallest int",
  time: "µs since midnight, 24:00:00 included",
  timetz: "`12:00:00.5+05:30`, as PostgreSQL prints it: its offset is part of the value",
  timestamp:
    "µs since 1970, in no time zone; ±infinity are the largest and the smallest long. After 294247-01-10 04:00:54.775806 a dead letter",
  timestamptz: "as `timestamp`, in UTC",
  interval: "ISO 8601, each part with its own sign; `infinity` of PostgreSQL 17 and later is kept",
  inet: "without `/32` and `/128` of single addresses",
  cidr: "always with its bits",
  bit: "`0` and `1`; lengths are the source's affair",
  tsvector: "with positions and weights, quoted as PostgreSQL prints it",
  pg_lsn: "without zeros in front, whatever the server's version",
  xid: "has no order, so a target keeps it as text",
  hstore: "in a PostgreSQL target a jsonb, since the extension may not be there",
  point: "its numbers, NaN, the infinities and −0 among them",
  line: "ax + by + c = 0",
  box: "x1, y1: its upper right corner",
  path: "`closed`: whether its last point is joined with the first",
  geometry: "PostGIS's types, as EWKB: `ST_AsEWKB`, in the byte order of the source's machine",
  vector: "pgvector's type. Its bytes were tested, a server with the extension was not",
  range: "as PostgreSQL prints it, moments in UTC; `empty`, and no bound where there is none",
  composite:
    "here of (street text, number integer, seen timestamptz[]). CREATE TYPE … AS, and the row types of tables; each attribute as its own type is, null among them. One whose attribute is read as text is read as text too. Not in a key, unless as its text. In a PostgreSQL target a json, since the type may not be there: its numbers keep all their digits, NaN and what JSON has no word for are the strings that PostgreSQL prints. In a DuckDB file the STRUCT has the attributes of before and after an ALTER TYPE",
  array:
    "elements may be null. More than one dimension, or a first index other than 1, is a dead letter: Avro's arrays have neither. `integer[][]` is `integer[]` to PostgreSQL",
  other: "PostgreSQL's text form. One such column puts the whole stream on the text protocol",
};

function typesPage(): string {
  const rows = columnKinds.flatMap((kind) => {
    const own: readonly (readonly [string, ColumnType])[] = examples[kind] ?? [[namesOf(kind), { kind } as ColumnType]];
    return own.map(([name, type], index) => {
      const protocol = needsText([{ type }]) ? "text" : "binary";
      const cells = [
        name,
        avroText(valueType(type)),
        `\`${duckdbType(type)}\``,
        `\`${postgresType(type)}\``,
        protocol,
        index === 0 ? (notes[kind] ?? "") : "",
      ];
      return `| ${cells.join(" | ")} |`;
    });
  });
  const types = `| In the source | Avro | DuckDB | PostgreSQL | Protocol | |\n|---|---|---|---|---|---|\n${rows.join("\n")}\n`;
  return `${PREFACE}\n${types}\n${ASKED}\n| In the source | \`as\` | Avro | DuckDB | PostgreSQL | Protocol | |\n|---|---|---|---|---|---|---|\n${askedRows().join("\n")}\n`;
}

/** One row for each type that `as` makes another one of. */
function askedRows(): readonly string[] {
  return columnKinds.flatMap((kind) => {
    const [[name, type] = [namesOf(kind), { kind } as ColumnType] as const] = examples[kind] ?? [];
    return readAsNames.flatMap((as) => {
      const column = typeAsAsked(type, as, false);
      if (column.sent === undefined) return [];
      const protocol = needsText([column]) ? "text" : "binary";
      const note = askedNotes[as][kind] ?? "";
      return `| ${kind === "array" ? "arrays" : name} | \`${as}\` | ${avroText(valueType(column.type))} | \`${duckdbType(column.type)}\` | \`${postgresType(column.type)}\` | ${protocol} | ${note} |`;
    });
  });
}

const askedNotes: Readonly<Record<ReadAs, Readonly<Partial<Record<ColumnKind, string>>>>> = {
  string: {
    bool: "`t` or `f`",
    decimal: "all its digits; NaN is kept",
    money: "its number, as in `-1234.50`",
    bytea: "`\\x` and hex digits",
    date: "`2026-11-30`, `infinity`, `0044-03-15 BC`",
    timestamp: "`2026-11-30 12:00:00.5`, `infinity`; every year that PostgreSQL has",
    timestamptz: "as `timestamp`, in UTC: `2026-11-30 12:00:00.5+00`",
    composite: '`(Elm St,5,"{...}")`, as PostgreSQL prints it',
    hstore: '`"a"=>"1", "b"=>NULL`',
    array: "`{{1,2},{3,NULL}}`: of any dimensions, with any first index",
  },
  double: {
    decimal: "NaN is kept; a number beyond the largest double is a dead letter",
    numeric: "as `numeric(12,2)`; the infinities are kept",
  },
  bytes: { uuid: "its 16 bytes", macaddr: "its 6 bytes", macaddr8: "its 8 bytes" },
};

/** As format_type has them. */
function namesOf(kind: ColumnKind): string {
  const builtIn = [...builtInTypes.values()].filter((type) => type.kind === kind);
  const extensions = extensionTypes.filter((type) => type.kind === kind);
  return [...builtIn, ...extensions].map(({ name }) => `\`${name}\``).join(", ");
}

function avroText(type: AvroType): string {
  if (typeof type === "string") return `\`${type}\``;
  if (!("type" in type)) throw new Error("no union stands alone");
  const { type: base, items, precision, scale } = type;
  const logicalType = type.logicalType as string | undefined;
  if (base === "record") return recordText(type as { readonly fields?: unknown });
  if (type.type === "map") return "map of null or `string`";
  if (items !== undefined && !Array.isArray(items)) return `array of ${avroText(items as AvroType)}`;
  if (Array.isArray(items)) return `array of null or ${avroText(items[1] as AvroType)}`;
  const digits = logicalType === "decimal" ? `(${String(precision)},${String(scale)})` : "";
  return logicalType === undefined ? avroText(base) : `${avroText(base)}, ${logicalType}${digits}`;
}

function recordText({ fields }: { readonly fields?: unknown }): string {
  const names = (fields as readonly AvroField[]).map(({ name, type }) => `${name}: ${avroText(notNull(type))}`);
  return `record (${names.join(", ")})`;
}

/** An attribute of a composite may be null, as its notes say. */
function notNull(type: AvroType): AvroType {
  return Array.isArray(type) ? (type as readonly AvroType[])[1]! : type;
}

const ASKED = `## As another type

\`as\` of a source's tables ([configuration.md](configuration.md#source)) asks for another Avro type of a column, where its own does not
suit: \`as: { total: string, ratio: double }\`. A \`string\` is PostgreSQL's text form, which holds every value; a \`double\` is the nearest one
to the number, and so is not allowed in a key; \`bytes\` are those of a uuid or a MAC address. What is asked for that the type has anyway (\`string\`
of an \`inet\`, \`double\` of a \`double precision\`, \`bytes\` of a \`bytea\`) changes nothing. All other pairs are refused by name, as is a column
that no table has: before the source begins with a table, and by \`tailrace check\` (COLUMN_AS). Where an ALTER TABLE has made it so later, the column
is read as its own type, the log says so, and no table waits.

Of a table that has events already, setting, changing or removing \`as\` is a change of schema like one by ALTER TABLE, and an
incompatible one: \`tailrace plan\` shows it, \`schema_changes\` says what becomes of it.
`;

const PREFACE = `# Types

Written from the code by \`npx vitest run --project unit test/unit/postgres/types-page.test.ts -u\`; do not edit it here.

What becomes of a column's type on its way: in the log, in a DuckDB file and in a PostgreSQL target. Nothing is rounded, nothing is
cut: a value that its type here can't hold is a dead letter with the error \`VALUE_OUT_OF_RANGE\`, which names the column and why. Both
protocols of the stream, and snapshots, give the same bytes. A domain is what its base type is. Columns outside the key may be null.

**Protocol** is how PostgreSQL sends the values: \`binary\` costs the source less.
`;
