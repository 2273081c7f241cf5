// What a DuckDB column has to be so that it holds what is there and what is needed: STRUCTs, also in lists, have the fields of both. DuckDB
// casts one to another by its fields' names, and leaves those null that it lacks; one that only the other has would be lost.
import { quoteName } from "../sql-text.ts";
import { isWider } from "../widening.ts";
import { ladders } from "./dialect.ts";

type Field = { readonly name: string; readonly type: ParsedType };
/** A type as DuckDB's catalogue prints it, taken apart. */
export type ParsedType =
  | { readonly kind: "plain"; readonly text: string }
  | { readonly kind: "list"; readonly item: ParsedType }
  | { readonly kind: "struct"; readonly fields: readonly Field[] };

/** `type`: what holds both; null: the type that is there does. */
export type Holding = { readonly type: string | null };

/** null: no type that there is an ALTER TABLE for holds both. `there`: as DuckDB's catalogue prints it. */
export function holdingBoth(there: string, needed: string): Holding | null {
  const both = union(parseType(there), parseType(needed));
  return both === null ? null : { type: both.changed ? printType(both.type) : null };
}

function union(there: ParsedType, needed: ParsedType): { readonly type: ParsedType; readonly changed: boolean } | null {
  if (there.kind === "list" && needed.kind === "list") {
    const items = union(there.item, needed.item);
    return items === null ? null : { type: { kind: "list", item: items.type }, changed: items.changed };
  }
  if (there.kind === "struct" && needed.kind === "struct") return unionOfFields(there.fields, needed.fields);
  if (there.kind !== "plain" || needed.kind !== "plain") return null;
  if (there.text === needed.text || isWider(there.text, needed.text, ladders)) return { type: there, changed: false };
  return isWider(needed.text, there.text, ladders) ? { type: needed, changed: true } : null;
}

function unionOfFields(there: readonly Field[], needed: readonly Field[]): ReturnType<typeof union> {
  const fields: Field[] = [];
  let changed = false;
  for (const field of there) {
    const other = needed.find(({ name }) => same(name, field.name));
    const both = other === undefined ? { type: field.type, changed: false } : union(field.type, other.type);
    if (both === null) return null;
    changed ||= both.changed;
    fields.push({ name: field.name, type: both.type });
  }
  const added = needed.filter(({ name }) => !there.some((field) => same(name, field.name)));
  return { type: { kind: "struct", fields: [...fields, ...added] }, changed: changed || added.length > 0 };
}

/** Whether two names, of columns or fields, are one to DuckDB, which folds ASCII letters and leaves all others: É and é are two. */
export function same(a: string, b: string): boolean {
  return fold(a) === fold(b);
}

export function fold(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => letter.toLowerCase());
}

export function printType(type: ParsedType): string {
  if (type.kind === "plain") return type.text;
  if (type.kind === "list") return `${printType(type.item)}[]`;
  return `STRUCT(${type.fields.map((field) => `${quoteName(field.name)} ${printType(field.type)}`).join(", ")})`;
}

const LIST = "[]";
const STRUCT = "STRUCT(";

/* type ::= type '[]' | 'STRUCT(' name ' ' type {', ' name ' ' type} ')' | characters      name ::= '"' {character | '""'} '"' | word */
export function parseType(text: string): ParsedType {
  if (text.endsWith(LIST)) return { kind: "list", item: parseType(text.slice(0, -LIST.length)) };
  if (!text.startsWith(STRUCT)) return { kind: "plain", text };
  return {
    kind: "struct",
    fields: split(text.slice(STRUCT.length, -1)).map((field) => {
      const [, quoted, word = "", type = ""] = /^(?:"((?:[^"]|"")*)"|(\S+)) (.*)$/s.exec(field) ?? [];
      return { name: quoted === undefined ? word : quoted.replaceAll('""', '"'), type: parseType(type) };
    }),
  };
}

/** At the commas outside brackets and quotes. */
function split(text: string): readonly string[] {
  const parts: string[] = [];
  let depth = 0;
  let isQuoted = false;
  let start = 0;
  for (let at = 0; at < text.length; at++) {
    const character = text[at];
    if (character === '"') isQuoted = !isQuoted;
    else if (isQuoted) continue;
    else if (character === "(") depth++;
    else if (character === ")") depth--;
    else if (character === "," && depth === 0) {
      parts.push(text.slice(start, at));
      start = at + 2;
    }
  }
  return [...parts, text.slice(start)];
}
