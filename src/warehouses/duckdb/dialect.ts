// DuckDB's SQL for a target: its types, its DDL and one merge. Pure text.
import { geometricFields, type ColumnType, type TableName } from "../../core/table.ts";
import {
  EXPIRED_ROWS,
  type Expiry,
  metadataColumns,
  type Dialect,
  type MergePlan,
  type PlanColumn,
  type Sweep,
  type TargetSpec,
} from "../../core/warehouse.ts";
import type { Ladders } from "../widening.ts";
import { keepsTarget, lines, ofTarget, quoteName, quoteTable, quoteText } from "../sql-text.ts";

/** Widest DECIMAL that DuckDB has, in digits. */
export const MAX_DECIMAL_PRECISION = 38;

export const STAGED_TABLE = "tailrace_staged";
/**
 * The file's name in our statements. All of them name it: of two parts, DuckDB takes the first for a catalogue too, and
 * table `raw.orders` in a file raw.duckdb, or any table of a schema `system`, would be "ambiguous".
 */
export const WAREHOUSE = "warehouse";
export const STATE = `${WAREHOUSE}._tailrace`;
const STAGED = `temp.${STAGED_TABLE}`;
const APPLIED = "temp.tailrace_applied";

const { sequence: SEQUENCE, commitTimestamp: COMMITTED, mergedTimestamp: MERGED, deleted: DELETED } = metadataColumns;

function inWarehouse(table: TableName): string {
  return `${WAREHOUSE}.${quoteTable(table)}`;
}

/** Numbers that no DECIMAL holds and PostgreSQL's text forms are VARCHAR: nothing is rounded. */
export function columnType(type: ColumnType): string {
  switch (type.kind) {
    case "bool":
      return "BOOLEAN";
    case "int2":
      return "SMALLINT";
    case "int4":
      return "INTEGER";
    case "int8":
    case "oid":
      return "BIGINT";
    case "float4":
      return "FLOAT";
    case "float8":
      return "DOUBLE";
    case "decimal":
    case "money":
      return type.precision <= MAX_DECIMAL_PRECISION ? `DECIMAL(${type.precision},${type.scale})` : "VARCHAR";
    case "json":
    case "jsonb":
      return "JSON";
    case "uuid":
      return "UUID";
    case "bytea":
    case "geometry":
      return "BLOB";
    case "vector":
      return "FLOAT[]";
    case "date":
      return "DATE";
    case "time":
      return "TIME";
    case "timestamp":
      return "TIMESTAMP";
    case "timestamptz":
      return "TIMESTAMP WITH TIME ZONE";
    case "numeric":
    case "text":
    case "enum":
    case "xml":
    case "jsonpath":
    case "timetz":
    case "interval":
    case "inet":
    case "cidr":
    case "macaddr":
    case "macaddr8":
    case "bit":
    case "tsvector":
    case "ltree":
    case "pg_lsn":
    case "xid":
    case "xid8":
    case "range":
    case "other":
      return "VARCHAR";
    case "hstore":
      return "MAP(VARCHAR, VARCHAR)";
    case "point":
    case "line":
    case "lseg":
    case "box":
    case "circle":
      return `STRUCT(${geometricFields[type.kind].map((name) => `${name} DOUBLE`).join(", ")})`;
    case "polygon":
      return `${columnType({ kind: "point" })}[]`;
    case "path":
      return `STRUCT(closed BOOLEAN, points ${columnType({ kind: "polygon" })})`;
    case "composite":
      return `STRUCT(${type.attributes.map((attribute) => `${quoteName(attribute.name)} ${columnType(attribute.type)}`).join(", ")})`;
    case "array":
      return `${columnType(type.element)}[]`;
  }
}

export const ladders: Ladders = [
  ["SMALLINT", "INTEGER", "BIGINT"],
  ["FLOAT", "DOUBLE"],
];

export type TargetColumn = { readonly name: string; readonly type: string; readonly required: boolean };

