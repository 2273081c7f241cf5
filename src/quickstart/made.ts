// What the quickstart makes in a database of the reader's: a publication and, for as long as its connection lasts, a slot of
// the same name. Whoever ends last takes the publication away.
import { randomBytes } from "node:crypto";
import { pause } from "../core/pause.ts";
import { dropPublication } from "../postgres/publication.ts";
import { quoteLiteral, Session } from "../postgres/session.ts";

/** `url` holds a secret. */
export type Made = { readonly url: string; readonly name: string };

const NAME = /^tailrace_quickstart_[0-9a-f]{12}$/;
/** A walsender whose client is gone, or says goodbye, ends within moments, ms. */
const SLOT_GOES_MS = 2_000;
const LOOK_MS = 50;

/** A name that nobody has. */
export function newName(): string {
  return `tailrace_quickstart_${randomBytes(6).toString("hex")}`;
}

/** Whether newName() may have given it. */
export function isOurName(name: unknown): name is string {
  return typeof name === "string" && NAME.test(name);
}

/**
 * Drops the publication; nothing happens when it is not there. False when a connection still holds the slot: it has been
 * told to end. Throws what Session throws.
 */
export async function removeMade({ url, name }: Made, signal: AbortSignal): Promise<boolean> {
  await using session = await Session.open({ url, applicationName: "tailrace quickstart" }, signal);
  await dropPublication(session, name);
  const slot = `FROM pg_replication_slots WHERE slot_name = ${quoteLiteral(name)}`;
  for (const deadline = performance.now() + SLOT_GOES_MS; performance.now() < deadline; await pause(LOOK_MS, signal)) {
    if ((await session.query(`SELECT ${slot}`)).length === 0) return true;
  }
  await session.query(`SELECT pg_terminate_backend(active_pid) ${slot} AND temporary`);
  return false;
}
