import fc from "fast-check";
import { expect, test } from "vitest";
import { digitsOf, Unscaled } from "../../../src/avro/unscaled.ts";
import { ByteWriter } from "../../../src/core/byte-writer.ts";

/** The shortest two's complement, from BigInt's own hex. */
function shortest(value: bigint): string {
  let size = 1;
  while (BigInt.asIntN(size * 8, value) !== value) size++;
  return BigInt.asUintN(size * 8, value)
    .toString(16)
    .padStart(size * 2, "0");
}

test("digits of any number, in whatever groups they come, give its shortest two's complement", () => {
  const numbers = fc.oneof(fc.bigInt({ min: 0n, max: 10n ** 1000n }), fc.bigInt({ min: 0n, max: 2n ** 70n }), fc.constantFrom(...edges));
  const unscaled = new Unscaled();
  fc.assert(
    fc.property(numbers, fc.boolean(), fc.integer({ min: 1, max: 6 }), (magnitude, negative, group) => {
      const out = new ByteWriter(1);
      unscaled.clear();
      const digits = magnitude.toString();
      for (let at = 0; at < digits.length; at += group) {
        const part = digits.slice(at, at + group);
        unscaled.append(Number(part), 10 ** part.length);
      }
      unscaled.write(negative, out);
      const expected = shortest(negative ? -magnitude : magnitude);
      const head = new ByteWriter(8);
      head.varint(expected.length / 2);
      expect(out.bytes.toString("hex", 0, out.position)).toBe(head.bytes.toString("hex", 0, head.position) + expected);
    }),
  );
});

const edges = [7n, 8n, 15n, 16n, 31n, 32n, 63n, 64n, 4095n, 4096n, 4097n].flatMap((bits) => [2n ** bits - 1n, 2n ** bits, 2n ** bits + 1n]);

test("digitsOf counts decimal digits, none for 0", () => {
  expect([0, 1, 9, 10, 99, 100, 999, 1000, 999_999].map(digitsOf)).toEqual([0, 1, 1, 2, 2, 3, 3, 4, 6]);
});