/** The columns a target has: the table's, then ours. Only the key's are required; DuckDB merges no faster with a PRIMARY KEY. */
export function targetColumns(spec: TargetSpec): readonly TargetColumn[] {
  const own = spec.columns.map(({ name, type }) => ({ name, type: columnType(type), required: spec.key.includes(name) }));
  const added = [
    { name: SEQUENCE, type: "VARCHAR", required: false },
    { name: COMMITTED, type: "TIMESTAMP WITH TIME ZONE", required: false },
    { name: MERGED, type: "TIMESTAMP WITH TIME ZONE", required: false },
    ...(spec.deletes === "soft" ? [{ name: DELETED, type: "BOOLEAN", required: false }] : []),
  ];
  return [...own, ...added];
}

export function createTarget(spec: TargetSpec): string {
  const columns = targetColumns(spec).map(({ name, type, required }) => `  ${quoteName(name)} ${type}${required ? " NOT NULL" : ""}`);
  return `CREATE TABLE ${inWarehouse(spec.target)} (\n${columns.join(",\n")}\n)`;
}

export type StagedColumn = { readonly name: string; readonly type: ColumnType };

/** The staging table's columns in their order: the plan's, one flag per `keep_target` column, then what every row has. */
export function stagedColumns(plan: MergePlan): readonly StagedColumn[] {
  const flags = plan.columns.flatMap((column, index) =>
    column.unchanged === "keep_target" ? [{ name: flagName(index), type: { kind: "bool" } as const }] : [],
  );
  return [
    ...plan.columns.map(({ name, type }) => ({ name, type })),
    ...flags,
    { name: SEQUENCE, type: { kind: "text" } },
    { name: COMMITTED, type: { kind: "timestamptz" } },
    { name: DELETED, type: { kind: "bool" } },
    { name: "_tailrace_key", type: { kind: "bytea" } },
    { name: "_tailrace_row", type: { kind: "int4" } },
  ];
}

/** The statements of one merge, by when they run. They leave temporary tables, which the next merge replaces. */
export type Merge = {
  /** Makes the empty staging table. */
  readonly stage: string;
  /** Joins the staged rows with the target and leaves those that the guard lets pass. */
  readonly resolve: string;
  /** Index (`row`) of each staged row whose unchanged columns have no live row to come from; null when no column can be so. */
  readonly orphans: string | null;
  /** Takes away the target's rows that change. */
  readonly remove: string;
  /** Puts those that stay back as they are now; nothing to do when none was removed. */
  readonly replace: string;
  /** Adds the rows that were not there. */
  readonly add: string;
  /** What the merge leaves behind for later ones. */
  readonly tombstones: readonly string[];
};

/**
 * Guarded DELETE + INSERT: a MERGE's UPDATE of 2,000 of 3,000,000 rows takes DuckDB ten times as long (most of it in COMMIT).
 * The join with the target is an inner one, because DuckDB pushes the staged keys into the scan of those only.
 */
export function merge(plan: MergePlan): Merge {
  const table = inWarehouse(plan.target);
  const hard = plan.deletes === "hard";
  const names = [...plan.columns.map(({ name }) => name), SEQUENCE, COMMITTED, MERGED, ...(hard ? [] : [DELETED])]
    .map(quoteName)
    .join(", ");
  const kept = `NOT "_tailrace_orphan"`;
  const written = hard ? `${kept} AND NOT ${quoteName(DELETED)}` : kept;
  const ours = [
    ...(hard ? [DELETED] : []),
    "_tailrace_key",
    "_tailrace_row",
    "_tailrace_target",
    "_tailrace_tombstone",
    "_tailrace_alone",
    "_tailrace_orphan",
  ];
  return {
    stage: `CREATE OR REPLACE TEMP TABLE ${STAGED_TABLE} (\n${lines(stagedColumns(plan).map(({ name, type }) => `${quoteName(name)} ${columnType(type)}`))}\n)`,
    resolve: resolve(plan),
    orphans: keepsTarget(plan) ? `SELECT "_tailrace_row" AS "row" FROM ${APPLIED} WHERE "_tailrace_orphan" ORDER BY 1` : null,
    remove: `DELETE FROM ${table} WHERE rowid IN (SELECT "_tailrace_target" FROM ${APPLIED} WHERE ${kept})`,
    // Rows that were there keep what others wrote beside our columns; new ones take the defaults of those columns.
    replace: `INSERT INTO ${table} BY NAME SELECT * EXCLUDE (${ours.map(quoteName).join(", ")}) FROM ${APPLIED} WHERE ${written} AND "_tailrace_target" IS NOT NULL`,
    add: `INSERT INTO ${table} (${names}) SELECT ${names} FROM ${APPLIED} WHERE ${written} AND "_tailrace_target" IS NULL`,
    tombstones: [
      // By what the join found: most flushes bring no deleted key back, and DuckDB then reads none of the tombstones.
      `DELETE FROM ${STATE}.tombstones WHERE rowid IN (SELECT "_tailrace_tombstone" FROM ${APPLIED} WHERE ${kept} AND "_tailrace_tombstone" IS NOT NULL)`,
      ...(hard
        ? [
            `INSERT INTO ${STATE}.tombstones (target_schema, target_name, key, sequence)
SELECT ${quoteText(plan.target.schema)}, ${quoteText(plan.target.name)}, "_tailrace_key", ${quoteName(SEQUENCE)} FROM ${APPLIED} WHERE ${quoteName(DELETED)}`,
          ]
        : []),
    ],
  };
}

