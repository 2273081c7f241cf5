// What PostgreSQL and the socket say, in Tailrace's error codes. The only place that knows SQLSTATEs.
import { reasonOf, TailraceError } from "../core/errors.ts";

/** Who spoke to whom. Neither field may hold a secret. */
export type Peer = {
  /** `host:port/database` */
  readonly address: string;
  readonly user: string;
};

/** An ErrorResponse or NoticeResponse, as pg hands it over (manual, "Error and Notice Message Fields"). */
export type ServerMessage = {
  readonly message: string;
  /** SQLSTATE. */
  readonly code: string;
  readonly detail?: string | undefined;
  readonly hint?: string | undefined;
  /** The function that reports; unlike the message it is not translated. */
  readonly routine?: string | undefined;
};

/** SQLSTATE lock_not_available: behind somebody's lock for as long as lock_timeout allows. */
export const LOCK_NOT_AVAILABLE = "55P03";
/** SQLSTATE query_canceled: statement_timeout, or an operator. */
export const QUERY_CANCELED = "57014";

/** The server's own words, or null when the error is the socket's or the client library's. */
export function serverMessage(thrown: unknown): ServerMessage | null {
  if (!(thrown instanceof Error) || !("severity" in thrown)) return null;
  const code = (thrown as { code?: unknown }).code;
  return typeof code === "string" && code.length === 5 ? (thrown as unknown as ServerMessage) : null;
}

/**
 * Any failure of a connection or statement. `grant` is the SQL that would lift a missing privilege, as far as the caller
 * knows it. What has no code of its own becomes UNEXPECTED with the server's message.
 */
export function databaseError(thrown: unknown, peer: Peer, grant?: string): TailraceError {
  if (thrown instanceof TailraceError) return thrown;
  const said = serverMessage(thrown);
  const reason = said === null ? reasonOf(thrown) : wording(said);
  const cause = { cause: thrown };
  if (said === null) return new TailraceError("DATABASE_UNREACHABLE", { address: peer.address, reason }, cause);
  if (said.code.startsWith("28") || said.code === "3D000")
    return new TailraceError("DATABASE_LOGIN", { address: peer.address, user: peer.user, reason }, cause);
  if (said.code === "42501")
    return new TailraceError(
      "PRIVILEGE_MISSING",
      { user: peer.user, privilege: `a privilege (${reason})`, grant: grant ?? "GRANT what is named" },
      cause,
    );
  if (said.code === "53300") {
    // Setting names are not translated, so they tell the two limits apart in any language.
    return said.message.includes("max_wal_senders")
      ? new TailraceError("SLOT_LIMIT", { what: "replication connection", setting: "max_wal_senders" }, cause)
      : new TailraceError("CONNECTION_LIMIT", { address: peer.address, reason }, cause);
  }
  // Of 53400 alone this routine tells the slots from a session's own limits, as temp_file_limit.
  if (said.code === "53400" && said.routine === "ReplicationSlotCreate")
    return new TailraceError("SLOT_LIMIT", { what: "replication slot", setting: "max_replication_slots" }, cause);
  if (said.code.startsWith("53")) return new TailraceError("SERVER_EXHAUSTED", { address: peer.address, reason }, cause);
  // Locks and limits of time are ours (session.ts); whoever knows what was waited for says it better (publication, slot, snapshot-chunk).
  if (said.code === LOCK_NOT_AVAILABLE || said.code === QUERY_CANCELED) return new TailraceError("STATEMENT_GIVEN_UP", { reason }, cause);
  if (said.code === "55000" && said.routine === "CheckLogicalDecodingRequirements" && said.message.includes("wal_level"))
    return new TailraceError("WAL_LEVEL", { seen: "too low" }, cause);
  if (/^(08|57P|25P0[34])/.test(said.code)) return new TailraceError("DATABASE_UNREACHABLE", { address: peer.address, reason }, cause);
  return new TailraceError("UNEXPECTED", { reason: `PostgreSQL says: ${reason} (SQLSTATE ${said.code})` }, cause);
}

/** Message and detail in one line. */
export function wording(said: ServerMessage): string {
  return said.detail === undefined ? said.message : `${said.message}: ${said.detail}`;
}
