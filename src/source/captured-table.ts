// A captured table while it streams: its compiled encoder, its partitions, and what the log already holds of it.
import type { TableEncoder } from "../avro/encoder.ts";
import { murmur2 } from "../core/partition.ts";
import { typeAsAsked, type AskedColumns } from "../core/read-as.ts";
import { compareSequence, type Sequence } from "../core/sequence.ts";
import { keyColumns, tableLabel, type Column, type ColumnType, type Table } from "../core/table.ts";
import type { Relation } from "../postgres/pgoutput.ts";
import type { PartitionBuffer } from "./partition-buffers.ts";
import type { SchemasRefused } from "./table-schemas.ts";

export type CapturedTable = {
  readonly table: Table;
  /** `schema.name`, for messages and metrics. */
  readonly label: string;
  readonly encoder: TableEncoder;
  /** Indexes of the key's columns in the stream's tuples. */
  readonly keyIndexes: readonly number[];
  /** Indexes of the columns that have composites. */
  readonly composites: readonly number[];
  /** The name of its own topic. */
  readonly topic: string;
  /** Of its own topic. */
  readonly own: readonly PartitionBuffer[];
  /** Where its events go: its own topic's, or the parked one's (R-park). */
  readonly buffers: readonly PartitionBuffer[];
  /** TableReading's when `buffers` were those. */
  readonly moves: number;
  /** R-tail: events at or below are in the log. */
  readonly watermarks: readonly (Sequence | null)[];
  /** Where a table without a key goes; −1 for one with a key. */
  readonly keylessPartition: number;
  /** First of this table's counters (countedOps). */
  readonly counter: number;
  /** R-version: why its schemas are not registered, so that rows of it can't be written; `later`: nothing of its version has come; null: they are. */
  readonly unregistered: SchemasRefused | "later" | null;
  /** Commit LSN of the transaction that the encoder was last told of; −1n before the first. */
  transaction: bigint;
  /** One object for all shapes that the table takes in a session: a new one must not lose what is set while it is being registered. */
  readonly reading: TableReading;
};

/** R-version: a table whose next rows, up to this sequence, are in a topic of a version before: its RELATION is to be resolved again behind it. */
export type PassedOver = { readonly upTo: Sequence };

/** What becomes of a relation's rows; null: they are passed over, as long as its shape stays. */
export type Resolved = CapturedTable | PassedOver | null;

/** How a table is being read by its snapshot. */
export type TableReading = {
  /** A snapshot of it goes on: its window is told of every row. */
  watched: boolean;
  /** R-keyless: transactions of a lower commit LSN are in the snapshot that is read, and are passed over; 0n: none are. */
  passedBelow: bigint;
  /** Of a table with composites: rows up to this LSN have the shape that it was captured in. Of rows behind it nobody knows yet. */
  shapesSeen: bigint;
  /** Rows up to this LSN may be of another one though nothing in them says so; 0n: none. */
  readonly shapesUntold: bigint;
  /** Keys (Avro bodies as latin1) of rows whose last event is a dead letter: what later events leave unsent is not in the log. null: none. */
  letters: Set<string> | null;
  /** How often its events have come to go elsewhere (R-park): a chunk that was read before is for the former place. */
  moves: number;
};

/** What a table's events are counted by, in the order of its counters in a published round. */
export const countedOps = ["c", "u", "d", "t", "r"] as const;
export type CountedOp = (typeof countedOps)[number];
export const counterOf = { c: 0, u: 1, d: 2, t: 3, r: 4 } as const satisfies Record<CountedOp, number>;

/** The partition, chosen by its name, of a table without a key; −1 for a table with one. */
export function keylessPartition(table: Table, partitions: number): number {
  if (keyColumns(table).length > 0) return -1;
  const name = Buffer.from(tableLabel(table));
  return (murmur2(name, 0, name.length) & 0x7fff_ffff) % partitions;
}

/** Whether rows of this relation can be read as rows of the table: the same columns, in order, of the same types, and the same key. */
export function sameShape(table: Table, relation: Relation): boolean {
  return (
    table.columns.length === relation.columns.length &&
    sameKey(table, relation) &&
    table.columns.every((column, index) => {
      const other = relation.columns[index];
      return other?.name === column.name && other.typeOid === column.typeOid && other.typeModifier === column.typeModifier;
    })
  );
}

/**
 * The table in the shape of a relation of the stream's past, from which the catalog (`now`) may have moved on: a column was
 * added, dropped or got another type since. `types`: of the relation's columns, null for one that nobody knows any more; `asked`: of them (`as`);
 * `key`: names of its columns, in key order. null when it can't be read so: an unknown type, another key.
 */
export function inShapeOf(
  relation: Relation,
  now: Table,
  types: readonly (ColumnType | null)[],
  asked: AskedColumns | null,
  key: readonly string[] = keyColumns(now).map(({ name }) => name),
): Table | null {
  const columns: Column[] = [];
  for (const [index, { name, typeOid, typeModifier }] of relation.columns.entries()) {
    const type = types[index] ?? null;
    if (type === null) return null;
    const keyPosition = key.indexOf(name) + 1;
    columns.push({ name, ...typeAsAsked(type, asked?.get(name), keyPosition > 0), typeOid, typeModifier, keyPosition });
  }
  const past = { ...now, columns };
  return keyColumns(past).length === key.length && sameKey(past, relation) ? past : null;
}

/**
 * The table with those of its column types that were widened since as `now` has them. Only where values of both have the same bytes
 * in Avro (int and long; decimals of one scale): its rows can then be encoded as they are under a schema of these types.
 */
export function inWiderTypes(past: Table, now: Table): Table {
  const columns = past.columns.map((column) => {
    const type = now.columns.find(({ name }) => name === column.name)?.type;
    return type !== undefined && isWider(type, column.type) ? { ...column, type } : column;
  });
  return { ...past, columns };
}

const INTEGERS: readonly ColumnType["kind"][] = ["int2", "int4", "int8"];

function isWider(wide: ColumnType, narrow: ColumnType): boolean {
  if (wide.kind === "array" && narrow.kind === "array") return isWider(wide.element, narrow.element);
  if (wide.kind === "decimal" && narrow.kind === "decimal") return wide.scale === narrow.scale && wide.precision > narrow.precision;
  return INTEGERS.includes(narrow.kind) && INTEGERS.indexOf(wide.kind) > INTEGERS.indexOf(narrow.kind);
}

/** REPLICA IDENTITY FULL sends every column and tells no key. `table` has the relation's columns. */
function sameKey(table: Table, relation: Relation): boolean {
  return (
    relation.identity === "f" || relation.columns.every(({ identity }, index) => identity === (table.columns[index]?.keyPosition ?? 0) > 0)
  );
}

/** The highest watermark of all tables; null when the log holds no event. */
export function highestWatermark(tables: readonly Pick<CapturedTable, "watermarks">[]): Sequence | null {
  let highest: Sequence | null = null;
  for (const { watermarks } of tables) {
    for (const watermark of watermarks) {
      if (watermark !== null && (highest === null || compareSequence(watermark, highest) > 0)) highest = watermark;
    }
  }
  return highest;
}
