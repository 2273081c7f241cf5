// What would keep a sink from merging into a PostgreSQL database, looked at without writing: privileges, and targets that
// do not fit.
import type pg from "pg";
import { TailraceError } from "../../core/errors.ts";
import type { TableName } from "../../core/table.ts";
import type { TargetSpec } from "../../core/warehouse.ts";
import { quoteName, quoteTable } from "../sql-text.ts";
import { close, connect, warehouseError } from "./connection.ts";
import { createState, findState } from "./state.ts";
import { findTarget, foundTarget, targetDdl, type FoundTarget } from "./target.ts";

const STATE = "_tailrace";

/** What the statements of state.ts and dialect.ts do with each table of ours. */
const statePrivileges: Readonly<Record<keyof typeof createState, readonly string[]>> = {
  workers: ["SELECT", "INSERT", "UPDATE"],
  checkpoints: ["SELECT", "INSERT", "UPDATE"],
  runs: ["INSERT"],
  tombstones: ["SELECT", "INSERT", "UPDATE", "DELETE"],
  floors: ["SELECT", "INSERT", "UPDATE"],
  dead_letters: ["SELECT", "INSERT", "UPDATE", "DELETE"],
};

/** `alter`: columns are to be added or widened, which only the owner may. */
type TableNeed = { readonly table: TableName; readonly privileges: readonly string[]; alter: boolean };

/** What the sink's statements need. */
class Needs {
  /** Something is to be made in the database itself: a schema. */
  newSchema = false;
  /** Schemas that exist, and whether a table is to be made in them. */
  readonly schemas = new Map<string, boolean>();
  readonly tables: TableNeed[] = [];

  addSchema(name: string, exists: boolean, create: boolean): void {
    if (exists) this.schemas.set(name, create || this.schemas.get(name) === true);
    else this.newSchema = true;
  }
}

/**
 * The problems of the targets and of the tables in `_tailrace`, in the words that a sink would stop with: TARGET_DIFFERS,
 * NAME_COLLISION, WAREHOUSE_PRIVILEGE with the GRANT, WAREHOUSE_REFUSED for a standby. Runs in a read-only transaction.
 * Throws what connect() throws.
 */
export async function inspectDatabase(
  url: string,
  address: string,
  targets: readonly TargetSpec[],
  signal: AbortSignal,
): Promise<readonly TailraceError[]> {
  return readOnly(url, address, signal, async (client) => inspect(client, address, targets));
}

/** What ensureTarget() would run for each target, or throw. Throws as inspectDatabase(). */
export async function planDatabase(
  url: string,
  address: string,
  targets: readonly TargetSpec[],
  signal: AbortSignal,
): Promise<readonly (readonly string[] | TailraceError)[]> {
  return readOnly(url, address, signal, async (client) => {
    const planned: (readonly string[] | TailraceError)[] = [];
    for (const spec of targets) {
      try {
        planned.push(targetDdl(spec, await lookUp(client, spec.target)));
      } catch (cause) {
        if (!(cause instanceof TailraceError)) throw cause;
        planned.push(cause);
      }
    }
    return planned;
  });
}

async function readOnly<T>(url: string, address: string, signal: AbortSignal, work: (client: pg.Client) => Promise<T>): Promise<T> {
  const connection = await connect(url, address, signal);
  const abort = (): void => void close(connection);
  signal.addEventListener("abort", abort);
  try {
    await connection.client.query("BEGIN READ ONLY");
    return await work(connection.client);
  } catch (cause) {
    throw signal.aborted ? signal.reason : warehouseError(cause, address);
  } finally {
    signal.removeEventListener("abort", abort);
    await close(connection);
  }
}

