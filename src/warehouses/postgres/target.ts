// What must be done to a PostgreSQL target so that a merge fits it. Pure: decides from what the catalogue says.
import { TailraceError } from "../../core/errors.ts";
import { tableLabel, type TableName } from "../../core/table.ts";
import { metadataColumns, type TargetSpec } from "../../core/warehouse.ts";
import { quoteName, quoteTable, quoteText, RESERVED_PREFIX } from "../sql-text.ts";
import { otherType, refuseDifferences, refuseOthers, softlyDeletedRows, type TargetDifference } from "../target-difference.ts";
import { OURS } from "../version-view.ts";
import { isWider } from "../widening.ts";
import { columnDefinition, createTarget, ladders, targetColumns } from "./dialect.ts";

/** NAMEDATALEN − 1, bytes. */
const MAX_NAME_BYTES = 63;

/** The target as the catalogue has it. */
export type FoundTarget = {
  readonly schemaExists: boolean;
  /** Empty when there is no such table. */
  readonly columns: readonly { readonly name: string; readonly type: string }[];
  /** The columns of each unique index that MERGE can look rows up by, sorted. */
  readonly uniqueKeys: readonly (readonly string[])[];
  /** The name of its primary key; null without one. */
  readonly primaryKey: string | null;
  /** R-version: the views of ours that depend on it, as SQL has their names. */
  readonly views: readonly string[];
};

/** $1 schema, $2 name. All but `schema_exists` is null for what is not there. */
export const findTarget = `SELECT
  EXISTS (SELECT FROM pg_namespace WHERE nspname = $1) AS schema_exists,
  (SELECT json_agg(json_build_object('name', a.attname, 'type', format_type(a.atttypid, a.atttypmod)) ORDER BY a.attnum)
    FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped) AS columns,
  (SELECT json_agg((SELECT json_agg(a.attname ORDER BY a.attname) FROM pg_attribute a
      WHERE a.attrelid = c.oid AND a.attnum = ANY ((i.indkey::smallint[])[0:i.indnkeyatts - 1])))
    FROM pg_index i WHERE i.indrelid = c.oid AND i.indisunique AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL) AS unique_keys,
  (SELECT k.conname FROM pg_constraint k WHERE k.conrelid = c.oid AND k.contype = 'p') AS primary_key,
  (SELECT json_agg(v.name) FROM (SELECT DISTINCT format('%I.%I', n.nspname, v.relname) AS name
    FROM pg_depend d JOIN pg_rewrite r ON r.oid = d.objid JOIN pg_class v ON v.oid = r.ev_class JOIN pg_namespace n ON n.oid = v.relnamespace
    WHERE d.classid = 'pg_rewrite'::regclass AND d.refclassid = 'pg_class'::regclass AND d.refobjid = c.oid AND v.oid <> c.oid
      AND v.relkind = 'v' AND starts_with(obj_description(v.oid, 'pg_class'), ${quoteText(OURS)})) v) AS views
FROM (SELECT 1) one
LEFT JOIN (SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relname = $2) c ON true`;

/** The row of `findTarget`. */
export function foundTarget(row: Readonly<Record<string, unknown>> | undefined): FoundTarget {
  return {
    schemaExists: row?.schema_exists === true,
    columns: (row?.columns ?? []) as FoundTarget["columns"],
    uniqueKeys: (row?.unique_keys ?? []) as FoundTarget["uniqueKeys"],
    primaryKey: (row?.primary_key ?? null) as FoundTarget["primaryKey"],
    views: (row?.views ?? []) as FoundTarget["views"],
  };
}

/**
 * The DDL that makes the target fit; none when it does. Throws NAME_COLLISION for names that PostgreSQL would cut or that
 * are ours, and TARGET_DIFFERS with the SQL that would mend the target.
 */
export function targetDdl(spec: TargetSpec, found: FoundTarget): readonly string[] {
  refuseNames(spec);
  refuseOthers(spec, found.columns);
  const table = quoteTable(spec.target);
  if (found.columns.length === 0) {
    return [...(found.schemaExists ? [] : [`CREATE SCHEMA ${quoteName(spec.target.schema)}`]), createTarget(spec)];
  }
  const added: string[] = [];
  const differences: TargetDifference[] = [];
  for (const column of targetColumns(spec)) {
    const { name, type } = column;
    const there = found.columns.find((one) => one.name === name);
    const addColumn = `ALTER TABLE ${table} ADD COLUMN ${columnDefinition(column)}`;
    if (there === undefined && spec.key.includes(name)) differences.push({ what: `it lacks key column ${name}`, sql: addColumn });
    else if (there === undefined) added.push(addColumn);
    else if (isWider(type, there.type, ladders)) added.push(`ALTER TABLE ${table} ALTER COLUMN ${quoteName(name)} TYPE ${type}`);
    else if (!fits(there.type, type)) differences.push(otherType(spec.target, name, there.type, type, spec.key.includes(name)));
  }
  const key = JSON.stringify([...spec.key].sort(compareBytes));
  if (!found.uniqueKeys.some((columns) => JSON.stringify([...columns].sort(compareBytes)) === key)) {
    const former = found.primaryKey === null ? "" : `DROP CONSTRAINT ${quoteName(found.primaryKey)}, `;
    const sql = `ALTER TABLE ${table} ${former}ADD PRIMARY KEY (${spec.key.map(quoteName).join(", ")})`;
    differences.push({ what: "it has no unique index on its key", sql });
  }
  if (spec.deletes === "hard" && found.columns.some(({ name }) => name === metadataColumns.deleted))
    differences.push(softlyDeletedRows(spec.target));
  // No column is altered or dropped that a view has; the sink makes ours again.
  const isViewed = differences.some(({ sql }) => / (ALTER|DROP) COLUMN /.test(sql));
  refuseDifferences(spec.target, differences, isViewed ? found.views.map((view) => `DROP VIEW ${view}`) : []);
  return added;
}

/** Whether a statement of targetDdl() alters a column that is there. */
export function altersColumn(sql: string): boolean {
  return / ALTER COLUMN .* TYPE /s.test(sql);
}

/** A varchar without a length is text in all but name. Events of before a column was widened may follow those of after it. */
function fits(there: string, needed: string): boolean {
  return there === needed || (needed === "text" && there === "character varying") || isWider(there, needed, ladders);
}

function refuseNames(spec: TargetSpec): void {
  const target: TableName = spec.target;
  for (const name of [target.schema, target.name, ...spec.columns.map((column) => column.name)]) {
    if (Buffer.byteLength(name) <= MAX_NAME_BYTES) continue;
    const cut = Buffer.from(name).subarray(0, MAX_NAME_BYTES).toString();
    throw new TailraceError("NAME_COLLISION", {
      first: name,
      second: `other names with the same first ${MAX_NAME_BYTES} bytes`,
      name: cut,
    });
  }
  const reserved = spec.columns.find(({ name }) => name.startsWith(RESERVED_PREFIX));
  if (reserved === undefined) return;
  const name = `${tableLabel(target)}.${reserved.name}`;
  throw new TailraceError("NAME_COLLISION", { first: `column ${reserved.name}`, second: "a column of Tailrace's own", name });
}

function compareBytes(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
