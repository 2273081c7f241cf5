// R-version: the view of a table's present version in PostgreSQL. Each works inside the transaction, if any, of whoever gives `rows`.
import type { TableName } from "../../core/table.ts";
import type { VersionView } from "../../core/warehouse.ts";
import { quoteText } from "../sql-text.ts";
import { decideView, type ViewDecision, type ViewFacts } from "../version-view.ts";
import { findTarget, foundTarget, type FoundTarget } from "./target.ts";

type Rows = (sql: string, parameters?: unknown[]) => Promise<readonly Readonly<Record<string, unknown>>[]>;

/** $1 schema, $2 name. What a view's name stands for; no row: nothing. */
const findView = `SELECT c.relkind = 'v' AS is_view, obj_description(c.oid, 'pg_class') AS comment
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relname = $2`;

/** $1 the view's name, as SQL has it. */
const readView = `SELECT rtrim(pg_get_viewdef(oid), ';') AS query, obj_description(oid, 'pg_class') AS comment FROM pg_class WHERE oid = $1::regclass`;

/** What is to be done for the view, as the catalogue is now. */
export async function decide(rows: Rows, view: VersionView): Promise<ViewDecision> {
  const found = await lookUp(rows, view.view);
  const [first, target] = [await columnsOf(rows, view.first), await columnsOf(rows, view.target)];
  return decideView(view, { first, target, found });
}

/**
 * Drops the views of ours that have the target's columns, of which PostgreSQL alters none then. Returns the statements that make them again
 * as they were, but for the grants: to be run in the same transaction, so that none is ever missing. `views`: FoundTarget's.
 */
export async function dropViews(rows: Rows, views: readonly string[]): Promise<readonly string[]> {
  const again: string[] = [];
  for (const view of views) {
    const [row] = await rows(readView, [view]);
    again.push(`CREATE VIEW ${view} AS ${String(row?.query)}`, `COMMENT ON VIEW ${view} IS ${quoteText(String(row?.comment))}`);
    await rows(`DROP VIEW ${view}`);
  }
  return again;
}

async function lookUp(rows: Rows, view: TableName): Promise<ViewFacts["found"]> {
  const [row] = await rows(findView, [view.schema, view.name]);
  if (row === undefined) return null;
  const comment = (row.comment ?? null) as string | null;
  return { columns: await columnsOf(rows, view), isView: row.is_view === true, comment };
}

async function columnsOf(rows: Rows, { schema, name }: TableName): Promise<FoundTarget["columns"]> {
  const [row] = await rows(findTarget, [schema, name]);
  return foundTarget(row).columns;
}
