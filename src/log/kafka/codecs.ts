// Compressed batches: made of ours before they are sent, made plain for our reader, and decoders for kafkajs, which has gzip alone.
import { crc32c } from "@node-rs/crc32";
import kafkajs from "kafkajs";
import { compressionsAlgorithms, compressionsAlgorithmsByBitmask, UnsupportedCompressionError } from "./library.ts";
import type { Compression } from "./options.ts";

/* Of a record batch only these are needed here; the whole grammar is in core/record-batch.
 * RecordBatch ::= base_offset Int64  batch_length Int32  partition_leader_epoch Int32  magic Int8  crc Uint32
 *                 attributes Int16 (bits 0–2: compression)  … 36 bytes …  count Int32  records
 * Compression: 1 gzip, 2 snappy, 3 lz4, 4 zstd. The records are compressed together, count is not.
 * Kafka documentation, "Message Format", "Record Batch".
 */
const LENGTH_AT = 8;
const CRC_AT = 17;
const ATTRIBUTES_AT = 21;
const RECORDS_AT = 61;
const PREFIX_BYTES = 12;
const COMPRESSION = 0x07;

/* Java's snappy writes xerial's stream: magic Byte × 8, version Int32, compatible Int32, then blocks of length Int32 and raw
 * snappy. Others write raw snappy. */
const XERIAL = Buffer.from([0x82, 0x53, 0x4e, 0x41, 0x50, 0x50, 0x59, 0x00]);
const XERIAL_HEADER_BYTES = 16;
const SNAPPY = 2;
const LZ4 = 3;
const ZSTD = 4;

/**
 * The plain batch with its records compressed, in a buffer of its own, its CRC to be made right by stampProducer; the batch itself where
 * that is no smaller. Throws UnsupportedCompressionError for zstd on a Node.js before 22.15.
 */
export function compressBatch(batch: Buffer, compression: Compression): Buffer {
  if (compression === "none") return batch;
  const { bitmask, compressSync } = compressionsAlgorithms[compression];
  const records = compressSync(batch.subarray(RECORDS_AT));
  if (RECORDS_AT + records.length >= batch.length) return batch;
  const bytes = Buffer.concat([batch.subarray(0, RECORDS_AT), records]);
  bytes.writeInt32BE(bytes.length - PREFIX_BYTES, LENGTH_AT);
  bytes.writeInt16BE(bytes.readInt16BE(ATTRIBUTES_AT) | bitmask, ATTRIBUTES_AT);
  return bytes;
}

/** The records' bytes. Throws UnsupportedCompressionError for a codec that this Node.js lacks (zstd before 22.15), others for bad bytes. */
function decompress(codec: number, bytes: Buffer): Buffer {
  const algorithm = compressionsAlgorithmsByBitmask[codec as keyof typeof compressionsAlgorithmsByBitmask] as
    { available?: boolean; decompressSync(bytes: Buffer): Buffer } | undefined;
  if (algorithm?.available !== true) throw new UnsupportedCompressionError(`codec ${codec === ZSTD ? "zstd" : codec} is not available`);
  if (codec !== SNAPPY || bytes.length < XERIAL_HEADER_BYTES || !bytes.subarray(0, XERIAL.length).equals(XERIAL)) {
    return algorithm.decompressSync(bytes);
  }
  const blocks: Buffer[] = [];
  for (let at = XERIAL_HEADER_BYTES; at < bytes.length;) {
    const end = at + 4 + bytes.readInt32BE(at);
    blocks.push(algorithm.decompressSync(bytes.subarray(at + 4, end)));
    at = end;
  }
  return Buffer.concat(blocks);
}

/**
 * The whole batches of a fetch response, each uncompressed. The last one of a response may be cut off and is then left out.
 * Plain batches stay views of `bytes`. A compressed batch whose CRC is wrong is passed on as it is: the reader refuses it.
 */
export function plainBatches(bytes: Buffer): Buffer {
  const parts: Buffer[] = [];
  let copied = false;
  let at = 0;
  while (bytes.length - at >= RECORDS_AT) {
    const end = at + PREFIX_BYTES + bytes.readInt32BE(at + LENGTH_AT);
    if (end > bytes.length || end - at < RECORDS_AT) break;
    const batch = bytes.subarray(at, end);
    const codec = batch.readInt16BE(ATTRIBUTES_AT) & COMPRESSION;
    const plain = codec !== 0 && crc32c(batch.subarray(ATTRIBUTES_AT)) === batch.readUInt32BE(CRC_AT);
    parts.push(plain ? inflate(batch, codec) : batch);
    copied ||= plain;
    at = end;
  }
  return copied ? Buffer.concat(parts) : bytes.subarray(0, at);
}

function inflate(batch: Buffer, codec: number): Buffer {
  const plain = Buffer.concat([batch.subarray(0, RECORDS_AT), decompress(codec, batch.subarray(RECORDS_AT))]);
  plain.writeInt32BE(plain.length - PREFIX_BYTES, LENGTH_AT);
  plain.writeInt16BE(plain.readInt16BE(ATTRIBUTES_AT) & ~COMPRESSION, ATTRIBUTES_AT);
  plain.writeUInt32BE(crc32c(plain.subarray(ATTRIBUTES_AT)), CRC_AT);
  return plain;
}

/**
 * Gives kafkajs the codecs that it lacks; its registry is the process's. Without them a foreign lz4, snappy or zstd batch ends the
 * consumer (seen). Without a codec of Node's own it ends too, with an error that says so.
 */
export function registerCodecs(): void {
  const registry = kafkajs.CompressionCodecs as Record<number, () => unknown>;
  for (const codec of [SNAPPY, LZ4, ZSTD]) {
    registry[codec] = () => ({
      compress: () => Promise.reject(new UnsupportedCompressionError("Tailrace reads through kafkajs and never writes")),
      decompress: (bytes: Buffer) => {
        try {
          return Promise.resolve(decompress(codec, bytes));
        } catch (cause) {
          // kafkajs would try the same bytes again and again, but for this name.
          return Promise.reject(Object.assign(new Error((cause as Error).message, { cause }), { name: "KafkaJSNotImplemented" }));
        }
      },
    });
  }
}
