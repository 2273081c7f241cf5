// What an ALTER TYPE of a composite does from end to end, beside writes: in the end both targets hold what the source holds, DuckDB in
// a STRUCT that was widened. All cases share one service.
import { afterAll, beforeAll, expect, test } from "vitest";
import { postgres, uniqueName, type TestDatabase } from "../support/servers.ts";
import { Scene, sinkDocument, sourceDocument, until } from "./scene.ts";

type TypeChange = {
  readonly title: string;
  /** Of the table, whose column `c` is of a type `<table>_type` (a int, b text, made timestamptz), or of one that has it. */
  readonly table: string;
  readonly column?: string;
  /** Where the attributes are found in `c`. */
  readonly path?: string;
  /** `T` stands for the type. */
  readonly change: readonly string[];
};

const changes: readonly TypeChange[] = [
  { title: "ADD ATTRIBUTE", table: "added", change: ["ALTER TYPE T ADD ATTRIBUTE x numeric(12,2)"] },
  { title: "DROP ATTRIBUTE", table: "dropped", change: ["ALTER TYPE T DROP ATTRIBUTE a"] },
  {
    title: "DROP ATTRIBUTE and ADD ATTRIBUTE under the same name",
    table: "dropped_and_added",
    change: ["ALTER TYPE T DROP ATTRIBUTE a, ADD ATTRIBUTE a int"],
  },
  { title: "RENAME ATTRIBUTE", table: "renamed", change: ["ALTER TYPE T RENAME ATTRIBUTE b TO b2"] },
  {
    title: "ADD ATTRIBUTE of one in another",
    table: "nested",
    column: "nested_outer",
    path: "inside",
    change: ["ALTER TYPE T ADD ATTRIBUTE x int", "ALTER TYPE T ADD ATTRIBUTE y int"],
  },
];

const ROWS = 40;
const PATIENCE_MS = 60_000;
let database: TestDatabase;
let warehouse: TestDatabase;
let scene: Scene;

beforeAll(async () => {
  database = await (await postgres()).createDatabase("composites");
  warehouse = await (await postgres()).createDatabase("warehouse");
  scene = await Scene.open();
  for (const change of changes) {
    const { table, column } = change;
    await database.sql(`CREATE TYPE ${table}_type AS (a int, b text, made timestamptz);
      ${column === undefined ? "" : `CREATE TYPE ${column} AS (before int, inside ${table}_type);`}
      CREATE TABLE ${table} (id int PRIMARY KEY, c ${column ?? `${table}_type`}); INSERT INTO ${table} VALUES (0, NULL)`);
    for (let id = 1; id <= ROWS; id++) await database.sql(row(change, id));
  }
  const slot = uniqueName("composites");
  await scene.configure(
    {
      ...sourceDocument({
        name: "shop",
        url: database.url,
        tables: ["public.*"],
        postgres: { slot, publication: slot },
        topics: { prefix: slot },
      }),
      snapshot: { mode: "initial" },
    },
    sinkDocument({ name: "lake", source: "shop" }),
    sinkDocument({ name: "mart", source: "shop", warehouse: { postgres: { url: warehouse.url } } }),
  );
  await scene.start();
  for (const change of changes) await untilSame(change);
  await Promise.all(
    changes.map(async (change) => {
      let id = 100;
      const write = async (): Promise<void> => {
        for (const upTo = id + 10; id < upTo; id++) await database.sql(row(change, id));
        await database.sql(`DELETE FROM ${change.table} WHERE id = ${id - 95}`);
      };
      for (const statement of change.change) {
        await write();
        await database.sql(statement.replaceAll("T ", `${change.table}_type `));
        await write();
      }
    }),
  );
}, 180_000);

afterAll(async () => {
  await scene[Symbol.asyncDispose]();
  await warehouse[Symbol.asyncDispose]();
  await database[Symbol.asyncDispose]();
});

/** Whatever attributes the type has now are filled by their names. */
function row({ table, column }: TypeChange, id: number): string {
  const values = `{"a": ${id}, "b": "b ${id} \\"\\\\", "b2": "b ${id}", "made": "2026-01-02T03:04:05.6Z", "x": ${id}, "y": ${-id}}`;
  const value = column === undefined ? values : `{"before": ${id}, "inside": ${values}}`;
  return `INSERT INTO ${table} SELECT ${id}, json_populate_record(NULL::${column ?? `${table}_type`}, '${value}')`;
}

async function untilSame(change: TypeChange): Promise<void> {
  const { table, path } = change;
  await until(async () => {
    const attributes = await database.sql<{ name: string }>(
      `SELECT attname AS name FROM pg_attribute WHERE attrelid = '${table}_type'::regclass AND NOT attisdropped ORDER BY attnum`,
    );
    const names = attributes.map(({ name }) => name);
    const select = (of: (name: string) => string): string =>
      `SELECT id, ${names.map((name) => `${of(name)} AS ${name}`).join(", ")} FROM public.${table} ORDER BY id`;
    const inside = path === undefined ? "(c)" : `((c).${path})`;
    const expected = await database.sql(`SET TimeZone = 'UTC'; ${select((name) => `${inside}.${name}::text`)}`);
    const json = path === undefined ? "c" : `(c -> '${path}')`;
    expect(await warehouse.sql(select((name) => `${json} ->> '${name}'`)), "PostgreSQL").toEqual(expected);
    expect(await scene.duckdb(select((name) => `CAST(${path === undefined ? "c" : `c.${path}`}.${name} AS VARCHAR)`)), "DuckDB").toEqual(
      expected,
    );
  }, PATIENCE_MS).catch((error: unknown) => {
    throw new Error(`${String(error)}\n${scene.tail()}`, { cause: error });
  });
}

test.each(changes)("the targets equal the source after ALTER TYPE … $title", async (change) => {
  await untilSame(change);
  await until(async () => {
    const read = scene.lines.filter(({ message }) => message.startsWith(`rows of table public.${change.table} changed without events`));
    expect(read.length).toBeGreaterThan(0);
  });
});
