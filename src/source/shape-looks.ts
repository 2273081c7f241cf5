// The looks at composites' shapes that rows wait for: in a session of their own, because in that of the catalogs' watch they would stand
// behind statements that take seconds.
import type { Log } from "../core/log.ts";
import { TailraceError } from "../core/errors.ts";
import { backoffMs, pause, type BackoffLimits } from "../core/pause.ts";
import { lookAtShapes, type ShapesLook } from "../postgres/composites.ts";
import { Session, type ConnectionSettings } from "../postgres/session.ts";

/** From the end of a look to the next one, ms: one look is for all rows that have come, and a busy table has some more at any time. */
const REST_MS = 10;
/** Where somebody rewrites a catalog that is looked at. */
const GIVEN_UP: BackoffLimits = { firstMs: 250, maxMs: 5_000 };

export class ShapeLooks implements AsyncDisposable {
  readonly #settings: ConnectionSettings;
  readonly #logger: Pick<Log, "warn">;
  readonly #signal: AbortSignal;
  #session: Session | null = null;
  /** performance.now() */
  #rested = 0;

  constructor(settings: ConnectionSettings, logger: Pick<Log, "warn">, signal: AbortSignal) {
    this.#settings = settings;
    this.#logger = logger;
    this.#signal = signal;
  }

  /** As lookAtShapes(); one that the server gives up is made again. Throws what Session.open() throws, and DATABASE_UNREACHABLE. */
  async look(oids: readonly number[]): Promise<ShapesLook> {
    const rest = this.#rested - performance.now();
    if (rest > 0) await pause(rest, this.#signal);
    this.#session ??= await Session.open(this.#settings, this.#signal);
    for (let failures = 0; ; failures++) {
      this.#signal.throwIfAborted();
      try {
        const look = await lookAtShapes(this.#session, oids, this.#signal);
        this.#rested = performance.now() + REST_MS;
        return look;
      } catch (cause) {
        if (!(cause instanceof TailraceError) || cause.code !== "STATEMENT_GIVEN_UP") throw cause;
        if (failures === 0) this.#logger.warn(cause.toJSON(), "a look at the composite types was given up: rows wait for the next one");
        await pause(backoffMs(failures, GIVEN_UP, Math.random()), this.#signal);
      }
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#session?.[Symbol.asyncDispose]();
  }
}
