// What may be printed. Secrets are known by the names of their keys and by the look of connection strings; Secret values
// hide themselves. A last line of defence: errors and log lines should not be given secrets in the first place.
import { TailraceError } from "../core/errors.ts";

const MASK = "[secret]";
const SECRET_KEY = /^(.*_)?(url|uri|dsn|auth|authorization|credentials?|private_key|token|pepper)$|passw(or)?d|secret|connection_?string/i;

/** user:password in a URL, up to the last @ before white space or a quote; JSON's escapes included. */
const URL_CREDENTIALS = /([a-z][a-z0-9+.-]*:\/\/)(?:\\.|[^\s"'\\])*@/gi;
const NAMED_SECRET = /\b([a-z_]*(?:password|passwd|secret|token))=(?:\\.|[^\s&"'\\])+/gi;
const DEPTH = 6;

/** The text without credentials of URLs and `password=…`. */
export function redactText(text: string): string {
  return text.replace(URL_CREDENTIALS, `$1${MASK}@`).replace(NAMED_SECRET, `$1=${MASK}`);
}

/** A copy fit for JSON: secret-like keys masked at any depth, errors as errorJson has them, bigints as text. */
export function redactFields(fields: object): Record<string, unknown> {
  return copyOf(fields, 0) as Record<string, unknown>;
}

/**
 * An error for a log line or an API: a TailraceError's own JSON, and of what caused it name, code and message only (other
 * properties hold whole connection strings). Stacks only of errors that nobody expected.
 */
export function errorJson(error: Error): Record<string, unknown> {
  if (!(error instanceof TailraceError)) return { ...brief(error), stack: error.stack };
  const { cause } = error;
  if (!(cause instanceof Error)) return error.toJSON();
  return { ...error.toJSON(), cause: { ...brief(cause), ...(error.code === "UNEXPECTED" ? { stack: cause.stack } : {}) } };
}

function brief(error: Error): Record<string, unknown> {
  const code = (error as { readonly code?: unknown }).code;
  return { name: error.name, ...(typeof code === "string" || typeof code === "number" ? { code } : {}), message: error.message };
}

function copyOf(value: unknown, depth: number): unknown {
  if (typeof value === "bigint") return value.toString();
  if (typeof value !== "object" || value === null) return value;
  if (value instanceof Error) return errorJson(value);
  if (depth === DEPTH) return "[deeper]";
  if (Array.isArray(value)) return value.map((item) => copyOf(item, depth + 1));
  if ("toJSON" in value && typeof value.toJSON === "function") return (value.toJSON as () => unknown)();
  return Object.fromEntries(
    Object.entries(value).map(([key, item]) => [key, SECRET_KEY.test(key) && item !== undefined ? MASK : copyOf(item, depth + 1)]),
  );
}
