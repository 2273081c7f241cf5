// PostgreSQL's SQL for a target: its types, its DDL and one merge. Pure text. MERGE needs PostgreSQL 15.
import type { ColumnKind, ColumnType, TableName } from "../../core/table.ts";
import {
  EXPIRED_ROWS,
  metadataColumns,
  type Dialect,
  type Expiry,
  type MergePlan,
  type PlanColumn,
  type Sweep,
  type TargetSpec,
} from "../../core/warehouse.ts";
import type { Ladders } from "../widening.ts";
import { keepsTarget, lines, ofTarget, quoteName, quoteTable, quoteText } from "../sql-text.ts";

/** Every sequence is compared byte by byte, whatever the database's collation. */
const BYTEWISE = `COLLATE "C"`;

const SEQUENCE = quoteName(metadataColumns.sequence);
const COMMITTED = quoteName(metadataColumns.commitTimestamp);
const MERGED = quoteName(metadataColumns.mergedTimestamp);
const DELETED = quoteName(metadataColumns.deleted);
/** What a merge writes into every row that it updates. */
const OURS = [`${SEQUENCE} = s.${SEQUENCE}`, `${COMMITTED} = s.${COMMITTED}`, `${MERGED} = now()`];

/**
 * The type that the source has, but for money, enums, types that may not exist here, xml, which a server may be built without, and
 * xid, which has no order. Lengths are the source's affair.
 */
export function columnType(type: ColumnType): string {
  switch (type.kind) {
    case "bool":
      return "boolean";
    case "int2":
      return "smallint";
    case "int4":
      return "integer";
    case "int8":
      return "bigint";
    case "oid":
      return "oid";
    case "float4":
      return "real";
    case "float8":
      return "double precision";
    case "decimal":
    case "money": // what a money is worth hangs on the locale of whoever reads it
      return `numeric(${type.precision},${type.scale})`;
    case "numeric":
      return "numeric";
    case "text":
    case "enum":
    case "xml":
    case "ltree":
    case "xid":
    case "other":
      return "text";
    case "json":
    case "composite": // the type may not be there, or have other attributes by now
      return "json";
    case "jsonb":
    case "hstore": // the extension may not be there
      return "jsonb";
    case "uuid":
      return "uuid";
    case "bytea":
    case "geometry": // the extension may not be there
      return "bytea";
    case "vector":
      return "real[]";
    case "date":
      return "date";
    case "time":
      return "time without time zone";
    case "timestamp":
      return "timestamp without time zone";
    case "timestamptz":
      return "timestamp with time zone";
    case "timetz":
      return "time with time zone";
    case "bit":
      return "bit varying";
    case "point":
    case "line":
    case "lseg":
    case "box":
    case "path":
    case "polygon":
    case "circle":
    case "interval":
    case "inet":
    case "cidr":
    case "macaddr":
    case "macaddr8":
    case "tsvector":
    case "jsonpath":
    case "pg_lsn":
    case "xid8":
      return type.kind;
    case "range":
      return type.typeName;
    case "array":
      return `${columnType(type.element)}[]`;
  }
}

export const ladders: Ladders = [
  ["smallint", "integer", "bigint"],
  ["real", "double precision"],
];

/** Kinds that are staged as text, which the server parses exactly; the others are loaded in their binary form. */
const stagedAsText: ReadonlySet<ColumnKind> = new Set([
  ...(["decimal", "numeric", "money", "interval", "timetz", "inet", "cidr", "macaddr", "macaddr8"] as const),
  ...(["bit", "tsvector", "jsonpath", "pg_lsn", "xid8", "range"] as const),
]);

/** Of an array: as text[]. */
export function isStagedAsText(type: ColumnType): boolean {
  return stagedAsText.has(type.kind === "array" ? type.element.kind : type.kind);
}

/** Equal values of these have several forms (1.0 and 1.00, 0 and -0, ranges of them), so that two keys of the log can be one key here. */
function hasSeveralForms(type: ColumnType): boolean {
  const { kind } = type.kind === "array" ? type.element : type;
  return kind === "numeric" || kind === "range" || kind === "interval" || kind === "float4" || kind === "float8" || kind === "jsonb";
}

export type TargetColumn = { readonly name: string; readonly type: string; readonly collation?: string };

/** The columns a target has: the table's, then ours. */
export function targetColumns(spec: TargetSpec): readonly TargetColumn[] {
  return [
    ...spec.columns.map(({ name, type }) => ({ name, type: columnType(type) })),
    { name: metadataColumns.sequence, type: "text", collation: BYTEWISE },
    { name: metadataColumns.commitTimestamp, type: "timestamp with time zone" },
    { name: metadataColumns.mergedTimestamp, type: "timestamp with time zone" },
    ...(spec.deletes === "soft" ? [{ name: metadataColumns.deleted, type: "boolean" }] : []),
  ];
}

