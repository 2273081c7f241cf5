// Which of our errors a library's error becomes. The library's own classes and texts, as they were seen.
import {
  AuthenticationError,
  MultipleErrors,
  NetworkError,
  ProtocolError,
  ResponseError,
  TimeoutError,
  UserError,
} from "@platformatic/kafka";
import { expect, test } from "vitest";
import { TailraceError } from "../../../../src/core/errors.ts";
import { appendFailure, hasKafkaError, isNotYet, mayPass, refusalIn, requestFailure } from "../../../../src/log/kafka/failures.ts";

const place = { topic: "t", partition: 3 };
const PRODUCE = 0;

/** As kafkajs throws: classes that only have names. */
function kafkajsError(name: string, properties: object): Error {
  return Object.assign(new Error(name), { name }, properties);
}

// Trap: TimeoutError has the network error's code, and says that it can't be retried.
test("a request that timed out is a log that does not answer, whatever its code says", () => {
  const timeout = new TimeoutError("Request timed out");
  expect(timeout.code).toBe("PLT_KFK_NETWORK");
  expect((timeout as { canRetry?: unknown }).canRetry).toBe(false);
  expect(appendFailure(new MultipleErrors("Producing messages failed.", [timeout]), place).code).toBe("LOG_UNREACHABLE");
  expect(requestFailure(timeout, "list topics").code).toBe("LOG_UNREACHABLE");
});

test("what a broker refuses is named with Kafka's name and the partition", () => {
  const response = new ResponseError(PRODUCE, 11, { "/responses/0/partition_responses/0": [10, null] }, {});
  const failure = appendFailure(new MultipleErrors("Producing messages failed.", [response]), place);
  expect(failure.code).toBe("LOG_REFUSED");
  expect(failure.message).toMatch(/^the log refuses a batch for t partition 3: MESSAGE_TOO_LARGE: /);
});

test.each([
  ["NOT_LEADER_OR_FOLLOWER", "LOG_UNREACHABLE"],
  ["REQUEST_TIMED_OUT", "LOG_UNREACHABLE"],
  ["NOT_ENOUGH_REPLICAS", "LOG_REFUSED"],
  ["UNKNOWN_TOPIC_OR_PARTITION", "LOG_REFUSED"],
  ["TOPIC_AUTHORIZATION_FAILED", "LOG_REFUSED"],
  ["SASL_AUTHENTICATION_FAILED", "LOG_LOGIN"],
] as const)("an append that gets %s is %s", (name, code) => {
  expect(appendFailure(new ProtocolError(name, null), place).code).toBe(code);
});

test("of several errors the one that explains most is told", () => {
  const refused = new NetworkError("Connection to b1:9092 failed.", { cause: new AuthenticationError("SASL authentication failed.") });
  const away = new NetworkError("Connection to b2:9092 failed.", {
    cause: Object.assign(new Error("connect ECONNREFUSED"), { syscall: "connect" }),
  });
  const failure = requestFailure(new MultipleErrors("Cannot connect to any broker.", [away, refused]), "list topics");
  expect(failure).toMatchObject({ code: "LOG_LOGIN", message: expect.stringContaining("SASL authentication failed") });
});

test("a connection that our own settings prevent is a login's matter", () => {
  const cause = new UserError("TLS handshake failed. Please verify the broker supports TLS.");
  expect(requestFailure(new NetworkError("Connection to b:9092 failed.", { cause }), "list topics").code).toBe("LOG_LOGIN");
});

test("kafkajs' errors are told apart by name and type", () => {
  const refused = kafkajsError("KafkaJSConnectionError", { code: "ECONNREFUSED", retriable: true });
  const exceeded = kafkajsError("KafkaJSNumberOfRetriesExceeded", { cause: refused });
  expect(requestFailure(exceeded, "create topic t").code).toBe("LOG_UNREACHABLE");
  const unsigned = kafkajsError("KafkaJSConnectionError", { code: "DEPTH_ZERO_SELF_SIGNED_CERT" });
  expect(requestFailure(unsigned, "create topic t").code).toBe("LOG_LOGIN");
  expect(requestFailure(kafkajsError("KafkaJSSASLAuthenticationError", {}), "create topic t").code).toBe("LOG_LOGIN");
  const policy = kafkajsError("KafkaJSCreateTopicError", { type: "POLICY_VIOLATION", retriable: false });
  const failure = requestFailure(Object.assign(kafkajsError("KafkaJSAggregateError", {}), { errors: [policy] }), "create topic t");
  expect(failure.message).toMatch(/^the log refuses to create topic t: POLICY_VIOLATION/);
});

