// What is written into the source database for a race: tables, and the SQL that fills them. Pure.

export const loadNames = ["narrow", "wide", "json", "full", "tx1", "tx1m", "tables20", "tables200", "partitions64"] as const;
export type LoadName = (typeof loadNames)[number];

export type Load = {
  readonly name: LoadName;
  /** For a heading. */
  readonly title: string;
  /** With their schema. Of another load they are others: loads can follow one another in one database. */
  readonly tables: readonly string[];
  /** Of each topic in Kafka, or of the embedded log. */
  readonly partitions: number;
  /** Of a run of `--rows` rows: heavy ones are fewer, so that no load takes ten times as long as another. At least 1. */
  readonly changes: (rows: number) => number;
  readonly create: readonly string[];
  /** The rows `from` + 1 to `from` + `changes`, before any slot is there; null: the load begins with empty tables. */
  readonly before: ((from: number, changes: number) => string) | null;
  /** Makes that many changes, each one event. */
  readonly fill: (from: number, changes: number) => string;
};

/** Statements of PL/pgSQL for the rows first + 1 to last of one transaction. */
type Step = (first: string, last: string) => string;

const ROWS_PER_TRANSACTION = 1_000;
/** Of each topic, whoever makes it: Tailrace's default. */
export const PARTITIONS = 4;

const NARROW = `id bigint PRIMARY KEY, customer_id int, status text, amount numeric(12,2), quantity int,
  note text, created_at timestamptz, updated_at timestamptz`;

/** About 150 bytes of pgoutput a row, of column list NARROW. */
const narrowRow = `g, g % 50000, (array['new','paid','shipped','done'])[1 + g % 4], (g % 100000) / 100.0, g % 10,
      'order note number ' || g, now(), now()`;

/** Beside the key: what a wide table of a business has. */
const wideColumns: readonly (readonly [type: string, value: string])[] = [
  ["int", "g % 1000"],
  ["text", "'value ' || g % 10000"],
  ["numeric(12,2)", "(g % 100000) / 100.0"],
  ["bigint", "g * 7"],
  ["timestamptz", "now()"],
  ["boolean", "g % 2 = 0"],
  ["float8", "g / 3.0"],
];
const WIDE = Array.from({ length: 49 }, (_, index) => wideColumns[index % wideColumns.length] ?? ["int", "0"]);

/** Text that compresses as little as real documents do: 108 fields of a hash each, about 5 kB. */
const document = `(SELECT jsonb_object_agg('field_' || f, md5((g * 1000 + f)::text)) FROM generate_series(1, 108) AS f)`;

const insertInto =
  (table: string, row: string): Step =>
  (first, last) =>
    `INSERT INTO ${table} SELECT ${row} FROM generate_series(${first} + 1, ${last}) AS g;`;

export const loads: Readonly<Record<LoadName, Load>> = {
  narrow: narrow("narrow", "public.orders", "8 columns", 1, ROWS_PER_TRANSACTION),
  wide: {
    name: "wide",
    title: "50 columns",
    tables: ["public.wide"],
    partitions: PARTITIONS,
    changes: share(0.2),
    create: [`CREATE TABLE public.wide (id bigint PRIMARY KEY, ${WIDE.map(([type], at) => `c${at + 1} ${type}`).join(", ")})`],
    before: null,
    fill: transactions(insertInto("public.wide", ["g", ...WIDE.map(([, value]) => value)].join(", ")), ROWS_PER_TRANSACTION),
  },
  json: {
    name: "json",
    title: "5 kB of JSON a row",
    tables: ["public.documents"],
    partitions: PARTITIONS,
    changes: share(0.05),
    create: ["CREATE TABLE public.documents (id bigint PRIMARY KEY, kind text, body jsonb, updated_at timestamptz)"],
    before: null,
    fill: transactions(insertInto("public.documents", `g, 'kind ' || g % 10, ${document}, now()`), ROWS_PER_TRANSACTION),
  },
  full: {
    ...narrow("full", "public.orders_full", "updates, REPLICA IDENTITY FULL", 0.5, ROWS_PER_TRANSACTION),
    create: [`CREATE TABLE public.orders_full (${NARROW})`, "ALTER TABLE public.orders_full REPLICA IDENTITY FULL"],
    before: transactions(insertInto("public.orders_full", narrowRow), ROWS_PER_TRANSACTION),
    fill: transactions(
      (first, last) => `UPDATE public.orders_full SET quantity = quantity + 1, updated_at = now() WHERE id > ${first} AND id <= ${last};`,
      ROWS_PER_TRANSACTION,
    ),
  },
  tx1: narrow("tx1", "public.orders_tx1", "transactions of 1 row", 0.2, 1),
  tx1m: narrow("tx1m", "public.orders_tx1m", "one transaction", 1, Number.MAX_SAFE_INTEGER),
  tables20: manyTables("tables20", 20),
  tables200: manyTables("tables200", 200),
  partitions64: { ...narrow("partitions64", "public.orders_64", "topics of 64 partitions", 1, ROWS_PER_TRANSACTION), partitions: 64 },
};

/** What makes others as fast as they get, before anything is measured. */
export const warmUp: Load = narrow("narrow", "public.warm_up", "warm-up", 1, ROWS_PER_TRANSACTION);

function narrow(name: LoadName, table: string, title: string, of: number, perTransaction: number): Load {
  return {
    name,
    title,
    tables: [table],
    partitions: PARTITIONS,
    changes: share(of),
    create: [`CREATE TABLE ${table} (${NARROW})`],
    before: null,
    fill: transactions(insertInto(table, narrowRow), perTransaction),
  };
}

/** Each transaction writes into all of them; its rows go round. */
function manyTables(name: LoadName, count: number): Load {
  const tables = Array.from({ length: count }, (_, index) => `public.${name}_${String(index + 1).padStart(3, "0")}`);
  const step: Step = (first, last) =>
    tables
      .map(
        (table, index) => `INSERT INTO ${table} SELECT ${narrowRow} FROM generate_series(${first} + 1 + ${index}, ${last}, ${count}) AS g;`,
      )
      .join("\n    ");
  return {
    name,
    title: `${count} tables`,
    tables,
    partitions: PARTITIONS,
    changes: share(1),
    create: tables.map((table) => `CREATE TABLE ${table} (${NARROW})`),
    before: null,
    fill: transactions(step, ROWS_PER_TRANSACTION),
  };
}

function share(of: number): (rows: number) => number {
  return (rows) => Math.max(1, Math.round(rows * of));
}

/** A statement that commits after every `perTransaction` rows. */
function transactions(step: Step, perTransaction: number): (from: number, changes: number) => string {
  return (from, changes) => {
    const size = Math.min(perTransaction, changes);
    return `DO $$ BEGIN FOR i IN 0..${Math.ceil(changes / size) - 1} LOOP
    ${step(`${from} + i * ${size}`, `${from} + least((i + 1) * ${size}, ${changes})`)}
    COMMIT;
  END LOOP; END $$`;
  };
}
