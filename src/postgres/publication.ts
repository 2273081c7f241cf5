// The publication: made, extended and compared (R-publication, R-harmless). Always of named tables, never FOR ALL TABLES.
import { TailraceError } from "../core/errors.ts";
import { tableLabel, type TableName } from "../core/table.ts";
import { harmedTables } from "./catalog.ts";
import { LOCK_NOT_AVAILABLE, serverMessage } from "./database-errors.ts";
import { quoteIdentifier, type Session } from "./session.ts";
import { describeHolder, publishingHolders } from "./snapshot-holders.ts";
import type { CatalogTable } from "./table-judgement.ts";

/** What a publication is: plain data for the source's state. Two that are equal published the same changes in between. */
export type PublicationFingerprint = {
  readonly oid: number;
  readonly insert: boolean;
  readonly update: boolean;
  readonly delete: boolean;
  readonly truncate: boolean;
  readonly viaRoot: boolean;
  /** PostgreSQL 18: generated columns are sent too. */
  readonly generated: boolean;
  readonly tables: readonly PublishedTable[];
};

export type PublishedTable = TableName & {
  readonly oid: number;
  /**
   * OID of what makes the table a member: its pg_publication_rel row, its schema's pg_publication_namespace row, or the
   * publication itself (FOR ALL TABLES). A table that was dropped from the publication and added again has another.
   */
  readonly membership: number;
  /** A digest of the row filter. */
  readonly filter: string | null;
  /** Attribute numbers of the column list; null: all columns. */
  readonly columns: readonly number[] | null;
};

/** The publication as it bears on `tables`; members that are not among them are left out, so is what it does not publish. null: there is none. */
export async function readPublication(
  session: Session,
  name: string,
  tables: readonly (TableName & { readonly oid: number })[],
): Promise<PublicationFingerprint | null> {
  const withSchemas = (await session.version()) >= SCHEMAS_SINCE;
  return session.json<PublicationFingerprint>(withSchemas ? FINGERPRINT_SQL : FINGERPRINT_SQL_BEFORE_SCHEMAS, [
    name,
    tables.map((table) => table.oid),
  ]);
}

/** FOR TABLES IN SCHEMA came with PostgreSQL 15. */
const SCHEMAS_SINCE = 150_000;

// pg_get_publication_tables leaves out a partition whose root is published in its place: its rows would come by another name.
const fingerprintSql = (schemaMembership: string): string => `
  SELECT jsonb_build_object(
    'oid', p.oid::int8, 'insert', p.pubinsert, 'update', p.pubupdate, 'delete', p.pubdelete, 'truncate', p.pubtruncate,
    'viaRoot', p.pubviaroot, 'generated', coalesce(to_jsonb(p) ->> 'pubgencols', 'n') = 's',
    'tables', (
      SELECT coalesce(jsonb_agg(jsonb_build_object(
        'schema', n.nspname, 'name', c.relname, 'oid', c.oid::int8,
        'membership', coalesce(r.oid, ${schemaMembership}, p.oid)::int8,
        'filter', md5(to_jsonb(r) ->> 'prqual'), 'columns', to_jsonb(r) -> 'prattrs') ORDER BY n.nspname COLLATE "C", c.relname COLLATE "C"), '[]')
      FROM pg_get_publication_tables(p.pubname) g
      JOIN pg_class c ON c.oid = g.relid JOIN pg_namespace n ON n.oid = c.relnamespace
      LEFT JOIN pg_publication_rel r ON r.prpubid = p.oid AND r.prrelid = c.oid
      WHERE c.oid = ANY($2::oid[]))) AS json
  FROM pg_publication p WHERE p.pubname = $1`;
const FINGERPRINT_SQL = fingerprintSql("(SELECT pn.oid FROM pg_publication_namespace pn WHERE pn.pnpubid = p.oid AND pn.pnnspid = n.oid)");
const FINGERPRINT_SQL_BEFORE_SCHEMAS = fingerprintSql("NULL::oid");

export type PublicationPlan = {
  readonly name: string;
  readonly tables: readonly CatalogTable[];
  /** Make it, and add tables to it. */
  readonly create: boolean;
};

