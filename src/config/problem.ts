// zod's findings in an operator's words: where, what was seen, what is allowed, what was probably meant.

import * as z from "zod";

import { keyPlaceOf, pathText, valueAt, type Path, type Placed } from "./document.ts";
import type { ConfigIssue, ConfigIssueCode, Place } from "./issue.ts";
import { isLaterKey, isLaterValue, laterKeysUnder, mustWriteOut } from "./later.ts";
import { nearestWord } from "./nearest.ts";
import { maskedTemplate } from "./reference.ts";
import { schemaAt, schemas, secretLeaves, type Kind } from "./schema.ts";

type Found = { readonly kind: Kind; readonly root: Placed };

/** The issues that one finding of zod stands for; `base` is the path of the union that it was found in. */
export function issuesOf(found: z.core.$ZodIssue, document: Found, base: Path = []): readonly ConfigIssue[] {
  const path: Path = [...base, ...found.path.map((step) => (typeof step === "number" ? step : String(step)))];
  const placed = valueAt(document.root, path);
  if (found.code === "unrecognized_keys") return found.keys.map((key) => unknownKey(document, path, key));
  if (placed === undefined) return [missingKey(document, path)];
  if (found.code === "invalid_union") {
    const branch = found.errors.find((errors) => !errors.some((error) => error.code === "invalid_type" && error.path.length === 0));
    return branch === undefined ? [wrongType(document, path, placed, "")] : branch.flatMap((inner) => issuesOf(inner, document, path));
  }
  if (found.code === "invalid_type") return [wrongType(document, path, placed, found.message)];
  if (found.code === "invalid_value") return [invalidChoice(document, path, placed, found.values.map(String))];
  const seen = seenOf(document, path, placed);
  const problem = found.code === "custom" && found.params?.problem === true;
  const message = `${pathText(path)} is ${seen}${problem ? ": " : ", allowed: "}${found.message}`;
  return [
    issue("invalid_value", placed.at, path, {
      seen,
      allowed: [found.message],
      message,
      fix: problem ? found.message : `write ${found.message}`,
    }),
  ];
}

/** A finding, with what most have in common filled in. */
export function issue(
  code: ConfigIssueCode,
  at: Place,
  path: Path,
  rest: Pick<ConfigIssue, "seen" | "message" | "fix"> & Partial<Pick<ConfigIssue, "allowed" | "nearest">>,
): ConfigIssue {
  return { at, code, path: pathText(path), allowed: [], nearest: null, ...rest };
}

/** A value as it may be shown: never a credential, and references by their names only. */
export function seenOf({ kind, root }: Found, path: Path, placed: Placed | undefined = valueAt(root, path)): string {
  if (placed === undefined) return "nothing";
  if (placed.kind === "map") return "a map";
  if (placed.kind === "list") return "a list";
  if (placed.kind === "scalar" && placed.value === null) return "nothing";
  const leaf = schemaAt(schemas[kind], path);
  if (leaf !== null && secretLeaves.has(leaf)) return "[secret]";
  if (placed.kind === "scalar" && typeof placed.value !== "string") return String(placed.value);
  return JSON.stringify(masked(placed.kind === "template" ? maskedTemplate(placed.parts) : String(placed.value)));
}

/** `did you mean …` and the allowed words, for a misspelt word. */
export function spelling(nearest: string | null, allowed: readonly string[]): string {
  return `${nearest === null ? "" : `, did you mean ${nearest}?`} (allowed: ${allowed.join(", ")})`;
}

function unknownKey(document: Found, path: Path, key: string): ConfigIssue {
  const here = [...path, key];
  const at = keyPlaceOf(document.root, here);
  const schema = schemaAt(schemas[document.kind], path);
  const allowed = keysOf(schema);
  if (isLaterKey(document.kind, here)) {
    const message = `\`${pathText(here)}\` is not in this version`;
    return issue("not_in_this_version", at, here, { seen: key, allowed, message, fix: "take it out" });
  }
  const nearest = nearestWord(key, allowed);
  const later = nearest === null ? nearestWord(key, laterKeysUnder(document.kind, path)) : null;
  if (later !== null) {
    const message = `unknown key ${key}, did you mean ${later}? That one is not in this version (allowed: ${allowed.join(", ")})`;
    return issue("unknown_key", at, here, { seen: key, allowed, nearest: later, message, fix: "take it out" });
  }
  const fix = nearest === null ? "take it out, or write one of the allowed keys" : `rename it to ${nearest}`;
  return issue("unknown_key", at, here, { seen: key, allowed, nearest, message: `unknown key ${key}${spelling(nearest, allowed)}`, fix });
}

