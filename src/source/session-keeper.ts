// A worker's database session: opened when it is first asked for, and anew after close().
import { setMaxListeners } from "node:events";
import { ChunkMemory } from "../postgres/snapshot-rows.ts";
import { openSnapshotSession, type SnapshotLimits } from "../postgres/snapshot-session.ts";
import type { ConnectionSettings, Session } from "../postgres/session.ts";

/** A session that has nothing to do is closed after this, ms. */
const IDLE_MS = 5_000;
export const SNAPSHOT_LIMITS: SnapshotLimits = { lockMs: 3_000, statementMs: 300_000, idleMs: 60_000 };

/** Each worker's session listens to the signal, and what the worker waits for. Beyond ten Node warns of a leak. */
export function allowListeners(workers: number, signal: AbortSignal): void {
  setMaxListeners(4 * workers, signal);
}

export class SessionKeeper implements AsyncDisposable {
  /** Of its chunks, of which one is read at a time. */
  memory = new ChunkMemory();
  readonly #settings: ConnectionSettings;
  readonly #signal: AbortSignal;
  #session: Session | null = null;
  #usedAt = 0;

  constructor(settings: ConnectionSettings, signal: AbortSignal) {
    this.#settings = settings;
    this.#signal = signal;
  }

  async session(): Promise<Session> {
    this.#session ??= await openSnapshotSession(this.#settings, SNAPSHOT_LIMITS, this.#signal);
    this.#usedAt = performance.now();
    return this.#session;
  }

  async close(): Promise<void> {
    const session = this.#session;
    this.#session = null;
    this.memory = new ChunkMemory();
    await session?.[Symbol.asyncDispose]();
  }

  async closeWhenIdle(): Promise<void> {
    if (this.#session !== null && performance.now() - this.#usedAt > IDLE_MS) await this.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}