async function inspect(client: pg.Client, address: string, targets: readonly TargetSpec[]): Promise<readonly TailraceError[]> {
  const { rows } = await client.query<{ user: string; database: string; recovery: boolean; temp: boolean; create: boolean }>(
    `SELECT current_user::text AS user, current_database()::text AS database, pg_is_in_recovery() AS recovery,
       has_database_privilege(current_database(), 'TEMP') AS temp, has_database_privilege(current_database(), 'CREATE') AS create`,
  );
  const { user, database, recovery, temp, create } = rows[0]!;
  const problems: TailraceError[] = [];
  const lacks = (privilege: string, grant: string): void =>
    void problems.push(new TailraceError("WAREHOUSE_PRIVILEGE", { user, privilege, warehouse: address, grant }));
  const role = quoteName(user);

  if (recovery) problems.push(new TailraceError("WAREHOUSE_REFUSED", { warehouse: address, reason: "it is a standby in recovery" }));
  if (!temp) lacks(`TEMPORARY on database ${database}`, `GRANT TEMPORARY ON DATABASE ${quoteName(database)} TO ${role}`);
  const needs = new Needs();
  await needState(client, needs);
  for (const spec of targets) {
    try {
      await needTarget(client, needs, spec);
    } catch (cause) {
      if (!(cause instanceof TailraceError)) throw cause;
      problems.push(cause);
    }
  }
  if (needs.newSchema && !create) lacks(`CREATE on database ${database}`, `GRANT CREATE ON DATABASE ${quoteName(database)} TO ${role}`);
  for (const [schema, creates] of needs.schemas) {
    const missing = await missingOnSchema(client, schema, creates ? ["USAGE", "CREATE"] : ["USAGE"]);
    if (missing.length > 0)
      lacks(`${missing.join(", ")} on schema ${schema}`, `GRANT ${missing.join(", ")} ON SCHEMA ${quoteName(schema)} TO ${role}`);
  }
  for (const need of needs.tables) {
    const { missing, ownership } = await missingOnTable(client, need);
    const [label, name] = [`table ${need.table.schema}.${need.table.name}`, quoteTable(need.table)];
    if (missing.length > 0) lacks(`${missing.join(", ")} on ${label}`, `GRANT ${missing.join(", ")} ON ${name} TO ${role}`);
    if (need.alter && ownership !== null) lacks(`ownership of ${label}, whose columns are to be added or widened`, ownership);
  }
  return problems;
}

async function needState(client: pg.Client, needs: Needs): Promise<void> {
  const { rows } = await client.query<{ schema: boolean; tables: readonly string[] }>(findState);
  const [found] = rows;
  const isThere = (name: string): boolean => found?.tables.includes(name) === true;
  const names = Object.keys(createState);
  needs.addSchema(STATE, found?.schema === true, !names.every(isThere));
  for (const name of names.filter(isThere))
    needs.tables.push({ table: { schema: STATE, name }, privileges: statePrivileges[name] ?? [], alter: false });
}

/** Throws TARGET_DIFFERS, NAME_COLLISION. */
async function needTarget(client: pg.Client, needs: Needs, spec: TargetSpec): Promise<void> {
  const { target, deletes } = spec;
  const found = await lookUp(client, target);
  const exists = found.columns.length > 0;
  needs.addSchema(target.schema, found.schemaExists, !exists);
  const privileges = ["SELECT", "INSERT", "UPDATE", ...(deletes === "hard" ? ["DELETE"] : [])];
  const need: TableNeed = { table: target, privileges, alter: false };
  if (exists) needs.tables.push(need);
  need.alter = targetDdl(spec, found).length > 0;
}

async function lookUp(client: pg.Client, { schema, name }: TableName): Promise<FoundTarget> {
  return foundTarget((await client.query<Record<string, unknown>>(findTarget, [schema, name])).rows[0]);
}

async function missingOnSchema(client: pg.Client, schema: string, privileges: readonly string[]): Promise<readonly string[]> {
  const { rows } = await client.query<{ privilege: string }>(
    `SELECT p AS privilege FROM pg_namespace n CROSS JOIN unnest($2::text[]) WITH ORDINALITY u(p, place)
     WHERE n.nspname = $1 AND NOT has_schema_privilege(n.oid, p) ORDER BY place`,
    [schema, privileges],
  );
  return rows.map(({ privilege }) => privilege);
}

/** `ownership`: the SQL that makes the user one who may act as the owner; null when that is so. */
async function missingOnTable(
  client: pg.Client,
  { table, privileges }: TableNeed,
): Promise<{ readonly missing: readonly string[]; readonly ownership: string | null }> {
  // By OID: a name would be looked up with the user's own eyes, which a schema without USAGE stops.
  // A superuser's own role is not for granting: it would hand out everything.
  const { rows } = await client.query<{ missing: readonly string[]; ownership: string | null }>(
    `SELECT ARRAY(SELECT p FROM unnest($3::text[]) WITH ORDINALITY u(p, place) WHERE NOT has_table_privilege(c.oid, p) ORDER BY place) AS missing,
       CASE WHEN pg_has_role(c.relowner, 'USAGE') THEN NULL
            WHEN r.rolsuper THEN format('ALTER TABLE %I.%I OWNER TO %I', n.nspname, c.relname, current_user)
            ELSE format('GRANT %I TO %I', r.rolname, current_user) END AS ownership
     FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_roles r ON r.oid = c.relowner
     WHERE n.nspname = $1 AND c.relname = $2`,
    [table.schema, table.name, privileges],
  );
  return rows[0] ?? { missing: [], ownership: null };
}
