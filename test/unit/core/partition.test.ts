import fc from "fast-check";
import { expect, test } from "vitest";
import { murmur2, partitionOf } from "../../../src/core/partition.ts";

const hash = (text: string): number => murmur2(Buffer.from(text), 0, Buffer.byteLength(text));

test.each([
  ["21", -973_932_308],
  ["foobar", -790_332_482],
  ["a-little-bit-long-string", -985_981_536],
  ["a-little-bit-longer-string", -1_486_304_829],
  ["lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971],
  ["abc", 479_470_107],
])("murmur2 of %s is the one in Kafka's own tests", (text, expected) => {
  expect(hash(text)).toBe(expected);
});

test("a key's place in a larger buffer does not matter", () => {
  fc.assert(
    fc.property(fc.uint8Array(), fc.nat(9), fc.integer({ min: 1, max: 1_000 }), (key, before, count) => {
      const whole = Buffer.concat([Buffer.alloc(before, 0xab), key, Buffer.alloc(3, 0xcd)]);
      const partition = partitionOf(whole, before, before + key.length, count);
      expect(partition).toBe(partitionOf(Buffer.from(key), 0, key.length, count));
      expect(partition).toBeGreaterThanOrEqual(0);
      expect(partition).toBeLessThan(count);
    }),
  );
});

test("a negative hash is made positive by clearing its sign, as Java's toPositive does", () => {
  expect(partitionOf(Buffer.from("21"), 0, 2, 4)).toBe((-973_932_308 & 0x7fff_ffff) % 4);
});
