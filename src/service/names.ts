// The names that an operator types: connectors and tables, with the nearest right spelling for a wrong one.
import { nearestWord } from "../config/nearest.ts";
import { matchesTable, parseTablePattern, quoteTable } from "../config/table-pattern.ts";
import { TailraceError } from "../core/errors.ts";
import type { TableName } from "../core/table.ts";

type Named = { readonly name: string; readonly kind: "source" | "sink" };

/** The connector of that name. `kind`: what it has to be. Throws USAGE. */
export function findConnector<C extends Named>(connectors: readonly C[], name: string, kind?: C["kind"]): C {
  const found = connectors.find((connector) => connector.name === name);
  const fitting = connectors.filter((connector) => kind === undefined || connector.kind === kind).map((connector) => connector.name);
  if (found === undefined) throw unknown(`there is no ${kind ?? "connector"} ${name}`, name, fitting);
  if (kind !== undefined && found.kind !== kind) throw unknown(`${name} is a ${found.kind}, no ${kind}`, name, fitting);
  return found;
}

/** Those of `tables` that a pattern (`public.orders`, `audit.*`) takes: at least one. Throws USAGE. */
export function findTables(tables: readonly TableName[], text: string, source: string): readonly TableName[] {
  const pattern = parseTablePattern(text);
  if ("problem" in pattern) throw new TailraceError("USAGE", { problem: `${text} is no table: ${pattern.problem}` });
  const found = tables.filter((table) => matchesTable(pattern, table));
  if (found.length === 0) throw unknown(`source ${source} captures no table ${text}`, text, tables.map(quoteTable));
  return found;
}

/** More names than that say nothing to a reader. */
const LISTED = 12;

function unknown(what: string, word: string, candidates: readonly string[]): TailraceError {
  const nearest = nearestWord(word, candidates);
  const listed = candidates.length > LISTED ? [...candidates.slice(0, LISTED), "…"] : candidates;
  const names = listed.length === 0 ? "" : ` (${listed.join(", ")})`;
  return new TailraceError("USAGE", { problem: `${what}${nearest === null ? "" : `, did you mean ${nearest}?`}${names}` });
}