test("an error of ours inside a library's stays what it is", () => {
  const own = new TailraceError("LOG_LOGIN", { reason: "KAFKA_PASSWORD is not set" });
  expect(requestFailure(new AuthenticationError("The provider threw an error.", { cause: own }), "list topics")).toBe(own);
});

test("what nobody knows is UNEXPECTED with its words", () => {
  expect(requestFailure(new TypeError("x is not a function"), "list topics")).toMatchObject({
    code: "UNEXPECTED",
    message: "x is not a function",
  });
  expect(requestFailure("a string", "list topics").code).toBe("UNEXPECTED");
});

test("Kafka's error names are found however deep they lie", () => {
  const deep = new MultipleErrors("a", [new NetworkError("b", { cause: new ProtocolError("LEADER_NOT_AVAILABLE", null) })]);
  expect(hasKafkaError(deep, "LEADER_NOT_AVAILABLE")).toBe(true);
  expect(hasKafkaError(deep, "UNKNOWN_TOPIC_OR_PARTITION")).toBe(false);
  expect(isNotYet(deep)).toBe(true);
  expect(isNotYet(new ProtocolError("TOPIC_AUTHORIZATION_FAILED", null))).toBe(false);
});

test.each([
  ["NOT_LEADER_OR_FOLLOWER", true],
  ["NOT_ENOUGH_REPLICAS", true],
  ["NOT_ENOUGH_REPLICAS_AFTER_APPEND", true],
  ["REQUEST_TIMED_OUT", true],
  ["UNKNOWN_TOPIC_ID", true],
  ["OUT_OF_ORDER_SEQUENCE_NUMBER", false],
  ["UNKNOWN_PRODUCER_ID", false],
  ["INVALID_PRODUCER_EPOCH", false],
  ["DUPLICATE_SEQUENCE_NUMBER", false],
  ["MESSAGE_TOO_LARGE", false],
  ["CORRUPT_MESSAGE", false],
  ["TOPIC_AUTHORIZATION_FAILED", false],
] as const)("whether an append refused with %s may be sent again: %s", (name, again) => {
  expect(mayPass(new ProtocolError(name, null))).toBe(again);
});

test("an append whose connection was lost may be sent again, one that got no answer in time may not", () => {
  expect(mayPass(new NetworkError("Connection closed"))).toBe(true);
  expect(mayPass(new TimeoutError("Request timed out"))).toBe(false);
});

test("a batch is in the log when the broker says where, also as a repetition", () => {
  const answer = { topic: "t", partition: 0, message: null };
  const repeated = new ProtocolError("DUPLICATE_SEQUENCE_NUMBER").apiCode as number;
  expect(refusalIn({ ...answer, errorCode: 0, baseOffset: 7n })).toBe(null);
  expect(refusalIn({ ...answer, errorCode: repeated, baseOffset: 7n })).toBe(null);
  expect(refusalIn({ ...answer, errorCode: repeated, baseOffset: -1n })).toMatchObject({ apiId: "DUPLICATE_SEQUENCE_NUMBER" });
  expect(refusalIn({ ...answer, errorCode: 0, baseOffset: -1n })).toMatchObject({ code: "LOG_UNREACHABLE" });
  expect(refusalIn(undefined)).toMatchObject({ code: "LOG_UNREACHABLE" });
});

test("a refusal has the broker's words, and one that the library does not know its number", () => {
  const answer = { topic: "t", partition: 3, baseOffset: -1n };
  const large = refusalIn({ ...answer, errorCode: 10, message: "too large by far" });
  expect(appendFailure(large, place).message).toMatch(/^the log refuses a batch for t partition 3: MESSAGE_TOO_LARGE: too large by far/);
  expect(appendFailure(refusalIn({ ...answer, errorCode: 9_999, message: null }), place).message).toContain("error 9999");
});
