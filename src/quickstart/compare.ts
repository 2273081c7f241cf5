// Every table held against its copy, value by value. Each side turns its own values into text by its own SQL, so
// that none of Tailrace's decoding stands between them.
import type { DuckDBConnection } from "@duckdb/node-api";
import pg from "pg";
import { tableLabel, type TableName } from "../core/table.ts";
import { clientConfig } from "../postgres/session.ts";
import {
  bottomOf,
  compositeOf,
  copyComposite,
  isSameComposite,
  readComposites,
  sourceComposite,
  type Composite,
  type Composites,
  type Part,
  type Typed,
} from "./compare-composites.ts";

export type Difference = {
  readonly table: string;
  /** `id=7`, or `order_id=7, line=2`. */
  readonly key: string;
  /** null: the whole row is missing on one side. */
  readonly column: string | null;
  readonly source: string | null;
  readonly copy: string | null;
};

export type Comparison = {
  readonly tables: readonly { readonly table: string; readonly rows: number; readonly differences: number }[];
  /** Rows that differ, are missing in the copy, or stand only there. */
  readonly differences: number;
  /** The first of them, at most MAX_SHOWN. */
  readonly first: readonly Difference[];
};

const MAX_SHOWN = 20;
const FETCH_ROWS = 1_000;
/** What Tailrace adds to a target. */
const METADATA = "_tailrace_";

/** A row as texts: its key columns first. Rows come in the order of their keys. */
type Row = readonly (string | null)[];
/** `type`: PostgreSQL's name of it, a domain's of what it is made of, an array's of its elements with `[]` behind it. */
type Column = Typed & { readonly key: boolean; readonly generated: boolean; readonly composite: Composite | null };
const LIST = "[]";

/** Compares `tables` of a database at rest with the tables of the same name in an open DuckDB file. */
export async function compareTables(
  url: string,
  duckdb: DuckDBConnection,
  tables: readonly TableName[],
  signal: AbortSignal,
): Promise<Comparison> {
  // The settings of a source's session: values of types that nobody takes apart are copied as PostgreSQL's text.
  const client = new pg.Client(clientConfig({ url, applicationName: "tailrace quickstart" }, { statement_timeout: 0 }));
  client.on("error", () => undefined); // the query under way fails as well
  await client.connect();
  try {
    await client.query("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY");
    const first: Difference[] = [];
    const results: { table: string; rows: number; differences: number }[] = [];
    const composites = await readComposites(client, LIST);
    for (const table of tables) results.push(await compareTable(client, duckdb, table, composites, first, signal));
    return { tables: results, differences: results.reduce((sum, { differences }) => sum + differences, 0), first };
  } finally {
    await client.end().catch(() => undefined);
  }
}

async function compareTable(
  client: pg.Client,
  duckdb: DuckDBConnection,
  table: TableName,
  composites: Composites,
  first: Difference[],
  signal: AbortSignal,
): Promise<{ table: string; rows: number; differences: number }> {
  const copied = await copyColumns(duckdb, table);
  // What the publication leaves out is not missing.
  const columns = (await sourceColumns(client, table))
    .filter(({ name, generated }) => !generated || copied.has(name))
    .map((column): Column => ({ ...column, composite: compositeOf(column, copied.get(column.name), composites) }));
  const label = tableLabel(table);
  const keys = columns.filter(({ key }) => key).length;
  const keyOf = (row: Row): string =>
    columns
      .slice(0, keys)
      .map(({ name }, at) => `${name}=${String(row[at])}`)
      .join(", ");
  let rows = 0;
  let differences = 0;
  const differ = (row: Row, column: string | null, source: string | null, copy: string | null): void => {
    if (first.length < MAX_SHOWN) first.push({ table: label, key: keyOf(row), column, source, copy });
  };
  const extra = [...copied.keys()].filter((name) => !columns.some((column) => column.name === name));
  if (extra.length > 0) throw new Error(`the copy of ${label} has columns that the table lacks: ${extra.join(", ")}`);

  const source = sourceRows(client, table, columns, copied, signal);
  // A table or column that is not there differs in every row: it is read as if all of it were missing or null.
  const copy = copied.size === 0 ? noRows() : copyRows(duckdb, table, columns, copied, signal);
  let here = await nextRow(source);
  let there = await nextRow(copy);
  while (here !== null || there !== null) {
    const order = here === null ? 1 : there === null ? -1 : compareKeys(here, there, columns, keys);
    if (order <= 0) rows += 1;
    if (order < 0 && here !== null) {
      differ(here, null, "a row", null);
      differences += 1;
    } else if (order > 0 && there !== null) {
      differ(there, null, null, "a row");
      differences += 1;
    } else if (here !== null && there !== null) {
      const [a, b] = [here, there];
      const wrong = columns.findIndex(({ name, type, composite }, at) => {
        const [of, copy] = [a[at] ?? null, b[at] ?? null];
        return !copied.has(name) || !(composite === null ? isSame(of, copy, type) : isSameComposite(of, copy, composite, isSame));
      });
      if (wrong !== -1) {
        differ(a, columns[wrong]?.name ?? null, a[wrong] ?? null, b[wrong] ?? null);
        differences += 1;
      }
    }
    if (order <= 0) here = await nextRow(source);
    if (order >= 0) there = await nextRow(copy);
  }
  return { table: label, rows, differences };
}

