// R-window-start: the waits before a snapshot. Transaction ids are of 64 bits (xid8), as safe integers.
import { backoffMs, pause } from "../core/pause.ts";
import type { Session } from "./session.ts";
import { transactionHolders, type Holder } from "./snapshot-holders.ts";

/** Seldom enough that a wait of hours costs nothing, often enough that its end is not noticed late. */
const POLL = { firstMs: 20, maxMs: 1_000 } as const;

/** A new transaction id: every transaction that has begun to write by now has a lower one. */
export async function freshXid(session: Session): Promise<number> {
  const [row] = await session.query("SELECT pg_current_xact_id()::text AS xid");
  return Number(row?.xid);
}

/** What a session sees now: pg_current_snapshot() as text. */
export async function currentSnapshot(session: Session): Promise<string> {
  const [row] = await session.query("SELECT pg_current_snapshot()::text AS snapshot");
  return row?.snapshot ?? "";
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
