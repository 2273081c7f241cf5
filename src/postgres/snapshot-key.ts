// SQL about a table's key, in the order that the key's own index has: its operators, collations and directions are named,
// so that what sorts keys, what compares them and what finds them can never be three different orders. Pure text.
// An unqualified `>` on a citext key would be text's `>` (the search path is empty), while ORDER BY sorts as citext does.
import type { KeyRange, KeyText } from "../core/snapshot-record.ts";
import { quoteIdentifier, quoteLiteral } from "./session.ts";

/** One column of the key's index. */
export type KeyPart = {
  readonly name: string;
  /** Of a domain its base type, whose values no constraint refuses; without a modifier: `bpchar`, not `character`, which would be one character. */
  readonly type: string;
  /** Of the index, quoted and qualified; null for types without. */
  readonly collation: string | null;
  /** Of the index's operator family, by btree strategy number (1 <, 2 ≤, 3 =, 4 ≥, 5 >), as `OPERATOR(pg_catalog.<)`. */
  readonly operators: Readonly<Record<"1" | "2" | "3" | "4" | "5", string>>;
  readonly descending: boolean;
  readonly nullsFirst: boolean;
};

/** ORDER BY's list, in the index's order. */
export function keyOrder(key: readonly KeyPart[]): string {
  return key.map((part) => `${column(part)} USING ${operator(part, "before")} NULLS ${part.nullsFirst ? "FIRST" : "LAST"}`).join(", ");
}

/** The condition of a range; null for that of all rows. */
export function rangeCondition(key: readonly KeyPart[], range: KeyRange): string | null {
  const bounds = [
    ...(range.after === null ? [] : [comparison(key, "after", range.after)]),
    ...(range.upTo === null ? [] : [comparison(key, "notAfter", range.upTo)]),
  ];
  return bounds.length === 0 ? null : bounds.join(" AND ");
}

/** The condition of some keys, one to a few hundred (the planner's time grows with their square). A key that is given twice, or in two spellings that are equal, is one row. */
export function keysCondition(key: readonly KeyPart[], keys: readonly KeyText[]): string {
  return `(${keys.map((each) => `(${equality(key, each)})`).join(" OR ")})`;
}

type Relation = "before" | "notAfter" | "same" | "notBefore" | "after";

const ASCENDING = { before: "1", notAfter: "2", same: "3", notBefore: "4", after: "5" } as const;
const DESCENDING = { before: "5", notAfter: "4", same: "3", notBefore: "2", after: "1" } as const;

function operator(part: KeyPart, relation: Relation): string {
  return part.operators[(part.descending ? DESCENDING : ASCENDING)[relation]];
}

/** With its collation: an explicit one decides, so that no constant's own can be in conflict with it. */
function column(part: KeyPart): string {
  return part.collation === null ? quoteIdentifier(part.name) : `${quoteIdentifier(part.name)} COLLATE ${part.collation}`;
}

function literal(part: KeyPart, text: string): string {
  return `${quoteLiteral(text)}::${part.type}`;
}

function equality(key: readonly KeyPart[], values: KeyText): string {
  return key.map((part, index) => `${column(part)} ${operator(part, "same")} ${literal(part, values[index] ?? "")}`).join(" AND ");
}

/** `a row comparison` where all columns share an operator's name, since the index then begins right at the bound. */
function comparison(key: readonly KeyPart[], relation: "after" | "notAfter", values: KeyText): string {
  const operators = new Set(key.map((part) => operator(part, relation)));
  const [shared] = operators;
  if (operators.size > 1 || shared === undefined) return expanded(key, relation, values);
  const literals = key.map((part, index) => literal(part, values[index] ?? ""));
  return key.length === 1
    ? `${key.map(column).join()} ${shared} ${literals.join()}`
    : `(${key.map(column).join(", ")}) ${shared} (${literals.join(", ")})`;
}

/** The same for columns of different directions or operators: the first column alone leads the index there. */
function expanded(key: readonly KeyPart[], relation: "after" | "notAfter", values: KeyText): string {
  const strict = relation === "after" ? "after" : "before";
  const bound = (part: KeyPart, index: number, by: Relation): string =>
    `${column(part)} ${operator(part, by)} ${literal(part, values[index] ?? "")}`;
  const last = key.length - 1;
  const alternatives = key.map((part, index) => {
    const equal = index === 0 ? "" : `${equality(key.slice(0, index), values)} AND `;
    return `(${equal}${bound(part, index, index === last ? relation : strict)})`;
  });
  const lead = key.slice(0, 1).map((part) => bound(part, 0, relation === "after" ? "notBefore" : "notAfter"));
  return `(${lead.join()} AND (${alternatives.join(" OR ")}))`;
}
