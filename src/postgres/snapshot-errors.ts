// What PostgreSQL says while rows of a table are read, in Tailrace's error codes.
import { TailraceError } from "../core/errors.ts";
import { LOCK_NOT_AVAILABLE, QUERY_CANCELED, serverMessage, wording } from "./database-errors.ts";
import { quoteIdentifier, type Session } from "./session.ts";
import { describeHolder, tableHolders } from "./snapshot-holders.ts";
import { labelOf, tableSql, type SnapshotTable } from "./snapshot-table.ts";

/** SQLSTATEs (manual, appendix "PostgreSQL Error Codes"). */
const UNDEFINED_TABLE = "42P01";
const INVALID_SCHEMA = "3F000";
const PROGRAM_LIMIT_EXCEEDED = "54000";
const INVALID_PARAMETER = "22023";
const UNDEFINED_OBJECT = "42704";

/** SQL that lets the session read the table. */
export function readGrant({ peer }: Session, table: SnapshotTable): string {
  const user = quoteIdentifier(peer.user);
  return `GRANT SELECT ON ${tableSql(table)} TO ${user}; with row-level security also: ALTER ROLE ${user} BYPASSRLS`;
}

/**
 * Of an error of a statement that reads rows of the table: TABLE_LOCKED, TABLE_MISSING, SNAPSHOT_SLOW, SNAPSHOT_ROW_WIDE, SNAPSHOT_LOST
 * (`under`, the exported snapshot that it was read under, is gone), SNAPSHOT_REFUSED; itself when it has a code already.
 */
export async function readingError(session: Session, error: unknown, table: SnapshotTable, under: string | null): Promise<unknown> {
  const said = error instanceof TailraceError ? serverMessage(error.cause) : null;
  const hasOwnCode = error instanceof TailraceError && error.code !== "UNEXPECTED" && error.code !== "STATEMENT_GIVEN_UP";
  if (!(error instanceof TailraceError) || hasOwnCode || said === null) return error;
  const label = labelOf(table);
  const options = { place: { table: label }, cause: error.cause };
  switch (said.code) {
    case LOCK_NOT_AVAILABLE: {
      const [longest] = await tableHolders(session, [table.table.oid, ...table.storage.map(({ oid }) => oid)]);
      const holder = longest === undefined ? "somebody who has ended meanwhile" : describeHolder(longest);
      return new TailraceError("TABLE_LOCKED", { table: label, holder }, options);
    }
    case UNDEFINED_TABLE:
    case INVALID_SCHEMA:
      return new TailraceError("TABLE_MISSING", { table: label }, options);
    case QUERY_CANCELED:
      return new TailraceError("SNAPSHOT_SLOW", { table: label, reason: said.message }, options);
    case PROGRAM_LIMIT_EXCEEDED:
      return new TailraceError("SNAPSHOT_ROW_WIDE", { table: label, reason: wording(said) }, options);
    case INVALID_PARAMETER:
    case UNDEFINED_OBJECT:
      if (under !== null) return new TailraceError("SNAPSHOT_LOST", { table: label, reason: wording(said) }, options);
  }
  return new TailraceError("SNAPSHOT_REFUSED", { table: label, reason: `${wording(said)} (SQLSTATE ${said.code})` }, options);
}
