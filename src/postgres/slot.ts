// The replication slot: reading, judging, making and dropping it. What can lose data is decided by judgeSlot, which is pure.
import type { Client, QueryConfig } from "pg";
import { TailraceError } from "../core/errors.ts";
import { formatLsn, parseLsn, type Lsn } from "../core/lsn.ts";
import { LOCK_NOT_AVAILABLE, QUERY_CANCELED, serverMessage } from "./database-errors.ts";
import { quoteIdentifier, type Session } from "./session.ts";

/** A row of pg_replication_slots, and who reads it. */
export type Slot = {
  readonly name: string;
  readonly type: "logical" | "physical";
  /** null for physical slots, like the database. */
  readonly plugin: string | null;
  readonly database: string | null;
  readonly temporary: boolean;
  readonly activePid: number | null;
  /** application_name of the reader; empty when nobody reads, or when we may not see it. */
  readonly application: string;
  /** WAL from here on is kept; null when nothing is kept any more. */
  readonly restartLsn: Lsn | null;
  readonly confirmedFlushLsn: Lsn | null;
  /** reserved, extended, unreserved (the next checkpoint may remove what it needs), lost. */
  readonly walStatus: string | null;
  /** PostgreSQL 17 and later; null while the slot is valid. */
  readonly invalidationReason: string | null;
  /** Bytes that may be written before the slot is at risk; null without max_slot_wal_keep_size. */
  readonly safeWalBytes: number | null;
  readonly twoPhase: boolean;
  readonly failover: boolean;
  /** Bytes of WAL that the server keeps for it; null on a standby. */
  readonly retainedWalBytes: number | null;
};

type SlotRow = {
  readonly slot: {
    readonly slot_name: string;
    readonly slot_type: "logical" | "physical";
    readonly plugin: string | null;
    readonly database: string | null;
    readonly temporary: boolean;
    readonly active_pid: number | null;
    readonly restart_lsn: string | null;
    readonly confirmed_flush_lsn: string | null;
    readonly wal_status: string | null;
    readonly safe_wal_size: number | null;
    readonly two_phase: boolean;
    // columns of later versions
    readonly invalidation_reason?: string | null;
    readonly conflicting?: boolean | null;
    readonly failover?: boolean;
  };
  readonly application: string | null;
  readonly retained: number | null;
};

/** Bytes of WAL behind what is confirmed (0 where the server is not that far any more), that are kept, and that may still be written (null: no limit). */
export function walOf(slot: Slot, walEnd: Lsn): readonly [lagBytes: number, retainedBytes: number, safeBytes: number | null] {
  const lag = Number(walEnd - (slot.confirmedFlushLsn ?? walEnd));
  return [Math.max(0, lag), slot.retainedWalBytes ?? 0, slot.safeWalBytes];
}

export async function readSlot(session: Session, name: string): Promise<Slot | null> {
  // A row as JSON has the columns that this version has.
  const row = await session.json<SlotRow>(
    `SELECT jsonb_build_object('slot', to_jsonb(s), 'application', a.application_name,
       'retained', CASE WHEN NOT pg_is_in_recovery() THEN pg_wal_lsn_diff(pg_current_wal_lsn(), s.restart_lsn) END) AS json
     FROM pg_replication_slots s LEFT JOIN pg_stat_activity a ON a.pid = s.active_pid WHERE s.slot_name = $1`,
    [name],
  );
  if (row === null) return null;
  const { slot } = row;
  return {
    name: slot.slot_name,
    type: slot.slot_type,
    plugin: slot.plugin,
    database: slot.database,
    temporary: slot.temporary,
    activePid: slot.active_pid,
    application: row.application ?? "",
    restartLsn: lsnOrNull(slot.restart_lsn),
    confirmedFlushLsn: lsnOrNull(slot.confirmed_flush_lsn),
    walStatus: slot.wal_status,
    invalidationReason: slot.invalidation_reason ?? (slot.conflicting === true ? "conflicting" : null),
    safeWalBytes: slot.safe_wal_size,
    twoPhase: slot.two_phase,
    failover: slot.failover ?? false,
    retainedWalBytes: row.retained,
  };
}

