import fc from "fast-check";
import { expect, test } from "vitest";
import { Int64 } from "../../../src/avro/int64.ts";

test("head × factor + tail is exact over the whole of 64 bits, of either sign", () => {
  const parts = fc.oneof(
    fc.tuple(fc.integer({ min: -(2 ** 43), max: 2 ** 43 }), fc.constant(1_000_000), fc.integer({ min: 0, max: 999_999 })),
    fc.tuple(fc.integer({ min: 0, max: 9_223_372_036 }), fc.constant(1_000_000_000), fc.nat(854_775_807)),
    fc.tuple(fc.integer({ min: -9_223_372_036, max: 0 }), fc.constant(1_000_000_000), fc.integer({ min: -854_775_808, max: 0 })),
  );
  const int64 = new Int64();
  fc.assert(
    fc.property(parts, ([head, factor, tail]) => {
      int64.setProduct(head, factor, tail);
      expect((BigInt(int64.high) << 32n) + BigInt(int64.low)).toBe(BigInt(head) * BigInt(factor) + BigInt(tail));
    }),
  );
});
