// What must be done to a DuckDB target so that a merge fits it. Pure: decides from what the catalogue says.
import { TailraceError } from "../../core/errors.ts";
import { compositesOf, tableLabel } from "../../core/table.ts";
import { metadataColumns, type TargetSpec } from "../../core/warehouse.ts";
import { quoteName, quoteTable, RESERVED_PREFIX } from "../sql-text.ts";
import { otherType, refuseDifferences, refuseOthers, softlyDeletedRows, type TargetDifference } from "../target-difference.ts";
import { createTarget, targetColumns, WAREHOUSE } from "./dialect.ts";
import { fold, holdingBoth, same } from "./struct.ts";

export type FoundColumn = { readonly schema: string; readonly table: string; readonly name: string; readonly type: string };

/** Of all tables that are not ours, for a session to ask once: without parameters and conditions it takes 2 ms instead of 10. */
export const findColumns = `SELECT schema_name, table_name, column_name, data_type FROM duckdb_columns()
WHERE database_name = '${WAREHOUSE}' AND schema_name <> '_tailrace'`;

/** A row of `findColumns`. */
export function foundColumn(row: Readonly<Record<string, unknown>>): FoundColumn {
  return {
    schema: String(row.schema_name),
    table: String(row.table_name),
    name: String(row.column_name),
    type: String(row.data_type),
  };
}

/**
 * The DDL that makes the target fit; none when it does, or is wider than needed: events of before a column was widened may follow. `all`: the columns of every table. Throws NAME_COLLISION for names that DuckDB takes for one, and
 * TARGET_DIFFERS with the SQL that would mend the target.
 */
export function targetDdl(spec: TargetSpec, all: readonly FoundColumn[]): readonly string[] {
  refuseCollisions(spec);
  const label = tableLabel(spec.target);
  const found = all.filter(({ schema, table }) => same(schema, spec.target.schema) && same(table, spec.target.name));
  const other = found.find(({ schema, table }) => schema !== spec.target.schema || table !== spec.target.name);
  if (other !== undefined) throw collision(label, `${other.schema}.${other.table}`, label);
  if (found.length === 0) return [`CREATE SCHEMA IF NOT EXISTS ${WAREHOUSE}.${quoteName(spec.target.schema)}`, createTarget(spec)];

  refuseOthers(spec, found);
  const added: string[] = [];
  const differences: TargetDifference[] = [];
  const table = quoteTable(spec.target);
  for (const { name, type, required } of targetColumns(spec)) {
    const there = found.find((column) => same(column.name, name));
    const addColumn = (of: string): string => `ALTER TABLE ${of} ADD COLUMN ${quoteName(name)} ${type}`;
    if (there === undefined) {
      if (required) differences.push({ what: `it lacks key column ${name}`, sql: addColumn(table) });
      else added.push(addColumn(`${WAREHOUSE}.${table}`));
      continue;
    }
    const both = holdingBoth(there.type, type);
    if (both === null) differences.push(otherType(spec.target, name, there.type, type, spec.key.includes(name)));
    else if (both.type !== null) added.push(`ALTER TABLE ${WAREHOUSE}.${table} ALTER COLUMN ${quoteName(name)} TYPE ${both.type}`);
  }
  if (spec.deletes === "hard" && found.some(({ name }) => same(name, metadataColumns.deleted)))
    differences.push(softlyDeletedRows(spec.target));
  refuseDifferences(spec.target, differences);
  return added;
}

function refuseCollisions(spec: TargetSpec): void {
  for (const { attributes, schema, name: type } of spec.columns.flatMap((column) => compositesOf(column.type))) {
    const twin = attributes.find(({ name }, at) => attributes.some((other, before) => before < at && same(other.name, name)));
    if (twin !== undefined) throw collision(`attribute ${twin.name}`, "another one in other letters", `${schema}.${type}.${twin.name}`);
  }
  const seen = new Map<string, string>();
  for (const { name } of spec.columns) {
    const folded = fold(name);
    const before = seen.get(folded);
    if (before !== undefined) throw collision(before, name, `${tableLabel(spec.target)}.${before}`);
    if (folded.startsWith(RESERVED_PREFIX))
      throw collision(`column ${name}`, "a column of Tailrace's own", `${tableLabel(spec.target)}.${name}`);
    seen.set(folded, name);
  }
}

function collision(first: string, second: string, name: string): TailraceError {
  return new TailraceError("NAME_COLLISION", { first, second, name });
}
