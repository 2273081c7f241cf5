// Tables whose reading has failed, each with a backoff of its own: a bad table costs that table. Pure but for its caller's clock.
import type { ErrorCode } from "../core/error-catalogue.ts";
import type { TailraceError } from "../core/errors.ts";
import { backoffMs, type BackoffLimits } from "../core/pause.ts";

/** Errors of the server or the connection: no table is to blame, and no other one can be read either. */
const OF_CONNECTION: ReadonlySet<ErrorCode> = new Set(["DATABASE_UNREACHABLE", "DATABASE_LOGIN", "NOT_PRIMARY", "CONNECTION_LIMIT"]);

type Trouble = { failures: number; until: number; code: ErrorCode };

export class TableTroubles {
  readonly #limits: BackoffLimits;
  readonly #troubles = new Map<string, Trouble>();

  constructor(limits: BackoffLimits) {
    this.#limits = limits;
  }

  static isOfConnection({ code }: TailraceError): boolean {
    return OF_CONNECTION.has(code);
  }

  /** Reading the table failed at `now`, ms. true: it is worth a line, being another error than the last time. `random`: 0 to 1. */
  failed(table: string, code: ErrorCode, now: number, random: number): boolean {
    const before = this.#troubles.get(table);
    const failures = (before?.failures ?? 0) + 1;
    this.#troubles.set(table, { failures, until: now + backoffMs(failures - 1, this.#limits, random), code });
    return before?.code !== code;
  }

  /** Whether it is to be left alone at `now`, ms. */
  rests(table: string, now: number): boolean {
    return (this.#troubles.get(table)?.until ?? -Infinity) > now;
  }

  /** The table was read, or is not to be read any more. true: it had failed before. */
  over(table: string): boolean {
    return this.#troubles.delete(table);
  }
}
