// What is thrown: an error of the catalogue (error-catalogue.ts), filled in, and where it happened.
import { errors, type ErrorCode, type ErrorEntry, type Retry } from "./error-catalogue.ts";

/** Where an error happened. Each part is optional: not every error has a table or an LSN. */
export type ErrorPlace = {
  readonly connector?: string | undefined;
  readonly table?: string | undefined;
  /** PostgreSQL's notation, as in 16/B374D848. */
  readonly lsn?: string | undefined;
};

/** The one error class. `message` is the filled-in `what`; secrets must never be given as parameters. */
export class TailraceError extends Error {
  override readonly name = "TailraceError";
  readonly code: ErrorCode;
  readonly retry: Retry;
  readonly remedy: string;
  readonly place: ErrorPlace;

  constructor(
    code: ErrorCode,
    parameters: Readonly<Record<string, string | number | bigint>> = {},
    options: { readonly place?: ErrorPlace; readonly cause?: unknown } = {},
  ) {
    const entry: ErrorEntry = errors[code];
    super(fill(entry.what, parameters), options.cause === undefined ? {} : { cause: options.cause });
    this.code = code;
    this.retry = entry.retry;
    this.remedy = fill(entry.remedy, parameters);
    this.place = options.place ?? {};
  }

  /** The same error, said of a place; parts that it already names are kept. */
  at(place: ErrorPlace): TailraceError {
    return copyOf(this, this.message, { ...place, ...this.place });
  }

  /** The same error with ` (words)` behind its message: where it happened, if who threw it could not know. */
  saidOf(words: string): TailraceError {
    return copyOf(this, `${this.message} (${words})`, this.place);
  }

  toJSON(): Record<string, unknown> {
    return { code: this.code, message: this.message, remedy: this.remedy, retry: this.retry, ...this.place };
  }

  /** Any thrown value as a TailraceError; what is not one already becomes UNEXPECTED with its message. */
  static from(thrown: unknown, place: ErrorPlace = {}): TailraceError {
    if (thrown instanceof TailraceError) return thrown.at(place);
    return new TailraceError("UNEXPECTED", { reason: reasonOf(thrown) }, { place, cause: thrown });
  }
}

function copyOf(error: TailraceError, message: string, place: ErrorPlace): TailraceError {
  return Object.assign(Object.create(TailraceError.prototype) as TailraceError, error, { message, stack: error.stack, place });
}

/** One line that says why, for the `{reason}` of an error: the message, else the code, of any thrown value. */
export function reasonOf(thrown: unknown): string {
  if (thrown instanceof AggregateError && thrown.message === "") return thrown.errors.map(reasonOf).join("; ");
  if (!(thrown instanceof Error)) return String(thrown);
  if (thrown.message !== "") return thrown.message;
  const { code } = thrown as { readonly code?: unknown };
  return typeof code === "string" ? code : thrown.name;
}

function fill(template: string, parameters: Readonly<Record<string, string | number | bigint>>): string {
  return template.replace(/\{(\w+)\}/g, (whole, name: string) => {
    const value = parameters[name];
    return value === undefined ? whole : String(value);
  });
}