/** `recorded`: what the source's state says is acknowledged; null when there is no state. */
export type SlotExpectation = { readonly database: string; readonly recorded: Lsn | null };

/** What to do about a slot. Only a `usable` one may be streamed from. */
export type SlotVerdict =
  | { readonly kind: "usable"; readonly confirmed: Lsn }
  | { readonly kind: "missing" }
  | { readonly kind: "foreign"; readonly reason: string }
  | { readonly kind: "lost"; readonly reason: string }
  | { readonly kind: "active"; readonly pid: number; readonly application: string }
  | { readonly kind: "ahead"; readonly confirmed: Lsn; readonly recorded: Lsn };

/**
 * R-slot. A slot in use is not judged for being ahead: its reader may be our own predecessor, whose last record of what
 * it acknowledged we have yet to read. Look again when it has gone.
 */
export function judgeSlot(slot: Slot | null, expected: SlotExpectation): SlotVerdict {
  if (slot === null) return { kind: "missing" };
  if (slot.type !== "logical") return { kind: "foreign", reason: "it is a physical slot" };
  if (slot.plugin !== "pgoutput") return { kind: "foreign", reason: `its plugin is ${slot.plugin}, not pgoutput` };
  if (slot.database !== expected.database)
    return { kind: "foreign", reason: `it belongs to database ${slot.database}, this source reads ${expected.database}` };
  if (slot.twoPhase) return { kind: "foreign", reason: "it decodes prepared transactions (two_phase)" };
  if (slot.invalidationReason !== null) return { kind: "lost", reason: slot.invalidationReason };
  // Before the LSNs are looked at: a slot that is still being made has none, but the PID of who makes it.
  if (slot.activePid !== null) return { kind: "active", pid: slot.activePid, application: slot.application };
  if (slot.walStatus === "lost" || slot.restartLsn === null || slot.confirmedFlushLsn === null)
    return { kind: "lost", reason: "wal_removed" };
  if (expected.recorded !== null && slot.confirmedFlushLsn > expected.recorded)
    return { kind: "ahead", confirmed: slot.confirmedFlushLsn, recorded: expected.recorded };
  return { kind: "usable", confirmed: slot.confirmedFlushLsn };
}

/** The error of a verdict, SLOT_MISSING for a slot that is expected to be there; null for a usable one. */
export function slotError(name: string, verdict: SlotVerdict, expected: SlotExpectation): TailraceError | null {
  const lsn = expected.recorded === null ? "the last acknowledged one" : formatLsn(expected.recorded);
  switch (verdict.kind) {
    case "usable":
      return null;
    case "missing":
      return new TailraceError("SLOT_MISSING", { slot: name, lsn });
    case "foreign":
      return new TailraceError("SLOT_FOREIGN", { slot: name, reason: verdict.reason });
    case "lost":
      return new TailraceError("SLOT_LOST", { slot: name, reason: verdict.reason, lsn });
    case "active":
      return new TailraceError("SLOT_ACTIVE", {
        slot: name,
        pid: verdict.pid,
        application: verdict.application === "" ? "unknown" : verdict.application,
      });
    case "ahead":
      return new TailraceError("SLOT_AHEAD", {
        slot: name,
        confirmed: formatLsn(verdict.confirmed),
        recorded: formatLsn(verdict.recorded),
      });
  }
}

export type NewSlot = {
  readonly name: string;
  /** Gone with the session. */
  readonly temporary?: boolean;
  /** Bound of the wait for older transactions, ms. */
  readonly timeoutMs?: number;
};

/** Making a slot waits for every transaction that is open. Meanwhile vacuum of the catalogs is held back. */
const CREATE_MS = 60_000;
/** The first attempt is short, so that who is waited for is named soon. */
const FIRST_CREATE_MS = 5_000;

/** The bound of an attempt after `failures` others, ms: longer each time, so that an attempt is at last longer than the transactions of a busy server. */
export function slotPatienceMs(failures: number): number {
  return Math.min(CREATE_MS, FIRST_CREATE_MS * 2 ** Math.min(failures, 10));
}
const FAILOVER_SINCE = 170_000;

