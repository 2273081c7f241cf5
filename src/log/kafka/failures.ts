// What the client libraries throw, told apart by class and by Kafka's error names, as our errors.
import { reasonOf, TailraceError } from "../../core/errors.ts";
import type { TopicPartition } from "../../core/event-log.ts";
import {
  AuthenticationError,
  NetworkError,
  ProtocolError,
  protocolErrorsCodesById,
  TimeoutError,
  UnsupportedCompressionError,
  UserError,
} from "./library.ts";
import type { ProduceAnswer } from "./produce-request.ts";

type Kind = "login" | "codec" | "refused" | "unreachable";

/** Kafka's errors of authentication, by name (Kafka protocol guide, "Error Codes"). */
const LOGIN = new Set(["SASL_AUTHENTICATION_FAILED", "UNSUPPORTED_SASL_MECHANISM", "ILLEGAL_SASL_STATE"]);
/** Retriable in Kafka's table, yet the broker answered, and its words are what an operator needs. */
const REFUSED_FOR_NOW = new Set([
  "NOT_ENOUGH_REPLICAS",
  "NOT_ENOUGH_REPLICAS_AFTER_APPEND",
  "UNKNOWN_TOPIC_OR_PARTITION",
  "UNKNOWN_TOPIC_ID",
]);
const NOT_YET = new Set([
  "COORDINATOR_LOAD_IN_PROGRESS",
  "COORDINATOR_NOT_AVAILABLE",
  "NOT_LEADER_OR_FOLLOWER",
  "LEADER_NOT_AVAILABLE",
  "FENCED_LEADER_EPOCH",
  "UNKNOWN_LEADER_EPOCH",
  "OFFSET_NOT_AVAILABLE",
]);
/** What a leader refuses a batch with for a while: the same bytes may be sent again (Kafka protocol guide, "Error Codes"; there "retriable"). */
const PASSING = new Set([
  "NOT_LEADER_OR_FOLLOWER",
  "LEADER_NOT_AVAILABLE",
  "REPLICA_NOT_AVAILABLE",
  "NOT_ENOUGH_REPLICAS",
  "NOT_ENOUGH_REPLICAS_AFTER_APPEND",
  "REQUEST_TIMED_OUT",
  "NETWORK_EXCEPTION",
  "KAFKA_STORAGE_ERROR",
  "FENCED_LEADER_EPOCH",
  "UNKNOWN_LEADER_EPOCH",
  "THROTTLING_QUOTA_EXCEEDED",
  // A broker may not know the newest topics yet; what the cluster says next decides.
  "UNKNOWN_TOPIC_OR_PARTITION",
  "UNKNOWN_TOPIC_ID",
  "INCONSISTENT_TOPIC_ID",
]);
/** What stands for a partition that the broker's answer leaves out. */
const NO_ANSWER = { errorCode: 0, baseOffset: -1n, message: null };
/** Of several errors the one that explains most. */
const WEIGHT: Readonly<Record<Kind, number>> = { login: 3, codec: 3, refused: 2, unreachable: 1 };

/** An error of an append that holds records of `place`: LOG_UNREACHABLE, LOG_LOGIN or LOG_REFUSED. */
export function appendFailure(thrown: unknown, place: TopicPartition): TailraceError {
  return asTailrace(
    thrown,
    (reason, cause) => new TailraceError("LOG_REFUSED", { topic: place.topic, partition: place.partition, reason }, { cause }),
  );
}

/** An error of anything else. `operation` ends the sentence "the log refuses to …". LOG_UNREACHABLE, LOG_LOGIN, LOG_DENIED or LOG_CODEC. */
export function requestFailure(thrown: unknown, operation: string): TailraceError {
  return asTailrace(thrown, (reason, cause) => new TailraceError("LOG_DENIED", { operation, reason }, { cause }));
}

/** Whether Kafka's error `name` (UNKNOWN_TOPIC_OR_PARTITION, …) is anywhere in what was thrown. */
export function hasKafkaError(thrown: unknown, name: string): boolean {
  return errorsIn(thrown).some((error) => kafkaErrorName(error) === name);
}

/** Whether a broker answered that it can't do this yet: a leader has moved, a topic or the broker is new. What appends nothing may be asked again. */
export function isNotYet(thrown: unknown): boolean {
  return errorsIn(thrown).some((error) => NOT_YET.has(kafkaErrorName(error) ?? ""));
}

/** Why a batch is not in the log; null: it is. A repetition is in the log too, unless the broker does not say where any more. */
export function refusalIn(answer: ProduceAnswer | undefined): Error | null {
  const { errorCode, baseOffset, message } = answer ?? NO_ANSWER;
  if (baseOffset >= 0n && (errorCode === 0 || protocolErrorsCodesById[errorCode] === "DUPLICATE_SEQUENCE_NUMBER")) return null;
  if (errorCode === 0) return new TailraceError("LOG_UNREACHABLE", { reason: "an append was answered without its offset" });
  if (protocolErrorsCodesById[errorCode] !== undefined) return new ProtocolError(errorCode, message);
  // Newer than the library: ProtocolError does not know it.
  return new ProtocolError("UNKNOWN_SERVER_ERROR", `error ${errorCode}${message === null ? "" : `: ${message}`}`);
}

