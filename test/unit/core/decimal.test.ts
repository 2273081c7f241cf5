import fc from "fast-check";
import { expect, test } from "vitest";
import { decimalText } from "../../../src/core/decimal.ts";

test("a decimal's text has all digits of its scale, and a zero before the point", () => {
  expect(decimalText(-5n, 2)).toBe("-0.05");
  expect(decimalText(0n, 3)).toBe("0.000");
  expect(decimalText(12_345n, 2)).toBe("123.45");
  expect(decimalText(-12_345n, 5)).toBe("-0.12345");
  expect(decimalText(-7n, 0)).toBe("-7");
});

test("without its point a decimal's text is its unscaled value", () => {
  fc.assert(
    fc.property(fc.bigInt(), fc.nat(40), (unscaled, scale) => {
      const text = decimalText(unscaled, scale);
      expect(BigInt(text.replace(".", ""))).toBe(unscaled);
      expect(text.length - 1 - text.lastIndexOf(".")).toBe(scale === 0 ? text.length : scale);
    }),
  );
});
