import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { encodeBarrier, type Barrier } from "../../../src/core/barrier.ts";
import type { FetchedRecords } from "../../../src/core/event-log.ts";
import { toLsn } from "../../../src/core/lsn.ts";
import { Barriers, sweepsOf, type AwaitedSweep, type EndBarrier } from "../../../src/sink/barriers.ts";
import type { Progress } from "../../../src/sink/positions.ts";

const TOPIC = "shop.barriers";
const ORDERS = { name: "shop.public.orders", id: "A", partitions: 2, table: { schema: "public", name: "orders" } };
const target = { schema: "analytics", name: "orders" };
const from: Progress = { topic: TOPIC, partition: 0, topicId: "B", nextOffset: 0, sequence: "", stored: null };

function barrier(parts: Partial<Barrier> = {}): Barrier {
  const topics = [{ name: ORDERS.name, id: ORDERS.id, next: [3, 5] }];
  return { epoch: 1, commitLsn: toLsn(16n), commitMicros: 0n, topics, parked: [], snapshots: [], ...parts };
}

function end(opening: string, name = "orders"): Barrier["snapshots"][number] {
  return { table: { schema: "public", name }, topic: `shop.public.${name}`, opening };
}

function fetched(first: number, ...values: readonly Buffer[]): FetchedRecords {
  const records = values.map((value, index) => ({ offset: first + index, timestamp: 0, key: null, value, headers: [] }));
  return { topic: TOPIC, partition: 0, records, next: first + values.length, start: 0, end: first + values.length };
}

function sweep(barrierOffset: number, next: readonly number[], topic = ORDERS.name): AwaitedSweep {
  return { table: { schema: "public", name: "orders" }, target, deletes: "hard", opening: "0001", topic, next, barrierOffset };
}

describe("barriers as a sink reads them", () => {
  test("those without ends of snapshots are passed over, those with ends come with their offset", () => {
    const barriers = new Barriers(from);
    const values = [barrier(), barrier({ snapshots: [end("0001")] }), barrier()].map(encodeBarrier);
    expect(barriers.read(fetched(7, ...values))).toEqual({ ends: [{ ...barrier({ snapshots: [end("0001")] }), offset: 8 }], skipped: 0 });
    expect(barriers.unstored).toBe(10);
  });

  test("those behind one whose sweep waits are not counted as what a flush would pass", () => {
    const barriers = new Barriers(from);
    barriers.read(fetched(0, ...Array.from({ length: 10 }, () => encodeBarrier(barrier()))));
    barriers.await([sweep(4, [3, 5])]);
    expect(barriers.unstored).toBe(4);
    barriers.done([], barriers.moveAfter([]));
    expect(barriers.unstored).toBe(0);
  });

  test("R-epoch: a lower epoch than one before is a dead process's, with ends or without, in this run or an earlier one", () => {
    const barriers = new Barriers({ ...from, sequence: "0002-0000000000000000-000000000000" });
    const values = [barrier(), barrier({ snapshots: [end("0001")] }), barrier({ epoch: 3 }), barrier({ epoch: 2 }), barrier({ epoch: 12 })];
    expect(barriers.read(fetched(0, ...values.map(encodeBarrier)))).toEqual({ ends: [], skipped: 3 });
    expect(barriers.moveAfter([])?.sequence).toBe("000c-0000000000000000-000000000000");
  });

  test("whatever somebody else's JSON looks like, it is read as what it says or refused", () => {
    const { epoch, topics } = barrier();
    const spaced = JSON.stringify({ snapshots: [], topics, commit_lsn: "0/10", commit_ts_us: "0", epoch }, null, 1);
    const first = JSON.stringify({
      snapshots: [end("0001")],
      topics,
      commit_lsn: "0/10",
      commit_ts_us: "0",
      epoch,
      more: { snapshots: [] },
    });
    const barriers = new Barriers(from);
    expect(barriers.read(fetched(0, Buffer.from(spaced), Buffer.from(first))).ends.map(({ offset }) => offset)).toEqual([1]);
    for (const bytes of ["", "{", '{"epoch":1', '{"epoch":,"snapshots":[]}', '"snapshots":[]}'])
      expect(() => barriers.read(fetched(0, Buffer.from(bytes)))).toThrow(expect.objectContaining({ code: "LOG_CORRUPT" }));
  });
});

