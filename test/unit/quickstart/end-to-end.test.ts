import fc from "fast-check";
import { expect, test } from "vitest";
import { EndToEnd } from "../../../src/quickstart/end-to-end.ts";

test("before the first flush there is no percentile", () => {
  expect(new EndToEnd().percentile(0.5)).toBeNull();
});

test("every transaction of a flush counts, and each once", () => {
  const times = new EndToEnd();
  times.add([1_000_000n, 0n], 1_010); // 10 ms and 1010 ms
  expect(times.percentile(0.5)).toBeGreaterThan(9.8);
  expect(times.percentile(0.5)).toBeLessThan(10.2);
  expect(times.percentile(0.51)).toBeGreaterThan(1_000);
});

test("a clock that stands behind the source's is no negative time", () => {
  const times = new EndToEnd();
  times.add([5_000_000n], 4_999);
  expect(times.percentile(1)).toBeLessThanOrEqual(0.1);
});

test("a percentile is within 2% of the one that sorting gives", () => {
  const sample = fc.array(fc.integer({ min: 1, max: 100_000_000 }), { minLength: 1, maxLength: 200 });
  fc.assert(
    fc.property(sample, fc.double({ min: 0.01, max: 1, noNaN: true }), (micros, share) => {
      const times = new EndToEnd();
      for (const one of micros) times.add([1_000_000_000n - BigInt(one)], 1_000_000);
      const exact = [...micros].sort((a, b) => a - b)[Math.ceil(share * micros.length) - 1] ?? 0;
      const told = times.percentile(share) ?? 0;
      return Math.abs(told - Math.max(0.1, exact / 1_000)) <= 0.02 * Math.max(0.1, exact / 1_000);
    }),
  );
});
