// From a folder of YAML files to a checked configuration, or to everything that is wrong with it at once.

import { readFileSync } from "node:fs";
import { readdir, readFile, stat } from "node:fs/promises";
import { join, resolve } from "node:path";

import type * as z from "zod";

import { buildConfig, type Checked } from "./build.ts";
import { checkDocuments } from "./check.ts";
import type { LoadedConfig } from "./config.ts";
import { parseDocuments, pathText, placeOf, valueAt, type Placed } from "./document.ts";
import { ConfigError, type ConfigIssue, type ConfigIssueCode } from "./issue.ts";
import { nearestWord } from "./nearest.ts";
import { issue, issuesOf, spelling } from "./problem.ts";
import type { Surroundings } from "./reference.ts";
import { resolveDocument, scalarText, type Resolved } from "./resolve.ts";
import { kinds, serviceSchema, sinkSchema, sourceSchema, type Kind } from "./schema.ts";

/** A file of a configuration: the name that issues carry, and its text. */
export type ConfigFile = { readonly name: string; readonly text: string };

/**
 * Reads every `*.yaml` and `*.yml` of the folder, in the order of their names. Relative paths in them start at the
 * folder. Throws ConfigError with every problem found; `env` is kept, and read again whenever a Secret is revealed.
 */
export async function loadConfig(dir: string, env: NodeJS.ProcessEnv): Promise<LoadedConfig> {
  const { files, issues } = await readFolder(dir);
  const surroundings: Surroundings = { dir: resolve(dir), env, readFile: (path) => readFileSync(path, "utf8") };
  if (files.length === 0) throw new ConfigError(issues);
  return parseConfig(files, surroundings, { dir, issues });
}

/** The same for texts that are already read. `before` holds the folder as the user wrote it, and what went wrong in reading. */
export function parseConfig(
  files: readonly ConfigFile[],
  surroundings: Surroundings,
  before: { readonly dir: string; readonly issues: readonly ConfigIssue[] } = { dir: surroundings.dir, issues: [] },
): LoadedConfig {
  const issues: ConfigIssue[] = [...before.issues];
  const report = (found: readonly ConfigIssue[]): void => void issues.push(...withoutEchoes(found, issues));
  const checked: Checked[] = [];
  const resolved: Resolved[] = [];
  let complete = before.issues.length === 0;
  for (const file of files) {
    const parsed = parseDocuments(file.name, file.text);
    report(parsed.issues);
    complete &&= parsed.complete;
    for (const root of parsed.documents) {
      const kind = kindOf(root, surroundings, issues);
      if (kind === null) {
        complete = false;
        continue;
      }
      const document = resolveDocument(kind, root, surroundings);
      resolved.push(document);
      report(document.issues);
      const result = checkShape(document);
      if ("value" in result) checked.push(result);
      else report(result.issues);
    }
  }
  report(checkDocuments(resolved, before.dir, complete));
  if (issues.length > 0) throw new ConfigError(issues);
  return buildConfig(checked, surroundings);
}

/** What a stage found, less what only follows from an earlier finding about the same value, or from a misspelt key. */
function withoutEchoes(found: readonly ConfigIssue[], before: readonly ConfigIssue[]): readonly ConfigIssue[] {
  const about = ({ at, path }: ConfigIssue): string => `${at.file}:${at.line}:${at.column} ${path}`;
  const told = new Set(before.map(about));
  return found.filter((one) => {
    if (told.has(about(one))) return false;
    if (one.code !== "missing_key") return true;
    const parent = one.path.slice(0, one.path.lastIndexOf(".") + 1);
    return !found.some(
      (other) => other.code === "unknown_key" && other.at.file === one.at.file && parent + String(other.nearest) === one.path,
    );
  });
}

function checkShape(document: Resolved): Checked | { readonly issues: readonly ConfigIssue[] } {
  const { kind, plain } = document;
  const refused = (error: { readonly issues: readonly z.core.$ZodIssue[] }): { readonly issues: readonly ConfigIssue[] } => ({
    issues: error.issues.flatMap((found) => issuesOf(found, document)),
  });
  // The same three lines a kind, so that each value keeps its type.
  switch (kind) {
    case "service": {
      const result = serviceSchema.safeParse(plain);
      return result.success ? { kind, document, value: result.data } : refused(result.error);
    }
    case "source": {
      const result = sourceSchema.safeParse(plain);
      return result.success ? { kind, document, value: result.data } : refused(result.error);
    }
    case "sink": {
      const result = sinkSchema.safeParse(plain);
      return result.success ? { kind, document, value: result.data } : refused(result.error);
    }
  }
}

function kindOf(root: Placed, surroundings: Surroundings, issues: ConfigIssue[]): Kind | null {
  const refuse = (code: ConfigIssueCode, path: readonly string[], seen: string, nearest: string | null, message: string): null => {
    const fix = `write kind: ${nearest ?? kinds.join(", kind: or ").replace("kind: or ", "")}`;
    issues.push(issue(code, placeOf(root, path), path, { seen, allowed: kinds, nearest, message, fix }));
    return null;
  };
  if (root.kind !== "map")
    return refuse("wrong_type", [], root.kind === "list" ? "a list" : "a text", null, "a document is a map that starts with kind");
  const placed = valueAt(root, ["kind"]);
  if (placed === undefined) return refuse("missing_key", ["kind"], "nothing", null, `missing key kind (allowed: ${kinds.join(", ")})`);
  const text = scalarText(placed, surroundings) ?? "";
  const kind = kinds.find((one) => one === text);
  if (kind !== undefined) return kind;
  const nearest = nearestWord(text, kinds);
  return refuse("unknown_kind", ["kind"], JSON.stringify(text), nearest, `unknown kind ${JSON.stringify(text)}${spelling(nearest, kinds)}`);
}

async function readFolder(dir: string): Promise<{ readonly files: readonly ConfigFile[]; readonly issues: readonly ConfigIssue[] }> {
  const whole = (file: string, code: ConfigIssueCode, message: string, fix: string): ConfigIssue =>
    issue(code, { file, line: 0, column: 0 }, [], { seen: pathText([file]), message, fix });
  const info = await stat(dir).catch(() => null);
  if (info === null)
    return { files: [], issues: [whole(dir, "not_a_folder", "there is no such folder", "name the folder that holds the *.yaml files")] };
  if (!info.isDirectory()) {
    return {
      files: [],
      issues: [whole(dir, "not_a_folder", "this is a file, not a folder", "name the folder that holds it; every *.yaml in it is read")],
    };
  }
  const unreadable = (file: string, cause: unknown): ConfigIssue => {
    const reason = cause instanceof Error && "code" in cause ? String(cause.code) : "it is no UTF-8 text";
    return whole(file, "unreadable_file", `it can't be read (${reason})`, "let the user that runs Tailrace read it, as a text in UTF-8");
  };
  const issues: ConfigIssue[] = [];
  let names: readonly string[];
  try {
    names = (await readdir(dir)).filter((name) => /\.ya?ml$/i.test(name) && !name.startsWith(".")).sort();
  } catch (cause) {
    return { files: [], issues: [unreadable(dir, cause)] };
  }
  const files: ConfigFile[] = [];
  for (const name of names) {
    const path = join(dir, name);
    try {
      files.push({ name: path, text: new TextDecoder("utf-8", { fatal: true }).decode(await readFile(path)) });
    } catch (cause) {
      issues.push(unreadable(path, cause));
    }
  }
  if (names.length === 0)
    issues.push(whole(dir, "no_documents", "no *.yaml or *.yml in this folder", "put the configuration there, as in connectors/"));
  return { files, issues };
}
