// Patterns that choose tables: `schema.table` with * and ?, and the names that a sink gives its targets.
// Names are compared as the catalog has them, case and all.

import type { TableName } from "../core/table.ts";

/* pattern ::= part "." part
 * part    ::= plain | quoted
 * plain   ::= any characters but . " and white space; * stands for any run of characters, ? for one
 * quoted  ::= '"' (any character but ", or "")* '"'        as SQL quotes a name; * and ? are themselves in it */
type Piece = { readonly text: string; readonly quoted: boolean };

export type TablePattern = {
  /** As written. */
  readonly text: string;
  readonly schema: NamePattern;
  readonly table: NamePattern;
};

/** `exact` is a name; a glob's wildcards are `*` and `?`. */
export type NamePattern = { readonly kind: "exact" | "glob"; readonly text: string };

/** A target's name; `{schema}` and `{table}` stand for those of the source's table. */
export type TargetTemplate = { readonly text: string; readonly schema: string; readonly table: string };

/** The pattern, or in one line why the text is none. */
export function parseTablePattern(text: string): TablePattern | { readonly problem: string } {
  const pieces = splitName(text);
  if ("problem" in pieces) return pieces;
  const [schema, table] = pieces.map(({ text: name, quoted }): NamePattern => ({
    kind: !quoted && /[*?]/.test(name) ? "glob" : "exact",
    text: name,
  }));
  if (schema === undefined || table === undefined) return { problem: "it needs a schema and a table" };
  return { text, schema, table };
}

/** Whether the pattern takes the table. */
export function matchesTable(pattern: TablePattern, table: TableName): boolean {
  return matchesName(pattern.schema, table.schema) && matchesName(pattern.table, table.name);
}

/** Whether the pattern takes every table that the other takes; of two globs true only where it shows: they are alike, or it takes all names. */
export function takesAll(pattern: TablePattern, other: TablePattern): boolean {
  return takesAllNames(pattern.schema, other.schema) && takesAllNames(pattern.table, other.table);
}

function takesAllNames(pattern: NamePattern, other: NamePattern): boolean {
  if (other.kind === "exact") return matchesName(pattern, other.text);
  return pattern.kind === "glob" && (pattern.text === other.text || /^\*+$/.test(pattern.text));
}

/** Whether the pattern names one table, rather than choosing among those that are there. */
export function namesOneTable(pattern: TablePattern): boolean {
  return pattern.schema.kind === "exact" && pattern.table.kind === "exact";
}

/** The pattern's text for one table, quoted where needed. */
export function quoteTable(table: TableName): string {
  return [table.schema, table.name].map((name) => (/^[^."\s*?]+$/.test(name) ? name : `"${name.replaceAll('"', '""')}"`)).join(".");
}

/** The first of the entries whose pattern takes the table, null when none does. */
export function firstMatch<Entry extends { readonly pattern: TablePattern }>(entries: readonly Entry[], table: TableName): Entry | null {
  return entries.find((entry) => matchesTable(entry.pattern, table)) ?? null;
}

/** The template, or in one line why the text is none. */
export function parseTargetTemplate(text: string): TargetTemplate | { readonly problem: string } {
  const pieces = splitName(text);
  if ("problem" in pieces) return pieces;
  for (const piece of pieces) {
    const rest = piece.text.replace(/\{(?:schema|table)\}/g, "");
    if (/[{}]/.test(rest)) return { problem: "only {schema} and {table} stand for something" };
    if (!piece.quoted && /[*?]/.test(rest)) return { problem: "a target takes no * and ?" };
  }
  const [schema, table] = pieces;
  if (schema === undefined || table === undefined) return { problem: "it needs a schema and a table" };
  return { text, schema: schema.text, table: table.text };
}

/** The name of the target that a source's table goes to. */
export function targetOf(template: TargetTemplate, table: TableName): TableName {
  const fill = (text: string): string =>
    text.replace(/\{(schema|table)\}/g, (_, which) => (which === "schema" ? table.schema : table.name));
  return { schema: fill(template.schema), name: fill(template.table) };
}

/** The two parts of `schema.table`. */
function splitName(text: string): readonly Piece[] | { readonly problem: string } {
  const pieces: Piece[] = [];
  let rest = text;
  for (;;) {
    const match = /^(?:"((?:[^"]|"")*)"|([^."\s]+))(\.|$)/.exec(rest);
    if (match === null) return { problem: `write schema.table, and a name with dots, spaces or quotes as "my.name"` };
    const [whole, quoted, plain, end] = match;
    pieces.push(quoted === undefined ? { text: plain ?? "", quoted: false } : { text: quoted.replaceAll('""', '"'), quoted: true });
    rest = rest.slice(whole.length);
    if (end === "") break;
  }
  if (pieces.length === 1) return { problem: "it names no schema; write schema.table" };
  if (pieces.length > 2) return { problem: `it has ${pieces.length} parts; write schema.table, and a name with dots as "my.name"` };
  if (pieces.some((piece) => piece.text === "")) return { problem: "a name is empty" };
  return pieces;
}

/** Greedy with one way back, to the last star: linear in practice, never exponential. */
function matchesName(pattern: NamePattern, name: string): boolean {
  if (pattern.kind === "exact") return pattern.text === name;
  const glob = Array.from(pattern.text);
  const letters = Array.from(name); // code points: ? takes one emoji, not half of it
  let g = 0;
  let n = 0;
  let star = -1;
  let resume = 0;
  while (n < letters.length) {
    if (glob[g] === "*") {
      star = g++;
      resume = n;
    } else if (g < glob.length && (glob[g] === "?" || glob[g] === letters[n])) {
      g++;
      n++;
    } else if (star !== -1) {
      g = star + 1;
      n = ++resume;
    } else {
      return false;
    }
  }
  while (glob[g] === "*") g++;
  return g === glob.length;
}
