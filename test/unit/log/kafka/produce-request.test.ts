// Our produce requests against the protocol's grammar and the library's codec, and answers with what the library can't read.
import { createRecordsBatch, produceV9, ProtocolError, Reader, Writer } from "@platformatic/kafka";
import { expect, test } from "vitest";
import { produceVersion, readProduceResponse, writeProduceRequest } from "../../../../src/log/kafka/produce-request.ts";

const ID = "01234567-89ab-cdef-0123-456789abcdef";
const topics = [
  {
    name: "orders",
    id: ID,
    partitions: [
      { partition: 3, bytes: Buffer.from("batch") },
      { partition: 1, bytes: Buffer.alloc(200, 7) },
    ],
  },
];

const hex = (writer: Writer): string => writer.buffer.toString("hex");

test("a request has the bytes of the grammar, with the topic's name or its id", () => {
  const head = "00" + "ffff" + "00003a98" + "02";
  const partitions = "03" + "00000003" + "06" + Buffer.from("batch").toString("hex") + "00" + "00000001" + "c901" + "07".repeat(200) + "00";
  const tail = "00" + "00";
  expect(hex(writeProduceRequest(9, topics, 15_000))).toBe(head + "07" + Buffer.from("orders").toString("hex") + partitions + tail);
  expect(hex(writeProduceRequest(13, topics, 15_000))).toBe(head + ID.replaceAll("-", "") + partitions + tail);
});

test("a request by name is the one that the library makes of the same records", () => {
  const message = { topic: "orders", partition: 2, key: Buffer.from("k"), value: Buffer.from("v"), timestamp: 1_767_225_600_123n };
  const theirs = produceV9.createRequest(-1, 15_000, [message]);
  const { buffer: bytes } = createRecordsBatch([message], {});
  expect(hex(writeProduceRequest(9, [{ name: "orders", id: ID, partitions: [{ partition: 2, bytes }] }], 15_000))).toBe(hex(theirs));
});

/** One topic with the given partitions, as a broker writes it. */
function response(topic: (to: Writer) => Writer, partitions: readonly ((to: Writer) => Writer)[]): Reader {
  const to = topic(Writer.create().appendUnsignedVarInt(2)).appendUnsignedVarInt(partitions.length + 1);
  for (const partition of partitions) partition(to);
  return Reader.from(to.appendTaggedFields().appendInt32(0).appendTaggedFields().buffer);
}

const landed = (to: Writer): Writer =>
  to
    .appendInt32(1)
    .appendInt16(0)
    .appendInt64(42n)
    .appendInt64(-1n)
    .appendInt64(0n)
    .appendUnsignedVarInt(1)
    .appendString(null)
    .appendTaggedFields();

/** A refusal that names the leader (tag 0), and a record with what is wrong with it. */
const moved = (to: Writer): Writer =>
  to
    .appendInt32(0)
    .appendInt16(6)
    .appendInt64(-1n)
    .appendInt64(-1n)
    .appendInt64(-1n)
    .appendUnsignedVarInt(2)
    .appendInt32(0)
    .appendString("not this record")
    .appendTaggedFields()
    .appendString(null)
    .appendUnsignedVarInt(1)
    .appendUnsignedVarInt(0)
    .appendUnsignedVarInt(9)
    .appendInt32(2)
    .appendInt32(17)
    .appendTaggedFields();

// Trap: the library's reader takes the number of tagged fields for their length, and loses its place behind a refusal of this kind.
test("answers are read past the tagged fields of a refusal", () => {
  expect(
    readProduceResponse(
      13,
      response((to) => to.appendUUID(ID), [moved, landed]),
    ),
  ).toEqual([
    { topic: ID, partition: 0, errorCode: 6, baseOffset: -1n, message: "not this record" },
    { topic: ID, partition: 1, errorCode: 0, baseOffset: 42n, message: null },
  ]);
  const byName = readProduceResponse(
    9,
    response((to) => to.appendString("orders"), [landed]),
  );
  expect(byName).toEqual([{ topic: "orders", partition: 1, errorCode: 0, baseOffset: 42n, message: null }]);
  expect(new ProtocolError(6)).toMatchObject({ apiId: "NOT_LEADER_OR_FOLLOWER" });
});

test("an answer that is cut off throws", () => {
  const whole = response((to) => to.appendString("orders"), [landed]).buffer;
  for (let length = 0; length < whole.length - 6; length++) {
    expect(() => readProduceResponse(9, Reader.from(whole.slice(0, length)))).toThrow();
  }
});

test("topics are named by id where the broker knows how", () => {
  expect([8, 9, 12, 13, 14].map(produceVersion)).toEqual([9, 9, 9, 13, 13]);
});
