// Every type of docs/types.md on its whole way: by snapshot and by stream, in either protocol, through either log, into both
// warehouses; as a value, as an item of an array, and as a part of a key. Equal is what SQL finds on both sides.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { describeWithKafka, kafka, postgres, registry, uniqueName, type TestDatabase } from "../support/servers.ts";
import {
  canonical,
  canonicalArray,
  duckdbArrayText,
  duckdbText,
  postgresArrayText,
  postgresText,
  TYPES_SQL,
  typeValues,
  type TypeValues,
} from "../support/type-values.ts";
import { Scene, sinkDocument, sourceDocument, until, type Document } from "./scene.ts";

/** Columns `c0`, `c1`, … of these types, or of arrays of them, beside `id int`. */
type TypedTable = {
  readonly name: string;
  readonly types: readonly TypeValues[];
  readonly of: "values" | "arrays" | "key";
  /** Of each column, as SQL; rows take them in turn. */
  readonly values: readonly (readonly string[])[];
};

const literal = (text: string): string => `'${text.replaceAll("'", "''")}'`;
const literals = ({ values }: TypeValues): readonly string[] => values.map(literal);

/** An array of all values and null, one of each neighbour, the empty one, one of a null. */
function arrays(of: TypeValues): readonly string[] {
  const [values, type] = [literals(of), `::${of.type}[]`];
  const pairs = values.map((value, index) => `ARRAY[${value}, NULL, ${values[(index + 1) % values.length]!}]${type}`);
  return [`ARRAY[${values.join(", ")}, NULL]${type}`, `'{}'${type}`, `ARRAY[NULL]${type}`, ...pairs];
}

/** A B-tree takes a row of 2.7 kB, and 32 columns. */
const KEY_CHARACTERS = 40;
const KEY_COLUMNS = 14;

function keyTables(types: readonly TypeValues[]): readonly TypedTable[] {
  const few = types
    .filter(({ keyless }) => keyless !== true)
    .map((type) => ({ ...type, values: type.values.filter((value) => value.length <= KEY_CHARACTERS) }));
  return Array.from({ length: Math.ceil(few.length / KEY_COLUMNS) }, (_, index) => {
    const own = few.slice(index * KEY_COLUMNS, (index + 1) * KEY_COLUMNS);
    return { name: `plain.keyed${index}`, types: own, of: "key", values: own.map(literals) };
  });
}

const plain = typeValues.filter(({ text }) => text !== true);
const others = typeValues.filter(({ text }) => text === true);
const tables: readonly TypedTable[] = [
  { name: "plain.every", types: plain, of: "values", values: plain.map(literals) },
  { name: "plain.listed", types: plain, of: "arrays", values: plain.map(arrays) },
  ...keyTables(plain),
  { name: "odd.every", types: others, of: "values", values: others.map(literals) },
  { name: "odd.listed", types: others, of: "arrays", values: others.map(arrays) },
];
const tablesOf = { binary: tables.filter(({ name }) => name.startsWith("plain.")), text: tables };
type Protocol = keyof typeof tablesOf;
const protocols = Object.keys(tablesOf) as Protocol[];

const names = ({ types }: TypedTable): string => types.map((_, index) => `c${index}`).join(", ");

function createTable(table: TypedTable): string {
  const columns = table.types.map(({ type }, index) => `c${index} ${type}${table.of === "arrays" ? "[]" : ""}`);
  return `CREATE TABLE ${table.name} (id int, ${columns.join(", ")}, PRIMARY KEY (${table.of === "key" ? names(table) : "id"}))`;
}

/** As many rows as the longest column has values, ids from `from` on, then (not in a key) one of nulls. */
function rowsOf(table: TypedTable, from: number): readonly string[] {
  const count = Math.max(...table.values.map(({ length }) => length));
  const rows = Array.from({ length: count }, (_, row) => table.values.map((of) => of[row % of.length]!));
  if (table.of !== "key") rows.push(table.values.map(() => "NULL"));
  return rows.map((values, row) => `(${from + row}, ${values.join(", ")})`);
}