export function columnDefinition({ name, type, collation }: TargetColumn): string {
  return [quoteName(name), type, ...(collation === undefined ? [] : [collation])].join(" ");
}

export function createTarget(spec: TargetSpec): string {
  const key = `PRIMARY KEY (${spec.key.map(quoteName).join(", ")})`;
  return `CREATE TABLE ${quoteTable(spec.target)} (\n${lines([...targetColumns(spec).map(columnDefinition), key])}\n)`;
}

/** The columns of the staging table beside the plan's, in the order in which rows are loaded. */
const STAGED_BESIDE = [
  SEQUENCE,
  COMMITTED,
  DELETED,
  quoteName("_tailrace_key"),
  quoteName("_tailrace_row"),
  quoteName("_tailrace_unchanged"),
];

/** The statements of one merge, by when they run. `staging`: the name of the staging table. */
export type Merge = {
  /**
   * Makes the staging table once per connection; commits empty it, so that no flush touches the catalogue. Its
   * collations are the target's: an index is used only for the same collation.
   */
  readonly stage: string;
  readonly copy: string;
  /** Takes the rows whose unchanged columns have no live row to come from out of the staging table, and returns their index (`row`); null when no column can be so. */
  readonly orphans: string | null;
  /** Its row count is the number of rows that changed. */
  readonly merge: string;
  /** What the merge leaves behind for later ones. */
  readonly tombstones: readonly string[];
};

export function merge(plan: MergePlan, staging = "tailrace_staged"): Merge {
  const staged = stagingTable(staging);
  return {
    stage: stage(plan, quoteName(staging)),
    copy: `COPY ${staged} (${[...plan.columns.map(({ name }) => quoteName(name)), ...STAGED_BESIDE].join(", ")}) FROM STDIN (FORMAT binary)`,
    orphans: keepsTarget(plan) ? orphans(plan, staged) : null,
    merge: mergeStatement(plan, staged),
    tombstones: tombstones(plan, staged),
  };
}

/**
 * TRUNCATE: what the target held before it goes, and the floor keeps replayed rows out. `sequence`: text form. Runs when
 * the rows are staged: rows whose staged soft delete was truncated too are left to the merge, which brings their values.
 */
export function truncate(plan: MergePlan, sequence: string, staging = "tailrace_staged"): readonly string[] {
  const staged = `SELECT FROM ${stagingTable(staging)} s WHERE s.${DELETED} AND s.${SEQUENCE} <= ${quoteText(sequence)} AND ${sameKey(plan)}`;
  const untouched = plan.deletes === "hard" ? "" : `\n  AND NOT EXISTS (${staged})`;
  return [removeBelow(plan, sequence) + untouched, ...raiseFloor(plan, sequence)];
}

/** R-sweep: runs when everything is merged, so that soft deletes find the last values in the target. */
export function sweep({ opening, ...of }: Sweep): readonly string[] {
  return [removeBelow(of, opening), ...raiseFloor(of, opening)];
}

export function addMark(target: TableName): string {
  return `ALTER TABLE ${quoteTable(target)} ADD COLUMN ${DELETED} boolean`;
}

function removeBelow({ target, deletes }: Pick<MergePlan, "target" | "deletes">, sequence: string): string {
  const [table, at] = [quoteTable(target), quoteText(sequence)];
  const older = `(t.${SEQUENCE} IS NULL OR t.${SEQUENCE} ${BYTEWISE} < ${at})`;
  return deletes === "hard"
    ? `DELETE FROM ${table} t WHERE ${older}`
    : `UPDATE ${table} t SET ${DELETED} = true, ${SEQUENCE} = ${at}, ${MERGED} = now()
WHERE ${older} AND t.${DELETED} IS NOT TRUE`;
}

/** Keeps replayed rows below `sequence` (text form) out of the target. */
export function raiseFloor(of: Pick<MergePlan, "target">, sequence: string): readonly string[] {
  const at = quoteText(sequence);
  return [
    `DELETE FROM _tailrace.tombstones WHERE ${ofTarget(of)} AND sequence < ${at}`,
    `INSERT INTO _tailrace.floors AS f (target_schema, target_name, sequence)
VALUES (${quoteText(of.target.schema)}, ${quoteText(of.target.name)}, ${at})
ON CONFLICT (target_schema, target_name) DO UPDATE SET sequence = greatest(f.sequence, excluded.sequence)`,
  ];
}

