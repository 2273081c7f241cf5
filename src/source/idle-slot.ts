// What the server keeps for a source that does not run: nobody reads its slot, and its WAL fills the disk.
import { parseLsn } from "../core/lsn.ts";
import { backoffMs, pause } from "../core/pause.ts";
import { Session } from "../postgres/session.ts";
import { readSlot, walOf } from "../postgres/slot.ts";
import type { SourceObserver, SourceOptions } from "./parts.ts";

/** How often, ms: a connection each. Of a server that does not answer less often. */
const LOOK_EVERY_MS = 5_000;
const UNANSWERED = { firstMs: LOOK_EVERY_MS, maxMs: 60_000 } as const;

/** Looks until the signal aborts, and tells what it sees; of a slot that is gone that nothing is kept. Never rejects. */
export async function watchIdleSlot(
  options: Pick<SourceOptions, "name" | "url" | "slot">,
  tell: SourceObserver["wal"],
  signal: AbortSignal,
): Promise<void> {
  for (let failures = 0; !signal.aborted;) {
    try {
      await look(options, tell, signal);
      failures = 0;
    } catch {
      failures += 1; // why it does not run, or that it is paused, is what its status says
    }
    await pause(failures === 0 ? LOOK_EVERY_MS : backoffMs(failures, UNANSWERED, Math.random()), signal);
  }
}

async function look(
  { name, url, slot: slotName }: Pick<SourceOptions, "name" | "url" | "slot">,
  tell: SourceObserver["wal"],
  signal: AbortSignal,
): Promise<void> {
  await using session = await Session.open({ url: url(), applicationName: `tailrace ${name}` }, signal);
  const slot = await readSlot(session, slotName);
  if (slot === null) return tell(0, 0, null);
  const [row] = await session.query("SELECT pg_current_wal_lsn()::text AS lsn");
  tell(...walOf(slot, parseLsn(row?.lsn ?? "0/0")));
}
