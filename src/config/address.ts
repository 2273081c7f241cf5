// What may be said of a URL that holds credentials.

import type { Secret } from "./secret.ts";

/** Whether the text is a URL that a PostgreSQL client can use. */
export function isPostgresUrl(text: string): boolean {
  const url = parse(text);
  if (url === null || !/^postgres(ql)?:$/.test(url.protocol)) return false;
  if (url.hostname === "" && url.searchParams.get("host") === null) return false;
  try {
    // A client decodes these; a stray % would fail there, in a message that shows the password.
    decodeURIComponent(url.username + url.password + url.pathname);
    return true;
  } catch {
    return false;
  }
}

/**
 * `host:port/database` of a PostgreSQL URL, `host:port` of another: an address for messages, never with credentials or
 * parameters. Never throws; an address that can't be told is `[unknown address]`.
 */
export function printableAddress(url: Secret | string): string {
  let text: string;
  try {
    text = typeof url === "string" ? url : url.reveal();
  } catch {
    return UNKNOWN; // its variable or file is gone; whoever connects with it says so
  }
  const parsed = parse(text);
  if (parsed === null) return UNKNOWN;
  const database = /^postgres(ql)?:$/.test(parsed.protocol);
  const host = (database ? parsed.searchParams.get("host") : null) ?? parsed.hostname;
  if (host === "") return UNKNOWN;
  const port = parsed.port || (database ? (parsed.searchParams.get("port") ?? "5432") : parsed.protocol === "https:" ? "443" : "80");
  return `${host}:${port}${database ? safeDecode(parsed.pathname) : ""}`;
}

const UNKNOWN = "[unknown address]";

function parse(text: string): URL | null {
  return URL.canParse(text) ? new URL(text) : null;
}

function safeDecode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