/**
 * Whether an append that ended so may be sent again: its leader refused it for now, or the connection was lost. Not one that was
 * not answered in time: its broker hangs, and whoever has waited so long already is better served by a new beginning.
 */
export function mayPass(thrown: unknown): boolean {
  if (thrown instanceof ProtocolError) return PASSING.has(kafkaErrorName(thrown) ?? "");
  return thrown instanceof NetworkError;
}

function asTailrace(thrown: unknown, refused: (reason: string, cause: unknown) => TailraceError): TailraceError {
  let best: { readonly kind: Kind; readonly error: Error } | null = null;
  for (const error of errorsIn(thrown)) {
    if (error instanceof TailraceError) return error;
    const kind = kindOf(error);
    if (kind !== null && (best === null || WEIGHT[kind] > WEIGHT[best.kind])) best = { kind, error };
  }
  if (best === null) return new TailraceError("UNEXPECTED", { reason: reasonOf(thrown) }, { cause: thrown });
  const reason = describe(best.error);
  switch (best.kind) {
    case "login":
      return new TailraceError("LOG_LOGIN", { reason }, { cause: thrown });
    case "codec":
      return new TailraceError("LOG_CODEC", { reason, version: process.version }, { cause: thrown });
    case "refused":
      return refused(reason, thrown);
    case "unreachable":
      return new TailraceError("LOG_UNREACHABLE", { reason }, { cause: thrown });
  }
}

/**
 * null: a wrapper that says nothing by itself. TimeoutError is asked for first: it carries the network error's code, and
 * `canRetry: false`. kafkajs exports its classes as interfaces; their names and `type` are its documented way to tell.
 */
function kindOf(error: Error): Kind | null {
  if (error instanceof TimeoutError) return "unreachable";
  if (error instanceof AuthenticationError || error.name.startsWith("KafkaJSSASL")) return "login";
  if (error instanceof UnsupportedCompressionError || error.name === "KafkaJSNotImplemented") return "codec";
  const name = kafkaErrorName(error);
  if (name !== null) {
    if (LOGIN.has(name)) return "login";
    return isRetriable(error) && !REFUSED_FOR_NOW.has(name) ? "unreachable" : "refused";
  }
  if (isTlsError(error)) return "login";
  // What stopped the connecting was our own settings: a mechanism, or TLS with a listener that has none.
  if (error instanceof NetworkError && error.cause instanceof UserError) return "login";
  if (error instanceof NetworkError || typeof (error as NodeJS.ErrnoException).syscall === "string") return "unreachable";
  if (error instanceof UserError) return "refused";
  return /^KafkaJS(Connection|RequestTimeout|NumberOfRetries|Broker|NoBroker|Metadata|TopicMetadata|GroupCoordinator|Lock)/.test(error.name)
    ? "unreachable"
    : null;
}

/** OpenSSL's and Node's codes of a handshake that failed, as either library passes them on (Node.js manual, "TLS", X509 error codes). */
function isTlsError(error: Error): boolean {
  const code = (error as NodeJS.ErrnoException).code;
  return typeof code === "string" && /^(ERR_TLS|ERR_SSL|ERR_OSSL|CERT_|UNABLE_TO_|SELF_SIGNED|DEPTH_ZERO|EPROTO$)/.test(code);
}

function kafkaErrorName(error: Error): string | null {
  if (error instanceof ProtocolError) return String((error as { apiId?: unknown }).apiId);
  const { type } = error as { type?: unknown };
  return error.name.startsWith("KafkaJS") && typeof type === "string" ? type : null;
}

function isRetriable(error: Error): boolean {
  const { canRetry, retriable } = error as { canRetry?: unknown; retriable?: unknown };
  return canRetry === true || retriable === true;
}

/** The error, what it wraps and what it gathers, each once, outermost first. */
function errorsIn(thrown: unknown): readonly Error[] {
  const found = new Set<Error>();
  const visit = (value: unknown): void => {
    if (!(value instanceof Error) || found.has(value)) return;
    found.add(value);
    visit(value.cause);
    const { errors } = value as { errors?: unknown };
    if (Array.isArray(errors)) errors.forEach(visit);
  };
  visit(thrown);
  return [...found];
}

/** One line, with Kafka's name of the error before its words, and the system's words rather than "connection failed". */
function describe(error: Error): string {
  const name = kafkaErrorName(error);
  if (name !== null) {
    const { serverErrorMessage } = error as { serverErrorMessage?: unknown };
    return `${name}: ${typeof serverErrorMessage === "string" ? serverErrorMessage : error.message}`;
  }
  const inner = error.cause instanceof Error ? reasonOf(error.cause) : "";
  const own = reasonOf(error);
  return inner === "" || own.includes(inner) ? own : `${own.replace(/\.$/, "")} (${inner})`;
}
