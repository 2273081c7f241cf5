// Avro's float and double: IEEE 754, little-endian.
import type { ByteWriter } from "../core/byte-writer.ts";

/** One NaN for all, so that both wire forms give the same bytes. */
export function writeNan4(out: ByteWriter): void {
  out.ensure(4);
  out.position = out.bytes.writeUInt32LE(0x7fc0_0000, out.position);
}

export function writeNan8(out: ByteWriter): void {
  out.ensure(8);
  out.bytes.writeUInt32LE(0, out.position);
  out.position = out.bytes.writeUInt32LE(0x7ff8_0000, out.position + 4);
}

/** PostgreSQL's float4 and float8 are big-endian. */
export function writeReversed(bytes: Buffer, start: number, length: number, out: ByteWriter): void {
  out.ensure(length);
  for (let at = start + length - 1; at >= start; at--) out.bytes[out.position++] = bytes[at]!;
}
