// Whatever a table is made of and whatever becomes of it, by rows and by ALTER TABLE, both targets are in the end what the source is.
// `npm run test:schemas -- --cases N --seed S` tries others, `--case C` one of them alone.
import pg from "pg";
import { expect, test } from "vitest";
import { postgres, uniqueName, type TestDatabase } from "../support/servers.ts";
import {
  canonical,
  canonicalArray,
  duckdbArrayText,
  duckdbText,
  postgresArrayText,
  postgresText,
  TYPES_SQL,
} from "../support/type-values.ts";
import { schemaCase, type SchemaCase } from "./random-schema.ts";
import { Scene, sinkDocument, sourceDocument, until, type Document } from "./scene.ts";

const CASES = Number(process.env.TEST_SCHEMA_CASES ?? 200);
const SEED = Number(process.env.TEST_SCHEMA_SEED ?? 1);
const ONLY = process.env.TEST_SCHEMA_CASE === undefined ? null : Number(process.env.TEST_SCHEMA_CASE);
/** Of one service; more, and tables wait for one another. */
const BATCH = 200;
/** A look at the catalogs every 5 s, then snapshots; and each change of a schema ends a flush. On a machine that others have. */
const PATIENCE_MS = 150_000;
const SESSIONS = 4;
/** Tables that one query compares. */
const TOGETHER = 50;

const batches = ONLY === null ? Array.from({ length: Math.ceil(CASES / BATCH) }, (_, batch) => batch * BATCH) : [ONLY];

test.each(batches)(
  `random tables, values and schema changes of seed ${SEED}, cases from %i on: the targets equal the source`,
  async (from) => {
    const count = ONLY === null ? Math.min(BATCH, CASES - from) : 1;
    const cases = Array.from({ length: count }, (_, index) => schemaCase(SEED, from + index));
    await using database = await (await postgres()).createDatabase("random");
    await using warehouse = await (await postgres()).createDatabase("warehouse");
    await using scene = await Scene.open();
    await database.sql(`${TYPES_SQL}; CREATE SCHEMA plain; CREATE SCHEMA odd; CREATE TABLE odd.texts (id int PRIMARY KEY, words tsquery)`);
    await inSessions(database.url, cases, ({ before }) => [before]);
    await scene.configure(...documents("plain", database, warehouse), ...documents("odd", database, warehouse));
    await scene.start();
    await scene.reaches({ plain: "running", odd: "running" });
    await inSessions(database.url, cases, ({ steps }) => steps);

    let left: readonly Different[] = cases.map((of) => ({ of, at: "", why: "" }));
    for (const deadline = performance.now() + PATIENCE_MS; left.length > 0 && performance.now() < deadline;) {
      await new Promise((resolve) => setTimeout(resolve, 1_000));
      left = await different(left, database, warehouse, scene);
      const { sources, sinks } = await scene.status();
      if ([...sources, ...sinks].some(({ state }) => state === "stopped")) break;
    }
    expect(
      left.map(tell).slice(0, 3).join("\n\n"),
      `${left.length} cases differ: ${left.map(({ of }) => of.number).join(" ")}\n${scene.tail(40)}`,
    ).toBe("");
    expect(await scene.metric("tailrace_dead_letters_total")).toBe(0);
    for (const name of ["plain", "odd"]) expect(await scene.source(name)).toMatchObject({ state: "running", error: null });
  },
  Math.max(300_000, 3 * PATIENCE_MS),
);

/** A case whose target differs, and what was seen. */
type Different = { readonly of: SchemaCase; readonly at: string; readonly why: string };

function tell({ of, at, why }: Different): string {
  return `npm run test:schemas -- --seed ${SEED} --case ${of.number}\n${at}: ${why}\n${[of.before, ...of.steps].map((sql) => (sql.length > 1_500 ? `${sql.slice(0, 1_500)}…` : sql)).join("\n--\n")}`;
}

function documents(name: "plain" | "odd", database: TestDatabase, warehouse: TestDatabase): readonly Document[] {
  const slot = uniqueName(name);
  const source = {
    name,
    url: database.url,
    tables: [`${name}.*`],
    postgres: { slot, publication: slot },
    topics: { prefix: slot, partitions: 2 },
  };
  return [
    { ...sourceDocument(source), snapshot: { mode: "initial" } },
    sinkDocument({ name: `${name}-lake`, source: name, every: "300ms", warehouse: { duckdb: { path: `./${name}.duckdb` } } }),
    sinkDocument({ name: `${name}-mart`, source: name, every: "300ms", warehouse: { postgres: { url: warehouse.url } } }),
  ];
}

/** Runs the transactions of the cases, each case's in order, the cases' side by side and in turn. */
async function inSessions(url: string, cases: readonly SchemaCase[], transactions: (of: SchemaCase) => readonly string[]): Promise<void> {
  const run = async (own: readonly SchemaCase[]): Promise<void> => {
    const client = new pg.Client({ connectionString: url });
    await client.connect();
    try {
      const all = own.map((of) => ({ of, transactions: transactions(of) }));
      for (let turn = 0; all.some((each) => each.transactions.length > turn); turn += 1)
        for (const each of all) {
          const sql = each.transactions[turn];
          if (sql === undefined) continue;
          await client.query(sql).catch((error: unknown) => {
            throw new Error(`--seed ${SEED} --case ${each.of.number}: ${String(error)}\n${sql}`);
          });
        }
    } finally {
      await client.end();
    }
  };
  await Promise.all(Array.from({ length: SESSIONS }, (_, session) => run(cases.filter((_of, index) => index % SESSIONS === session))));
}