/**
 * TRUNCATE: what the target held before it goes, and the floor keeps replayed rows out. `sequence`: text form. Runs when
 * the rows are staged: rows whose staged soft delete was truncated too are left to the merge, which brings their values.
 */
export function truncate(plan: MergePlan, sequence: string): readonly string[] {
  const [seq, deleted] = [quoteName(SEQUENCE), quoteName(DELETED)];
  const staged = `SELECT 1 FROM ${STAGED} s WHERE s.${deleted} AND s.${seq} <= ${quoteText(sequence)} AND ${sameKey(plan)}`;
  const untouched = plan.deletes === "hard" ? "" : `\n  AND NOT EXISTS (${staged})`;
  return [removeBelow(plan, sequence) + untouched, ...raiseFloor(plan, sequence)];
}

/** R-sweep: runs when everything is merged, so that soft deletes find the last values in the target. */
export function sweep({ opening, ...of }: Sweep): readonly string[] {
  return [removeBelow(of, opening), ...raiseFloor(of, opening)];
}

export function addMark(target: TableName): string {
  return `ALTER TABLE ${inWarehouse(target)} ADD COLUMN ${quoteName(DELETED)} BOOLEAN`;
}

function removeBelow({ target, deletes }: Pick<MergePlan, "target" | "deletes">, sequence: string): string {
  const [table, at] = [inWarehouse(target), quoteText(sequence)];
  const [seq, deleted] = [quoteName(SEQUENCE), quoteName(DELETED)];
  const older = `(t.${seq} IS NULL OR t.${seq} < ${at})`;
  return deletes === "hard"
    ? `DELETE FROM ${table} t WHERE ${older}`
    : `UPDATE ${table} t SET ${deleted} = true, ${seq} = ${at}, ${quoteName(MERGED)} = now()
WHERE ${older} AND t.${deleted} IS NOT TRUE`;
}

/** Keeps replayed rows below `sequence` (text form) out of the target. */
export function raiseFloor(of: Pick<MergePlan, "target">, sequence: string): readonly string[] {
  const at = quoteText(sequence);
  return [
    `DELETE FROM ${STATE}.tombstones WHERE ${ofTarget(of)} AND sequence < ${at}`,
    `INSERT INTO ${STATE}.floors SELECT ${quoteText(of.target.schema)}, ${quoteText(of.target.name)}, ${at}
ON CONFLICT (target_schema, target_name) DO UPDATE SET sequence = greatest(sequence, excluded.sequence)`,
  ];
}

/** R-tombstone: some of the tombstones that nothing in the log is older than. */
export function expire({ sequence, ...of }: Expiry): string {
  return `DELETE FROM ${STATE}.tombstones WHERE rowid IN (
  SELECT rowid FROM ${STATE}.tombstones WHERE ${ofTarget(of)} AND sequence < ${quoteText(sequence)} LIMIT ${EXPIRED_ROWS})`;
}

/** DuckDB as a dialect; `merge` is for reading, the session runs the steps of the function above. */
export const duckdbDialect: Dialect = {
  name: "duckdb",
  columnType,
  createTarget,
  sweep,
  merge: (plan) => {
    const steps = merge(plan);
    const orphans = steps.orphans === null ? [] : [steps.orphans];
    return [steps.stage, steps.resolve, ...orphans, steps.remove, steps.replace, steps.add, ...steps.tombstones];
  },
};

