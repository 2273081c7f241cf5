// What the server is and allows: the facts that a source checks before it touches anything.
import { TailraceError } from "../core/errors.ts";
import { parseLsn, type Lsn } from "../core/lsn.ts";
import type { TableName } from "../core/table.ts";
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
  readonly database: string;
  /** Of the database, as `UTF8`. */
  readonly encoding: string;
  /** 0: off. */
  readonly walSenderTimeoutMs: number;
  readonly slots: { readonly used: number; readonly limit: number };
  readonly walSenders: { readonly used: number; readonly limit: number };
  readonly user: {
    readonly name: string;
    readonly superuser: boolean;
    /** It may stream. */
    readonly replication: boolean;
    /** Amazon RDS and Aurora: nobody has the attribute there, the right comes with a role. */
    readonly replicationByRole: boolean;
    readonly createOnDatabase: boolean;
  };
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
      'database', current_database(),
      'encoding', getdatabaseencoding(),
      'walSenderTimeoutMs', (SELECT setting::int FROM pg_settings WHERE name = 'wal_sender_timeout'),
      'slots', jsonb_build_object('used', (SELECT count(*) FROM pg_replication_slots), 'limit', current_setting('max_replication_slots')::int),
      'walSenders', jsonb_build_object('used', (SELECT count(*) FROM pg_stat_replication), 'limit', current_setting('max_wal_senders')::int),
      'user', (SELECT jsonb_build_object('name', rolname, 'superuser', rolsuper, 'replication', rolreplication OR rolsuper OR EXISTS (SELECT FROM pg_roles r WHERE r.rolname IN ('rds_replication', 'rds_superuser')
                   AND pg_has_role(current_user, r.oid, 'MEMBER')),
                 'replicationByRole', EXISTS (SELECT FROM pg_roles WHERE rolname = 'rds_replication'),
                 'createOnDatabase', has_database_privilege(current_database(), 'CREATE')) FROM pg_roles WHERE rolname = current_user)
    ) AS json`);
  if (facts === null) throw new TailraceError("UNEXPECTED", { reason: "the server gave no facts about itself" });
  return { ...facts, walEnd: parseLsn(facts.walEnd) };
}

/** SERVER_TOO_OLD or NOT_PRIMARY, of which nothing else can be said; null for any other server. */
export function wrongServer(facts: ServerFacts, peer: Peer): TailraceError | null {
  if (facts.version < OLDEST_VERSION) return new TailraceError("SERVER_TOO_OLD", { seen: facts.versionText });
  if (facts.inRecovery) return new TailraceError("NOT_PRIMARY", { address: peer.address });
  return null;
}

/** What keeps a source from reading this server, with `newSlot` also from making a slot: WAL_LEVEL, DATABASE_ENCODING, SLOT_LIMIT. */
export function serverProblems(facts: ServerFacts, newSlot: boolean): readonly TailraceError[] {
  const problems: TailraceError[] = [];
  if (facts.walLevel !== "logical") problems.push(new TailraceError("WAL_LEVEL", { seen: facts.walLevel }));
  // Nothing promises there that text is text in any encoding, and nothing could turn it into Avro's UTF-8.
  if (facts.encoding === "SQL_ASCII") problems.push(new TailraceError("DATABASE_ENCODING", { database: facts.database }));
  if (newSlot && facts.slots.used >= facts.slots.limit)
    problems.push(new TailraceError("SLOT_LIMIT", { what: "replication slot", setting: "max_replication_slots" }));
  if (facts.walSenders.used >= facts.walSenders.limit)
    problems.push(new TailraceError("SLOT_LIMIT", { what: "replication connection", setting: "max_wal_senders" }));
  return problems;
}

/** What is to be published that is not yet. `exists`: the publication is there and lacks the tables. */
export type Publishing = {
  readonly publication: string;
  readonly exists: boolean;
  readonly tables: readonly (TableName & { readonly oid: number })[];
};

/** What the session's user lacks for streaming and for publishing (null: nothing is to be published): a PRIVILEGE_MISSING each, with the GRANT. */
export async function missingPrivileges(
  session: Session,
  facts: ServerFacts,
  publishing: Publishing | null,
): Promise<readonly TailraceError[]> {
  const { user, database } = facts;
  const name = quoteIdentifier(user.name);
  const missing = (privilege: string, grant: string): TailraceError =>
    new TailraceError("PRIVILEGE_MISSING", { user: user.name, privilege, grant });
  const problems: TailraceError[] = [];
  if (!user.replication)
    problems.push(
      user.replicationByRole
        ? missing("the right to replicate", `GRANT rds_replication TO ${name}`)
        : missing("the REPLICATION attribute", `ALTER ROLE ${name} REPLICATION`),
    );
  if (publishing === null) return problems;
  if (!publishing.exists && !user.createOnDatabase)
    problems.push(missing(`CREATE on database ${database}`, `GRANT CREATE ON DATABASE ${quoteIdentifier(database)} TO ${name}`));
  const foreign = await session.query(
    `SELECT label, CASE WHEN rolsuper THEN format('ALTER %s OWNER TO %I', object, $3::text) ELSE format('GRANT %I TO %I', rolname, $3::text) END AS grant
     FROM (
       SELECT 0 AS place, 'publication ' || pubname AS label, format('PUBLICATION %I', pubname) AS object, pubowner AS owner
       FROM pg_publication WHERE pubname = $1
       UNION ALL
       SELECT place, format('table %s.%s', n.nspname, c.relname), format('TABLE %I.%I', n.nspname, c.relname), c.relowner
       FROM unnest($2::oid[]) WITH ORDINALITY t(oid, place) JOIN pg_class c ON c.oid = t.oid JOIN pg_namespace n ON n.oid = c.relnamespace
     ) needed JOIN pg_roles r ON r.oid = owner WHERE NOT pg_has_role(owner, 'USAGE') ORDER BY place`,
    [publishing.publication, publishing.tables.map((table) => table.oid), user.name],
  );
  // A superuser's own role is not for granting: it would hand out everything.
  for (const { label, grant } of foreign) problems.push(missing(`ownership of ${label}`, grant ?? ""));
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

/** PRIVILEGE_MISSING for each table whose rows the session's user may not read, or not all of them: what a snapshot needs, and the stream does not. */
export async function unreadableTables(
  session: Session,
  tables: readonly (TableName & { readonly oid: number })[],
): Promise<readonly TailraceError[]> {
  const rows = await session.query(
    `SELECT current_user AS "user", privilege, format(fix, object, current_user) AS fix FROM (
       SELECT c.oid, format('SELECT on table %I.%I', n.nspname, c.relname) AS privilege, format('%I.%I', n.nspname, c.relname) AS object, 'GRANT SELECT ON %s TO %I' AS fix
       FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
       WHERE NOT (has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT'))
       UNION ALL
       SELECT c.oid, format('BYPASSRLS, for the row-level security of %I.%I', n.nspname, c.relname), '', 'ALTER ROLE %2$I BYPASSRLS'
       FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE row_security_active(c.oid)) lacking
     WHERE oid = ANY($1::oid[]) ORDER BY privilege`,
    [tables.map(({ oid }) => oid)],
  );
  return rows.map(
    ({ user, privilege, fix }) =>
      new TailraceError("PRIVILEGE_MISSING", { user: user ?? "", privilege: privilege ?? "", grant: fix ?? "" }),
  );
}
