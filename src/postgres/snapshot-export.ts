// R-keyless: one snapshot for all chunks of a table without a key, and the place in the stream where it was taken. It
// comes from a temporary slot, since only a slot knows that place. The slot is gone within moments: a transaction of our
// own takes its snapshot over, so that no WAL is kept while the table is read (dead rows are, which can't be helped).
import { TailraceError } from "../core/errors.ts";
import { parseLsn, type Lsn } from "../core/lsn.ts";
import { LOCK_NOT_AVAILABLE, serverMessage } from "./database-errors.ts";
import { quoteIdentifier, quoteLiteral, Session, type ConnectionSettings } from "./session.ts";
import { describeHolder, transactionHolders } from "./snapshot-holders.ts";
import { openSnapshotSession, type SnapshotLimits } from "./snapshot-session.ts";

/** Disposing of it ends its transaction: no chunk can be begun under it then. */
export type ExportedSnapshot = AsyncDisposable & {
  /** For SET TRANSACTION SNAPSHOT, in this database. */
  readonly name: string;
  /** It sees the transactions whose commit LSN (BEGIN's final LSN) is below, and no others. */
  readonly consistentPoint: Lsn;
};

export type ExportOptions = {
  /** Of the temporary slot: one that nobody has. */
  readonly slot: string;
  /** Bound of the wait for each older transaction, ms. */
  readonly waitMs: number;
  readonly limits: SnapshotLimits;
};

/** The syntax with options in parentheses came with PostgreSQL 15. */
const OPTIONS_SINCE = 150_000;

/**
 * Takes the snapshot. Making the slot waits for every transaction that is open; `ready` is called before, when both sessions stand. Throws SLOT_WAITS with one that stays
 * open, SLOT_LIMIT, NOT_PRIMARY, PRIVILEGE_MISSING, DATABASE_UNREACHABLE; the signal's reason after abort.
 */
export async function exportSnapshot(
  settings: ConnectionSettings,
  options: ExportOptions,
  signal: AbortSignal,
  ready: () => void = () => undefined,
): Promise<ExportedSnapshot> {
  const { slot, waitMs, limits } = options;
  // Without an end: both sessions are idle in their transactions by design, and settings for forgetful people must not end them.
  const holder = await openSnapshotSession(settings, { ...limits, idleMs: 0 }, signal);
  try {
    await using walsender = await Session.open(settings, signal, "replication", {
      statementMs: waitMs,
      // A statement timeout does not reach a replication command; its waits are for locks of transactions.
      startup: { lock_timeout: waitMs, idle_in_transaction_session_timeout: 0 },
    });
    const syntax = (await walsender.version()) >= OPTIONS_SINCE ? "(SNAPSHOT 'export')" : "EXPORT_SNAPSHOT";
    ready();
    const created = await createSlot(
      walsender,
      `CREATE_REPLICATION_SLOT ${quoteIdentifier(slot)} TEMPORARY LOGICAL pgoutput ${syntax}`,
      slot,
      holder,
    );
    // The next command of the walsender ends its snapshot, so it gets none before ours is there.
    await holder.query(`BEGIN ISOLATION LEVEL REPEATABLE READ; SET TRANSACTION SNAPSHOT ${quoteLiteral(created.snapshot)}`);
    const [exported] = await holder.query("SELECT pg_export_snapshot() AS name");
    return {
      name: exported?.name ?? "",
      consistentPoint: created.consistentPoint,
      [Symbol.asyncDispose]: () => holder[Symbol.asyncDispose](),
    };
  } catch (error) {
    await holder[Symbol.asyncDispose]();
    throw error;
  }
}

async function createSlot(
  walsender: Session,
  command: string,
  slot: string,
  observer: Session,
): Promise<{ readonly snapshot: string; readonly consistentPoint: Lsn }> {
  try {
    const [row] = await walsender.query(command, [], { grant: `ALTER ROLE ${quoteIdentifier(walsender.peer.user)} REPLICATION` });
    return { snapshot: row?.snapshot_name ?? "", consistentPoint: parseLsn(row?.consistent_point ?? "") };
  } catch (error) {
    if (!(error instanceof TailraceError) || serverMessage(error.cause)?.code !== LOCK_NOT_AVAILABLE) throw error;
    const [longest] = await transactionHolders(observer, null);
    throw new TailraceError(
      "SLOT_WAITS",
      { slot, holder: longest === undefined ? "ended meanwhile" : describeHolder(longest) },
      { cause: error },
    );
  }
}
