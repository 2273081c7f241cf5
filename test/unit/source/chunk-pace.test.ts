import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { ChunkPace, restAfter, RowLimit } from "../../../src/source/chunk-pace.ts";

const KIB = 1_024;
const MAX_BYTES = 16 * KIB * KIB;
const TABLE = "public.orders";

/** A whole chunk; by itself it takes no time and has no bytes. */
function took(
  pace: ChunkPace,
  chunk: { readonly rows: number; readonly ms?: number; readonly heldMs?: number; readonly others?: number; readonly bytes?: number },
): void {
  const { rows, ms = 0, heldMs = 0, others = 0, bytes = 0 } = chunk;
  pace.took(TABLE, { rows, ms, hold: { ms: heldMs, others }, bytes, maxBytes: MAX_BYTES });
}

describe("R-chunk: rows of the next chunk", () => {
  test("a table's first chunk has snapshot.chunk_rows, whatever other tables were like", () => {
    const pace = new ChunkPace(5_000);
    took(pace, { rows: 5_000, ms: 5_000 });
    expect(pace.rows(TABLE)).toBe(500);
    expect(pace.rows("public.items")).toBe(5_000);
  });

  test("are as many as take half a second: fewer after a slow chunk, at most twice as many after a fast one", () => {
    const pace = new ChunkPace(10_000);
    took(pace, { rows: 10_000, ms: 2_000 });
    expect(pace.rows(TABLE)).toBe(2_500);
    took(pace, { rows: 2_500, ms: 10 });
    expect(pace.rows(TABLE)).toBe(5_000);
  });

  test("are as many as hold the stream at their mark for 30 ms, or for 5 ms while there are transactions to wait behind it", () => {
    const pace = new ChunkPace(10_000);
    took(pace, { rows: 10_000, ms: 400, heldMs: 60 });
    expect(pace.rows(TABLE)).toBe(5_000);
    took(pace, { rows: 5_000, ms: 400, heldMs: 20, others: 1 });
    expect(pace.rows(TABLE)).toBe(1_250);
    took(pace, { rows: 1_250, ms: 100, heldMs: 5 });
    expect(pace.rows(TABLE)).toBe(2_500);
  });

  test("fill half of the bytes that a chunk may have: the next rows may be wider", () => {
    const pace = new ChunkPace(4_096);
    took(pace, { rows: 4_096, ms: 250, bytes: 12 * KIB * KIB });
    expect(pace.rows(TABLE)).toBe(2_730);
  });

  test("are twice as many after a chunk of no time and no bytes", () => {
    const pace = new ChunkPace(1_000);
    took(pace, { rows: 1_000 });
    expect(pace.rows(TABLE)).toBe(2_000);
  });

  test("the end of a range, with few rows, says nothing", () => {
    const pace = new ChunkPace(10_000);
    took(pace, { rows: 10, ms: 5_000 });
    expect(pace.rows(TABLE)).toBe(10_000);
  });

  test("one that was too large is followed by half of the rows that fitted, down to a single one", () => {
    const pace = new ChunkPace(10_000);
    pace.tooLarge(TABLE, 3_000);
    expect(pace.rows(TABLE)).toBe(1_500);
    pace.tooLarge(TABLE, 7);
    expect(pace.rows(TABLE)).toBe(3);
    for (let again = 0; again < 3; again++) pace.tooLarge(TABLE, 1);
    expect(pace.rows(TABLE)).toBe(1);
  });

  test("whatever chunks are like, the next one has a whole number of rows, and no more than 200,000", () => {
    const chunk = fc.record({
      share: fc.double({ min: 0.01, max: 1, noNaN: true }),
      ms: fc.double({ min: 0, max: 600_000, noNaN: true }),
      held: fc.double({ min: 0, max: 1, noNaN: true }),
      rowBytes: fc.integer({ min: 0, max: 1 << 26 }),
    });
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 200_000 }), fc.array(chunk), (first, chunks) => {
        const pace = new ChunkPace(first);
        for (const { share, ms, held, rowBytes } of chunks) {
          const rows = Math.max(1, Math.floor(pace.rows(TABLE) * share));
          if (rows > 1 && rows * rowBytes > MAX_BYTES) pace.tooLarge(TABLE, Math.floor(MAX_BYTES / rowBytes));
          else took(pace, { rows, ms, heldMs: ms * held, bytes: rows * rowBytes });
          expect(Number.isSafeInteger(pace.rows(TABLE))).toBe(true);
          expect(pace.rows(TABLE)).toBeGreaterThanOrEqual(1);
          expect(pace.rows(TABLE)).toBeLessThanOrEqual(200_000);
        }
      }),
    );
  });
});

test("a reader rests as long as its chunk took while other transactions come by, but no longer than 100 ms", () => {
  expect(restAfter(40, { ms: 5, others: 1 })).toBe(40);
  expect(restAfter(4_000, { ms: 5, others: 1 })).toBe(100);
  expect(restAfter(40, { ms: 5, others: 0 })).toBe(0);
});

describe("snapshot.max_rows_per_second", () => {
  test("without it nobody waits", () => {
    expect(new RowLimit(null).waitAfter(1_000_000, 5)).toBe(0);
  });

  test("after a chunk its share of time is waited for, the time of reading it not taken off", () => {
    const limit = new RowLimit(1_000);
    expect(limit.waitAfter(500, 10_000)).toBe(500);
    expect(limit.waitAfter(500, 10_500)).toBe(500);
  });

  test("two sessions share it", () => {
    const limit = new RowLimit(1_000);
    expect(limit.waitAfter(1_000, 10_000)).toBe(1_000);
    expect(limit.waitAfter(1_000, 10_000)).toBe(2_000);
  });

  test("time in which nothing was read is not saved up", () => {
    const limit = new RowLimit(1_000);
    limit.waitAfter(1_000, 0);
    expect(limit.waitAfter(100, 3_600_000)).toBe(100);
  });

  test("over any run of chunks no more rows are read than the limit allows", () => {
    const chunks = fc.array(fc.record({ rows: fc.integer({ min: 1, max: 50_000 }), ms: fc.nat(2_000) }), { minLength: 1, maxLength: 50 });
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 100_000 }), chunks, (perSecond, run) => {
        const limit = new RowLimit(perSecond);
        let now = 1_000;
        let rows = 0;
        for (const chunk of run) {
          now += chunk.ms;
          rows += chunk.rows;
          now += limit.waitAfter(chunk.rows, now);
          expect((rows * 1_000) / perSecond).toBeLessThanOrEqual((now - 1_000) * (1 + 1e-9));
        }
      }),
    );
  });
});
