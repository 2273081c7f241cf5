// The target equals the source: every table, row by row, value by value.
import { DuckDBInstance } from "@duckdb/node-api";
import pg from "pg";
import { expect } from "vitest";
import type { TableName } from "../../src/core/table.ts";
import { compareTables, type Difference } from "../../src/quickstart/compare.ts";
import { eventually } from "./eventually.ts";

/** A DuckDB file, or the URL of a PostgreSQL warehouse. */
export type Target = { readonly duckdb: string } | { readonly postgres: string };

export type Compared = { readonly rows: number; readonly differences: readonly string[] };

/** Both sides at rest, targets named as their tables. */
export async function compare(url: string, target: Target, tables: readonly TableName[]): Promise<Compared> {
  return "duckdb" in target ? compareDuckdb(url, target.duckdb, tables) : comparePostgres(url, target.postgres, tables);
}

/** Waits until the sink has caught up with a source at rest. */
export async function expectSame(url: string, target: Target, tables: readonly TableName[], ms = 90_000): Promise<Compared> {
  let last: Compared | null = null;
  const isSame = async (): Promise<boolean> => {
    last = await compare(url, target, tables);
    return last.differences.length === 0;
  };
  await eventually("the target equals the source", isSame, ms).catch((error: unknown) => {
    expect(last?.differences ?? [String(error)]).toEqual([]);
  });
  return last!;
}

/** The service may hold the file for a moment: then the attempt throws, and another follows. */
async function compareDuckdb(url: string, file: string, tables: readonly TableName[]): Promise<Compared> {
  const duckdb = await DuckDBInstance.create(file, { access_mode: "READ_ONLY" });
  try {
    const connection = await duckdb.connect();
    const { tables: compared, first } = await compareTables(url, connection, tables, AbortSignal.timeout(60_000));
    connection.closeSync();
    return { rows: compared.reduce((sum, { rows }) => sum + rows, 0), differences: first.map(tell) };
  } finally {
    duckdb.closeSync();
  }
}

function tell({ table, key, column, source, copy }: Difference): string {
  return `${table} ${key}${column === null ? "" : ` ${column}`}: source ${short(source)}, copy ${short(copy)}`;
}

/** Of the target only the columns of the source are read; all of the source must be there. */
async function comparePostgres(url: string, target: string, tables: readonly TableName[]): Promise<Compared> {
  const [source, copy] = [await connect(url), await connect(target)];
  try {
    const differences: string[] = [];
    let rows = 0;
    for (const table of tables) {
      const columns = await columnsOf(source, table);
      const [expected, actual] = [await rowsOf(source, table, columns), await rowsOf(copy, table, columns)];
      rows += expected.size;
      for (const key of new Set([...expected.keys(), ...actual.keys()])) {
        const [a, b] = [expected.get(key), actual.get(key)];
        if (a !== b) differences.push(`${table.name} ${key}: source ${short(a ?? null)}, copy ${short(b ?? null)}`);
      }
    }
    return { rows, differences: differences.slice(0, 20) };
  } finally {
    await Promise.all([source.end(), copy.end()]);
  }
}

type Columns = { readonly key: readonly string[]; readonly all: readonly string[] };

async function columnsOf(client: pg.Client, { schema, name }: TableName): Promise<Columns> {
  const { rows } = await client.query<{ name: string; key: boolean }>(
    `SELECT quote_ident(attname) AS name, attnum = ANY (indkey) AS key FROM pg_attribute JOIN pg_index ON indrelid = attrelid AND indisprimary
     WHERE attrelid = format('%I.%I', $1::text, $2::text)::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum`,
    [schema, name],
  );
  return { key: rows.filter(({ key }) => key).map((row) => row.name), all: rows.map((row) => row.name) };
}

/** Key → the row as PostgreSQL's own text. */
async function rowsOf(client: pg.Client, { schema, name }: TableName, { key, all }: Columns): Promise<ReadonlyMap<string, string>> {
  const text = (columns: readonly string[]): string => `row(${columns.map((column) => `${column}::text`).join(", ")})::text`;
  const { rows } = await client.query<{ key: string; row: string }>({
    text: `SELECT ${text(key)} AS key, ${text(all)} AS row FROM ${schema}.${name}`,
  });
  const found = new Map(rows.map((row) => [row.key, row.row]));
  if (found.size !== rows.length) throw new Error(`${name} holds keys twice`);
  return found;
}

async function connect(url: string): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: url });
  client.on("error", () => undefined);
  await client.connect();
  await client.query("SET TimeZone = 'UTC'; SET extra_float_digits = 1; SET bytea_output = 'hex'");
  return client;
}

function short(text: string | null): string {
  return text === null ? "nothing" : text.length > 120 ? `${text.slice(0, 120)}…` : text;
}
