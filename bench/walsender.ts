// The processes of PostgreSQL's that serve a slot. Debezium's first connection looks for its place and ends; its second one streams.
import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";
import { ProcessMeter } from "./process-meter.ts";

/** Between two looks for the first one, which may be over soon, and for another. */
const FIRST_MS = 5;
const NEXT_MS = 50;

export class WalsenderMeter {
  readonly #slot: string;
  readonly #meters = new Map<number, ProcessMeter>();
  #stopped = false;

  private constructor(slot: string) {
    this.#slot = slot;
  }

  /** Looks through a connection of its own until stopped; to be opened before the one that reads. */
  static async open(url: string, slot: string): Promise<WalsenderMeter> {
    const client = new pg.Client({ connectionString: url });
    await client.connect();
    const meter = new WalsenderMeter(slot);
    void meter.#watch(client).catch(() => undefined); // those that were found go on being measured
    return meter;
  }

  /** Of all of them, since each began, as last seen. Throws when there was none. */
  get totalCpuSeconds(): number {
    if (this.#meters.size === 0) throw new Error(`nobody was seen to read slot ${this.#slot}`);
    return [...this.#meters.values()].reduce((sum, { totalCpuSeconds }) => sum + totalCpuSeconds, 0);
  }

  stop(): void {
    this.#stopped = true;
    for (const meter of this.#meters.values()) meter.stop();
  }

  async #watch(client: pg.Client): Promise<void> {
    for (; !this.#stopped; await sleep(this.#meters.size === 0 ? FIRST_MS : NEXT_MS)) await this.#look(client);
    await client.end();
  }

  async #look(client: pg.Client): Promise<void> {
    const text = "SELECT active_pid AS pid FROM pg_replication_slots WHERE slot_name = $1";
    const { rows } = await client.query<{ pid: number | null }>(text, [this.#slot]);
    const pid = rows[0]?.pid ?? null;
    if (pid !== null && !this.#stopped && !this.#meters.has(pid)) this.#meters.set(pid, new ProcessMeter(pid));
  }
}
