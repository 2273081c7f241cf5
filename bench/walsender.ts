// The processes of PostgreSQL's that serve a slot. Debezium's first connection looks for its place and ends; its second one streams.
import { setTimeout as sleep } from "node:timers/promises";
import type pg from "pg";
import { ProcessMeter } from "./process-meter.ts";

const START_MS = 60_000;
const POLL_MS = 50;

export class WalsenderMeter {
  readonly #client: pg.Client;
  readonly #slot: string;
  readonly #meters = new Map<number, ProcessMeter>();
  readonly #timer: NodeJS.Timeout;
  #stopped = false;

  private constructor(client: pg.Client, slot: string) {
    this.#client = client;
    this.#slot = slot;
    this.#timer = setInterval(() => void this.#look().catch(() => undefined), POLL_MS); // the next look is as good
  }

  /** As soon as somebody reads the slot. */
  static async of(client: pg.Client, slot: string): Promise<WalsenderMeter> {
    const meter = new WalsenderMeter(client, slot);
    for (const deadline = performance.now() + START_MS; performance.now() < deadline; await sleep(10)) {
      await meter.#look();
      if (meter.#meters.size > 0) return meter;
    }
    meter.stop();
    throw new Error(`nobody reads slot ${slot}`);
  }

  /** Of all of them, since each began, as last seen. */
  get totalCpuSeconds(): number {
    return [...this.#meters.values()].reduce((sum, { totalCpuSeconds }) => sum + totalCpuSeconds, 0);
  }

  stop(): void {
    this.#stopped = true;
    clearInterval(this.#timer);
    for (const meter of this.#meters.values()) meter.stop();
  }

  async #look(): Promise<void> {
    const text = "SELECT active_pid AS pid FROM pg_replication_slots WHERE slot_name = $1";
    const { rows } = await this.#client.query<{ pid: number | null }>(text, [this.#slot]);
    const pid = rows[0]?.pid ?? null;
    if (pid !== null && !this.#stopped && !this.#meters.has(pid)) this.#meters.set(pid, new ProcessMeter(pid));
  }
}
