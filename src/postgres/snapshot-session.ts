// The sessions that read chunks: set so that they harm nobody, lose no row to a policy, and find a key's index.
import { TailraceError } from "../core/errors.ts";
import { Session, type ConnectionSettings } from "./session.ts";

/** Bounds, ms. */
export type SnapshotLimits = {
  /** Wait for a table's lock. While it lasts, nobody waits for us. */
  readonly lockMs: number;
  /** One statement: a chunk's COPY is the longest. */
  readonly statementMs: number;
  /** A transaction of ours that does nothing: the server ends it when this process has stopped in the middle of a chunk. */
  readonly idleMs: number;
};

/**
 * Opens a session for chunks, plans and marks, shown as `<application name> snapshot`. Throws NOT_PRIMARY on a standby,
 * whatever Session.open() throws, and the signal's reason after abort.
 */
export async function openSnapshotSession(settings: ConnectionSettings, limits: SnapshotLimits, signal: AbortSignal): Promise<Session> {
  const session = await Session.open({ ...settings, applicationName: `${settings.applicationName} snapshot` }, signal, "sql", {
    statementMs: limits.statementMs,
    startup: {
      lock_timeout: limits.lockMs,
      idle_in_transaction_session_timeout: limits.idleMs,
      synchronous_commit: "local", // off would leave a mark in memory for a while, on would wait for a standby
      row_security: "off", // a policy is an error then: on, it would leave rows out in silence
      standard_conforming_strings: "on", // keys are written as string constants
      // A key's rows come by its index. What the planner thinks of row comparisons (the first column alone counts) would
      // have it read the whole table for every chunk, sort it, or compile it.
      enable_seqscan: "off",
      enable_sort: "off",
      jit: "off",
      max_parallel_workers_per_gather: 0,
    },
  });
  try {
    await refuseStandby(session);
    return session;
  } catch (error) {
    await session[Symbol.asyncDispose]();
    throw error;
  }
}

/** Throws NOT_PRIMARY on a standby: it takes neither marks nor locks, and its snapshots tell nothing of the primary's transactions. */
export async function refuseStandby(session: Session): Promise<void> {
  const [row] = await session.query("SELECT pg_is_in_recovery() AS standby");
  if (row?.standby !== "f") throw new TailraceError("NOT_PRIMARY", { address: session.peer.address });
}
