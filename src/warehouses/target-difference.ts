// How a target differs from what a merge needs, and the SQL that would mend it: for the operator, Tailrace runs none of it.
import { TailraceError } from "../core/errors.ts";
import { tableLabel, type TableName } from "../core/table.ts";
import { metadataColumns } from "../core/warehouse.ts";
import { quoteName, quoteTable } from "./sql-text.ts";

export type TargetDifference = { readonly what: string; readonly sql: string };

/** `there` and `needed`: types as the warehouse's catalogue prints them. USING: PostgreSQL casts text to most types only when asked to. */
export function otherType(target: TableName, column: string, there: string, needed: string): TargetDifference {
  return {
    what: `${column} is ${there}, needed is ${needed}`,
    sql: `ALTER TABLE ${quoteTable(target)} ALTER COLUMN ${quoteName(column)} TYPE ${needed} USING ${quoteName(column)}::${needed}`,
  };
}

/** A target of hard deletes that was one of soft deletes before. */
export function softlyDeletedRows(target: TableName): TargetDifference {
  const [table, deleted] = [quoteTable(target), quoteName(metadataColumns.deleted)];
  return {
    what: "it holds softly deleted rows and deletes are hard now",
    sql: `DELETE FROM ${table} WHERE ${deleted}; ALTER TABLE ${table} DROP COLUMN ${deleted}`,
  };
}

/** Throws TARGET_DIFFERS when there is any difference. */
export function refuseDifferences(target: TableName, differences: readonly TargetDifference[]): void {
  if (differences.length === 0) return;
  throw new TailraceError("TARGET_DIFFERS", {
    target: tableLabel(target),
    difference: differences.map(({ what }) => what).join("; "),
    sql: differences.map(({ sql }) => sql).join("; "),
  });
}
