// Places where a test lets the process die. The death is real: SIGKILL, with no finally, no flush and no goodbye.
// main.ts arms one of them, from the environment variable TAILRACE_FAILPOINT and from nothing else.
import { TailraceError } from "./errors.ts";

export const failpoints = [
  /** The slot exists, the state still says that it is being made. */
  "source.after_slot",
  /** A round's events are durable, its barrier is not. */
  "source.after_append",
  /** The barrier is durable, the state knows nothing of it. */
  "source.after_barrier",
  /** The state says "acknowledged", PostgreSQL was not told. */
  "source.after_state",
  /** R-park: everything of the table for its topic is durable, the state does not say "parked". */
  "source.before_parked",
  /** The state says "parked", nothing is in the parked topic. */
  "source.after_parked",
  /** Some of what was parked is drained. */
  "source.while_drained",
  /** Everything is drained, the state says "parked" still. */
  "source.after_drained",
  /** The state no longer says "parked", nothing has gone to the topic since. */
  "source.after_unparked",
  /** R-version: everything of the table for its topic is durable, the state does not name the next version. */
  "source.before_versioned",
  /** The state names the next version, its topic is not made. */
  "source.after_versioned",
  /** The next version's topic is made, the state does not know it. */
  "source.after_version_topic",
  /** A table's rows are staged, nothing is merged. */
  "sink.after_stage",
  /** Everything of a flush is done but its COMMIT. */
  "sink.before_commit",
  /** The warehouse has committed, nobody was told. */
  "sink.after_commit",
] as const;
export type Failpoint = (typeof failpoints)[number];

let armed: Failpoint | null = null;
let passes = 0;

/** `NAME`, or `NAME:3` to die when the place is reached for the third time. Throws USAGE for any other text. */
export function armFailpoint(text: string): void {
  const [name, times = "1"] = text.split(":");
  const known = failpoints.find((point) => point === name);
  if (known === undefined || !/^[1-9]\d*$/.test(times))
    throw new TailraceError("USAGE", { problem: `TAILRACE_FAILPOINT=${text}: there is ${failpoints.join(", ")}` });
  armed = known;
  passes = Number(times);
}

export function reach(point: Failpoint): void {
  if (point === armed && --passes === 0) process.kill(process.pid, "SIGKILL");
}