/** Of target `t` and staging table `s`. */
function sameKey({ key }: MergePlan): string {
  return key.map((name) => `t.${quoteName(name)} = s.${quoteName(name)}`).join(" AND ");
}

function resolve(plan: MergePlan): string {
  const taken = plan.columns.filter((column) => takesFromTarget(plan, column)).map(({ name }) => name);
  // What is left of `t.*` is what the merge needs, and columns that somebody else added to the target: they stay as they are.
  const unneeded = [...plan.columns.map(({ name }) => name).filter((name) => !taken.includes(name)), COMMITTED, MERGED];
  const used = ["_tailrace_row", "_tailrace_target", ...taken, SEQUENCE, ...(plan.deletes === "soft" ? [DELETED] : [])];
  const seq = quoteName(SEQUENCE);
  return `CREATE OR REPLACE TEMP TABLE tailrace_applied AS
WITH m AS (
  SELECT s."_tailrace_row", t.rowid AS "_tailrace_target", t.* EXCLUDE (${unneeded.map(quoteName).join(", ")})
  FROM ${STAGED} s JOIN ${inWarehouse(plan.target)} t ON ${sameKey(plan)}
)
SELECT
${lines([
  `${alone(plan)} AS "_tailrace_alone"`,
  ...plan.columns.map((column, index) => value(plan, column, index)),
  `s.${seq}`,
  `s.${quoteName(COMMITTED)}`,
  `now() AS ${quoteName(MERGED)}`,
  `s.${quoteName(DELETED)}`,
  `s."_tailrace_key"`,
  `s."_tailrace_row"`,
  `m."_tailrace_target"`,
  `d.rowid AS "_tailrace_tombstone"`,
  `("_tailrace_alone" AND NOT s.${quoteName(DELETED)}) AS "_tailrace_orphan"`,
  `m.* EXCLUDE (${used.map(quoteName).join(", ")})`,
])}
FROM ${STAGED} s
LEFT JOIN m ON m."_tailrace_row" = s."_tailrace_row"
LEFT JOIN ${STATE}.tombstones d ON ${ofTarget(plan, "d.")} AND d.key = s."_tailrace_key"
WHERE ${aboveFloor(plan)}
  AND (m.${seq} IS NULL OR m.${seq} < s.${seq})
  AND (d.sequence IS NULL OR d.sequence < s.${seq})`;
}

/** In a soft target a truncated row's delete counts, wherever it stands: it makes no row live. */
function aboveFloor(plan: MergePlan): string {
  const above = `s.${quoteName(SEQUENCE)} > coalesce((SELECT sequence FROM ${STATE}.floors WHERE ${ofTarget(plan)}), '')`;
  return plan.deletes === "hard" ? above : `(s.${quoteName(DELETED)} OR ${above})`;
}

function value(plan: MergePlan, column: PlanColumn, index: number): string {
  const name = quoteName(column.name);
  if (!takesFromTarget(plan, column)) return `s.${name}`;
  const when = [
    ...(plan.deletes === "soft" ? [`"_tailrace_alone"`] : []),
    ...(column.unchanged === "keep_target" ? [`s.${quoteName(flagName(index))}`] : []),
  ];
  return `CASE WHEN ${when.join(" OR ")} THEN m.${name} ELSE s.${name} END AS ${name}`;
}

/** A soft delete that is alone leaves the row's values as they are, so there every column outside the key may come from the target. */
function takesFromTarget(plan: MergePlan, column: PlanColumn): boolean {
  return column.unchanged === "keep_target" || (plan.deletes === "soft" && keepsTarget(plan) && !plan.key.includes(column.name));
}

/** Whether a staged row has unchanged columns, and no live row that they can come from. */
function alone(plan: MergePlan): string {
  if (!keepsTarget(plan)) return "false";
  const flags = plan.columns.flatMap((column, index) => (column.unchanged === "keep_target" ? [`s.${quoteName(flagName(index))}`] : []));
  const dead = plan.deletes === "hard" ? "" : ` OR m.${quoteName(DELETED)} IS TRUE`;
  return `((${flags.join(" OR ")}) AND (m."_tailrace_target" IS NULL${dead}))`;
}

function flagName(index: number): string {
  return `_tailrace_unchanged_${index + 1}`;
}
