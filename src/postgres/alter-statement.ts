// Reads as much of an ALTER TABLE as it takes to run it against a copy: which table, and where what it does begins. Pure.
// PostgreSQL's own parser has the last word on all the rest (manual, "Lexical Structure").

/** `rest`: what stands behind the table's name, as written. */
export type AlterStatement = { readonly table: string; readonly rest: string };

/** What the actions of a statement may begin with: these change columns and constraints of the one table, and nothing beside it. */
const ACTIONS: ReadonlySet<string> = new Set(["add", "drop", "alter", "rename"]);

type Token = { readonly kind: "word" | "name" | "other"; readonly text: string; readonly start: number; readonly end: number };

/** `problem`: why the statement is none that can be tried on a copy. */
export function readAlterStatement(sql: string): AlterStatement | { readonly problem: string } {
  const tokens = tokensOf(sql);
  if (tokens === null) return { problem: "a quote or comment in it does not end" };
  if (tokens.at(-1)?.text === ";") tokens.pop();
  if (tokens.some(({ kind, text }) => kind === "other" && text === ";")) return { problem: "it is more than one statement" };
  const is = (at: number, ...words: readonly string[]): boolean =>
    words.every((word, index) => tokens[at + index]?.kind === "word" && tokens[at + index]?.text === word);
  if (!is(0, "alter", "table")) return { problem: "it is no ALTER TABLE" };
  let at = is(2, "if", "exists") ? 4 : 2;
  if (is(at, "only")) at += 1;
  const names: string[] = [];
  for (; tokens[at] !== undefined && tokens[at]!.kind !== "other"; at += 1) {
    const { kind, text } = tokens[at]!;
    names.push(`"${(kind === "word" ? text : text.slice(1, -1).replaceAll('""', '"')).replaceAll('"', '""')}"`);
    if (tokens[at + 1]?.text !== ".") break;
    at += 1;
  }
  at += 1;
  if (names.length === 0 || names.length > 2) return { problem: "it names no table of this database" };
  if (tokens[at]?.text === "*") at += 1;
  const problem = actionProblem(tokens.slice(at));
  return problem === null ? { table: names.join("."), rest: sql.slice(tokens[at]!.start, tokens.at(-1)!.end) } : { problem };
}

function actionProblem(tokens: readonly Token[]): string | null {
  let depth = 0;
  let first = true;
  if (tokens.length === 0) return "it does nothing";
  for (const [index, { kind, text }] of tokens.entries()) {
    if (first && (kind !== "word" || !ACTIONS.has(text))) return `what it does is neither ADD, DROP, ALTER nor RENAME COLUMN: ${text}`;
    if (first && text === "rename" && tokens[index + 1]?.text === "to")
      return "RENAME TO makes another table of it, with a topic and targets of its own";
    // The other table would be locked.
    if (kind === "word" && text === "references") return "a foreign key can't be tried on a copy, and changes no event: leave it out";
    first = kind === "other" && text === "," && depth === 0;
    if (kind === "other" && (text === "(" || text === "[")) depth += 1;
    if (kind === "other" && (text === ")" || text === "]")) depth -= 1;
  }
  return null;
}

/* token ::= space | comment | 'string' | E'string' | "name" | $tag$string$tag$ | word | any other character */
const PARTS = new RegExp(
  [
    String.raw`(?<skip>\s+|--[^\n]*)`,
    String.raw`(?<comment>/\*)`,
    String.raw`(?<string>[eE]'(?:[^'\\]|\\[\s\S]|'')*'|'(?:[^']|'')*')`,
    String.raw`(?<name>"(?:[^"]|"")+")`,
    String.raw`(?<dollar>\$(?:[A-Za-z_\u0080-\uffff][\w\u0080-\uffff]*)?\$)`,
    String.raw`(?<word>[A-Za-z_\u0080-\uffff][\w$\u0080-\uffff]*)`,
    String.raw`(?<other>[^'"])`,
  ].join("|"),
  "y",
);

/** null: something in quotes does not end. */
function tokensOf(sql: string): Token[] | null {
  const tokens: Token[] = [];
  for (let at = 0; at < sql.length;) {
    PARTS.lastIndex = at;
    const groups = PARTS.exec(sql)?.groups;
    if (groups === undefined) return null;
    const start = at;
    at = PARTS.lastIndex;
    const { comment, dollar, name, word } = groups;
    if (groups.skip !== undefined) continue;
    if (comment !== undefined) {
      at = endOfComment(sql, at);
      if (at < 0) return null;
      continue;
    }
    if (dollar !== undefined) {
      const end = sql.indexOf(dollar, at);
      if (end < 0) return null;
      at = end + dollar.length;
    }
    const text = sql.slice(start, at);
    if (word !== undefined) tokens.push({ kind: "word", text: word.replace(/[A-Z]/g, (letter) => letter.toLowerCase()), start, end: at });
    else tokens.push({ kind: name === undefined ? "other" : "name", text, start, end: at });
  }
  return tokens;
}

/** Comments nest. `at`: behind the first opening; −1: it does not end. */
function endOfComment(sql: string, at: number): number {
  let depth = 1;
  for (; depth > 0; at += 2) {
    const [open, close] = [sql.indexOf("/*", at), sql.indexOf("*/", at)];
    if (close < 0) return -1;
    depth += open >= 0 && open < close ? 1 : -1;
    at = open >= 0 && open < close ? open : close;
  }
  return at;
}
