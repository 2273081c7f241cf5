import avro from "avsc";
import fc from "fast-check";
import { expect, test } from "vitest";
import { ByteWriter } from "../../../src/core/byte-writer.ts";

function written(write: (out: ByteWriter) => void): string {
  const out = new ByteWriter(1);
  write(out);
  return out.bytes.toString("hex", 0, out.position);
}

/** Zigzag varint from its definition. */
function zigzag(value: bigint): string {
  let rest = BigInt.asUintN(64, (value << 1n) ^ (value >> 63n));
  const bytes: number[] = [];
  for (; rest > 0x7fn; rest >>= 7n) bytes.push(Number(rest & 0x7fn) | 0x80);
  return Buffer.of(...bytes, Number(rest)).toString("hex");
}

const longs = fc.oneof(fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }), fc.bigInt({ min: -300n, max: 300n }));

test("a long in two halves is the zigzag varint of Avro and Kafka", () => {
  fc.assert(
    fc.property(longs, (value) => {
      expect(written((out) => out.varlong(Number(value >> 32n), Number(value & 0xffff_ffffn)))).toBe(zigzag(value));
    }),
  );
});

test("ints and safe integers have the same bytes as longs", () => {
  fc.assert(
    fc.property(fc.integer(), fc.maxSafeInteger(), (int, safe) => {
      expect(written((out) => out.varint(int))).toBe(zigzag(BigInt(int)));
      expect(written((out) => out.varsafe(safe))).toBe(zigzag(BigInt(safe)));
    }),
  );
  const long = avro.Type.forSchema("long");
  for (const value of [0, -1, 2 ** 31, -(2 ** 31) - 1, 2 ** 51, -(2 ** 51)]) {
    expect(written((out) => out.varsafe(value))).toBe(long.toBuffer(value).toString("hex"));
  }
});

test("short and long copies append the bytes asked for, growing as needed", () => {
  const from = Buffer.from(Array.from({ length: 300 }, (_, index) => index & 0xff));
  for (const length of [0, 1, 31, 32, 33, 34, 64, 200]) {
    const out = new ByteWriter(1);
    out.byte(0xee);
    out.copy(from, 7, 7 + length);
    out.byte(0xdd);
    expect(out.bytes.subarray(0, out.position)).toEqual(Buffer.concat([Buffer.of(0xee), from.subarray(7, 7 + length), Buffer.of(0xdd)]));
  }
});

test("growing keeps what was written", () => {
  const out = new ByteWriter(2);
  for (let byte = 0; byte < 1_000; byte++) out.byte(byte & 0xff);
  expect(out.position).toBe(1_000);
  expect(out.bytes.subarray(0, 1_000).every((byte, index) => byte === (index & 0xff))).toBe(true);
});
