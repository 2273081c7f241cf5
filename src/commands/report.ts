// How commands speak to a person, and what they exit with.
import { ConfigError } from "../config/issue.ts";
import { TailraceError } from "../core/errors.ts";

export const exitCodes = { good: 0, failed: 1, config: 2, differences: 3 } as const;

export function usageError(problem: string): TailraceError {
  return new TailraceError("USAGE", { problem });
}

/** Prints why a command failed, with its fix, to stderr; returns the exit code. */
export function reportFailure(cause: unknown): number {
  const error = TailraceError.from(cause);
  const isInput = error instanceof ConfigError || error.code === "USAGE";
  process.stderr.write(`${error.message}\n${error instanceof ConfigError ? "" : `fix: ${error.remedy}\n`}`);
  if (error.code === "UNEXPECTED" && process.env.LOG_LEVEL === "debug" && error.cause instanceof Error) {
    process.stderr.write(`${error.cause.stack ?? ""}\n`);
  }
  return isInput ? exitCodes.config : exitCodes.failed;
}

/** Whether stderr takes colours: a terminal, and nobody said NO_COLOR. */
export function takesColours(stream: { readonly isTTY?: boolean }): boolean {
  return stream.isTTY === true && process.env.NO_COLOR === undefined;
}
