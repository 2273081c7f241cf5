// The warehouses that the shared suite runs on: real DuckDB files and real PostgreSQL databases, each of one test only.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { DuckDBInstance } from "@duckdb/node-api";
import pg from "pg";
import type { Warehouse } from "../../src/core/warehouse.ts";
import { openDuckdb } from "../../src/warehouses/duckdb/warehouse.ts";
import { openPostgresWarehouse } from "../../src/warehouses/postgres/warehouse.ts";
import { eventually } from "../support/eventually.ts";
import { postgres, postgres15, type SharedPostgres, type TestDatabase } from "../support/servers.ts";

export type Place = AsyncDisposable & {
  readonly warehouse: Warehouse;
  /** The rows of a query whose columns are all text; while no session is open. Several statements: the last one's rows. */
  sql(text: string): Promise<(string | null)[][]>;
  /** Until nobody of Tailrace's is connected: a server ends a transaction, and a backend, after its client. */
  alone(): Promise<void>;
};

export type WarehouseKind = { readonly name: "duckdb" | "postgres"; readonly title: string; readonly make: () => Promise<Place> };

export const duckdbKind: WarehouseKind = { name: "duckdb", title: "DuckDB", make: () => duckdbPlace() };
export const postgresKind: WarehouseKind = { name: "postgres", title: "PostgreSQL 18", make: () => postgresPlace(postgres) };
export const postgres15Kind: WarehouseKind = { name: "postgres", title: "PostgreSQL 15", make: () => postgresPlace(postgres15) };

export async function duckdbPlace(fileName = "lake.duckdb"): Promise<Place & { readonly file: string }> {
  const folder = await mkdtemp(path.join(tmpdir(), "tailrace-duckdb-"));
  const file = path.join(folder, fileName);
  const warehouse = openDuckdb({ path: file, lockWaitMs: 5_000 });
  return {
    file,
    warehouse,
    sql: (text) => queryDuckdb(file, text),
    alone: () => Promise.resolve(), // a file is let go by the process's end
    [Symbol.asyncDispose]: async () => {
      await warehouse[Symbol.asyncDispose]();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** As another program would: the file opened by its name. */
export async function queryDuckdb(file: string, text: string): Promise<(string | null)[][]> {
  const instance = await DuckDBInstance.create(file);
  const connection = await instance.connect();
  try {
    return (await connection.runAndReadAll(text)).getRowsJson() as (string | null)[][];
  } finally {
    connection.closeSync();
    instance.closeSync();
  }
}

export async function queryPostgres(url: string, text: string): Promise<(string | null)[][]> {
  const client = new pg.Client({ connectionString: url });
  client.on("error", () => undefined); // the query under way fails as well
  await client.connect();
  try {
    const answer = (await client.query({ text, rowMode: "array" })) as unknown as pg.QueryArrayResult | pg.QueryArrayResult[];
    return ((Array.isArray(answer) ? answer.at(-1) : answer)?.rows ?? []) as (string | null)[][];
  } finally {
    await client.end();
  }
}

/** A database per server and test file; each place finds it empty. */
const databases = new Map<() => Promise<SharedPostgres>, Promise<TestDatabase>>();

/** For the end of a test file. */
export async function dropDatabases(): Promise<void> {
  for (const database of databases.values()) await (await database)[Symbol.asyncDispose]();
  databases.clear();
}

const DROP_SCHEMAS = `DO $$ DECLARE schema text; BEGIN
  FOR schema IN SELECT nspname FROM pg_namespace WHERE nspname NOT LIKE 'pg\\_%' AND nspname NOT IN ('information_schema', 'public') LOOP
    EXECUTE format('DROP SCHEMA %I CASCADE', schema);
  END LOOP;
END $$`;

export async function postgresPlace(server: () => Promise<SharedPostgres> = postgres): Promise<Place & { readonly url: string }> {
  const made = databases.get(server) ?? server().then((shared) => shared.createDatabase("warehouse"));
  databases.set(server, made);
  const { url } = await made;
  await queryPostgres(url, DROP_SCHEMAS);
  const warehouse = openPostgresWarehouse({ url: () => url });
  return {
    url,
    warehouse,
    sql: (text) => queryPostgres(url, text),
    alone: async () => {
      const others = "SELECT pid::text FROM pg_stat_activity WHERE application_name = 'tailrace' AND datname = current_database()";
      await eventually("nobody else is connected", async () => (await queryPostgres(url, others)).length === 0);
    },
    [Symbol.asyncDispose]: () => warehouse[Symbol.asyncDispose](),
  };
}
