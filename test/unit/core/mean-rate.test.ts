import fc from "fast-check";
import { expect, test } from "vitest";
import { MeanRate } from "../../../src/core/mean-rate.ts";

test("a steady rate is what it tends to, in whatever portions it comes", () => {
  fc.assert(
    fc.property(fc.double({ min: 0.01, max: 50, noNaN: true }), fc.integer({ min: 0, max: 1_000 }), (everyMs, perMs) => {
      const rate = new MeanRate();
      for (let at = 0; at <= 400; at += everyMs) rate.add(at, perMs * everyMs);
      expect(rate.perMs).toBeGreaterThanOrEqual(perMs * 0.99);
      expect(rate.perMs).toBeLessThanOrEqual(perMs * 1.01);
    }),
  );
});

test("it lies between nothing and the greatest that came", () => {
  const counts = fc.array(fc.record({ after: fc.double({ min: 0.01, max: 100, noNaN: true }), count: fc.nat() }), { minLength: 1 });
  fc.assert(
    fc.property(counts, (list) => {
      const rate = new MeanRate();
      let now = 0;
      let most = 0;
      for (const { after, count } of list) {
        now += after;
        most = Math.max(most, count / after);
        rate.add(now, count);
        expect(rate.perMs).toBeGreaterThanOrEqual(0);
        expect(rate.perMs).toBeLessThanOrEqual(most * (1 + 1e-9));
      }
    }),
  );
});

test("after 20 ms of nothing a third is left, and two counts in one tick of the clock are no endless rate", () => {
  const rate = new MeanRate();
  for (let at = 0; at < 1_000; at++) rate.add(at, 10);
  rate.add(1_019, 0);
  expect(rate.perMs).toBeCloseTo(10 / Math.E, 2);
  rate.add(1_019, 10);
  expect(rate.perMs).toBeLessThan(5);
});