/** The tables that the publication (null: there is none) does not publish yet. */
export function unpublished(plan: PublicationPlan, seen: PublicationFingerprint | null): readonly CatalogTable[] {
  const published = new Set(seen?.tables.map((table) => table.oid));
  return plan.tables.filter((table) => !published.has(table.oid));
}

/** PUBLICATION_NOT_MADE, with its SQL, when the publication (null: there is none) lacks what may not be added to it; null when it will serve. */
export function publicationProblem(plan: PublicationPlan, seen: PublicationFingerprint | null): TailraceError | null {
  const flags = seen === null ? null : flagsSql(seen, plan);
  if (flags !== null) return notMade(plan, flags.reason, flags.sql);
  const lacking = unpublished(plan, seen);
  if (plan.create || (seen !== null && lacking.length === 0)) return null;
  const reason = seen === null ? "it does not exist" : `it lacks ${lacking.map(tableLabel).join(", ")}`;
  return notMade(plan, `${reason}, and create is false`, seen === null ? createSql(plan) : addSql(plan.name, lacking));
}

/**
 * Makes the publication, or adds the tables it lacks, and returns what it is then. Comes before the slot (R-slot).
 * Nothing is changed when a table could not be published without harm (R-harmless). Throws PUBLICATION_NOT_MADE with the
 * SQL (`create` is false, or an existing one that is not ours to alter misses operations), PRIVILEGE_MISSING, TABLE_WITHOUT_KEY,
 * PUBLICATION_WAITS.
 */
export async function ensurePublication(session: Session, plan: PublicationPlan): Promise<PublicationFingerprint> {
  const before = await readPublication(session, plan.name, plan.tables);
  const problem = publicationProblem(plan, before);
  if (problem !== null) throw problem;
  const lacking = unpublished(plan, before);
  if (before !== null && lacking.length === 0) return before;
  const sql = before === null ? createSql(plan) : addSql(plan.name, lacking);
  const published = session.transaction(async () => {
    await session.query(sql, [], { grant: `${sql} (or make ${quoteIdentifier(session.peer.user)} owner of the tables)` });
    // The statement's locks keep keys from being dropped until the commit, so what is harmless now is so when it is seen.
    const harmed = (await harmedTables(session, plan.name)).find(({ table }) => lacking.some((each) => sameName(each, table)));
    if (harmed !== undefined) throw new TailraceError("TABLE_WITHOUT_KEY", { table: tableLabel(harmed.table), reason: harmed.reason });
    const after = await readPublication(session, plan.name, plan.tables);
    const missing = plan.tables.find((table) => !after?.tables.some((each) => each.oid === table.oid));
    if (after === null || missing !== undefined)
      throw new TailraceError("TABLE_UNSUPPORTED", {
        table: missing === undefined ? plan.name : tableLabel(missing),
        reason: `publication ${plan.name} publishes it through its partition root; name the root instead`,
      });
    return after;
  });
  return published.catch(async (cause: unknown) => {
    const isLocked = cause instanceof TailraceError && serverMessage(cause.cause)?.code === LOCK_NOT_AVAILABLE;
    throw isLocked ? ((await publishingWaits(session, plan.name, lacking)) ?? cause) : cause;
  });
}

/** PUBLICATION_WAITS for the first of these tables that somebody keeps from being published; null: nobody does (any more). */
export async function publishingWaits(
  session: Session,
  publication: string,
  tables: readonly CatalogTable[],
): Promise<TailraceError | null> {
  for (const table of tables) {
    const [longest] = await publishingHolders(session, table.oid);
    if (longest !== undefined)
      return new TailraceError("PUBLICATION_WAITS", { publication, table: tableLabel(table), holder: describeHolder(longest) });
  }
  return null;
}

/** Drops the publication; nothing happens when it is not there. */
export async function dropPublication(session: Session, name: string): Promise<void> {
  await session.query(`DROP PUBLICATION IF EXISTS ${quoteIdentifier(name)}`);
}

