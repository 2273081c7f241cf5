// One connector's life: started, ended (for good, or until an operator resumes it), started again. What it does meanwhile is
// its drive's business.
import { setMaxListeners } from "node:events";
import type { TailraceError } from "../core/errors.ts";
import type { Log } from "../core/log.ts";
import { supervise, type ConnectorStatus } from "../supervise.ts";
import { stateLogger, type ConnectorState } from "../telemetry/log.ts";

/** What a source or a sink does for its connector. */
export type Drive = {
  /** One run: until `stop` is aborted or an error; `force` ends it at once. Calls `running` when it does its work. */
  run(running: () => void, stop: AbortSignal, force: AbortSignal): Promise<void>;
  /** For status and metrics. */
  changed(status: ConnectorStatus): void;
  failed(error: TailraceError, waitedMs: number): void;
  /** After the last run: gives back what outlives runs, and takes its gauges out. */
  close(): Promise<void>;
};

/** How a connector may be made to end. */
export type Ending = "stopped" | "paused" | "dropped";

export class Connector {
  readonly name: string;
  readonly #drive: Drive;
  readonly #say: (state: ConnectorState, error?: TailraceError) => void;
  #endsAs: Ending = "stopped";
  #state: ConnectorState = "starting";
  #run: { readonly stop: AbortController; readonly force: AbortController; readonly ended: Promise<void> } | null = null;

  constructor(name: string, logger: Log, drive: Drive) {
    this.name = name;
    this.#drive = drive;
    this.#say = stateLogger(logger);
  }

  get state(): ConnectorState {
    return this.#state;
  }

  /** Nothing happens when it runs already; one that stopped for an error begins anew. */
  start(): void {
    if (this.#run !== null) return;
    this.#endsAs = "stopped";
    const [stop, force] = [new AbortController(), new AbortController()];
    // Its sessions, readers and writers listen, each while it lives.
    for (const { signal } of [stop, force]) setMaxListeners(0, signal);
    const ended = supervise({
      name: this.name,
      stop: stop.signal,
      endsAs: () => this.#endsAs,
      run: async (running) => this.#drive.run(running, stop.signal, force.signal),
      changed: (status) => this.#changed(status),
      failed: (error, waitedMs) => this.#drive.failed(error, waitedMs),
    }).finally(() => (this.#run = null));
    this.#run = { stop, force, ended };
  }

  /** Ends it gracefully, by force after `forceAfterMs`; from now on it stands as `as`. */
  async end(as: Ending, forceAfterMs: number): Promise<void> {
    this.#endsAs = as;
    const run = this.#run;
    if (run === null) {
      // One that stopped for an error keeps saying so at the service's end.
      if (as !== "stopped") this.#changed({ state: as, error: null, restarts: 0 });
      return;
    }
    run.stop.abort();
    const timer = setTimeout(() => run.force.abort(), forceAfterMs);
    await run.ended;
    clearTimeout(timer);
  }

  /** Once it has ended for good. */
  async close(): Promise<void> {
    await this.#drive.close();
  }

  #changed(status: ConnectorStatus): void {
    this.#state = status.state;
    this.#say(status.state, status.error ?? undefined);
    this.#drive.changed(status);
  }
}
