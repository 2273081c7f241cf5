// The waits for transactions: for all of before to end (R-window-start), for one that the stream has brought to be seen (R-seen).
// Transaction ids are of 64 bits (xid8), as safe integers, where nothing else is said.
import { backoffMs, pause } from "../core/pause.ts";
import type { Session } from "./session.ts";
import { transactionHolder, transactionHolders, type Holder } from "./snapshot-holders.ts";
import { parseVisibility, sees, type Visibility } from "./visibility.ts";

/** Seldom enough that a wait of hours costs nothing, often enough that its end is not noticed late. */
const POLL = { firstMs: 20, maxMs: 1_000 } as const;

/** A new transaction id: every transaction that has begun to write by now has a lower one. */
export async function freshXid(session: Session): Promise<number> {
  const [row] = await session.query("SELECT pg_current_xact_id()::text AS xid");
  return Number(row?.xid);
}

/**
 * Waits until every transaction with an id below `xid` has ended: those of other databases, prepared ones, and those that
 * are committed but wait for their standby. As long as it takes; the signal ends it. At every look (at most a second apart)
 * `looked` is told of the snapshot taken for it (pg_current_snapshot() as text), the last one without any of them, and
 * `onWaiting` who is waited for.
 */
export async function waitForXmin(
  session: Session,
  xid: number,
  looked: (snapshot: string) => void,
  onWaiting: (holders: readonly Holder[]) => void,
  signal: AbortSignal,
): Promise<void> {
  for (let looks = 0; ; looks++) {
    const [row] = await session.query(
      "SELECT pg_current_snapshot()::text AS snapshot, pg_snapshot_xmin(pg_current_snapshot())::text AS xmin",
    );
    looked(row?.snapshot ?? "");
    if (Number(row?.xmin) >= xid) return;
    onWaiting(await transactionHolders(session, xid));
    await pause(backoffMs(looks, POLL, Math.random()), signal);
    signal.throwIfAborted();
  }
}

/** What a session sees now. */
export async function currentVisibility(session: Session): Promise<Visibility> {
  const [row] = await session.query("SELECT pg_current_snapshot()::text AS snapshot", [], { prepared: "snapshot" });
  return parseVisibility(row?.snapshot ?? "");
}

/** A commit that waits for nobody is seen a moment after it was sent. */
const SEEN_POLL = { firstMs: 2, maxMs: 500 } as const;
/** Until it is said who is waited for, ms. */
const SAID_AFTER_MS = 1_000;

/** Whether the reader of slot $1 is itself a standby that commits wait for: synchronous_standby_names may be `*`. */
const AWAITS_READER = `SELECT FROM pg_stat_replication WHERE sync_state IN ('sync', 'quorum')
  AND pid = (SELECT active_pid FROM pg_replication_slots WHERE slot_name = $1)`;

/** `holder`: of the transaction; null: it is ending. `slot`: of the stream that has brought it. */
export type SeenWait = { readonly slot: string; readonly onWaiting: (holder: Holder | null) => void };

/**
 * R-seen: waits until a transaction of the stream (32 bits, committed) is seen, as long as it takes; the signal ends it. Its COMMIT is sent once
 * it is in the WAL, while sessions see it only when its standby has it too (manual, "synchronous_commit"). `onWaiting` is told who it is, once,
 * after a second. Returns what is seen then; null when it would wait for the reader of the stream itself.
 */
export async function waitUntilSeen(
  session: Session,
  xid: number,
  { slot, onWaiting }: SeenWait,
  signal: AbortSignal,
): Promise<Visibility | null> {
  const begun = performance.now();
  let isSaid = false;
  for (let looks = 0; ; looks++) {
    const visibility = await currentVisibility(session);
    if (sees(visibility, xid)) return visibility;
    if (!isSaid && performance.now() - begun > SAID_AFTER_MS) {
      isSaid = true;
      if ((await session.query(AWAITS_READER, [slot])).length > 0) return null;
      onWaiting(await transactionHolder(session, xid));
    }
    await pause(backoffMs(looks, SEEN_POLL, Math.random()), signal);
    signal.throwIfAborted();
  }
}
