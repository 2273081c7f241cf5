// References inside quoted scalars: ${NAME}, ${NAME:-default}, ${file:PATH}, and $$ for a dollar.
// They are replaced after YAML is parsed, so they move no line and can inject no YAML.

import { resolve } from "node:path";

/* template ::= (text | "$$" | reference)*
 * reference ::= "${" NAME [":-" default] "}" | "${file:" path "}"     default and path hold no "}"
 * A dollar that starts neither is itself. */
export type Part =
  | { readonly kind: "text"; readonly text: string }
  | { readonly kind: "variable"; readonly name: string; readonly fallback: string | null }
  /** `path` as written, relative to the folder of the configuration. */
  | { readonly kind: "file"; readonly path: string };

/** Where references are looked up. Injected, so that tests and the check of documents need no real environment. */
export type Surroundings = {
  /** The configuration's folder: relative paths start here. */
  readonly dir: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** The file's text; throws when it can't be read. */
  readonly readFile: (absolutePath: string) => string;
};

/** A reference that can't be followed now, or that is none. Its texts name the variable or file, never a value. */
export type ReferenceProblem = {
  readonly code: "bad_reference" | "unset_variable" | "missing_file";
  readonly seen: string;
  readonly message: string;
  readonly fix: string;
};

/** Whether a text holds something that a quoted scalar would replace. */
export function hasReference(text: string): boolean {
  return text.includes("${");
}

/** The parts of a quoted scalar, or what is wrong with its references. */
export function parseTemplate(text: string): readonly Part[] | ReferenceProblem {
  const parts: Part[] = [];
  let at = 0;
  let plain = "";
  while (at < text.length) {
    if (text.startsWith("$$", at)) {
      plain += "$";
      at += 2;
    } else if (text.startsWith("${", at)) {
      const end = text.indexOf("}", at);
      const inner = end === -1 ? null : text.slice(at + 2, end);
      const part = inner === null ? null : parseReference(inner);
      if (part === null) return badReference(inner);
      if (plain !== "") parts.push({ kind: "text", text: plain });
      plain = "";
      parts.push(part);
      at = end + 1;
    } else {
      plain += text.charAt(at);
      at += 1;
    }
  }
  if (plain !== "" || parts.length === 0) parts.push({ kind: "text", text: plain });
  return parts;
}

/** The text with every reference followed as of now, or the first one that can't be. */
export function fillTemplate(parts: readonly Part[], surroundings: Surroundings): string | ReferenceProblem {
  let text = "";
  for (const part of parts) {
    const value = valueOf(part, surroundings);
    if (typeof value !== "string") return value;
    text += value;
  }
  return text;
}

/** How a template may be shown: its references by name, without their defaults, which may be secrets too. */
export function maskedTemplate(parts: readonly Part[]): string {
  return parts
    .map((part) => {
      if (part.kind === "text") return part.text.replaceAll("$", "$$$$");
      if (part.kind === "file") return `\${file:${part.path}}`;
      return part.fallback === null ? `\${${part.name}}` : `\${${part.name}:-…}`;
    })
    .join("");
}

function parseReference(inner: string): Part | null {
  if (inner.startsWith("file:")) return inner === "file:" ? null : { kind: "file", path: inner.slice("file:".length) };
  const match = /^([A-Za-z_][A-Za-z0-9_]*)(?::-(.*))?$/s.exec(inner);
  return match === null ? null : { kind: "variable", name: match[1] ?? "", fallback: match[2] ?? null };
}

function badReference(inner: string | null): ReferenceProblem {
  return {
    code: "bad_reference",
    seen: "${…}",
    message: inner === null ? "a reference ${ is never closed" : "${…} is no reference",
    fix: "write ${NAME}, ${NAME:-default} or ${file:PATH}, and $${ for a dollar before a brace",
  };
}

function valueOf(part: Part, { dir, env, readFile }: Surroundings): string | ReferenceProblem {
  if (part.kind === "text") return part.text;
  if (part.kind === "variable") {
    const value = env[part.name];
    // As in a shell, `:-` also stands in for a variable that is set to nothing.
    if (part.fallback !== null && (value === undefined || value === "")) return part.fallback;
    if (value !== undefined) return value;
    return {
      code: "unset_variable",
      seen: `\${${part.name}}`,
      message: `environment variable ${part.name} is not set`,
      fix: `set ${part.name}, or give it a default: \${${part.name}:-default}`,
    };
  }
  const path = resolve(dir, part.path);
  try {
    return readFile(path).replace(/\r?\n$/, ""); // secrets written by an editor or echo end with a newline that is not theirs
  } catch (cause) {
    const reason = cause instanceof Error && "code" in cause ? String(cause.code) : "it can't be read";
    return {
      code: "missing_file",
      seen: `\${file:${part.path}}`,
      message: `file ${path} can't be read (${reason})`,
      fix: "create the file and let the user that runs Tailrace read it",
    };
  }
}