function missingKey(document: Found, path: Path): ConfigIssue {
  const parent = path.slice(0, -1);
  const key = String(path.at(-1));
  const at = keyPlaceOf(document.root, parent);
  const leaf = schemaAt(schemas[document.kind], path);
  const allowed = leaf instanceof z.ZodEnum ? leaf.options.map(String) : [];
  const where = parent.length === 0 ? "" : ` in ${pathText(parent)}`;
  const written = mustWriteOut(document.kind, path);
  const why = written === null ? "" : `: ${written.why}`;
  return issue("missing_key", at, path, {
    seen: "nothing",
    allowed,
    message: `missing key ${key}${where}${why}`,
    fix: `add ${written?.line ?? `${key}: ${leaf instanceof z.ZodObject ? `{ ${keysOf(leaf).join(", ")} }` : "…"}`}`,
  });
}

function wrongType(document: Found, path: Path, placed: Placed, fallback: string): ConfigIssue {
  const schema = schemaAt(schemas[document.kind], path);
  const expected = expectedOf(schema, fallback);
  const takesText = schema instanceof z.ZodString;
  // Where a map or a list belongs, and in a credential's place, the kind of value is enough: a password may stand there by mistake.
  const bare = !(schema instanceof z.ZodNumber || schema instanceof z.ZodBoolean || takesText) || secretLeaves.has(schema);
  const seen = bare ? kindOfValue(placed) : seenOf(document, path, placed);
  const quote = takesText && placed.kind === "scalar" && placed.value !== null;
  return issue("wrong_type", placed.at, path, {
    seen,
    allowed: [expected],
    message: `${pathText(path) || "the document"} is ${seen}, allowed: ${expected}`,
    fix: quote ? "put the value in quotes" : schema instanceof z.ZodArray ? "write a list: [ … ]" : `write ${expected}`,
  });
}

function invalidChoice(document: Found, path: Path, placed: Placed, allowed: readonly string[]): ConfigIssue {
  const seen = seenOf(document, path, placed);
  const word = seen.startsWith('"') ? (JSON.parse(seen) as string) : seen;
  if (isLaterValue(document.kind, path, word)) {
    const message = `\`${pathText(path)}: ${word}\` is not in this version (allowed: ${allowed.join(", ")})`;
    return issue("not_in_this_version", placed.at, path, {
      seen,
      allowed,
      message,
      fix: `write ${String(path.at(-1))}: ${allowed.join(" or ")}`,
    });
  }
  const nearest = nearestWord(word, allowed);
  const fix = `write ${nearest ?? allowed.join(" or ")}`;
  return issue("invalid_value", placed.at, path, {
    seen,
    allowed,
    nearest,
    message: `${pathText(path)} is ${seen}${spelling(nearest, allowed)}`,
    fix,
  });
}

function keysOf(schema: z.core.$ZodType | null): readonly string[] {
  const object = schema instanceof z.ZodUnion ? schema.options.find((option) => option instanceof z.ZodObject) : schema;
  return object instanceof z.ZodObject ? Object.keys(object.shape) : [];
}

function expectedOf(schema: z.core.$ZodType | null, fallback: string): string {
  if (schema instanceof z.ZodUnion) return schema.options.map((option) => expectedOf(option, fallback)).join(", or ");
  if (schema instanceof z.ZodObject) return `a map of ${keysOf(schema).join(", ")}`;
  if (schema instanceof z.ZodRecord) return "a map";
  if (schema instanceof z.ZodArray) return "a list";
  if (schema instanceof z.ZodBoolean) return "true or false";
  if (schema instanceof z.ZodNumber) return fallback;
  return "a text";
}

function kindOfValue(placed: Placed): string {
  if (placed.kind === "map") return "a map";
  if (placed.kind === "list") return "a list";
  if (placed.kind === "template" || typeof placed.value === "string") return "a text";
  if (placed.value === null) return "nothing";
  return typeof placed.value === "number" ? "a number" : "true or false";
}

/** A credential in a place that is not made for one: in a URL, or as password=…. Long values are cut. */
function masked(text: string): string {
  const clean = text.replace(/:\/\/\S*@/g, "://[secret]@").replace(/\b(pass\w*|pwd|secret|token)(\s*[=:]\s*)\S+/gi, "$1$2[secret]");
  return clean.length > 80 ? `${clean.slice(0, 80)}…` : clean;
}
