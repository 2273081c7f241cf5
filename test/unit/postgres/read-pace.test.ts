import fc from "fast-check";
import { expect, test } from "vitest";
import { ReadPace } from "../../../src/postgres/read-pace.ts";

/** The rests after reads of `bytes` each, `everyMs` apart. */
function rests(pace: ReadPace, from: number, count: number, everyMs: number, bytes: number): number[] {
  return Array.from({ length: count }, (_, index) => pace.restAfter(from + index * everyMs, bytes));
}

test("a stream of up to 20 reads a millisecond is read at once, however long it lasts", () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 65_536 }), fc.double({ min: 0.051, max: 100, noNaN: true }), (bytes, everyMs) => {
      expect(new Set(rests(new ReadPace(), 0, 2_000, everyMs, bytes))).toEqual(new Set([0]));
    }),
    { numRuns: 100 },
  );
});

test("under load the reader rests after each chunk as long as chunks are large, and no longer", () => {
  const pace = new ReadPace();
  expect(rests(pace, 0, 101, 0.01, 300)).toEqual([...Array<number>(100).fill(0), 1]);
  expect(rests(pace, 2, 500, 1.2, 65_535)).toEqual(Array(500).fill(1));
  expect(rests(pace, 1_000, 1, 1, 16_383)).toEqual([0]);
  expect(rests(pace, 1_001, 100, 1, 65_535)).toEqual(Array(100).fill(0));
});

test("a chunk as long as a read leaves more behind: no rest until that is read, however little it is", () => {
  const pace = new ReadPace();
  rests(pace, 0, 101, 0.01, 300);
  for (let at = 2; at < 1_000; at += 2)
    expect([pace.restAfter(at, 65_536), pace.restAfter(at, 65_536), pace.restAfter(at, 1)]).toEqual([0, 0, 1]);
});

test("whatever comes, a rest follows a load of small reads or much that was read at once", () => {
  const reads = fc.array(fc.record({ after: fc.double({ min: 0, max: 20, noNaN: true }), bytes: fc.integer({ min: 1, max: 65_536 }) }));
  fc.assert(
    fc.property(reads, (list) => {
      const pace = new ReadPace();
      let now = 0;
      let before = 0;
      let burst = 0;
      const times: number[] = [];
      for (const { after, bytes } of list) {
        now += after;
        burst += bytes;
        times.push(now);
        const rest = pace.restAfter(now, bytes);
        if (bytes === 65_536) {
          expect(rest).toBe(0);
          continue;
        }
        const recent = times.filter((at) => at >= now - 5).length;
        if (rest > 0) expect(before > 0 ? burst >= 16_384 : recent > 100).toBe(true);
        [before, burst] = [rest, 0];
      }
    }),
  );
});
