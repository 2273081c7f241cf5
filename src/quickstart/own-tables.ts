// A look at a database of the reader's before anything is made in it: whether it can be captured, and which of its tables.
import type { SourceConfig } from "../config/config.ts";
import { TailraceError } from "../core/errors.ts";
import { keyColumns, tableLabel, type TableName } from "../core/table.ts";
import { sourceOptions } from "../parts.ts";
import { Session } from "../postgres/session.ts";
import type { CatalogTable } from "../postgres/table-judgement.ts";
import { findObstacles, seeDatabase } from "../source/past.ts";
import { failure } from "./live-copy.ts";

export type SeenOwn = {
  /** `host:port/database`. */
  readonly address: string;
  /** Tells clusters apart. */
  readonly systemIdentifier: string;
  readonly database: string;
  /** At least one, by schema and name. */
  readonly tables: readonly TableName[];
  readonly skipped: readonly { readonly table: TableName; readonly reason: string }[];
};

/**
 * Reads only. Tables that a pattern with wildcards takes and that can't be captured, merged, read or published are skipped;
 * what is wrong with a table that is named, or with the database, is told to `problem`, and the last of it thrown. Throws
 * QUICKSTART_FAILED when no table is left, and what Session throws.
 */
export async function lookAt(source: SourceConfig, problem: (error: TailraceError) => void, signal: AbortSignal): Promise<SeenOwn> {
  const options = sourceOptions(source);
  await using session = await Session.open({ url: options.url(), applicationName: "tailrace quickstart" }, signal);
  const { address } = session.peer;
  const seen = await seeDatabase(options, session);
  const rights = await readRights(session, seen.tables);
  const { named } = options.selection;
  const skipped = [...seen.skipped];
  const tables: CatalogTable[] = [];
  const problems: TailraceError[] = [];
  for (const table of seen.tables) {
    const against = objection(table, rights.get(table.oid));
    const isNamed = named.some(({ schema, name }) => schema === table.schema && name === table.name);
    if (against === null || (isNamed && against.kind === "foreign")) tables.push(table);
    else if (!isNamed) skipped.push({ table, reason: against.reason });
    else problems.push(new TailraceError("TABLE_UNSUPPORTED", { table: tableLabel(table), reason: against.reason }));
  }
  problems.push(...(await findObstacles(options, session, { ...seen, tables }, [])));
  const last = problems.pop();
  if (last !== undefined) {
    for (const error of problems) problem(error);
    throw last;
  }
  if (tables.length === 0) throw nothingToCapture(address, skipped);
  const { systemIdentifier, database } = seen.facts;
  return { address, systemIdentifier, database, tables, skipped };
}

/** What the user may do with a table, and the SQL that would let them. */
type Rights = { readonly reads: boolean; readonly owns: boolean; readonly grantRead: string; readonly grantOwner: string };

async function readRights(session: Session, tables: readonly CatalogTable[]): Promise<ReadonlyMap<number, Rights>> {
  const found = await session.json<(Rights & { oid: number })[]>(
    `SELECT jsonb_agg(jsonb_build_object('oid', c.oid::int8, 'owns', pg_has_role(c.relowner, 'USAGE'),
       'reads', has_schema_privilege(c.relnamespace, 'USAGE') AND has_table_privilege(c.oid, 'SELECT'),
       'grantRead', format('GRANT USAGE ON SCHEMA %I TO %I; GRANT SELECT ON TABLE %I.%I TO %2$I', n.nspname, current_user, n.nspname, c.relname),
       'grantOwner', format('GRANT %I TO %I', r.rolname, current_user))) AS json
     FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_roles r ON r.oid = c.relowner WHERE c.oid = ANY($1::oid[])`,
    [tables.map(({ oid }) => oid)],
  );
  return new Map((found ?? []).map((each) => [each.oid, each]));
}

type Objection = { readonly kind: "keyless" | "unreadable" | "foreign"; readonly reason: string };

function objection(table: CatalogTable, rights: Rights | undefined): Objection | null {
  if (keyColumns(table).length === 0) return { kind: "keyless", reason: "it has no primary key that rows could be merged by" };
  if (rights === undefined) return { kind: "unreadable", reason: "it was dropped just now" };
  if (!rights.reads) return { kind: "unreadable", reason: `the user may not read it (${rights.grantRead})` };
  if (!rights.owns) return { kind: "foreign", reason: `only its owner may publish it (${rights.grantOwner})` };
  return null;
}

function nothingToCapture(address: string, skipped: SeenOwn["skipped"]): TailraceError {
  if (skipped.length === 0) return failure(`${address} has no table that the patterns of --tables match (public.* when none is given)`);
  return failure(
    `no table of ${address} can be captured: ${skipped.map(({ table, reason }) => `${tableLabel(table)}: ${reason}`).join("; ")}`,
  );
}