/** Who has been writing the longest, in words. */
const OLDEST_TRANSACTION = `
  SELECT holder FROM (
    SELECT xact_start AS since, format('PID %s (%s) since %s', pid, coalesce(nullif(application_name, ''), usename), xact_start) AS holder
    FROM pg_stat_activity WHERE backend_xid IS NOT NULL AND pid <> pg_backend_pid()
    UNION ALL SELECT prepared, format('prepared transaction %L since %s', gid, prepared) FROM pg_prepared_xacts
  ) open ORDER BY since LIMIT 1`;

/**
 * Makes a pgoutput slot (one that follows a failover, where the server can) and returns where it starts. The publication
 * must be there before (R-publication). Throws SLOT_WAITS when older transactions stay open, SLOT_LIMIT, PRIVILEGE_MISSING.
 */
export async function createSlot(session: Session, slot: NewSlot): Promise<Lsn> {
  const { name, temporary = false, timeoutMs = CREATE_MS } = slot;
  const failover = (await session.version()) >= FAILOVER_SINCE ? `, failover => ${!temporary}` : "";
  // The session's own bound of locks is for DDL: the waits here are for locks of transactions, and are bounded as a whole.
  await session.query("SET lock_timeout = 0");
  try {
    const rows = await session.query(
      `SELECT lsn FROM pg_create_logical_replication_slot($1, 'pgoutput', temporary => $2::bool${failover})`,
      [name, temporary],
      { timeoutMs, grant: `ALTER ROLE ${quoteIdentifier(session.peer.user)} REPLICATION` },
    );
    return parseLsn(rows[0]?.lsn ?? "");
  } catch (error) {
    const timedOut = error instanceof TailraceError && serverMessage(error.cause)?.code === QUERY_CANCELED;
    if (!timedOut) throw error;
    const [oldest] = await session.query(OLDEST_TRANSACTION);
    throw new TailraceError("SLOT_WAITS", { slot: name, holder: oldest?.holder ?? "ended meanwhile" }, { cause: error });
  } finally {
    await session.query("SET lock_timeout = DEFAULT").catch(() => undefined); // of a lost connection nothing is left to reset
  }
}

/** Shorter: somebody sits in front of the screen, to be told who is waited for. */
const CREATE_TEMPORARY_MS = 15_000;
/** What the client grants beyond the server's own bound before it gives the connection up, ms. */
const GRACE_MS = 5_000;

/**
 * Makes a pgoutput slot that lasts as long as the walsender's connection, and returns where it starts. Throws SLOT_WAITS when
 * older transactions stay open, and what the client throws.
 */
export async function makeTemporarySlot(walsender: Client, name: string, timeoutMs = CREATE_TEMPORARY_MS): Promise<Lsn> {
  // A statement timeout does not reach a replication command; its waits are for locks of transactions.
  await walsender.query(`SET lock_timeout = ${timeoutMs}`);
  try {
    const { rows } = await walsender.query<{ consistent_point: string }>({
      text: `CREATE_REPLICATION_SLOT ${quoteIdentifier(name)} TEMPORARY LOGICAL pgoutput NOEXPORT_SNAPSHOT`,
      query_timeout: timeoutMs + GRACE_MS,
    } as QueryConfig);
    await walsender.query("SET lock_timeout = DEFAULT");
    return parseLsn(rows[0]?.consistent_point ?? "");
  } catch (error) {
    if (serverMessage(error)?.code !== LOCK_NOT_AVAILABLE) throw error;
    const { rows } = await walsender.query<{ holder: string }>(OLDEST_TRANSACTION);
    throw new TailraceError("SLOT_WAITS", { slot: name, holder: rows[0]?.holder ?? "ended meanwhile" }, { cause: error });
  }
}

/** Drops a slot that nobody reads; nothing happens when it is not there. */
export async function dropSlot(session: Session, name: string): Promise<void> {
  await session.query("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = $1", [name]);
}

function lsnOrNull(text: string | null): Lsn | null {
  return text === null ? null : parseLsn(text);
}
