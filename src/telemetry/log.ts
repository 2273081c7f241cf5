// The log: JSON lines to stderr. Connector and LSN stand in child loggers' fields, secrets nowhere, and what is tried
// again and again is one line a change of state.
import { pino, type DestinationStream, type Logger } from "pino";
import type { TailraceError } from "../core/errors.ts";
import type { Log } from "../core/log.ts";
import { redactFields, redactText } from "./redaction.ts";

export const logLevels = ["debug", "info", "warn", "error", "silent"] as const;
export type LogLevel = (typeof logLevels)[number];

export type LogOptions = {
  /** Default `info`. */
  readonly level?: LogLevel;
  /** Takes one line a call; default stderr, written at once so that a crash loses none. */
  readonly destination?: DestinationStream;
};

/** Opens the log. A field `error` takes any Error; children share level and destination. */
export function openLog(options: LogOptions = {}): Log {
  const logger = pino(
    {
      level: options.level ?? "info",
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      messageKey: "message",
      errorKey: "error",
      formatters: { level: (level) => ({ level }), log: redactFields },
      serializers: { error: (error: unknown) => error }, // redactFields has written it already; pino's own would print the stacks of all causes
      hooks: { streamWrite: redactText },
    },
    options.destination ?? pino.destination({ fd: 2, sync: true }),
  );
  return logOf(logger);
}

/** pino puts a child's fields into its lines as they are given: formatters do not see them. */
function logOf(logger: Logger): Log {
  return {
    debug: (fields, message) => logger.debug(fields, message),
    info: (fields, message) => logger.info(fields, message),
    warn: (fields, message) => logger.warn(fields, message),
    error: (fields, message) => logger.error(fields, message),
    child: (bindings) => logOf(logger.child(redactFields(bindings))),
  };
}

/** The level that LOG_LEVEL names; `info` without it or when it names none. */
export function logLevelOf(environment: Readonly<Record<string, string | undefined>>): LogLevel {
  const wanted = environment.LOG_LEVEL?.toLowerCase();
  return logLevels.find((level) => level === wanted) ?? "info";
}

/**
 * What a connector is doing. `waiting`: an error that Tailrace retries by itself; `stopped`: the operator's turn; `paused`
 * and `dropped`: an operator said so.
 */
export const connectorStates = ["starting", "running", "waiting", "stopped", "paused", "dropped"] as const;
export type ConnectorState = (typeof connectorStates)[number];

/**
 * Says each change of state in one line, at info, or at warn and error for `waiting` and `stopped` with their error. The
 * same state with the same error code again says nothing, however often. `nowMs` is monotonic.
 */
export function stateLogger(
  log: Log,
  nowMs: () => number = () => performance.now(),
): (state: ConnectorState, error?: TailraceError) => void {
  let current: { readonly state: ConnectorState; readonly code: string | undefined; readonly since: number } | undefined;
  return (state, error) => {
    if (current?.state === state && current.code === error?.code) return;
    const since = nowMs();
    const before = current === undefined ? {} : { was: current.state, for_seconds: Math.round((since - current.since) / 100) / 10 };
    const line = { state, ...before, ...(error === undefined ? {} : { error }) };
    current = { state, code: error?.code, since };
    if (error === undefined) log.info(line, state);
    else if (error.retry === "auto") log.warn(line, `${state}: ${error.message}`);
    else log.error(line, `${state}: ${error.message}`);
  };
}
