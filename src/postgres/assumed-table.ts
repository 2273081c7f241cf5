// What a table would be after an ALTER TABLE: tried on an empty copy of it in pg_temp, in a transaction that is rolled back. Of the
// table itself no more is held than what reading its columns takes (ACCESS SHARE), and for moments.
import { TailraceError } from "../core/errors.ts";
import type { AskedTypes } from "../core/read-as.ts";
import { keyColumns } from "../core/table.ts";
import { readAlterStatement } from "./alter-statement.ts";
import { readRelations } from "./catalog.ts";
import { quoteIdentifier, quoteLiteral, type Session } from "./session.ts";
import { judgeTable, type CatalogTable, type Relation } from "./table-judgement.ts";

/** Bounds of each statement of a trial, ms: nobody's migration may wait for a look. */
export const TRIAL_SETTINGS = { statement_timeout: 5_000, lock_timeout: 1_000 } as const;

/** `after`: as it would be captured; a text: why it could not be any more. */
export type AssumedTable = { readonly before: CatalogTable; readonly after: CatalogTable | string };

/**
 * Tries the statement. `tables`: those that are captured, as `publication` sends them. Throws USAGE for what is no such statement, what
 * PostgreSQL refuses, or a table that is not captured; STATEMENT_GIVEN_UP behind somebody's lock; PRIVILEGE_MISSING.
 */
export async function assumeAlter(
  session: Session,
  sql: string,
  tables: readonly CatalogTable[],
  publication: string,
  asked: AskedTypes,
): Promise<AssumedTable> {
  const statement = readAlterStatement(sql);
  if ("problem" in statement) throw refused(statement.problem);
  await session.query("BEGIN");
  try {
    // As a migration would find names. What is asked of the catalogs is asked without it.
    await session.query(`SET LOCAL search_path = "$user", public`);
    const [found] = await session.query("SELECT to_regclass($1)::oid::text AS oid", [statement.table]);
    const before = tables.find(({ oid }) => String(oid) === found?.oid);
    if (before === undefined) throw refused(`the source captures no table ${statement.table}`);
    const copy = await makeCopy(session, before);
    try {
      await session.query(`ALTER TABLE ${copy.name} ${statement.rest}`, [], { single: true });
    } catch (cause) {
      if (cause instanceof TailraceError && cause.code === "UNEXPECTED")
        throw new TailraceError("USAGE", { problem: `the statement of --assume fails. ${cause.message}` });
      throw cause;
    }
    await session.query("SET LOCAL search_path = ''");
    const [now] = await readRelations(session, [before.oid], publication);
    const [altered] = await readRelations(session, [copy.oid], null);
    if (now === undefined || altered === undefined) throw new TailraceError("TABLE_MISSING", { table: statement.table });
    const verdict = judgeTable(inPlaceOf(now, altered), new Set([now.oid]), asked(now));
    if (verdict.kind === "captured") return { before, after: { ...verdict.table, partitioned: before.partitioned } };
    return { before, after: "reason" in verdict ? verdict.reason : "it would be a partition" };
  } finally {
    await session.query("ROLLBACK").catch(() => undefined); // a lost connection has rolled it back
  }
}

type Copy = { readonly name: string; readonly oid: number };

/** LIKE copies columns, defaults, constraints and indexes, and no replica identity. */
async function makeCopy(session: Session, { schema, name, identity, columns, ...table }: CatalogTable): Promise<Copy> {
  const [original, copy] = [`${quoteIdentifier(schema)}.${quoteIdentifier(name)}`, `pg_temp.${quoteIdentifier(name)}`];
  const [row] = await session.query("SELECT current_database() AS database");
  const grant = `GRANT TEMPORARY ON DATABASE ${quoteIdentifier(row?.database ?? "")} TO ${quoteIdentifier(session.peer.user)}`;
  await session.query(`CREATE TEMP TABLE ${quoteIdentifier(name)} (LIKE ${original} INCLUDING ALL) ON COMMIT DROP`, [], { grant });
  const [made] = await session.query(`SELECT ${quoteLiteral(copy)}::regclass::oid::text AS oid`);
  const oid = Number(made?.oid);
  if (identity === "full") await session.query(`ALTER TABLE ${copy} REPLICA IDENTITY FULL`);
  if (identity === "index") {
    const key = keyColumns({ ...table, columns }).map((column) => column.name);
    const [index] = await session.query(
      `SELECT c.relname AS name FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
       WHERE i.indrelid = $1 AND i.indisunique AND i.indpred IS NULL AND i.indexprs IS NULL AND to_jsonb($2::text[]) =
         (SELECT jsonb_agg(a.attname ORDER BY k.place) FROM unnest((i.indkey::int2[])[0:i.indnkeyatts - 1]) WITH ORDINALITY k(attnum, place)
          JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum)`,
      [oid, key],
    );
    await session.query(`ALTER TABLE ${copy} REPLICA IDENTITY USING INDEX ${quoteIdentifier(index?.name ?? "")}`);
  }
  return { name: copy, oid };
}

/** The copy, published as the table is. Attribute numbers of the two differ where columns were dropped; names are what they share. */
function inPlaceOf(now: Relation, altered: Relation): Relation {
  const listed = now.columnList?.map((attnum) => now.columnNames?.[attnum]) ?? null;
  const { oid, schema, name, persistence, publishesGenerated } = now;
  return {
    ...altered,
    ...{ oid, schema, name, persistence, publishesGenerated },
    columnList:
      listed === null ? null : (altered.columns ?? []).filter((column) => listed.includes(column.name)).map(({ attnum }) => attnum),
  };
}

function refused(problem: string): TailraceError {
  return new TailraceError("USAGE", { problem: `--assume takes one ALTER TABLE of a captured table: ${problem}` });
}
