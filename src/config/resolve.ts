// From a document with places to the plain value that zod checks: references are followed once here, so that an unset
// variable is found before anything starts. Credentials are followed again at every use (credential).

import { isAbsolute, resolve } from "node:path";

import * as z from "zod";

import { TailraceError } from "../core/errors.ts";
import { pathText, valueAt, type Path, type Placed } from "./document.ts";
import type { ConfigIssue } from "./issue.ts";
import { fillTemplate, type Part, type ReferenceProblem, type Surroundings } from "./reference.ts";
import { schemaAt, schemas, secretLeaves, type Kind } from "./schema.ts";
import { Secret } from "./secret.ts";

/** One document of a known kind. */
export type Resolved = {
  readonly kind: Kind;
  readonly root: Placed;
  /** With every reference replaced. Holds credentials: it goes to zod and nowhere else. */
  readonly plain: unknown;
  readonly issues: readonly ConfigIssue[];
};

/** Follows every reference of the document, except under keys that do not exist. */
export function resolveDocument(kind: Kind, root: Placed, surroundings: Surroundings): Resolved {
  const issues: ConfigIssue[] = [];
  const plainOf = (placed: Placed, path: Path): unknown => {
    if (placed.kind === "map") return Object.fromEntries([...placed.entries].map(([key, value]) => [key, plainOf(value, [...path, key])]));
    if (placed.kind === "list") return placed.items.map((item, index) => plainOf(item, [...path, index]));
    const schema = schemaAt(schemas[kind], path);
    if (schema === null) return null; // no such key: zod says so, and its value matters no more
    const value = placed.kind === "scalar" ? placed.value : fillTemplate(placed.parts, surroundings);
    const problem = typeof value === "string" ? pemProblem(value, schema, surroundings) : isProblem(value) ? value : null;
    if (problem !== null) {
      const { code, seen, message, fix } = problem;
      issues.push({ at: placed.at, code, path: pathText(path), seen, allowed: [], nearest: null, message, fix });
      return null;
    }
    const literal = placed.kind === "scalar" || placed.parts.every((part) => part.kind === "text");
    return literal || typeof value !== "string" ? value : typed(value, schema);
  };
  return { kind, root, plain: plainOf(root, []), issues };
}

/** The text at a path with its references followed, null when there is none or it is no text. */
export function textAt(document: Resolved, path: Path): string | null {
  const at = plainAt(document, path);
  return typeof at === "string" ? at : null;
}

/** The value at a path with its references followed; undefined when there is none. */
export function plainAt(document: Resolved, path: Path): unknown {
  let at: unknown = document.plain;
  for (const step of path) {
    if (typeof at !== "object" || at === null) return undefined;
    at = (at as Readonly<Record<string, unknown>>)[step];
  }
  return at;
}

/**
 * The credential at a path that was checked to be there. `owner` names the document in the error that `reveal` throws
 * when a variable or file has gone since; that error never holds the value.
 */
export function credential(document: Resolved, path: Path, owner: string, surroundings: Surroundings): Secret {
  const placed = valueAt(document.root, path);
  const parts: readonly Part[] =
    placed?.kind === "template" ? placed.parts : [{ kind: "text", text: placed?.kind === "scalar" ? String(placed.value) : "" }];
  const pem = isPem(schemaAt(schemas[document.kind], path));
  return new Secret(() => {
    const text = fillTemplate(parts, surroundings);
    const value = typeof text === "string" && pem ? pemText(text, surroundings) : text;
    if (typeof value === "string") return value;
    throw new TailraceError("SECRET_UNREADABLE", { path: pathText(path), owner, reason: value.message });
  });
}

/** The text of a quoted scalar with its references followed; null when that is not possible or it is no scalar. */
export function scalarText(placed: Placed | undefined, surroundings: Surroundings): string | null {
  if (placed?.kind === "scalar") return typeof placed.value === "string" ? placed.value : null;
  if (placed?.kind !== "template") return null;
  const text = fillTemplate(placed.parts, surroundings);
  return typeof text === "string" ? text : null;
}

/** A reference may stand where a number or a boolean belongs: "${PARTITIONS:-4}". */
function typed(text: string, schema: z.core.$ZodType): string | number | boolean {
  const options = schema instanceof z.ZodUnion ? schema.options : [schema];
  if (options.some((option) => option instanceof z.ZodNumber) && /^-?\d{1,15}$/.test(text)) return Number(text);
  if (options.some((option) => option instanceof z.ZodBoolean) && (text === "true" || text === "false")) return text === "true";
  return text;
}

function isPem(schema: z.core.$ZodType | null): boolean {
  return schema !== null && secretLeaves.get(schema)?.pem === true;
}

function pemProblem(value: string, schema: z.core.$ZodType | null, surroundings: Surroundings): ReferenceProblem | null {
  if (!isPem(schema) || value === "") return null;
  const text = pemText(value, surroundings);
  return typeof text === "string" ? null : text;
}

/** PEM text as it is; anything else is the path of a file that holds it. */
function pemText(value: string, { dir, readFile }: Surroundings): string | ReferenceProblem {
  if (value.includes("-----BEGIN")) return value;
  const path = isAbsolute(value) ? value : resolve(dir, value);
  try {
    return readFile(path);
  } catch {
    return {
      code: "missing_file",
      seen: "[secret]",
      // Not the path: a key pasted without its header would be shown.
      message: "the PEM file that this names can't be read",
      fix: "correct the path, which is relative to this file, and let the user that runs Tailrace read it",
    };
  }
}

function isProblem(value: string | number | boolean | null | ReferenceProblem): value is ReferenceProblem {
  return typeof value === "object" && value !== null;
}
