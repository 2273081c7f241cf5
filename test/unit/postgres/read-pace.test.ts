import fc from "fast-check";
import { expect, test } from "vitest";
import { ReadPace } from "../../../src/postgres/read-pace.ts";

/** The rests of 300 ms of a load that is read every `everyMs`, or after its rest. */
function rests(
  pace: ReadPace,
  from: number,
  { everyMs, messagesPerMs, bytesPerMs }: Record<"everyMs" | "messagesPerMs" | "bytesPerMs", number>,
) {
  const list: number[] = [];
  let before = from;
  for (let now = from + everyMs; now < from + 300; now += Math.max(everyMs, list.at(-1) ?? 0)) {
    const ms = now - before;
    list.push(pace.restAfter(now, messagesPerMs * ms, bytesPerMs * ms));
    before = now;
  }
  return list;
}

const everyMs = fc.double({ min: 0.05, max: 3, noNaN: true });

test("a stream of up to 10 messages a millisecond is read at once, however long it lasts", () => {
  fc.assert(
    fc.property(
      everyMs,
      fc.double({ min: 0, max: 9.9, noNaN: true }),
      fc.integer({ min: 1, max: 65_536 }),
      (every, messagesPerMs, bytesPerMs) => {
        expect(new Set(rests(new ReadPace(), 0, { everyMs: every, messagesPerMs, bytesPerMs }))).toEqual(new Set([0]));
      },
    ),
    { numRuns: 100 },
  );
});

test("one of more is read every 1 to 4 ms within 100 ms: as seldom as 16 KiB gather in", () => {
  fc.assert(
    fc.property(
      everyMs,
      fc.double({ min: 11, max: 500, noNaN: true }),
      fc.integer({ min: 200, max: 15_000 }),
      (every, messagesPerMs, bytesPerMs) => {
        const last = rests(new ReadPace(), 0, { everyMs: every, messagesPerMs, bytesPerMs }).at(-1);
        expect(last).toBeCloseTo(Math.min(16_384 / bytesPerMs, 4), 1);
      },
    ),
    { numRuns: 100 },
  );
});

test("where 16 KiB gather in less than the shortest rest, as in a backlog, there is none: the walsender would wait for room", () => {
  fc.assert(
    fc.property(everyMs, fc.integer({ min: 18_000, max: 65_536 }), (every, bytesPerMs) => {
      expect(rests(new ReadPace(), 0, { everyMs: every, messagesPerMs: 300, bytesPerMs }).at(-1)).toBe(0);
    }),
    { numRuns: 100 },
  );
});

test("a load that ends is read at once again", () => {
  const pace = new ReadPace();
  rests(pace, 0, { everyMs: 0.1, messagesPerMs: 100, bytesPerMs: 10_000 });
  expect(rests(pace, 300, { everyMs: 10, messagesPerMs: 1, bytesPerMs: 100 }).at(-1)).toBe(0);
});

test("a single large transaction after a while of nothing is read without a rest at first", () => {
  const pace = new ReadPace();
  expect(pace.restAfter(1_000, 1, 100)).toBe(0);
  expect(pace.restAfter(2_000, 1_000, 100_000)).toBe(0);
});