/** Column by column: numbers with a fraction as both databases order them, NaN last, and all else by the bytes of its text. */
function compareKeys(a: Row, b: Row, columns: readonly Column[], keys: number): number {
  for (let at = 0; at < keys; at++) {
    const [left, right] = [a[at] ?? "", b[at] ?? ""];
    const type = columns[at]?.type ?? "";
    if (isSame(left, right, type)) continue;
    if (!isFloat(type)) return Buffer.compare(Buffer.from(left), Buffer.from(right));
    const [x, y] = [floatOf(left), floatOf(right)];
    return Number.isNaN(x) || x > y ? 1 : -1;
  }
  return 0;
}

/** The two write a float differently, and both so that nothing of it is lost. */
function isSame(source: string | null, copy: string | null, type: string): boolean {
  if (source === copy) return true;
  if (source === null || copy === null) return false;
  if (isGeometric(type)) return isSameFigure(source, copy);
  if (type === "vector" || (type.endsWith(LIST) && isFloat(elementOf(type)))) {
    const [items, others] = [source, copy].map((list) => list.slice(1, -1).split(",")) as [string[], string[]];
    return (
      items.length === others.length &&
      items.every((item, at) => isSame(item, others[at] ?? "", type === "vector" ? "float4" : elementOf(type)))
    );
  }
  if (!isFloat(type)) return false;
  const [x, y] = [floatOf(source), floatOf(copy)];
  return x === y || (Number.isNaN(x) && Number.isNaN(y));
}

/** The same numbers, and of a path the same ends. Arrays of figures are compared as one. */
function isSameFigure(source: string, copy: string): boolean {
  const [numbers, others] = [numbersOf(source), numbersOf(copy)];
  const open = copy.split("'closed': false").length;
  if (copy.includes("'closed'") && source.split("[(").length !== open) return false;
  const isNull = (text: string | undefined): boolean => text?.toLowerCase() === "null";
  return (
    numbers.length === others.length &&
    numbers.every((number, at) => isNull(number) === isNull(others[at]) && isSame(number, others[at]!, "float8"))
  );
}

function numbersOf(text: string): readonly string[] {
  return [...text.matchAll(NUMBERS)].map(([number]) => number);
}

/** Numbers and nulls; what stands in quotes is the name of a field. */
const NUMBERS = /(?<![\w'])(?:-?(?:inf(?:inity)?|nan|\d[\d.]*(?:e[+-]?\d+)?)|null)(?![\w'])/gi;

function isGeometric(type: string): boolean {
  return /^(?:point|line|lseg|box|path|polygon|circle)(?:\[\])?$/.test(type);
}

function isFloat(type: string): boolean {
  return type === "float4" || type === "float8";
}

function elementOf(type: string): string {
  return type.slice(0, -LIST.length);
}

function floatOf(text: string): number {
  return Number(text.replace(/^(-?)inf$/, "$1Infinity"));
}

async function nextRow(rows: AsyncIterator<Row, undefined>): Promise<Row | null> {
  return (await rows.next()).value ?? null;
}