type Ask = (sql: string) => Promise<Record<string, unknown>[]>;

/** Those that differ still. */
async function different(
  cases: readonly Different[],
  database: TestDatabase,
  warehouse: TestDatabase,
  scene: Scene,
): Promise<readonly Different[]> {
  const all = cases.map(({ of }) => of);
  const source = await rowsOf(
    all,
    async (sql) => inPostgres(database, sql),
    (of) => postgresRows(of, "source"),
  );
  const mart = await rowsOf(
    all,
    async (sql) => inPostgres(warehouse, sql),
    (of) => postgresRows(of, "warehouse"),
  );
  const compared = all.map((of) => ({ of, ...difference(of, source.get(of)!, mart.get(of)!, "PostgreSQL") }));
  // The file has one reader or writer: it is asked of what the other target has already.
  const level: SchemaCase[] = compared.filter(({ why }) => why === undefined).map(({ of }) => of);
  const lakes = ["plain", "odd"].map(async (schema) =>
    rowsOf(
      level.filter((of) => of.schema === schema),
      async (sql) => until(async () => scene.duckdb(sql, `${schema}.duckdb`), PATIENCE_MS),
      duckdbRows,
    ),
  );
  const lake = new Map((await Promise.all(lakes)).flatMap((rows) => [...rows]));
  return compared.flatMap(({ of, at, why }): Different[] => {
    if (at !== undefined && why !== undefined) return [{ of, at, why }];
    const found = difference(of, source.get(of)!, lake.get(of)!, "DuckDB");
    return found === null ? [] : [{ of, ...found }];
  });
}

/** Of each case, its rows as JSON; null where the target lacks a column still. */
async function rowsOf(
  cases: readonly SchemaCase[],
  ask: Ask,
  rows: (of: SchemaCase) => string,
): Promise<ReadonlyMap<SchemaCase, string | null>> {
  const found = new Map<SchemaCase, string | null>(cases.map((of) => [of, null]));
  if (cases.length === 0) return found;
  const columns = await ask("SELECT table_schema || '.' || table_name || '.' || column_name AS name FROM information_schema.columns");
  const known = new Set(columns.map(({ name }) => name));
  const there = cases.filter(({ schema, table, columns: all }) => all.every(({ name }) => known.has(`${schema}.${table}.${name}`)));
  for (let at = 0; at < there.length; at += TOGETHER) {
    const some = there.slice(at, at + TOGETHER);
    const [row] = await ask(`SELECT ${some.map((of, index) => `(${rows(of)}) AS r${index}`).join(", ")}`);
    for (const [index, of] of some.entries()) found.set(of, (row![`r${index}`] as string | null) ?? "[]");
  }
  return found;
}

async function inPostgres(database: TestDatabase, sql: string): Promise<Record<string, unknown>[]> {
  return database.sql(`SET TimeZone = 'UTC'; SET DateStyle = 'ISO'; SET IntervalStyle = 'iso_8601'; SET extra_float_digits = 1; ${sql}`);
}

const quote = (name: string): string => `"${name.replaceAll('"', '""')}"`;

function postgresRows({ schema, table, columns }: SchemaCase, at: "source" | "warehouse"): string {
  const texts = columns.map(({ name, of, isArray }) => (isArray ? postgresArrayText : postgresText)(`t.${quote(name)}`, of, at));
  return `SELECT json_agg(json_build_array(${texts.join(", ")}))::text FROM ${schema}.${table} t`;
}

function duckdbRows({ schema, table, columns }: SchemaCase): string {
  const texts = columns.map(({ name, of, isArray }) => (isArray ? duckdbArrayText : duckdbText)(`t.${quote(name)}`, of));
  return `SELECT CAST(to_json(list([${texts.join(", ")}])) AS VARCHAR) FROM ${schema}.${table} t`;
}

/** null: the same rows. */
function difference(of: SchemaCase, source: string | null, target: string | null, at: string): Omit<Different, "of"> | null {
  if (source === null) return { at: "the source", why: "has other columns than the case says" };
  if (target === null) return { at, why: "it lacks the table or a column" };
  const [expected, seen] = [source, target].map((text) =>
    (JSON.parse(text) as (string | null)[][]).map((row) =>
      JSON.stringify(row.map((value, index) => (of.columns[index]!.isArray ? canonicalArray : canonical)(value, of.columns[index]!.of))),
    ),
  ) as [string[], string[]];
  const [missing, more] = [expected.filter((row) => !seen.includes(row)), seen.filter((row) => !expected.includes(row))];
  if (missing.length === 0 && more.length === 0 && expected.length === seen.length) return null;
  const short = (rows: readonly string[]): string =>
    rows
      .slice(0, 2)
      .map((row) => row.slice(0, 600))
      .join("; ");
  return { at, why: `${expected.length} rows, ${seen.length} there; missing ${short(missing)}; more ${short(more)}` };
}
