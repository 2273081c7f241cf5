// How a target differs from what a merge needs, and the SQL that would mend it: for the operator, Tailrace runs none of it.
import { TailraceError } from "../core/errors.ts";
import { tableLabel, type TableName } from "../core/table.ts";
import { metadataColumns, type TargetSpec } from "../core/warehouse.ts";
import { quoteName, quoteTable } from "./sql-text.ts";

export type TargetDifference = { readonly what: string; readonly sql: string };

/**
 * `there` and `needed`: types as the warehouse's catalogue prints them. USING: PostgreSQL casts text to most types only when asked to.
 * Between types that no cast leads from and to the column has to go; the sink then adds it, and a change of the type at the source
 * has the table read again. A key column can't go so.
 */
export function otherType(target: TableName, column: string, there: string, needed: string, isKey: boolean): TargetDifference {
  const [table, name] = [quoteTable(target), quoteName(column)];
  const converts = isKey || isCastable(there, needed);
  return {
    what: `${column} is ${there}, needed is ${needed}${converts ? "" : ", to which no cast leads: the column goes with its values; the sink makes it again, and tailrace snapshot fills it where the source does not by itself"}`,
    sql: converts
      ? `ALTER TABLE ${table} ALTER COLUMN ${name} TYPE ${needed} USING ${name}::${needed}`
      : `ALTER TABLE ${table} DROP COLUMN ${name}`,
  };
}

const TEXT = /^(text|character|varchar)\b/i;
/** Types that both warehouses cast to each other. */
const FAMILIES = [/^(smallint|integer|bigint|numeric|decimal|real|float|double)\b/i, /^(date|timestamp)\b/i, /^jsonb?\b/i];

function isCastable(there: string, needed: string): boolean {
  if (TEXT.test(there) || TEXT.test(needed)) return true;
  if (there.endsWith("[]") !== needed.endsWith("[]")) return false;
  const kindOf = (type: string): string | undefined => /^\w+/.exec(type.toLowerCase())?.[0];
  return kindOf(there) === kindOf(needed) || FAMILIES.some((family) => family.test(there) && family.test(needed));
}

/** A target of hard deletes that was one of soft deletes before. */
export function softlyDeletedRows(target: TableName): TargetDifference {
  const [table, deleted] = [quoteTable(target), quoteName(metadataColumns.deleted)];
  return {
    what: "it holds softly deleted rows and deletes are hard now",
    sql: `DELETE FROM ${table} WHERE ${deleted}; ALTER TABLE ${table} DROP COLUMN ${deleted}`,
  };
}

/** R-version: throws NAME_COLLISION for a later version's target that is there and no sink has made. `columns`: of what is there. */
export function refuseOthers({ target, view }: TargetSpec, columns: readonly { readonly name: string }[]): void {
  if (view === undefined || view === null || columns.length === 0 || columns.some(({ name }) => name === metadataColumns.sequence)) return;
  const name = tableLabel(target);
  throw new TailraceError("NAME_COLLISION", {
    first: "the target of a table's next version",
    second: "a relation that Tailrace has not made",
    name,
  });
}

/** Throws TARGET_DIFFERS when there is any difference. `first`: SQL that has to run before that which mends them. */
export function refuseDifferences(target: TableName, differences: readonly TargetDifference[], first: readonly string[] = []): void {
  if (differences.length === 0) return;
  throw new TailraceError("TARGET_DIFFERS", {
    target: tableLabel(target),
    difference: differences.map(({ what }) => what).join("; "),
    sql: [...first, ...differences.map(({ sql }) => sql)].join("; "),
  });
}
