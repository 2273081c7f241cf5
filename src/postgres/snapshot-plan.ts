// Cutting a table into chunks: where the next one ends, how many rows there may be, which keys to read again.
import { TailraceError } from "../core/errors.ts";
import { quoteIdentifier, type Parameter, type Row, type Session } from "./session.ts";
import type { KeyRange, KeyText } from "../core/snapshot-record.ts";
import { readGrant, readingError } from "./snapshot-errors.ts";
import { keyOrder, rangeCondition } from "./snapshot-key.ts";
import { labelOf, publishedCondition, rowsSql, type SnapshotTable } from "./snapshot-table.ts";

/**
 * The key `rows` rows into the range, so that the rows up to it are as many; null when the range has no more than that. Rows
 * that are not published count as well: the index alone is read. Throws as readChunk() does.
 */
export async function nextBoundary(session: Session, table: SnapshotTable, range: KeyRange, rows: number): Promise<KeyText | null> {
  const { key } = table;
  if (key.length === 0) throw new TailraceError("UNEXPECTED", { reason: `table ${labelOf(table)} has no key to cut it by` });
  const condition = rangeCondition(key, range);
  // Under their own names: ORDER BY would take another for the column that has it. Two rows: that at the boundary, and one
  // behind it, without which the boundary would be the end.
  const names = key.map((part) => quoteIdentifier(part.name));
  const found = await read(
    session,
    table,
    `SELECT ${names.join(", ")} FROM ${rowsSql(table)}${condition === null ? "" : ` WHERE ${condition}`}
     ORDER BY ${keyOrder(key)} OFFSET ${rows - 1} LIMIT 2`,
  );
  const [boundary, behind] = found;
  if (boundary === undefined || behind === undefined) return null;
  return key.map((part) => boundary[part.name] ?? "");
}

/** About how many published rows there are: what the planner expects, so also for tables that were never analyzed. 0 only for an empty table. */
export async function estimateRows(session: Session, table: SnapshotTable, where: string | null): Promise<number> {
  if ((await blockCount(session, table)) === 0) return 0;
  const condition = publishedCondition(table, where);
  const plan = await read(
    session,
    table,
    `EXPLAIN (FORMAT JSON) SELECT FROM ${rowsSql(table)}${condition === null ? "" : ` WHERE ${condition}`}`,
  );
  const [root] = JSON.parse(plan[0]?.["QUERY PLAN"] ?? "[]") as readonly { readonly Plan: { readonly "Plan Rows": number } }[];
  return root?.Plan["Plan Rows"] ?? 0;
}

async function read(session: Session, table: SnapshotTable, sql: string): Promise<readonly Row[]> {
  try {
    return await session.query(sql, [], { grant: readGrant(session, table) });
  } catch (error) {
    throw await readingError(session, error, table, null);
  }
}

/** Blocks of the table, of a partitioned one those of its largest partition: a range of blocks is read of all of them. */
export async function blockCount(session: Session, { storage }: SnapshotTable): Promise<number> {
  const [row] = await session.query(
    "SELECT coalesce(max(pg_relation_size(oid)), 0) / current_setting('block_size')::int AS blocks FROM unnest($1::oid[]) oid",
    [storage.map(({ oid }) => oid)],
  );
  return Number(row?.blocks);
}

/** A key as the stream brought it: one value a key column, in key order. */
export type WireKey = readonly { readonly form: "text" | "binary"; readonly bytes: Buffer }[];

/** Keys of the stream as text, in their order: the types' own functions turn binary into text. */
export async function keyTexts(session: Session, { key }: SnapshotTable, keys: readonly WireKey[]): Promise<readonly KeyText[]> {
  if (keys.length === 0) return [];
  const values: Parameter[] = [];
  const rows = keys.map((each, place) => {
    const columns = each.map(({ form, bytes }, index) => {
      values.push(form === "binary" ? bytes : bytes.toString());
      return `$${values.length}::${key[index]?.type ?? "text"}`;
    });
    return `(${place}, ${columns.join(", ")})`;
  });
  const names = key.map((_, index) => `k${index}`);
  const found = await session.query(
    `SELECT ${names.join(", ")} FROM (VALUES ${rows.join(", ")}) keys(place, ${names.join(", ")}) ORDER BY place`,
    values,
  );
  return found.map((row) => names.map((name) => row[name] ?? ""));
}