/**
 * What differs, in words, so that changes of `watched` tables may have passed unpublished; null when nothing does. Tables
 * that only `after` has are no difference: nothing of them was promised before.
 */
export function compareFingerprints(
  before: PublicationFingerprint,
  after: PublicationFingerprint,
  watched: readonly TableName[] = before.tables,
): string | null {
  return publicationChanges(before, after, watched)[0]?.words ?? null;
}

/** A difference of two fingerprints; `table` null: it concerns every table. */
export type PublicationChange = { readonly table: TableName | null; readonly words: string };

/** As compareFingerprints: all of it, but for one difference a table. */
export function publicationChanges(
  before: PublicationFingerprint,
  after: PublicationFingerprint,
  watched: readonly TableName[] = before.tables,
): readonly PublicationChange[] {
  if (before.oid !== after.oid) return [{ table: null, words: "it was dropped and made again" }];
  for (const [flag, words] of Object.entries(FLAGS) as [Flag, string][])
    if (before[flag] !== after[flag]) return [{ table: null, words: `${words} was turned ${after[flag] ? "on" : "off"}` }];
  return before.tables.flatMap((table) => {
    if (!watched.some((each) => sameName(each, table))) return [];
    const words = tableChange(
      table,
      after.tables.find((each) => sameName(each, table)),
    );
    return words === null ? [] : [{ table: { schema: table.schema, name: table.name }, words }];
  });
}

function tableChange(before: PublishedTable, now: PublishedTable | undefined): string | null {
  const label = tableLabel(before);
  if (now === undefined) return `table ${label} is not in it any more`;
  if (now.oid !== before.oid) return `table ${label} was dropped and made again`;
  if (now.membership !== before.membership) return `table ${label} was taken out and added again`;
  if (now.filter !== before.filter) return `the row filter of table ${label} changed`;
  if (JSON.stringify(now.columns) !== JSON.stringify(before.columns)) return `the column list of table ${label} changed`;
  return null;
}

const FLAGS = {
  insert: "publishing INSERT",
  update: "publishing UPDATE",
  delete: "publishing DELETE",
  truncate: "publishing TRUNCATE",
  viaRoot: "publish_via_partition_root",
  generated: "publishing generated columns",
} as const;
type Flag = keyof typeof FLAGS;
const OPERATIONS = ["insert", "update", "delete", "truncate"] as const;

/** What an existing publication is set to that this source can't read from; null when all is well. */
function flagsSql(seen: PublicationFingerprint, plan: PublicationPlan): { reason: string; sql: string } | null {
  const alter = `ALTER PUBLICATION ${quoteIdentifier(plan.name)} SET`;
  const absent = OPERATIONS.filter((operation) => !seen[operation]);
  if (absent.length > 0)
    return { reason: `it does not publish ${absent.join(", ")}`, sql: `${alter} (publish = '${OPERATIONS.join(", ")}')` };
  if (!seen.viaRoot && plan.tables.some((table) => table.partitioned))
    return { reason: "it publishes partitions instead of their root", sql: `${alter} (publish_via_partition_root = true)` };
  return null;
}

function createSql(plan: PublicationPlan): string {
  const tables = plan.tables.length === 0 ? "" : ` FOR TABLE ${tableList(plan.tables)}`;
  return `CREATE PUBLICATION ${quoteIdentifier(plan.name)}${tables} WITH (publish = '${OPERATIONS.join(", ")}', publish_via_partition_root = true)`;
}

function addSql(publication: string, tables: readonly TableName[]): string {
  return `ALTER PUBLICATION ${quoteIdentifier(publication)} ADD TABLE ${tableList(tables)}`;
}

function tableList(tables: readonly TableName[]): string {
  return tables.map((table) => `${quoteIdentifier(table.schema)}.${quoteIdentifier(table.name)}`).join(", ");
}

function notMade(plan: PublicationPlan, reason: string, sql: string): TailraceError {
  return new TailraceError("PUBLICATION_NOT_MADE", { publication: plan.name, reason, sql: `${sql};` });
}

function sameName(a: TableName, b: TableName): boolean {
  return a.schema === b.schema && a.name === b.name;
}
