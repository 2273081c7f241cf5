import fc from "fast-check";
import { expect, test } from "vitest";
import { formatLsn, maxLsn, parseLsn, toLsn } from "../../../src/core/lsn.ts";

test("PostgreSQL's notation is read and written without leading zeros", () => {
  expect(parseLsn("16/B374D848")).toBe(0x16_b374_d848n);
  expect(formatLsn(toLsn(0x16_0000_0001n))).toBe("16/1");
  expect(formatLsn(toLsn(0n))).toBe("0/0");
  fc.assert(
    fc.property(fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }), (position) => {
      expect(parseLsn(formatLsn(toLsn(position)))).toBe(position);
    }),
  );
});

test("what is no LSN is refused", () => {
  for (const text of ["", "16", "16/", "/1", "G/1", "100000000/0", "1/2/3"]) expect(() => parseLsn(text)).toThrow(RangeError);
  expect(() => toLsn(-1n)).toThrow(RangeError);
  expect(() => toLsn(2n ** 64n)).toThrow(RangeError);
});

test("the later of two positions wins", () => {
  expect(maxLsn(toLsn(1n), toLsn(2n))).toBe(2n);
  expect(maxLsn(toLsn(2n), toLsn(1n))).toBe(2n);
});
