// Produce requests that carry record batches as they are, and their answers. The library's own take an object per record.
import type { Reader } from "@platformatic/kafka";
import { createAPI, Writer } from "./library.ts";
import { REPLICATE_MS } from "./options.ts";

/* Produce Request (Version: 9 | 13) => transactional_id COMPACT_NULLABLE_STRING  acks Int16  timeout_ms Int32  [topics]  TAG_BUFFER
 *   topics     => name COMPACT_STRING (9) | topic_id UUID (13)  [partitions]  TAG_BUFFER
 *   partitions => index Int32  records COMPACT_RECORDS (one record batch)  TAG_BUFFER
 * Produce Response (Version: 9 | 13) => [topics]  throttle_time_ms Int32  TAG_BUFFER
 *   topics     => name COMPACT_STRING (9) | topic_id UUID (13)  [partitions]  TAG_BUFFER
 *   partitions => index Int32  error_code Int16  base_offset Int64  log_append_time_ms Int64  log_start_offset Int64
 *                 [record_errors]  error_message COMPACT_NULLABLE_STRING  TAG_BUFFER (13: a refusal may name the leader)
 *   record_errors => batch_index Int32  batch_index_error_message COMPACT_NULLABLE_STRING  TAG_BUFFER
 * COMPACT_RECORDS ::= length + 1 UnsignedVarint  Byte × length      TAG_BUFFER ::= count UnsignedVarint  (tag, size UnsignedVarint, Byte × size) × count
 * Kafka protocol guide, "Produce API". With 13 (Kafka 4.1) a topic that was made again under the same name refuses the batch by its id.
 */

/** Version 13 names topics by id; 9 is the first in the compact format, which every broker since Kafka 2.8 knows. */
export type ProduceVersion = 9 | 13;

/** One batch for each partition: a broker takes no second one from the same request. */
export type ProduceTopic = {
  readonly name: string;
  readonly id: string;
  readonly partitions: readonly { readonly partition: number; readonly bytes: Buffer }[];
};

export type ProduceAnswer = {
  /** Name or id, as the version has it. */
  readonly topic: string;
  readonly partition: number;
  /** 0: the batch is in every in-sync replica. */
  readonly errorCode: number;
  readonly baseOffset: bigint;
  readonly message: string | null;
};

export const PRODUCE_KEY = 0;
const ACKS_ALL = -1;

/** The version to use with a broker that knows produce requests up to `newest`. */
export function produceVersion(newest: number): ProduceVersion {
  return newest >= 13 ? 13 : 9;
}

export function writeProduceRequest(version: ProduceVersion, topics: readonly ProduceTopic[], timeoutMs: number): Writer {
  return Writer.create()
    .appendString(null)
    .appendInt16(ACKS_ALL)
    .appendInt32(timeoutMs)
    .appendArray([...topics], (to, { name, id, partitions }) => {
      if (version === 13) to.appendUUID(id);
      else to.appendString(name);
      to.appendArray([...partitions], (each, { partition, bytes }) => {
        each
          .appendInt32(partition)
          .appendUnsignedVarInt(bytes.length + 1)
          .append(bytes);
      });
    })
    .appendTaggedFields();
}

/** Refusals are answers too: only what is no produce response throws. */
export function readProduceResponse(version: ProduceVersion, reader: Reader): readonly ProduceAnswer[] {
  const answers: ProduceAnswer[] = [];
  each(reader, () => {
    const topic = version === 13 ? reader.readUUID() : reader.readString();
    each(reader, () => {
      const partition = reader.readInt32();
      const errorCode = reader.readInt16();
      const baseOffset = reader.readInt64();
      reader.readInt64();
      reader.readInt64();
      let recordMessage: string | null = null;
      each(reader, () => {
        reader.readInt32();
        recordMessage ??= reader.readNullableString();
      });
      const message = reader.readNullableString();
      answers.push({ topic, partition, errorCode, baseOffset, message: message ?? recordMessage });
    });
  });
  return answers;
}

/** An array's elements, each with its tagged fields passed over: the library's reader takes their count for their length. */
function each(reader: Reader, read: () => void): void {
  for (let left = reader.readUnsignedVarInt() - 1; left > 0; left--) {
    read();
    for (let tags = reader.readUnsignedVarInt(); tags > 0; tags--) {
      reader.readUnsignedVarInt();
      reader.skip(reader.readUnsignedVarInt());
    }
  }
}

function apiOf(version: ProduceVersion) {
  return createAPI<[readonly ProduceTopic[]], readonly ProduceAnswer[]>(
    PRODUCE_KEY,
    version,
    (topics: readonly ProduceTopic[]) => writeProduceRequest(version, topics, REPLICATE_MS),
    (_correlation, _key, _version, reader) => readProduceResponse(version, reader),
  );
}

/** The calls by version. The request's bytes are copied before one returns. */
export const produceApis = { 9: apiOf(9), 13: apiOf(13) } as const;
