// R-version: the view of a table's rows under whatever version they are. Pure: decides from what the catalogue says.
import { createHash } from "node:crypto";
import { tableLabel } from "../core/table.ts";
import type { VersionView } from "../core/warehouse.ts";
import { quoteName, quoteTable, quoteText, RESERVED_PREFIX } from "./sql-text.ts";

type Columns = readonly { readonly name: string; readonly type: string }[];

/** What the warehouse has. */
export type ViewFacts = {
  /** Of the targets; empty: there is none. */
  readonly first: Columns;
  readonly target: Columns;
  /** What has the view's name: its columns, and its comment where it is a view; null: nothing has. */
  readonly found: { readonly columns: Columns; readonly isView: boolean; readonly comment: string | null } | null;
};

export type ViewDecision =
  /** It stands as it should. */
  | { readonly kind: "stands" }
  /** There is none, and why. */
  | { readonly kind: "none"; readonly reason: string }
  /** `replaces`: one of the same columns is there. `drops`: one of other columns. */
  | { readonly kind: "make"; readonly query: string; readonly comment: string; readonly replaces: boolean; readonly drops: boolean };

/** How a view of ours is known: its comment begins so. */
export const OURS = "Made by Tailrace: ";

/** Whether a view is one that a sink has made. */
export function isOurs(comment: string | null): boolean {
  return comment?.startsWith(OURS) === true;
}

/**
 * The columns of the first target, in their order, as far as the present one has them in the same type; where somebody has dropped that, of
 * the view that stands, or all of them. The metadata columns are the present target's: whether a row is deleted is said by it alone.
 */
export function decideView({ view, first, target }: VersionView, facts: ViewFacts): ViewDecision {
  const none = (reason: string): ViewDecision => ({ kind: "none", reason: `no view ${tableLabel(view)}: ${reason}` });
  const { found } = facts;
  if (found !== null && !(found.isView && isOurs(found.comment))) return none("something else has that name");
  if (facts.target.length === 0) return none(`${tableLabel(target)} is not there`);
  const isOwn = ({ name }: Columns[number]): boolean => !name.startsWith(RESERVED_PREFIX);
  const known = facts.first.length > 0 ? facts.first : (found?.columns ?? facts.target);
  const values = known.filter((each) => isOwn(each) && facts.target.some(({ name, type }) => name === each.name && type === each.type));
  if (values.length === 0) return none(`${tableLabel(target)} has no column of the same name and type as ${tableLabel(first)}`);
  const columns = named([...values, ...facts.target.filter((each) => !isOwn(each))]);
  const query = `SELECT ${columns.map(({ name }) => quoteName(name)).join(", ")} FROM ${quoteTable(target)}`;
  const digest = createHash("sha256").update(JSON.stringify(columns)).digest("hex").slice(0, 8);
  const which = facts.first.length > 0 ? `in the columns that ${tableLabel(first)} has too` : `of which ${tableLabel(first)} is gone`;
  const comment = `${OURS}the rows of ${tableLabel(target)}, ${which} (${digest})`;
  if (found?.comment === comment) return { kind: "stands" };
  const replaces = found !== null && JSON.stringify(named(found.columns)) === JSON.stringify(columns);
  return { kind: "make", query, comment, replaces, drops: found !== null && !replaces };
}

/** Rows of a catalogue may say more. */
function named(columns: Columns): Columns {
  return columns.map(({ name, type }) => ({ name, type }));
}

/** The statements; `catalog`: before the names of what they make, with its dot. */
export function viewDdl(
  { view }: VersionView,
  { query, comment, drops }: Extract<ViewDecision, { kind: "make" }>,
  catalog = "",
): readonly string[] {
  const name = `${catalog}${quoteTable(view)}`;
  return [
    ...(drops ? [`DROP VIEW ${name}`] : []),
    `CREATE OR REPLACE VIEW ${name} AS ${query}`,
    `COMMENT ON VIEW ${name} IS ${quoteText(comment)}`,
  ];
}
