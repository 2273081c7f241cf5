// The guardian, a process of its own: it waits at a pipe whose other end the quickstart holds. When that ends without a
// word, the quickstart was killed, and what it made in the database goes. Everything it needs is loaded before.
import { createInterface } from "node:readline";
import { TailraceError } from "../core/errors.ts";
import { backoffMs, pause } from "../core/pause.ts";
import { openLog } from "../telemetry/log.ts";
import { removeMade, type Made } from "./made.ts";

/** How long a database may be away before the guardian gives up, ms. */
const GIVE_UP_MS = 15 * 60_000;
const ATTEMPT_MS = 15_000;
const BACKOFF = { firstMs: 500, maxMs: 15_000 };
/** What the dead process had asked for last may still be done by the server: we look again after this, ms. */
const SETTLE_MS = 500;

const logger = openLog({ level: "info", destination: process.stderr });
const never = new AbortController().signal;

/*
 * stdin  ::= made "\n" ("dismissed\n")?     made: a JSON text with the URL, which must not stand in arguments or environment
 * stdout ::= "watching\n"
 */
async function untilLeft(): Promise<Made | null> {
  let made: Made | null = null;
  return new Promise((resolve) => {
    createInterface({ input: process.stdin }).on("line", (line) => {
      if (made !== null) return resolve(null);
      made = JSON.parse(line) as Made;
      process.stdout.write("watching\n");
    });
    // A pipe whose other end was killed may end with an error.
    for (const event of ["end", "error", "close"]) process.stdin.once(event, () => resolve(made));
  });
}

async function remove(made: Made): Promise<void> {
  const deadline = performance.now() + GIVE_UP_MS;
  for (let attempt = 0; performance.now() < deadline; attempt++) {
    try {
      const isGone = await removeMade(made, AbortSignal.timeout(ATTEMPT_MS));
      if (isGone && attempt > 0) {
        logger.info({ publication: made.name }, "the quickstart ended without a goodbye; its publication and slot are gone");
        return;
      }
    } catch (cause) {
      logger.warn({ publication: made.name, error: TailraceError.from(cause) }, "the quickstart's publication can't be dropped yet");
    }
    await pause(SETTLE_MS + backoffMs(attempt, BACKOFF, Math.random()), never);
  }
  logger.error({ publication: made.name }, `given up: DROP PUBLICATION ${made.name};`);
}

// Whoever ends everything ends the quickstart too, and then there is something to do.
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, () => undefined);
process.stdout.on("error", () => undefined); // nobody listens any more
const left = await untilLeft();
if (left !== null) await remove(left);
process.exit(0);