/** R-tombstone: some of the tombstones that nothing in the log is older than. */
export function expire({ sequence, ...of }: Expiry): string {
  return `DELETE FROM _tailrace.tombstones WHERE ctid = ANY (ARRAY(
  SELECT d.ctid FROM _tailrace.tombstones d WHERE ${ofTarget(of, "d.")} AND d.sequence < ${quoteText(sequence)} LIMIT ${EXPIRED_ROWS}))`;
}

export const postgresDialect: Dialect = {
  name: "postgres",
  columnType,
  createTarget,
  sweep,
  merge: (plan) => {
    const steps = merge(plan);
    return [steps.stage, steps.copy, ...(steps.orphans === null ? [] : [steps.orphans]), steps.merge, ...steps.tombstones];
  },
};

function stage(plan: MergePlan, name: string): string {
  const own = plan.columns.map(({ name, type }) => {
    if (isStagedAsText(type)) return `NULL::${stagedType(type)} AS ${quoteName(name)}`;
    // The target's may be wider by now, and COPY's binary form is that of the type itself.
    const item = columnType(type.kind === "array" ? type.element : type.kind === "vector" ? { kind: "float4" } : type);
    if (ladders.some((types) => types.includes(item))) return `NULL::${columnType(type)} AS ${quoteName(name)}`;
    return `t.${quoteName(name)}`;
  });
  const beside = [`''::text ${BYTEWISE}`, "now()", "false", "''::bytea", "0", "NULL::smallint[]"];
  return `CREATE TEMP TABLE ${name} ON COMMIT DELETE ROWS AS
SELECT
${lines([...own, ...beside.map((value, index) => `${value} AS ${STAGED_BESIDE[index]}`)])}
FROM ${quoteTable(plan.target)} t
WITH NO DATA`;
}

function stagedType(type: ColumnType): string {
  return type.kind === "array" ? "text[]" : "text";
}

/** Rows that the guard would drop anyway are no orphans. */
function orphans(plan: MergePlan, staged: string): string {
  const live = plan.deletes === "hard" ? "" : `\n    AND (t.${DELETED} IS NOT TRUE OR t.${SEQUENCE} ${BYTEWISE} >= s.${SEQUENCE})`;
  return `DELETE FROM ${staged} s
WHERE s."_tailrace_unchanged" IS NOT NULL
  AND NOT s.${DELETED}
  AND ${aboveFloor(plan)}
  AND ${withoutTombstone(plan)}
  AND NOT EXISTS (SELECT FROM ${quoteTable(plan.target)} t WHERE ${sameKey(plan)}${live})
RETURNING s."_tailrace_row" AS "row"`;
}

function mergeStatement(plan: MergePlan, staged: string): string {
  return `MERGE INTO ${quoteTable(plan.target)} AS t
USING (
${source(plan, staged)}
) AS s
ON ${plan.key.map((name) => `t.${quoteName(name)} = s.${quoteName(name)}`).join(" AND ")}
WHEN MATCHED AND t.${SEQUENCE} ${BYTEWISE} >= s.${SEQUENCE} THEN DO NOTHING
${(plan.deletes === "hard" ? hardBranches(plan) : softBranches(plan)).join("\n")}`;
}

function hardBranches(plan: MergePlan): readonly string[] {
  return [
    `WHEN MATCHED AND s.${DELETED} THEN DELETE`,
    `WHEN MATCHED THEN UPDATE SET\n${lines([...assignments(plan), ...OURS])}`,
    `WHEN NOT MATCHED AND NOT s.${DELETED} THEN ${insert(plan)}`,
  ];
}

/** A delete with unchanged columns and no live row to take them from leaves all values as they are. */
function softBranches(plan: MergePlan): readonly string[] {
  const flag = `${DELETED} = s.${DELETED}`;
  const keeping = `s.${DELETED} AND s."_tailrace_unchanged" IS NOT NULL`;
  const matched = `WHEN MATCHED THEN UPDATE SET\n${lines([...assignments(plan), ...OURS, flag])}`;
  const notMatched = `WHEN NOT MATCHED THEN ${insert(plan)}`;
  if (!keepsTarget(plan)) return [matched, notMatched];
  return [
    `WHEN MATCHED AND ${keeping} AND t.${DELETED} IS TRUE THEN UPDATE SET\n${lines(OURS)}`,
    matched,
    `WHEN NOT MATCHED AND ${keeping} THEN ${insert(plan, "key")}`,
    notMatched,
  ];
}

function assignments(plan: MergePlan): readonly string[] {
  return plan.columns.flatMap((column, index) => assignment(plan, column, index));
}

