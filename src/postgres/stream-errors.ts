// What ends a replication stream, in Tailrace's error codes. Messages are translated by the server, routines and SQLSTATEs are not.
import { reasonOf, TailraceError } from "../core/errors.ts";
import { formatLsn, type Lsn } from "../core/lsn.ts";
import { databaseError, serverMessage, wording, type Peer, type ServerMessage } from "./database-errors.ts";
import { quoteIdentifier } from "./session.ts";

export type StreamPlace = {
  readonly slot: string;
  readonly publication: string;
  readonly acknowledged: Lsn;
  readonly peer: Peer;
  /** Whether the server had begun to stream: before, a lost connection is an unreachable database. */
  readonly begun: boolean;
};

/** SQLSTATEs of interest (manual, appendix "PostgreSQL Error Codes"). */
const OBJECT_IN_USE = "55006";
const UNDEFINED_OBJECT = "42704";
const NOT_IN_PREREQUISITE_STATE = "55000";
const UNDEFINED_FILE = "58P01";
const ADMIN_SHUTDOWN = "57P01";
/** A message would be larger than the gibibyte that the server's buffers hold. */
const PROGRAM_LIMIT_EXCEEDED = "54000";

/** Any failure of START_REPLICATION or of the running stream. */
export function streamError(thrown: unknown, place: StreamPlace): TailraceError {
  if (thrown instanceof TailraceError) return thrown;
  const { slot, publication } = place;
  const said = serverMessage(thrown);
  const cause = { cause: thrown };
  if (said === null && place.begun) return new TailraceError("STREAM_LOST", { reason: reasonOf(thrown) }, cause);
  if (said === null) return databaseError(thrown, place.peer);
  const lsn = formatLsn(place.acknowledged);
  switch (said.code) {
    case OBJECT_IN_USE:
      return new TailraceError(
        "SLOT_ACTIVE",
        { slot, pid: /\d+(?=\D*$)/.exec(said.message)?.[0] ?? "unknown", application: "see pg_stat_replication" },
        cause,
      );
    case UNDEFINED_OBJECT:
      // The slot is looked up before anything is decoded, the publication with the first change.
      if (said.routine?.startsWith("ReplicationSlot") === true) return new TailraceError("SLOT_MISSING", { slot, lsn }, cause);
      return new TailraceError("PUBLICATION_MISSING", { publication }, cause);
    case NOT_IN_PREREQUISITE_STATE:
      if (said.routine?.startsWith("Check") === true) break; // the server's settings
      // Only an invalidated slot is explained: one of another database or kind is refused in a word.
      if (said.detail === undefined) return new TailraceError("SLOT_FOREIGN", { slot, reason: said.message }, cause);
      return new TailraceError("SLOT_LOST", { slot, reason: said.detail, lsn }, cause);
    case UNDEFINED_FILE:
      return new TailraceError("SLOT_LOST", { slot, reason: wording(said), lsn }, cause);
    case PROGRAM_LIMIT_EXCEEDED:
      return new TailraceError("STREAM_ROW_WIDE", { slot, reason: wording(said), lsn }, cause);
    case ADMIN_SHUTDOWN:
      return new TailraceError("STREAM_LOST", { reason: wording(said) }, cause);
  }
  return databaseError(thrown, place.peer, `ALTER ROLE ${quoteIdentifier(place.peer.user)} REPLICATION`);
}

/**
 * R-publication: a server that does not find the publication where it decodes warns, skips the change and goes on
 * (PostgreSQL 18; before, it was an error). null for other notices.
 */
export function noticeError(notice: ServerMessage, publication: string): TailraceError | null {
  return notice.routine === "LoadPublications" || notice.code === NOT_IN_PREREQUISITE_STATE
    ? new TailraceError("PUBLICATION_MISSING", { publication })
    : null;
}
