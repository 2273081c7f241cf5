// What is wrong with a configuration, and where: a finding per problem, and the one error that carries them all.

import { TailraceError } from "../core/errors.ts";

/** A place in a file, both counted from 1. `line` 0 speaks of the file or folder as a whole. */
export type Place = { readonly file: string; readonly line: number; readonly column: number };

export const issueCodes = [
  "not_a_folder",
  "no_documents",
  "unreadable_file",
  "yaml_syntax",
  "duplicate_key",
  "unquoted_reference",
  "bad_reference",
  "unset_variable",
  "missing_file",
  "unknown_kind",
  "unknown_key",
  "missing_key",
  "wrong_type",
  "invalid_value",
  "choose_one",
  "not_in_this_version",
  "duplicate_name",
  "duplicate_service",
  "no_such_source",
  "no_source",
  "needs_registry",
] as const;
export type ConfigIssueCode = (typeof issueCodes)[number];

/** One problem. No part of it ever holds a secret: `seen` is masked before it gets here. */
export type ConfigIssue = {
  readonly at: Place;
  readonly code: ConfigIssueCode;
  /** The key's way from the document's root, as in `tables[0].mode`; empty for the document. */
  readonly path: string;
  readonly seen: string;
  readonly allowed: readonly string[];
  /** The nearest right spelling. */
  readonly nearest: string | null;
  /** One line that says what is wrong, without the place. */
  readonly message: string;
  /** What to do, one sentence. */
  readonly fix: string;
};

/** Every problem of a configuration at once; exit code 2. */
export class ConfigError extends TailraceError {
  readonly issues: readonly ConfigIssue[];

  constructor(issues: readonly ConfigIssue[]) {
    super("CONFIG_INVALID", { count: issues.length });
    this.issues = [...issues].sort(byPlace);
    this.message = `${this.message}\n${this.issues.map(renderIssue).join("\n")}`;
  }

  /** A configuration has places of its own; it stays the same error. */
  override at(): this {
    return this;
  }

  override toJSON(): Record<string, unknown> {
    return { ...super.toJSON(), issues: this.issues };
  }
}

/** `shop.yaml:14:5: unknown key chunk_row, did you mean chunk_rows? (allowed: …)`, the fix indented below. */
export function renderIssue(issue: ConfigIssue): string {
  const { file, line, column } = issue.at;
  return `${line === 0 ? file : `${file}:${line}:${column}`}: ${issue.message}\n    fix: ${issue.fix}`;
}

function byPlace(a: ConfigIssue, b: ConfigIssue): number {
  if (a.at.file !== b.at.file) return a.at.file < b.at.file ? -1 : 1;
  return a.at.line - b.at.line || a.at.column - b.at.column;
}