async function* noRows(): AsyncGenerator<Row, undefined> {
  // nothing
}

/** The columns of a table: those of its key first, in key order. */
async function sourceColumns(client: pg.Client, table: TableName): Promise<readonly Omit<Column, "composite">[]> {
  const { rows } = await client.query<Omit<Column, "composite">>(
    `SELECT attname AS name, attgenerated <> '' AS generated, coalesce(place <= indnkeyatts, false) AS key, bottom.type, bottom.oid
     FROM pg_class c JOIN pg_attribute ON attrelid = c.oid CROSS JOIN ${bottomOf("atttypid", LIST)}
     LEFT JOIN pg_index i ON indrelid = c.oid AND CASE relreplident WHEN 'i' THEN indisreplident ELSE indisprimary END
     LEFT JOIN LATERAL (SELECT array_position(indkey::int2[], attnum) + 1 AS place) p ON true
     WHERE c.oid = format('%I.%I', $1::text, $2::text)::regclass AND attnum > 0 AND NOT attisdropped
     ORDER BY CASE WHEN place <= indnkeyatts THEN place END, attnum`,
    [table.schema, table.name],
  );
  return rows;
}

async function* sourceRows(
  client: pg.Client,
  table: TableName,
  columns: readonly Column[],
  copied: ReadonlyMap<string, string>,
  signal: AbortSignal,
): AsyncGenerator<Row, undefined> {
  const textOf = (value: string, { attribute: { type }, copied: of }: Pick<Part, "attribute" | "copied">): string => {
    const isList = type.endsWith(LIST) && !isGeometric(type) && of.endsWith(LIST);
    return isList ? sourceList(value, elementOf(type)) : sourceText(value, type);
  };
  const texts = columns.map((column) => {
    const value = quote(column.name);
    if (column.composite !== null) return sourceComposite(value, column.composite, textOf);
    return textOf(value, { attribute: column, copied: copied.get(column.name) ?? "" });
  });
  const order = columns.flatMap(({ name, type, key }, at) =>
    !key ? [] : [isFloat(type) ? `compared_row.${quote(name)}` : `${texts[at] ?? ""} COLLATE "C"`],
  );
  const from = `${quote(table.schema)}.${quote(table.name)} AS compared_row`; // by itself a name in ORDER BY is a result's column
  await client.query(`DECLARE compared NO SCROLL CURSOR FOR SELECT ${texts.join(", ")} FROM ${from} ORDER BY ${order.join(", ")}`);
  for (;;) {
    signal.throwIfAborted();
    const { rows } = await client.query<(string | null)[]>({ text: `FETCH ${FETCH_ROWS} FROM compared`, rowMode: "array" });
    if (rows.length === 0) break;
    yield* rows;
  }
  await client.query("CLOSE compared");
}

/** Elements by their texts, each behind its length: no element can look like two. */
function sourceList(column: string, element: string): string {
  const item = isFloat(element) ? "item" : "octet_length(item)::text || ':' || item";
  return `CASE WHEN ${column} IS NOT NULL THEN '[' || (SELECT coalesce(string_agg(coalesce(${item}, 'null'), ',' ORDER BY place), '')
    FROM (SELECT ${sourceText("one.item", element)} AS item, place FROM unnest(${column}) WITH ORDINALITY one(item, place)) each) || ']' END`;
}

/** PostgreSQL's own text, but for types that DuckDB writes differently. */
function sourceText(column: string, type: string): string {
  switch (type) {
    case "timestamp":
    case "timestamptz":
      return `CASE WHEN isfinite(${column}) THEN (extract(epoch FROM ${column}) * 1000000)::bigint::text ELSE ${column}::text END`;
    case "time":
      return `(extract(epoch FROM ${column}) * 1000000)::bigint::text`;
    case "date":
      return `CASE WHEN isfinite(${column}) THEN (${column} - date '1970-01-01')::text ELSE ${column}::text END`;
    case "money":
      return `${column}::numeric::text`;
    case "geometry":
    case "geography":
      return `lower(${column}::text)`;
    case "bytea":
      return `encode(${column}, 'hex')`;
    case "hstore":
      return `CASE WHEN ${column} IS NOT NULL THEN '{' || (SELECT coalesce(string_agg(
        octet_length(key)::text || ':' || key || '=' || coalesce(octet_length(value)::text || ':' || value, 'null'), ',' ORDER BY key COLLATE "C"), '')
        FROM jsonb_each_text(${column}::jsonb)) || '}' END`;
    case "bpchar": // its cast to text takes the blanks off
    case "inet": // and this one's names the bits of a single address
      return `CASE WHEN ${column} IS NOT NULL THEN concat(${column}) END`;
    default:
      return `${column}::text`;
  }
}

