// R-version: the view of a table's present version in PostgreSQL. Each works inside the transaction, if any, of whoever gives `rows`.
import type { TableName } from "../../core/table.ts";
import type { TargetSpec, VersionView } from "../../core/warehouse.ts";
import { quoteTable } from "../sql-text.ts";
import { decideView, isOurs, type ViewDecision, type ViewFacts } from "../version-view.ts";
import { findTarget, foundTarget, type FoundTarget } from "./target.ts";

type Rows = (sql: string, parameters?: unknown[]) => Promise<readonly Readonly<Record<string, unknown>>[]>;

/** $1 schema, $2 name. What a view's name stands for; no row: nothing. */
const findView = `SELECT c.relkind = 'v' AS is_view, obj_description(c.oid, 'pg_class') AS comment
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relname = $2`;

/** What is to be done for the view, as the catalogue is now. */
export async function decide(rows: Rows, view: VersionView): Promise<ViewDecision> {
  const found = await lookUp(rows, view.view);
  const [first, target] = [await columnsOf(rows, view.first), await columnsOf(rows, view.target)];
  return decideView(view, { first, target, found });
}

/** PostgreSQL alters no column that a view has: it is made again behind the flush. */
export async function dropView(rows: Rows, { view = null }: TargetSpec): Promise<void> {
  const found = view === null ? null : await lookUp(rows, view);
  if (view !== null && found?.isView === true && isOurs(found.comment)) await rows(`DROP VIEW ${quoteTable(view)}`);
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
