// R-chunk: one transaction reads some rows of a table and marks its place in the stream. The lock comes before the
// snapshot: a rewrite that commits in between leaves the snapshot without a single row of the table.
import { TailraceError } from "../core/errors.ts";
import { isReadAsText, type AskedTypes } from "../core/read-as.ts";
import { readGrant, readingError } from "./snapshot-errors.ts";
import { MONEY_TEXT, quoteIdentifier, quoteLiteral, type Session } from "./session.ts";
import type { KeyRange, KeyText } from "../core/snapshot-record.ts";
import { keysCondition, rangeCondition } from "./snapshot-key.ts";
import { markSql, type Mark } from "./snapshot-mark.ts";
import { ChunkRows, type ChunkMemory } from "./snapshot-rows.ts";
import { needsText } from "./types.ts";
import { labelOf, publishedCondition, readsAlike, rowsSql, seeTable, type SnapshotTable } from "./snapshot-table.ts";

/** Which rows. `keys`: at least one. `blocks`: of every partition, `to` not included; null: to the end. */
export type ChunkPart =
  | { readonly kind: "range"; readonly range: KeyRange }
  | { readonly kind: "keys"; readonly keys: readonly KeyText[] }
  | { readonly kind: "blocks"; readonly from: number; readonly to: number | null };

export type ChunkRequest = {
  /** As it was when the part was planned. */
  readonly table: SnapshotTable;
  readonly publication: string | null;
  /** `as` of the configuration. */
  readonly asked: AskedTypes;
  readonly part: ChunkPart;
  /** SQL of a further condition. */
  readonly where: string | null;
  /** Bytes of rows, at most 1 GiB: what the chunk may take in memory, unless it is one row. */
  readonly limitBytes: number;
  /** R-keyless: the exported snapshot that it is read under; null: one of its own. */
  readonly under: string | null;
  /** Holds the rows until the next chunk is read into it; without it they have their own. */
  readonly memory?: ChunkMemory;
};

/** Called while the transaction is open; what one throws rolls it back. */
export type ChunkEvents = {
  /** The snapshot is known (pg_current_snapshot() as text), nothing is read yet. */
  readonly seen: (snapshot: string, table: SnapshotTable) => void;
  /** All rows are here, the mark comes next: from now on the chunk must be known to whoever meets its mark. null: it gets none. */
  readonly read: (rows: ChunkRows) => Mark | null;
};

/**
 * `tooLarge`: the limit was reached after `rows` rows of `bytes` bytes; the session is spent, open another. `changed`:
 * the table is not read as it was (null: it is gone, or can't be captured any more); nothing was read.
 */
export type ChunkOutcome =
  | { readonly kind: "read"; readonly rows: ChunkRows }
  | { readonly kind: "tooLarge"; readonly rows: number; readonly bytes: number }
  | { readonly kind: "changed"; readonly table: SnapshotTable | null };

/**
 * Reads the chunk; resolves when its transaction, and with it its mark, is committed. After an error the mark may have
 * been committed all the same: its nonce tells. Throws TABLE_LOCKED, TABLE_MISSING, PRIVILEGE_MISSING, SNAPSHOT_SLOW,
 * SNAPSHOT_ROW_WIDE, SNAPSHOT_REFUSED, SNAPSHOT_LOST (`under` is gone, or the table was rewritten since),
 * DATABASE_UNREACHABLE; the signal's reason after abort.
 */
export async function readChunk(session: Session, request: ChunkRequest, events: ChunkEvents): Promise<ChunkOutcome> {
  try {
    const outcome = await read(session, request, events);
    if (outcome.kind === "changed") await session.query("ROLLBACK");
    return outcome;
  } catch (error) {
    await session.query("ROLLBACK").catch(() => undefined); // a lost connection has rolled it back
    throw await readingError(session, error, request.table, request.under);
  }
}

async function read(session: Session, request: ChunkRequest, events: ChunkEvents): Promise<ChunkOutcome> {
  const { table, publication, asked, under, limitBytes } = request;
  const grant = readGrant(session, table);
  // One round trip, and nothing in it takes a snapshot.
  const begin = `BEGIN ISOLATION LEVEL REPEATABLE READ; LOCK TABLE ${rowsSql(table)} IN ACCESS SHARE MODE`;
  await session.query(under === null ? begin : `${begin}; SET TRANSACTION SNAPSHOT ${quoteLiteral(under)}`, [], { grant });
  const seen = await seeTable(session, table.table.oid, publication, asked);
  // What is locked is whoever has the name now; that it is our table, under its name, shows here.
  if (seen.table === null || !readsAlike(seen.table, table)) return { kind: "changed", table: seen.table };
  if (under !== null && seen.rewritten)
    throw new TailraceError("SNAPSHOT_LOST", { table: labelOf(table), reason: "its rows were moved to other files since" });
  events.seen(seen.snapshot, seen.table);
  // Money in a composite or an array has the text that the stream would bring.
  if (needsText(table.table.columns)) await session.query(`SET LOCAL lc_monetary TO '${MONEY_TEXT.lc_monetary}'`);
  const rows = new ChunkRows(table.table.columns, limitBytes, request.memory);
  const fits = await session.copyOut(copySql(request), (bytes, start, end) => rows.take(bytes, start, end), { grant });
  if (!fits) return { kind: "tooLarge", rows: rows.count, bytes: rows.length };
  if (!rows.complete) throw new TailraceError("STREAM_PROTOCOL", { reason: "COPY ended without its trailer" });
  const mark = events.read(rows);
  await session.query(mark === null ? "COMMIT" : `${markSql(mark)}; COMMIT`);
  return { kind: "read", rows };
}

/** Types that are read as text come by their output functions: a cast to text is another function, and for some types (inet) another text. */
function copySql({ table, part, where }: ChunkRequest): string {
  const columns = table.table.columns.map(({ name, ...type }) => {
    const column = quoteIdentifier(name);
    return isReadAsText(type) ? `CASE WHEN ${column} IS DISTINCT FROM NULL THEN format('%s', ${column}) END` : column;
  });
  const conditions = [partCondition(table, part), publishedCondition(table, where)].filter((each) => each !== null);
  const whereSql = conditions.length === 0 ? "" : ` WHERE ${conditions.join(" AND ")}`;
  // Through a query: COPY of a partitioned table itself is refused.
  return `COPY (SELECT ${columns.join(", ")} FROM ${rowsSql(table)}${whereSql}) TO STDOUT (FORMAT binary)`;
}

function partCondition({ key }: SnapshotTable, part: ChunkPart): string | null {
  switch (part.kind) {
    case "range":
      return rangeCondition(key, part.range);
    case "keys":
      return keysCondition(key, part.keys);
    case "blocks":
      return `ctid >= '(${part.from},0)'${part.to === null ? "" : ` AND ctid < '(${part.to},0)'`}`;
  }
}
