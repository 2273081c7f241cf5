// The process of PostgreSQL's that serves a slot.
import { setTimeout as sleep } from "node:timers/promises";
import type pg from "pg";
import { ProcessMeter } from "./process-meter.ts";

const START_MS = 60_000;

/** A meter of the walsender that serves a slot, as soon as there is one. */
export async function walsenderOf(client: pg.Client, slot: string): Promise<ProcessMeter> {
  const text = "SELECT active_pid AS pid FROM pg_replication_slots WHERE slot_name = $1";
  for (const deadline = performance.now() + START_MS; performance.now() < deadline; await sleep(10)) {
    const { rows } = await client.query<{ pid: number | null }>(text, [slot]);
    const pid = rows[0]?.pid ?? null;
    if (pid !== null) return new ProcessMeter(pid);
  }
  throw new Error(`nobody reads slot ${slot}`);
}