/** What there is before the sources begin: rows for the snapshots, and rows without values for the stream's updates. */
function before(table: TypedTable): string {
  const rows = rowsOf(table, 1);
  const empty = table.of === "key" ? "" : `INSERT INTO ${table.name} (id) SELECT 2000 + i FROM generate_series(1, ${rows.length}) i;`;
  // Of one, the events have the former row too.
  const full = table.of === "values" ? `ALTER TABLE ${table.name} REPLICA IDENTITY FULL;` : "";
  return `${createTable(table)}; ${full} INSERT INTO ${table.name} VALUES ${rows.join(", ")}; ${empty}`;
}

/** Of keys, rows that go, and go and come, and whose key becomes another's that went. */
function changes(table: TypedTable): readonly string[] {
  const { name } = table;
  if (table.of === "key")
    return [
      `CREATE TEMP TABLE gone AS SELECT * FROM ${name} WHERE id % 2 = 0; DELETE FROM ${name} WHERE id % 2 = 0;
       UPDATE ${name} SET id = id + 1000 WHERE id % 3 = 0; INSERT INTO ${name} SELECT * FROM gone WHERE id % 4 = 0`,
      `UPDATE ${name} k SET (${names(table)}) = (SELECT ${names(table)} FROM gone WHERE id = 2) WHERE id = 1; DROP TABLE gone`,
    ];
  return [
    `INSERT INTO ${name} VALUES ${rowsOf(table, 1001).join(", ")}`,
    `UPDATE ${name} t SET (${names(table)}) = (SELECT ${names(table)} FROM ${name} f WHERE f.id = t.id - 2000) WHERE id > 2000`,
  ];
}

for (const [title, suite, service] of [
  ["through the embedded log", describe, async () => Promise.resolve({ kind: "service" })],
  [
    "through Kafka",
    describeWithKafka,
    async () => ({ kind: "service", log: { kafka: { brokers: (await kafka()).brokers } }, registry: { url: (await registry()).url } }),
  ],
] as [string, typeof describe, () => Promise<Document>][])
  suite(title, () => {
    let database: TestDatabase;
    let warehouse: TestDatabase;
    let scene: Scene;

    beforeAll(async () => {
      database = await (await postgres()).createDatabase("types");
      warehouse = await (await postgres()).createDatabase("warehouse");
      await database.sql(`${TYPES_SQL}; CREATE SCHEMA plain; CREATE SCHEMA odd; ${tables.map(before).join("")}`);
      scene = await Scene.open();
      await scene.configure(await service(), ...protocols.flatMap((protocol) => documents(protocol)));
      await scene.start();
      await scene.reaches(
        Object.fromEntries(protocols.flatMap((name) => [name, `${name}-lake`, `${name}-mart`].map((each) => [each, "running"]))),
      );
      for (const protocol of protocols) await untilSame(protocol, "by snapshot");
      await database.sql(tables.flatMap(changes).join("; "));
    });

    afterAll(async () => {
      await scene[Symbol.asyncDispose]();
      await warehouse[Symbol.asyncDispose]();
      await database[Symbol.asyncDispose]();
    });

    function documents(protocol: Protocol): readonly Document[] {
      const slot = uniqueName(protocol);
      const source = {
        name: protocol,
        url: database.url,
        tables: protocol === "binary" ? ["plain.*"] : ["plain.*", "odd.*"],
        postgres: { slot, publication: slot },
        topics: { prefix: slot, partitions: 2 },
      };
      const into = [{ table: "*.*", into: `${protocol}_{schema}.{table}` }];
      return [
        { ...sourceDocument(source), snapshot: { mode: "initial" } },
        sinkDocument({ name: `${protocol}-lake`, source: protocol, tables: into }),
        sinkDocument({ name: `${protocol}-mart`, source: protocol, tables: into, warehouse: { postgres: { url: warehouse.url } } }),
      ];
    }

    /** Waits until both targets of all tables of the source hold what the tables hold. */
    async function untilSame(protocol: Protocol, how: string): Promise<void> {
      for (const table of tablesOf[protocol]) {
        const atSource = await inPostgres(database, table, "source");
        const target = { ...table, name: `${protocol}_${table.name}` };
        await until(async () => {
          expect(differences(table, atSource, await inDuckdb(target)), `DuckDB, ${how}`).toEqual([]);
        });
        await until(async () => {
          expect(differences(table, atSource, await inPostgres(warehouse, target, "warehouse")), `PostgreSQL, ${how}`).toEqual([]);
        });
      }
    }

    async function inDuckdb(table: TypedTable): Promise<Record<string, unknown>[]> {
      const text = table.of === "arrays" ? duckdbArrayText : duckdbText;
      const columns = table.types.map((type, index) => `${text(`c${index}`, type)} AS c${index}`);
      return scene.duckdb(`SELECT id, ${columns.join(", ")} FROM ${table.name} ORDER BY id`);
    }

    test.each(protocols)("every value of every type is in the targets what it is at the source: %s protocol", async (protocol) => {
      await untilSame(protocol, "by stream");
      const said = scene.lines.filter(({ connector, message }) => connector === protocol && message === "streaming");
      expect(said.map((line) => line.protocol)).toEqual([protocol]);
      const snapshot = await scene.metricByLabels("tailrace_snapshot_rows_total");
      const events = await scene.metricByLabels("tailrace_source_events_total");
      for (const table of tablesOf[protocol]) {
        const rows = rowsOf(table, 1).length;
        const of = `source="${protocol}",table="${table.name}"`;
        const labels = (op: string): string => `{source="${protocol}",op="${op}",table="${table.name}"}`;
        expect(snapshot.get(`{${of}}`), of).toBe(table.of === "key" ? rows : 2 * rows);
        expect([events.get(labels("c")), events.get(labels("u"))], of).toEqual(
          table.of === "key" ? [expect.any(Number), expect.any(Number)] : [rows, rows],
        );
      }
    });

    test.each(protocols)("targets in DuckDB have the types that are written of: %s protocol", async (protocol) => {
      const types = await scene.duckdb(
        `SELECT data_type FROM duckdb_columns() WHERE schema_name = '${protocol}_plain' AND table_name = 'every' AND column_name ~ 'c[0-9]+' ORDER BY column_index`,
      );
      expect(types.map(({ data_type }) => data_type)).toEqual(plain.map(({ duckdb }) => duckdb));
    });
  });

