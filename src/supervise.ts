// Keeps one connector running: what fails and mends itself is started again with backoff, what needs an operator stops
// that connector and no other.
import { TailraceError } from "./core/errors.ts";
import { backoffMs, pause, type BackoffLimits } from "./core/pause.ts";
import type { ConnectorState } from "./telemetry/log.ts";

export type ConnectorStatus = {
  readonly state: ConnectorState;
  /** Why it is waiting or stopped; null for one that ended because it was asked to. */
  readonly error: TailraceError | null;
  readonly restarts: number;
};

export type Supervision = {
  readonly name: string;
  /** Calls `running` when it does its work; ends when `stop` aborts. */
  readonly run: (running: () => void) => Promise<void>;
  readonly stop: AbortSignal;
  /** What the connector is after `stop`. */
  readonly endsAs: () => ConnectorState;
  readonly changed: (status: ConnectorStatus) => void;
  /** Each failed try, `waitedMs` being the pause that follows it. */
  readonly failed: (error: TailraceError, waitedMs: number) => void;
};

const BACKOFF: BackoffLimits = { firstMs: 250, maxMs: 10_000 };
/** A run that worked for this long has recovered: the backoff begins anew, ms. */
const HEALTHY_MS = 10_000;

/** Resolves when the connector has ended: by `stop`, or by an error that needs an operator. Never rejects. */
export async function supervise(supervision: Supervision): Promise<void> {
  const { stop } = supervision;
  let restarts = 0;
  const change = (state: ConnectorState, error: TailraceError | null): void => supervision.changed({ state, error, restarts });
  change("starting", null);
  const isAsked = (): boolean => stop.aborted;
  for (let failures = 0; !isAsked(); failures++) {
    const run: { since: number | null } = { since: null };
    try {
      await supervision.run(() => {
        run.since ??= performance.now();
        change("running", null);
      });
      break;
    } catch (cause) {
      if (isAsked()) break;
      const error = TailraceError.from(cause, { connector: supervision.name });
      if (error.retry !== "auto") {
        supervision.failed(error, 0);
        change("stopped", error);
        return;
      }
      restarts += 1;
      change("waiting", error);
      if (run.since !== null && performance.now() - run.since > HEALTHY_MS) failures = 0;
      const wait = backoffMs(failures, BACKOFF, Math.random());
      supervision.failed(error, wait);
      await pause(wait, stop);
    }
  }
  change(supervision.endsAs(), null);
}
