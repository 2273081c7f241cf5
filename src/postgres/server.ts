// What the server is and allows: the facts that a source checks before it touches anything.
import { TailraceError } from "../core/errors.ts";
import { parseLsn, type Lsn } from "../core/lsn.ts";
import { tableLabel, type TableName } from "../core/table.ts";
import type { Peer } from "./database-errors.ts";
import { quoteIdentifier, Session, type ConnectionSettings } from "./session.ts";
import { parseTimelineHistory, type TimelineSwitch } from "./timeline.ts";

export type ServerFacts = {
  /** server_version_num, as 180004. */
  readonly version: number;
  /** server_version, as `18.4 (Debian …)`, for messages. */
  readonly versionText: string;
  readonly walLevel: string;
  readonly systemIdentifier: string;
  readonly timeline: number;
  readonly inRecovery: boolean;
  /** End of the WAL (of a standby: what it has replayed). */
  readonly walEnd: Lsn;
  /** Of the database, as `UTF8`; in SQL_ASCII nothing promises that text is text. */
  readonly encoding: string;
  /** 0: off. */
  readonly walSenderTimeoutMs: number;
  readonly slots: { readonly used: number; readonly limit: number };
  readonly walSenders: { readonly used: number; readonly limit: number };
  readonly user: { readonly name: string; readonly superuser: boolean; readonly replication: boolean; readonly createOnDatabase: boolean };
};

const OLDEST_VERSION = 140_000;

export async function readServer(session: Session): Promise<ServerFacts> {
  // The control file's timeline is that of the last checkpoint; a primary names its WAL files after the current one.
  const facts = await session.json<Omit<ServerFacts, "walEnd"> & { walEnd: string }>(`
    SELECT jsonb_build_object(
      'version', current_setting('server_version_num')::int,
      'versionText', current_setting('server_version'),
      'walLevel', current_setting('wal_level'),
      'systemIdentifier', (SELECT system_identifier::text FROM pg_control_system()),
      'timeline', CASE WHEN pg_is_in_recovery() THEN (SELECT timeline_id FROM pg_control_checkpoint())
                       ELSE ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::int END,
      'inRecovery', pg_is_in_recovery(),
      'walEnd', CASE WHEN pg_is_in_recovery() THEN coalesce(pg_last_wal_replay_lsn(), '0/0') ELSE pg_current_wal_lsn() END,
      'encoding', getdatabaseencoding(),
      'walSenderTimeoutMs', (SELECT setting::int FROM pg_settings WHERE name = 'wal_sender_timeout'),
      'slots', jsonb_build_object('used', (SELECT count(*) FROM pg_replication_slots), 'limit', current_setting('max_replication_slots')::int),
      'walSenders', jsonb_build_object('used', (SELECT count(*) FROM pg_stat_replication), 'limit', current_setting('max_wal_senders')::int),
      'user', (SELECT jsonb_build_object('name', rolname, 'superuser', rolsuper, 'replication', rolreplication OR rolsuper,
                 'createOnDatabase', has_database_privilege(current_database(), 'CREATE')) FROM pg_roles WHERE rolname = current_user)
    ) AS json`);
  if (facts === null) throw new TailraceError("UNEXPECTED", { reason: "the server gave no facts about itself" });
  return { ...facts, walEnd: parseLsn(facts.walEnd) };
}

/** What keeps a source from reading this server, with `newSlot` also from making a slot: SERVER_TOO_OLD, NOT_PRIMARY, WAL_LEVEL, SLOT_LIMIT. */
export function serverProblems(facts: ServerFacts, peer: Peer, newSlot: boolean): readonly TailraceError[] {
  const problems: TailraceError[] = [];
  if (facts.version < OLDEST_VERSION) problems.push(new TailraceError("SERVER_TOO_OLD", { seen: facts.versionText }));
  if (facts.inRecovery) problems.push(new TailraceError("NOT_PRIMARY", { address: peer.address }));
  if (facts.walLevel !== "logical") problems.push(new TailraceError("WAL_LEVEL", { seen: facts.walLevel }));
  if (newSlot && facts.slots.used >= facts.slots.limit)
    problems.push(new TailraceError("SLOT_LIMIT", { what: "replication slot", setting: "max_replication_slots" }));
  if (facts.walSenders.used >= facts.walSenders.limit)
    problems.push(new TailraceError("SLOT_LIMIT", { what: "replication connection", setting: "max_wal_senders" }));
  return problems;
}

/** What the session's user lacks for streaming and, with `publish`, for publishing these tables: a PRIVILEGE_MISSING each, with the GRANT. */
export async function missingPrivileges(
  session: Session,
  facts: ServerFacts,
  tables: readonly (TableName & { oid: number })[],
  publish: boolean,
): Promise<readonly TailraceError[]> {
  const { user } = facts;
  const name = quoteIdentifier(user.name);
  const missing = (privilege: string, grant: string): TailraceError =>
    new TailraceError("PRIVILEGE_MISSING", { user: user.name, privilege, grant });
  const problems: TailraceError[] = [];
  if (!user.replication) problems.push(missing("the REPLICATION attribute", `ALTER ROLE ${name} REPLICATION`));
  if (!publish) return problems;
  const database = (await session.query("SELECT current_database() AS name"))[0]?.name ?? "";
  if (!user.createOnDatabase)
    problems.push(missing(`CREATE on database ${database}`, `GRANT CREATE ON DATABASE ${quoteIdentifier(database)} TO ${name}`));
  const foreign = await session.query(
    "SELECT c.oid::text, r.rolname FROM pg_class c JOIN pg_roles r ON r.oid = c.relowner WHERE c.oid = ANY($1::oid[]) AND NOT pg_has_role(c.relowner, 'USAGE')",
    [tables.map((table) => table.oid)],
  );
  const owners = new Map(foreign.map((row) => [Number(row.oid), row.rolname ?? ""]));
  for (const table of tables) {
    const owner = owners.get(table.oid);
    if (owner !== undefined)
      problems.push(missing(`ownership of table ${tableLabel(table)}`, `GRANT ${quoteIdentifier(owner)} TO ${name}`));
  }
  return problems;
}

/** The switches that led to `timeline`. Opens a replication session of its own: only the replication protocol has the file. */
export async function readTimelineHistory(
  settings: ConnectionSettings,
  timeline: number,
  signal: AbortSignal,
): Promise<readonly TimelineSwitch[]> {
  if (timeline === 1) return []; // the first timeline has no history file
  await using session = await Session.open(settings, signal, "replication");
  const [row] = await session.query(`TIMELINE_HISTORY ${timeline}`);
  return parseTimelineHistory(row?.content ?? "");
}