/** The texts of all values, by row; what the servers print depends on no setting but these. */
async function inPostgres(database: TestDatabase, table: TypedTable, at: "source" | "warehouse"): Promise<Record<string, unknown>[]> {
  const text = table.of === "arrays" ? postgresArrayText : postgresText;
  const columns = table.types.map((type, index) => `${text(`c${index}`, type, at)} AS c${index}`);
  return database.sql(`SET TimeZone = 'UTC'; SET DateStyle = 'ISO'; SET IntervalStyle = 'iso_8601'; SET extra_float_digits = 1;
    SELECT id, ${columns.join(", ")} FROM ${table.name} ORDER BY id`);
}

/** Of the first rows and columns that differ: `plain.every real, id 7: 0.1, not 0.2`. */
function differences(
  { name, types, of }: TypedTable,
  source: readonly Record<string, unknown>[],
  target: readonly Record<string, unknown>[],
): readonly string[] {
  const found: string[] = [];
  const [expected, seen] = [source, target].map((rows) => rows.map(({ id }) => String(id)).join(" "));
  if (expected !== seen) return [`${name}: ids ${seen}, not ${expected}`];
  const reduce = of === "arrays" ? canonicalArray : canonical;
  for (const [row, values] of source.entries())
    for (const [index, type] of types.entries()) {
      const [is, should] = [target[row]![`c${index}`], values[`c${index}`]].map((value) => reduce(value as string | null, type));
      if (is !== should) found.push(`${name} ${type.name}, id ${String(values.id)}: ${short(is!, should!)}, not ${short(should!, is!)}`);
    }
  return found.slice(0, 20);
}

/** From shortly before where the other differs. */
function short(text: string | null, other: string | null): string {
  if (text === null) return "null";
  let same = 0;
  while (other !== null && same < text.length && text[same] === other[same]) same++;
  return text.slice(Math.max(0, same - 30), same + 100);
}
