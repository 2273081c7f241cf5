// Chunks for tests: a session, a table as a chunk sees it, and what a chunk brought as plain values.
import { randomUUID } from "node:crypto";
import { TailraceError } from "../../src/core/errors.ts";
import type { AskedTypes } from "../../src/core/read-as.ts";
import { Tuple, tupleState } from "../../src/core/tuple.ts";
import type { Session } from "../../src/postgres/session.ts";
import { readChunk, type ChunkOutcome, type ChunkPart, type ChunkRequest } from "../../src/postgres/snapshot-chunk.ts";
import type { KeyRange, KeyText } from "../../src/core/snapshot-record.ts";
import type { Mark } from "../../src/postgres/snapshot-mark.ts";
import { nextBoundary } from "../../src/postgres/snapshot-plan.ts";
import type { ChunkRows } from "../../src/postgres/snapshot-rows.ts";
import { openSnapshotSession, type SnapshotLimits } from "../../src/postgres/snapshot-session.ts";
import { seeTable, type SnapshotTable } from "../../src/postgres/snapshot-table.ts";
import { connectionOf } from "./collect.ts";

export const LIMITS: SnapshotLimits = { lockMs: 5_000, statementMs: 30_000, idleMs: 30_000 };
export const WHOLE: KeyRange = { after: null, upTo: null };
const ASKED_NOTHING: AskedTypes = () => null;
export const EVERYTHING: ChunkPart = { kind: "range", range: WHOLE };

export function openReader(url: string, limits: Partial<SnapshotLimits> = {}, signal = new AbortController().signal): Promise<Session> {
  return openSnapshotSession(connectionOf(url), { ...LIMITS, ...limits }, signal);
}

/** The table of a name (as SQL has it), as a chunk would see it now. */
export async function see(
  session: Session,
  name: string,
  publication: string | null = null,
  asked: AskedTypes = ASKED_NOTHING,
): Promise<SnapshotTable> {
  const [row] = await session.query("SELECT $1::regclass::oid AS oid", [name]);
  const { table } = await seeTable(session, Number(row?.oid), publication, asked);
  if (table === null) throw new Error(`${name} can't be captured`);
  return table;
}

export function newMark(): Mark {
  return { source: "test", nonce: randomUUID(), kind: "chunk" };
}

export type ReadOptions = Partial<Omit<ChunkRequest, "table" | "part">> & {
  readonly seen?: (snapshot: string) => void;
  readonly mark?: Mark | null;
};

export function read(
  session: Session,
  table: SnapshotTable,
  part: ChunkPart = EVERYTHING,
  options: ReadOptions = {},
): Promise<ChunkOutcome> {
  const { seen = () => undefined, mark = newMark(), ...rest } = options;
  const request = { table, part, publication: null, asked: ASKED_NOTHING, where: null, limitBytes: 1 << 26, under: null, ...rest };
  return readChunk(session, request, { seen, read: () => mark });
}

/** The chunk's rows as plain values; throws when it did not come about. */
export async function readRows(
  session: Session,
  table: SnapshotTable,
  part: ChunkPart = EVERYTHING,
  options: ReadOptions = {},
): Promise<readonly (readonly (string | null)[])[]> {
  const outcome = await read(session, table, part, options);
  if (outcome.kind !== "read") throw new Error(`the chunk is ${outcome.kind}`);
  return values(table, outcome.rows);
}

/** Whole numbers as such, text as text, anything else in binary as hex. */
export function values({ table }: SnapshotTable, rows: ChunkRows): readonly (readonly (string | null)[])[] {
  const tuple = new Tuple();
  return Array.from({ length: rows.count }, (_, row) => {
    rows.fillTuple(row, tuple);
    return table.columns.map(({ type }, column) => {
      if (tuple.state[column] === tupleState.null) return null;
      const bytes = tuple.bytes.subarray(tuple.start[column], (tuple.start[column] ?? 0) + (tuple.length[column] ?? 0));
      if (type.kind === "int2" || type.kind === "int4") return String(bytes.readIntBE(0, bytes.length));
      if (type.kind === "int8") return String(bytes.readBigInt64BE());
      return type.kind === "text" || type.kind === "enum" || type.kind === "other" ? bytes.toString() : bytes.toString("hex");
    });
  });
}

/** Reads the table chunk by chunk from one end to the other. */
export async function walk(
  session: Session,
  table: SnapshotTable,
  chunkRows: number,
): Promise<{ readonly rows: readonly (readonly (string | null)[])[]; readonly boundaries: readonly KeyText[] }> {
  const rows: (readonly (string | null)[])[] = [];
  const boundaries: KeyText[] = [];
  for (let after: KeyText | null = null; ;) {
    const upTo: KeyText | null = await nextBoundary(session, table, { after, upTo: null }, chunkRows);
    rows.push(...(await readRows(session, table, { kind: "range", range: { after, upTo } })));
    if (upTo === null) return { rows, boundaries };
    boundaries.push(upTo);
    after = upTo;
  }
}

export async function errorOf(promise: Promise<unknown>): Promise<TailraceError> {
  const error: unknown = await promise.then(
    () => null,
    (thrown: unknown) => thrown,
  );
  if (!(error instanceof TailraceError)) throw new Error(`expected a TailraceError, got ${String(error)}`);
  return error;
}
