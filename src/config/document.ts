// YAML text to documents in which every key and value knows its line and column.

import { isAlias, isMap, isScalar, isSeq, LineCounter, parseAllDocuments, type Document as YamlDocument, type Node, type Pair } from "yaml";

import type { ConfigIssue, ConfigIssueCode, Place } from "./issue.ts";
import { hasReference, parseTemplate, type Part } from "./reference.ts";

export type Path = readonly (string | number)[];

/** A value and where it stands. `keyAt` is the place of its key (of the value itself in a list and at the root). */
export type Placed = { readonly at: Place; readonly keyAt: Place } & (
  | { readonly kind: "map"; readonly entries: ReadonlyMap<string, Placed> }
  | { readonly kind: "list"; readonly items: readonly Placed[] }
  | { readonly kind: "scalar"; readonly value: string | number | boolean | null }
  /** A quoted scalar; its references are still to be followed. */
  | { readonly kind: "template"; readonly parts: readonly Part[] }
);

/** What a file holds: its documents that could be read, and what is wrong with the others. */
export type ParsedFile = { readonly documents: readonly Placed[]; readonly issues: readonly ConfigIssue[]; readonly complete: boolean };

/** Reads all documents of a file. `file` is the name that issues carry. */
export function parseDocuments(file: string, text: string): ParsedFile {
  const lines = new LineCounter();
  const source = text.replace(/^\uFEFF/, "");
  const issues: ConfigIssue[] = [];
  const documents: Placed[] = [];
  let complete = true;
  for (const document of parseAllDocuments(source, { lineCounter: lines, prettyErrors: false, uniqueKeys: false })) {
    const reader = new Reader(file, lines, document, issues);
    const broken = document.errors[0] ?? document.warnings[0]; // what follows the first error is mostly its echo
    if (broken !== undefined) {
      reader.refuseSyntax(broken.code, broken.pos[0], source);
      complete = false;
    } else if (document.contents !== null && !(isScalar(document.contents) && document.contents.value === null)) {
      const before = issues.length;
      documents.push(reader.read(document.contents, [], null));
      if (issues.slice(before).some((issue) => issue.code === "yaml_syntax")) complete = false;
    }
  }
  return { documents, issues, complete };
}

/** The value at a path, undefined when nothing stands there. */
export function valueAt(root: Placed, path: Path): Placed | undefined {
  let at: Placed | undefined = root;
  for (const step of path) {
    if (at?.kind === "map") at = at.entries.get(String(step));
    else if (at?.kind === "list" && typeof step === "number") at = at.items[step];
    else return undefined;
  }
  return at;
}

/** The place of the value at a path, or of the nearest value around it that is there. */
export function placeOf(root: Placed, path: Path): Place {
  const found = valueAt(root, path);
  if (found !== undefined) return found.at;
  return keyPlaceOf(root, path.slice(0, -1));
}

/** The place of the key at a path, or of the nearest key around it that is there. */
export function keyPlaceOf(root: Placed, path: Path): Place {
  const found = valueAt(root, path);
  if (found !== undefined) return found.keyAt;
  return path.length === 0 ? root.keyAt : keyPlaceOf(root, path.slice(0, -1));
}

/** A path as people write it: `tables[0].mode`. */
export function pathText(path: Path): string {
  return path.map((step, index) => (typeof step === "number" ? `[${step}]` : index === 0 ? step : `.${step}`)).join("");
}

/** Walks the nodes of one document. */
class Reader {
  readonly #file: string;
  readonly #lines: LineCounter;
  readonly #document: YamlDocument;
  readonly #issues: ConfigIssue[];
  /** Nodes that are being read: an alias to one of them would never end. */
  readonly #open = new Set<Node>();

  constructor(file: string, lines: LineCounter, document: YamlDocument, issues: ConfigIssue[]) {
    this.#file = file;
    this.#lines = lines;
    this.#document = document;
    this.#issues = issues;
  }

