// The SQL that the warehouses write alike. Pure text.
import type { TableName } from "../core/table.ts";
import type { MergePlan } from "../core/warehouse.ts";

/** Names of what Tailrace adds beside the table's columns and what a merge makes: no captured column may begin so. */
export const RESERVED_PREFIX = "_tailrace_";

export function quoteName(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

/** A backslash is a backslash: PostgreSQL's sessions set standard_conforming_strings. */
export function quoteText(text: string): string {
  return `'${text.replaceAll("'", "''")}'`;
}

/** `"schema"."name"`, as a user would write it. */
export function quoteTable(table: TableName): string {
  return `${quoteName(table.schema)}.${quoteName(table.name)}`;
}

/** Indented, a line each. */
export function lines(items: readonly string[]): string {
  return items.map((item) => `  ${item}`).join(",\n");
}

/** The rows of `tombstones` and `floors` that are about the plan's target. `alias`: with its dot. */
export function ofTarget({ target }: Pick<MergePlan, "target">, alias = ""): string {
  return `${alias}target_schema = ${quoteText(target.schema)} AND ${alias}target_name = ${quoteText(target.name)}`;
}

/** Whether a staged row may leave columns unchanged. */
export function keepsTarget(plan: MergePlan): boolean {
  return plan.columns.some(({ unchanged }) => unchanged === "keep_target");
}