describe("R-sweep: what the end of a snapshot asks of a sink", () => {
  const rule = ({ name }: { readonly name: string }) => (name === "unrouted" ? null : ({ target, deletes: "soft" } as const));
  const said = (parts: Partial<Barrier>): EndBarrier => ({ ...barrier(parts), offset: 4 });

  test("is a sweep of its target up to the barrier's offsets", () => {
    expect(sweepsOf(said({ snapshots: [end("0001")] }), [ORDERS], rule)).toEqual({
      sweeps: [
        {
          table: { schema: "public", name: "orders" },
          target,
          deletes: "soft",
          opening: "0001",
          topic: ORDERS.name,
          next: [3, 5],
          barrierOffset: 4,
        },
      ],
      skipped: 0,
    });
  });

  test("is nothing for a table that is not merged", () => {
    expect(sweepsOf(said({ snapshots: [end("0001", "unrouted")] }), [ORDERS], rule)).toEqual({ sweeps: [], skipped: 0 });
  });

  test("is skipped when the topic is gone, was made again, or is not in the barrier", () => {
    const barriers = said({ snapshots: [end("0001"), end("0002", "another")] });
    expect(sweepsOf(barriers, [], rule)).toEqual({ sweeps: [], skipped: 2 });
    expect(
      sweepsOf(
        barriers,
        [
          { ...ORDERS, id: "B" },
          { ...ORDERS, name: "shop.public.another" },
        ],
        rule,
      ),
    ).toEqual({ sweeps: [], skipped: 2 });
  });
});

describe("R-sweep: a sweep", () => {
  const at =
    (...offsets: readonly number[]) =>
    (_: string, partition: number): number | null =>
      offsets[partition] ?? null;

  test("is due when every partition of its topic is merged up to the barrier, not sooner", () => {
    const barriers = new Barriers(from);
    const awaited = sweep(4, [3, 5]);
    barriers.await([awaited]);
    expect(barriers.due(at(3, 4))).toEqual([]);
    expect(barriers.due(at(2, 9))).toEqual([]);
    expect(barriers.due(at(3))).toEqual([]);
    expect(barriers.due(at(3, 5))).toEqual([awaited]);
    expect(barriers.due(at(4, 9))).toEqual([awaited]);
  });

  test("holds the checkpoint at its barrier until it has run; two of one barrier hold it until both have", () => {
    const barriers = new Barriers(from);
    barriers.read(fetched(0, ...Array.from({ length: 10 }, () => encodeBarrier(barrier()))));
    const [first, second, third] = [sweep(4, [3]), sweep(4, [9], "shop.public.items"), sweep(6, [4])];
    barriers.await([first, second, third]);
    expect(barriers.isAwaited("shop.public.items")).toBe(true);
    const moves = [[], [first, third], [second]].map((done) => {
      const move = barriers.moveAfter(done);
      barriers.done(done, move);
      return move === null ? null : [move.expected?.nextOffset ?? null, move.nextOffset];
    });
    expect(moves).toEqual([[null, 4], null, [4, 10]]);
    expect(barriers.isAwaited("shop.public.items")).toBe(false);
    expect(barriers.moveAfter([])).toBe(null);
  });

  test("whatever comes in which order, the checkpoint never passes a sweep that has not run, and reaches the end when all have", () => {
    const step = fc.oneof(
      fc.record({ read: fc.integer({ min: 1, max: 3 }), ends: fc.boolean(), next: fc.nat(20) }),
      fc.record({ merge: fc.integer({ min: 1, max: 5 }), durable: fc.boolean() }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
        const barriers = new Barriers(from);
        const left = new Set<AwaitedSweep>();
        let [end, merged, stored] = [0, 0, 0];
        const flush = (durable: boolean): void => {
          const due = barriers.due(() => merged);
          const move = barriers.moveAfter(due);
          if (!durable) return;
          barriers.done(due, move);
          for (const one of due) left.delete(one);
          expect(move?.expected?.nextOffset ?? 0).toBe(move === null ? 0 : stored);
          stored = move?.nextOffset ?? stored;
          for (const { barrierOffset, next } of left) {
            expect(stored).toBeLessThanOrEqual(barrierOffset);
            expect(merged).toBeLessThan(next[0]!);
          }
        };
        for (const one of steps) {
          if ("merge" in one) {
            merged += one.merge;
            flush(one.durable);
          } else {
            barriers.read(fetched(end, ...Array.from({ length: one.read }, () => encodeBarrier(barrier()))));
            const made = sweep(end + one.read - 1, [one.next]);
            end += one.read;
            if (one.ends) {
              left.add(made);
              barriers.await([made]);
            }
          }
        }
        merged = 100;
        flush(true);
        expect(stored).toBe(end);
      }),
    );
  });
});