  read(node: Node, path: Path, keyAt: Place | null): Placed {
    // A value that is left out has no place of its own: the key stands for it.
    const nothing = isScalar(node) && node.value === null;
    const at = nothing && keyAt !== null ? keyAt : this.#place(node.range?.[0] ?? 0);
    const places = { at, keyAt: keyAt ?? at };
    if (isAlias(node)) {
      const target = node.resolve(this.#document);
      if (target !== undefined && !this.#open.has(target)) return { ...this.read(target, path, keyAt), ...places };
      // Not the alias's name: it may be the start of an unquoted password.
      this.#refuse(
        "yaml_syntax",
        at,
        path,
        "*…",
        "a plain value that starts with * is YAML's alias, and nothing before has that anchor",
        "quote the value",
      );
      return { ...places, kind: "scalar", value: null };
    }
    this.#open.add(node);
    const placed = isMap(node)
      ? { ...places, kind: "map" as const, entries: this.#entries(node.items, path) }
      : isSeq(node)
        ? { ...places, kind: "list" as const, items: node.items.map((item, index) => this.read(item as Node, [...path, index], null)) }
        : { ...places, ...this.#scalar(node, at, path) };
    this.#open.delete(node);
    return placed;
  }

  refuseSyntax(code: string, offset: number, source: string): void {
    const at = this.#place(offset);
    if (source[offset] === "{" && source[offset - 1] === "$") this.#refuseUnquoted({ ...at, column: at.column - 1 }, []);
    else
      this.#refuse(
        "yaml_syntax",
        at,
        [],
        "",
        ...(SYNTAX[code] ?? [`this is no YAML (${code})`, "mend it; quote values that hold special characters"]),
      );
  }

  #entries(pairs: readonly Pair[], path: Path): Map<string, Placed> {
    const entries = new Map<string, Placed>();
    for (const { key, value } of pairs) {
      const keyNode = key as Node;
      const at = this.#place(keyNode.range?.[0] ?? 0);
      if (!isScalar(keyNode)) {
        this.#refuse("yaml_syntax", at, path, "", "a key must be a word", "write key: value");
        continue;
      }
      const name = String(keyNode.value);
      const here = [...path, name];
      const placed: Placed = value === null ? { at, keyAt: at, kind: "scalar", value: null } : this.read(value as Node, here, at);
      if (entries.has(name)) this.#refuse("duplicate_key", at, here, name, `key ${name} stands here twice`, "keep one of them");
      else entries.set(name, placed);
    }
    return entries;
  }

  #scalar(
    node: Node,
    at: Place,
    path: Path,
  ): { kind: "scalar"; value: string | number | boolean | null } | { kind: "template"; parts: readonly Part[] } {
    const value = isScalar(node) ? node.value : null;
    if (typeof value !== "string") {
      const plain = typeof value === "number" || typeof value === "boolean" ? value : typeof value === "bigint" ? Number(value) : null;
      return { kind: "scalar", value: plain };
    }
    const quoted = isScalar(node) && (node.type === "QUOTE_DOUBLE" || node.type === "QUOTE_SINGLE");
    if (!quoted) {
      if (hasReference(value)) this.#refuseUnquoted(at, path);
      return { kind: "scalar", value };
    }
    const parts = parseTemplate(value);
    if (!("code" in parts)) return { kind: "template", parts };
    this.#refuse(parts.code, at, path, parts.seen, parts.message, parts.fix);
    return { kind: "scalar", value };
  }

  #refuseUnquoted(at: Place, path: Path): void {
    this.#refuse("unquoted_reference", at, path, "${…}", "${…} stands in a value without quotes", 'quote the whole value: "${NAME}"');
  }

  #refuse(code: ConfigIssueCode, at: Place, path: Path, seen: string, message: string, fix: string): void {
    this.#issues.push({ at, code, path: pathText(path), seen, allowed: [], nearest: null, message, fix });
  }

  #place(offset: number): Place {
    const { line, col } = this.#lines.linePos(offset);
    return { file: this.#file, line, column: col };
  }
}

// By the parser's code and never by its message, which may quote the text, and with it a secret.
const SYNTAX: Readonly<Record<string, readonly [message: string, fix: string]>> = {
  BAD_INDENT: [
    "the indentation is wrong, or a bracket is never closed",
    "indent with the same number of spaces as the lines beside it, and close [ and {",
  ],
  BAD_SCALAR_START: ["a plain value can't start with this character", "quote the value"],
  BAD_DQ_ESCAPE: ["a backslash in double quotes starts no known escape", "double the backslash, or use single quotes"],
  BLOCK_AS_IMPLICIT_KEY: ['a value holds ": ", or this line is indented too far', "quote the value, or mend the indentation"],
  MISSING_CHAR: ["a quote, comma or bracket is missing", "close what was opened"],
  MULTILINE_IMPLICIT_KEY: ["a key must stand on one line", "mend the indentation, or write key: value"],
  TAB_AS_INDENT: ["a tab indents this line", "indent with spaces"],
  TAG_RESOLVE_FAILED: ["a value that starts with ! is a YAML tag, and this one is unknown", "quote the value"],
  UNEXPECTED_TOKEN: ["this can't stand here", "quote values that hold special characters, and close what was opened"],
};
