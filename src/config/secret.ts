// A value that may be used but never shown. It is worked out anew at every use, so a rotated credential needs no restart.

import { inspect } from "node:util";

const MASK = "[secret]";

/**
 * A credential, or a text that may hold one. Whatever prints it prints `[secret]`: string conversion, JSON, inspect,
 * loggers; a spread or a structured clone of it is an empty object.
 */
export class Secret {
  // A private field, not a property: nothing that walks an object finds it.
  readonly #resolve: () => string;

  /** @param resolve gives the value as of now; throws a TailraceError, which never holds the value, when it can't. */
  constructor(resolve: () => string) {
    this.#resolve = resolve;
  }

  /** The value as of now: variables and files are read again. Call it when connecting and keep the result no longer. */
  reveal(): string {
    return this.#resolve();
  }

  toString(): string {
    return MASK;
  }

  toJSON(): string {
    return MASK;
  }

  [inspect.custom](): string {
    return MASK;
  }

  [Symbol.toPrimitive](): string {
    return MASK;
  }
}