/** `what`: of a row's values. */
function insert(plan: MergePlan, what: "all" | "key" = "all"): string {
  const own = plan.columns.map(({ name }) => ({ name: quoteName(name), known: what === "all" || plan.key.includes(name) }));
  const flag = plan.deletes === "hard" ? [] : [DELETED];
  const names = [...own.map(({ name }) => name), SEQUENCE, COMMITTED, MERGED, ...flag];
  const values = [
    ...own.map(({ name, known }) => (known ? `s.${name}` : "NULL")),
    ...[`s.${SEQUENCE}`, `s.${COMMITTED}`, "now()"],
    ...flag.map((name) => `s.${name}`),
  ];
  return `INSERT (${names.join(", ")})\n  VALUES (${values.join(", ")})`;
}

/** The staged rows in the target's types, less those that are older than a TRUNCATE or a hard delete of their key. */
function source(plan: MergePlan, staged: string): string {
  const columns = plan.columns.map((column) =>
    isStagedAsText(column.type) ? `${inTargetsType(column)} AS ${quoteName(column.name)}` : inTargetsType(column),
  );
  const key = keyColumns(plan).map(inTargetsType).join(", ");
  const twice = keyColumns(plan).some(({ type }) => hasSeveralForms(type));
  return `  SELECT${twice ? ` DISTINCT ON (${key})` : ""}
    ${[...columns, `s.${SEQUENCE}`, `s.${COMMITTED}`, `s.${DELETED}`, `s."_tailrace_unchanged"`].join(", ")}
  FROM ${staged} s
  WHERE ${aboveFloor(plan)}
    AND ${withoutTombstone(plan)}${twice ? `\n  ORDER BY ${key}, s.${SEQUENCE} DESC` : ""}`;
}

function assignment(plan: MergePlan, { name, type, unchanged }: PlanColumn, index: number): readonly string[] {
  const column = quoteName(name);
  if (plan.key.includes(name)) return hasSeveralForms(type) ? [`${column} = s.${column}`] : [];
  if (unchanged === "impossible") return [`${column} = s.${column}`];
  return [`${column} = CASE WHEN ${index + 1} = ANY (s."_tailrace_unchanged") THEN t.${column} ELSE s.${column} END`];
}

/** After the merge a deleted key is not in the target, unless its row was newer; a key that is, needs no tombstone. */
function tombstones(plan: MergePlan, staged: string): readonly string[] {
  const remove = `DELETE FROM _tailrace.tombstones WHERE ctid = ANY (ARRAY(
  SELECT (SELECT d.ctid FROM _tailrace.tombstones d WHERE ${ofTarget(plan, "d.")} AND d.key = s."_tailrace_key" AND d.sequence < s.${SEQUENCE})
  FROM ${staged} s WHERE NOT s.${DELETED}))`;
  if (plan.deletes === "soft") return [remove];
  return [
    remove,
    `INSERT INTO _tailrace.tombstones AS d (target_schema, target_name, key, sequence)
SELECT ${quoteText(plan.target.schema)}, ${quoteText(plan.target.name)}, s."_tailrace_key", s.${SEQUENCE}
FROM ${staged} s
WHERE s.${DELETED}
  AND ${aboveFloor(plan)}
  AND NOT EXISTS (SELECT FROM ${quoteTable(plan.target)} t WHERE ${sameKey(plan)})
ON CONFLICT (target_schema, target_name, key) DO UPDATE SET sequence = excluded.sequence WHERE d.sequence < excluded.sequence`,
  ];
}

/** In a soft target a truncated row's delete counts, wherever it stands: it makes no row live. */
function aboveFloor(plan: MergePlan): string {
  const above = `s.${SEQUENCE} > coalesce((SELECT f.sequence FROM _tailrace.floors f WHERE ${ofTarget(plan, "f.")}), '')`;
  return plan.deletes === "hard" ? above : `(s.${DELETED} OR ${above})`;
}

/**
 * A subquery of its own for each staged row, because PostgreSQL never makes a join of one: as a join, and with statistics
 * from before the tombstones were many, it reads all of the target's for each staged row (2,000 rows against 20,000: 3 s).
 */
function withoutTombstone(plan: MergePlan): string {
  return `s.${SEQUENCE} > coalesce((SELECT d.sequence FROM _tailrace.tombstones d WHERE ${ofTarget(plan, "d.")} AND d.key = s."_tailrace_key"), '')`;
}

/** Of target `t` and staging table `s`. */
function sameKey(plan: MergePlan): string {
  return keyColumns(plan)
    .map((column) => `t.${quoteName(column.name)} = ${inTargetsType(column)}`)
    .join(" AND ");
}

function inTargetsType({ name, type }: PlanColumn): string {
  return `s.${quoteName(name)}${isStagedAsText(type) ? `::${columnType(type)}` : ""}`;
}

function stagingTable(name: string): string {
  return `pg_temp.${quoteName(name)}`;
}

function keyColumns(plan: MergePlan): readonly PlanColumn[] {
  return plan.columns.filter(({ name }) => plan.key.includes(name));
}
