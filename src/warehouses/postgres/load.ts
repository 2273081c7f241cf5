// The bulk path into PostgreSQL: rows become COPY's binary format.
import { once } from "node:events";
import { finished } from "node:stream/promises";
import type pg from "pg";
import { from as copyFrom } from "pg-copy-streams";
import { ByteWriter } from "../../core/byte-writer.ts";
import type { StagedRows } from "../../core/staged-rows.ts";
import type { MergePlan } from "../../core/warehouse.ts";
import { CopyField, int16, int32 } from "./copy-field.ts";

/** Bytes handed to the socket at a time. */
const CHUNK_BYTES = 256 * 1024;
/** What the rows have beside the plan's columns (dialect's `STAGED_BESIDE`). */
const FIELDS_BESIDE = 6;
const INT2_OID = 21;

/** Runs a COPY … FROM STDIN (FORMAT binary) with the staged rows, in the client's transaction. Throws what the server says, and ValueRefused. */
export async function copyRows(client: pg.Client, copy: string, plan: MergePlan, staged: StagedRows): Promise<void> {
  const stream = client.query(copyFrom(copy));
  const done = finished(stream);
  const ended = new AbortController();
  done.catch(() => ended.abort()); // awaited below, and in every wait for room
  try {
    for (const chunk of encodeRows(plan, staged)) {
      if (!stream.write(chunk)) await Promise.race([once(stream, "drain"), done]);
    }
  } catch (cause) {
    if (!ended.signal.aborted) stream.destroy(); // tells the server that the COPY has failed
    await done.catch(() => undefined);
    throw cause;
  }
  stream.end();
  await done;
}

/* COPY's binary format, manual "COPY", section "Binary Format":
 *   file   ::= "PGCOPY\n" 0xFF "\r\n" 0x00  flags Int32 = 0  extension Int32 = 0  tuple*  end Int16 = −1
 *   tuple  ::= columns Int16  field*      (copy-field.ts) */

/** The rows of a merge in COPY's binary format, in chunks that are not used again. */
export function* encodeRows(plan: MergePlan, staged: StagedRows): Generator<Buffer> {
  const out = new ByteWriter(CHUNK_BYTES + 64 * 1024);
  const fields = plan.columns.map(({ type }) => new CopyField(out, type));
  const unchanged = staged.unchanged.map((flags, index) => (plan.columns[index]?.unchanged === "keep_target" ? flags : null));
  const keeps = unchanged.some((flags) => flags !== null);
  const text = new CopyField(out, { kind: "text" });
  const time = new CopyField(out, { kind: "timestamptz" });
  const header = Buffer.from("PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0", "latin1");
  out.copy(header, 0, header.length);
  for (let row = 0; row < staged.rows; row++) {
    int16(out, fields.length + FIELDS_BESIDE);
    staged.writeValues(row, fields);
    staged.writeSequence(row, text);
    staged.writeCommitTime(row, time);
    text.bool(staged.deleted[row] === 1);
    staged.writeKey(row, text);
    int32(out, 4);
    int32(out, row);
    if (keeps) unchangedField(out, unchanged, row);
    else text.null();
    if (out.position >= CHUNK_BYTES) {
      yield Buffer.from(out.bytes.subarray(0, out.position));
      out.position = 0;
    }
  }
  int16(out, -1);
  yield Buffer.from(out.bytes.subarray(0, out.position));
}

/* smallint[] ::= dimensions Int32 = 1  nulls Int32 = 0  element type Int32  size Int32  lower bound Int32 = 1  (length Int32 = 2  Int16)*
 * The 1-based places of the columns that were not sent; null without any. */
function unchangedField(out: ByteWriter, unchanged: readonly (Uint8Array | null)[], row: number): void {
  let count = 0;
  for (let index = 0; index < unchanged.length; index++) if (unchanged[index]?.[row] === 1) count++;
  if (count === 0) return int32(out, -1);
  int32(out, 20 + count * 6);
  int32(out, 1);
  int32(out, 0);
  int32(out, INT2_OID);
  int32(out, count);
  int32(out, 1);
  for (let index = 0; index < unchanged.length; index++) {
    if (unchanged[index]?.[row] !== 1) continue;
    int32(out, 2);
    int16(out, index + 1);
  }
}