/** Column → DuckDB's type; empty when there is no such table. */
async function copyColumns(duckdb: DuckDBConnection, table: TableName): Promise<ReadonlyMap<string, string>> {
  const result = await duckdb.run(
    `SELECT column_name, data_type FROM information_schema.columns
     WHERE table_catalog = current_database() AND table_schema = $1 AND table_name = $2`,
    [table.schema, table.name],
  );
  const rows = (await result.getRows()) as [string, string][];
  return new Map(rows.filter(([name]) => !name.startsWith(METADATA)));
}

async function* copyRows(
  duckdb: DuckDBConnection,
  table: TableName,
  columns: readonly Column[],
  copied: ReadonlyMap<string, string>,
  signal: AbortSignal,
): AsyncGenerator<Row, undefined> {
  const texts = columns.map(({ name, composite }) => {
    if (composite === null) return copyText(quote(name), copied.get(name));
    return copyComposite(quote(name), composite, (value, part) => copyText(value, part.copied));
  });
  const order = columns.flatMap(({ name, type, key }, at) =>
    !key ? [] : [isFloat(type) ? `compared_row.${quote(name)}` : (texts[at] ?? "")],
  );
  const from = `${quote(table.schema)}.${quote(table.name)} AS compared_row`;
  const result = await duckdb.stream(`SELECT ${texts.join(", ")} FROM ${from} ORDER BY ${order.join(", ")}`);
  for await (const rows of result.yieldRows()) {
    signal.throwIfAborted();
    yield* rows as Row[];
  }
}

function copyText(column: string, type: string | undefined): string {
  if (type === undefined) return "NULL::VARCHAR";
  if (type.startsWith("STRUCT(")) return `${column}::VARCHAR`;
  if (type.endsWith(LIST)) return copyList(column, elementOf(type));
  if (type.startsWith("MAP(")) return copyMap(column);
  switch (type) {
    case "TIMESTAMP":
    case "TIMESTAMP WITH TIME ZONE":
      return `CASE WHEN isfinite(${column}) THEN epoch_us(${column})::VARCHAR ELSE ${column}::VARCHAR END`;
    case "TIME":
      return `epoch_us(${column})::VARCHAR`;
    case "DATE":
      return `CASE WHEN isfinite(${column}) THEN date_diff('day', DATE '1970-01-01', ${column})::VARCHAR ELSE ${column}::VARCHAR END`;
    case "BLOB":
      return `lower(hex(${column}))`;
    default:
      return `${column}::VARCHAR`;
  }
}

function copyList(column: string, element: string): string {
  const text = copyText("compared_item", element);
  const item = element === "FLOAT" || element === "DOUBLE" ? text : `strlen(${text})::VARCHAR || ':' || ${text}`;
  const items = `array_to_string(list_transform(${column}, lambda compared_item: coalesce(${item}, 'null')), ',')`;
  return `CASE WHEN ${column} IS NOT NULL THEN '[' || coalesce(${items}, '') || ']' END`;
}

/** Pairs in the order of their keys, each text behind its length. */
function copyMap(column: string): string {
  const value = `${column}[compared_key]`;
  const pair = `strlen(compared_key)::VARCHAR || ':' || compared_key || '=' || coalesce(strlen(${value})::VARCHAR || ':' || ${value}, 'null')`;
  const pairs = `array_to_string(list_transform(list_sort(map_keys(${column})), lambda compared_key: ${pair}), ',')`;
  return `CASE WHEN ${column} IS NOT NULL THEN '{' || coalesce(${pairs}, '') || '}' END`;
}

/** The same rule in PostgreSQL and DuckDB. */
function quote(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}
