// Who is waited for: the sessions and prepared transactions that hold an older transaction, or a table, in words for the operator.
import type { Session } from "./session.ts";

/** A session, or a prepared transaction: then `gid` is its name and `pid` null. */
export type Holder = {
  readonly pid: number | null;
  readonly gid: string | null;
  readonly user: string;
  readonly application: string;
  /** Any database of the cluster: snapshots know transactions of all of them. */
  readonly database: string;
  /** pg_stat_activity.state, as `idle in transaction`; null of others' sessions without pg_read_all_stats, like what follows. */
  readonly state: string | null;
  /** pg_stat_activity.wait_event, as `SyncRep`. */
  readonly waitsFor: string | null;
  /** Begin of the transaction (of a prepared one: when it was prepared), ISO 8601. */
  readonly since: string | null;
  readonly queryStart: string | null;
};

// pg_locks hides nothing from anybody, so who holds is known even where what they do is not. A prepared transaction has no
// PID there; what ties its locks together, and to its name, is that it still locks its own id.
const HOLDERS = `
  WITH locks AS MATERIALIZED (SELECT * FROM pg_locks)
  SELECT coalesce(jsonb_agg(DISTINCT jsonb_build_object(
    'pid', l.pid, 'gid', p.gid, 'user', coalesce(a.usename, p.owner, ''), 'application', coalesce(a.application_name, ''),
    'database', coalesce(a.datname, p.database, ''), 'state', a.state, 'waitsFor', a.wait_event,
    'since', coalesce(a.xact_start, p.prepared), 'queryStart', a.query_start)), '[]') AS json
  FROM locks l LEFT JOIN pg_stat_activity a ON a.pid = l.pid
  LEFT JOIN pg_prepared_xacts p ON l.pid IS NULL AND EXISTS (
    SELECT FROM locks own WHERE own.virtualtransaction = l.virtualtransaction AND own.transactionid = p.transaction AND own.locktype = 'transactionid')`;

/** Who holds a transaction that has begun to write, with `xid` (64 bits) before that id was given; the longest first. */
export async function transactionHolders(session: Session, xid: number | null): Promise<readonly Holder[]> {
  const open = `${HOLDERS} WHERE l.locktype = 'transactionid' AND l.mode = 'ExclusiveLock' AND l.granted`;
  if (xid === null) return longestFirst(await session.json<Holder[]>(open));
  // A snapshot lists ids up to the latest that has ended: enough here, where `xid` itself has.
  const older = "SELECT running::xid FROM pg_snapshot_xip(pg_current_snapshot()) running WHERE running < $1::text::xid8";
  return longestFirst(await session.json<Holder[]>(`${open} AND l.transactionid IN (${older})`, [String(xid)]));
}

/** Who holds the transaction `xid` (32 bits); null: it has ended. */
export async function transactionHolder(session: Session, xid: number): Promise<Holder | null> {
  const sql = `${HOLDERS} WHERE l.locktype = 'transactionid' AND l.mode = 'ExclusiveLock' AND l.granted AND l.transactionid = $1::text::xid`;
  return (await session.json<Holder[]>(sql, [String(xid)]))?.[0] ?? null;
}

/** Who keeps these tables from being read; the longest first. */
export async function tableHolders(session: Session, oids: readonly number[]): Promise<readonly Holder[]> {
  const sql = `${HOLDERS} WHERE l.locktype = 'relation' AND l.mode = 'AccessExclusiveLock' AND l.granted
    AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()) AND l.relation = ANY($1::oid[])`;
  return longestFirst(await session.json<Holder[]>(sql, [oids]));
}

/** Who keeps a table from being added to a publication, which VACUUM and CREATE INDEX CONCURRENTLY do too; the longest first. */
export async function publishingHolders(session: Session, oid: number): Promise<readonly Holder[]> {
  const sql = `${HOLDERS} WHERE l.locktype = 'relation' AND l.granted AND l.pid IS DISTINCT FROM pg_backend_pid()
    AND l.mode IN ('ShareUpdateExclusiveLock', 'ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')
    AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()) AND l.relation = $1::oid`;
  return longestFirst(await session.json<Holder[]>(sql, [oid]));
}

/** `PID 12 (nightly load, user shop, database shop), idle in transaction since 2026-02-03T04:05:06+00:00`: for logs and errors. */
export function describeHolder(holder: Holder): string {
  const { pid, gid, user, application, database, state, waitsFor, since } = holder;
  const who = gid === null ? `PID ${pid}` : `prepared transaction ${JSON.stringify(gid)}`;
  const names = [application, `user ${user}`, `database ${database}`].filter((part) => part !== "").join(", ");
  const doing =
    gid !== null
      ? "prepared"
      : state === null
        ? "doing what only pg_read_all_stats shows"
        : waitsFor === "SyncRep"
          ? "committed, waiting for a synchronous standby"
          : state;
  return `${who} (${names}), ${doing}${since === null ? "" : ` since ${since}`}`;
}

function longestFirst(holders: readonly Holder[] | null): readonly Holder[] {
  return [...(holders ?? [])].sort((a, b) => (a.since ?? "").localeCompare(b.since ?? ""));
}
