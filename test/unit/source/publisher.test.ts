import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { decodeBarrier, type Barrier } from "../../../src/core/barrier.ts";
import type { TailraceError } from "../../../src/core/errors.ts";
import type { EncodedBatch, LogRecord, LogWriter } from "../../../src/core/event-log.ts";
import { toLsn, type Lsn } from "../../../src/core/lsn.ts";
import { readRecords } from "../../../src/core/record-batch.ts";
import type { PartitionBuffer } from "../../../src/source/partition-buffers.ts";
import { Publisher } from "../../../src/source/publisher.ts";

/** A log whose appends settle when the test says so. */
class SlowWriter implements LogWriter {
  readonly waiting: { readonly batches: readonly EncodedBatch[]; readonly settle: () => void }[] = [];
  readonly barriers: Barrier[] = [];
  readonly ends = new Map<string, number>();
  /** Added to each base offset: what a second writer would do. */
  shift = 0;

  async append(batches: readonly EncodedBatch[]): Promise<readonly number[]> {
    const offsets = batches.map(({ topic, partition, count }) => {
      const place = `${topic}/${partition}`;
      const base = this.ends.get(place) ?? 0;
      this.ends.set(place, base + count);
      return base + this.shift;
    });
    const copies = batches.map((batch) => ({ ...batch, bytes: Buffer.from(batch.bytes) }));
    await new Promise<void>((settle) => this.waiting.push({ batches: copies, settle }));
    for (const batch of copies) if (batch.topic === "shop.barriers") this.barriers.push(barrierOf(batch));
    return offsets;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // nothing to close
  }
}

function barrierOf(batch: EncodedBatch): Barrier {
  const records: LogRecord[] = [];
  readRecords(batch.bytes, { topic: batch.topic, partition: batch.partition }, 0, records);
  return decodeBarrier(records[0]?.value ?? Buffer.alloc(0), { topic: batch.topic, offset: 0 });
}

const lsn = (position: number): Lsn => toLsn(BigInt(position));
/** What has settled is taken up, and what then waits is sent: small rounds gather for 1 ms, barriers wait 5 for a round. */
const turn = async (): Promise<void> => {
  await vi.advanceTimersByTimeAsync(10);
};

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "setImmediate", "performance"] });
});
afterEach(() => {
  vi.useRealTimers();
});

function scene() {
  const writer = new SlowWriter();
  const seen = { failed: [] as TailraceError[], paused: [] as boolean[] };
  const publisher = new Publisher({
    writer,
    prefix: "shop",
    epoch: 1,
    acknowledged: lsn(1),
    published: lsn(0),
    counters: 1,
    barrierEnd: 0,
    signal: new AbortController().signal,
    events: {
      backpressure: (paused) => seen.paused.push(paused),
      published: () => undefined,
      progress: () => undefined,
      announced: () => undefined,
      failed: (error) => seen.failed.push(error),
    },
  });
  const topic = { name: "shop.public.orders", id: "A", partitions: 2 };
  const [first, second] = publisher.addTopic(topic, [0, 0], 1 << 20) as [PartitionBuffer, PartitionBuffer];
  return { writer, publisher, first, second, seen };
}

function write(publisher: Publisher, buffer: PartitionBuffer, bytes = 10): void {
  const value = Buffer.alloc(bytes);
  publisher.reserve(buffer, bytes);
  buffer.batch.append(null, 0, 0, value, 0, bytes);
  publisher.appended(buffer, bytes, 0);
}

/** One transaction: BEGIN, rows, COMMIT with its end 10 behind its commit LSN. */
function transaction(publisher: Publisher, commit: number, ...rows: readonly PartitionBuffer[]): void {
  publisher.begin(BigInt(commit));
  for (const buffer of rows) write(publisher, buffer);
  publisher.commit(lsn(commit), lsn(commit + 10), "barrier");
}

/** Whatever is sent arrives. */
async function pass(writer: SlowWriter): Promise<void> {
  for (await turn(); writer.waiting.length > 0; await turn()) for (const append of writer.waiting.splice(0)) append.settle();
}

describe("the publisher", () => {
  test("R-ack: a commit may be acknowledged when its events and then its barrier are durable, not before", async () => {
    const { writer, publisher, first } = scene();
    transaction(publisher, 100, first);
    await turn();
    expect(publisher.ackable()).toBe(lsn(1));
    writer.waiting.shift()?.settle();
    await turn();
    expect(writer.waiting[0]?.batches[0]?.topic).toBe("shop.barriers");
    expect(publisher.ackable()).toBe(lsn(1));
    writer.waiting.shift()?.settle();
    await turn();
    expect(publisher.ackable()).toBe(lsn(110));
  });

  test("R-barrier: names the offsets after its own commit, also where the batch goes on with the next transaction", async () => {
    const { writer, publisher, first, second } = scene();
    transaction(publisher, 100, first, second, first);
    publisher.begin(200n);
    write(publisher, first);
    write(publisher, second);
    await turn();
    writer.waiting.shift()?.settle();
    await turn();
    writer.waiting.shift()?.settle();
    await turn();
    expect(writer.barriers).toMatchObject([{ commitLsn: lsn(100), topics: [{ id: "A", next: [2, 1] }] }]);
    expect(publisher.ackable()).toBe(lsn(110));
  });

  test("R-park: what is flushed is durable though its transaction is open; what was received later is not waited for", async () => {
    const { writer, publisher, first } = scene();
    publisher.begin(100n);
    write(publisher, first);
    let flushed = false;
    void publisher.flushed().then(() => (flushed = true));
    await turn();
    expect([writer.waiting.length, flushed]).toEqual([1, false]);
    write(publisher, first);
    writer.waiting.shift()?.settle();
    await turn();
    expect(flushed).toBe(true);
    publisher.abandon();
    await expect(publisher.flushed()).rejects.toMatchObject({ code: "STREAM_LOST" });
  });

  test("R-park: a barrier counts what was drained when that is settled, and names the parked tables until they are not", async () => {
    const { writer, publisher, first, second } = scene();
    publisher.parked = [{ schema: "public", name: "orders" }];
    first.batch.append(null, 0, 0, Buffer.alloc(4), 0, 4);
    publisher.appendedAside(4);
    transaction(publisher, 100, second);
    await pass(writer);
    publisher.parked = [];
    publisher.settle([first]);
    transaction(publisher, 200, second);
    await pass(writer);
    expect(writer.barriers.map(({ parked, topics }) => ({ parked: parked.length, next: topics[0]?.next }))).toEqual([
      { parked: 1, next: [0, 1] },
      { parked: 0, next: [1, 2] },
    ]);
  });

  test("R-sweep: of the ends of a table's snapshots that wait for one barrier the last is said, which asks for all that the others do", async () => {
    const { writer, publisher, first } = scene();
    const end = (name: string, opening: string) => ({ table: { schema: "public", name }, topic: `shop.public.${name}`, opening });
    publisher.announce([end("orders", "1"), end("customers", "1")]);
    publisher.announce([end("orders", "2")]);
    transaction(publisher, 10, first);
    await turn();
    transaction(publisher, 20, first);
    publisher.announce([end("orders", "3")]);
    void publisher.drained(); // cuts a second round while the first is in flight
    for (const append of writer.waiting.splice(0).reverse()) {
      append.settle();
      await turn();
    }
    for (const append of writer.waiting.splice(0)) append.settle();
    await turn();
    expect(writer.barriers.map(({ snapshots }) => snapshots)).toEqual([[end("orders", "3"), end("customers", "1")]]);
  });

  test("R-barrier: a redelivered commit gets none and is not acknowledged", async () => {
    const { writer, publisher, first } = scene();
    publisher.begin(100n);
    publisher.commit(lsn(100), lsn(110), "redelivered");
    await turn();
    expect(writer.waiting).toHaveLength(0);
    expect(publisher.ackable()).toBe(lsn(1));
    transaction(publisher, 200, first);
    await turn();
    writer.waiting.shift()?.settle();
    await turn();
    writer.waiting.shift()?.settle();
    await turn();
    expect(writer.barriers.map(({ commitLsn }) => commitLsn)).toEqual([lsn(200)]);
    expect(publisher.ackable()).toBe(lsn(210));
  });

  test("a transaction without events is acknowledged without a barrier, behind what is in flight", async () => {
    const { writer, publisher, first } = scene();
    transaction(publisher, 100, first);
    await turn();
    publisher.begin(200n);
    publisher.commit(lsn(200), lsn(210), "empty");
    await turn();
    expect(publisher.ackable()).toBe(lsn(1));
    writer.waiting.shift()?.settle();
    await turn();
    writer.waiting.shift()?.settle();
    await turn();
    expect(publisher.ackable()).toBe(lsn(210));
    expect(writer.barriers).toHaveLength(1);
  });

  test("R-ack: a keepalive inside a transaction, or with a round in flight, acknowledges nothing", async () => {
    const { writer, publisher, first } = scene();
    publisher.begin(100n);
    publisher.keepalive(lsn(500));
    expect(publisher.ackable()).toBe(lsn(1));
    write(publisher, first);
    publisher.commit(lsn(100), lsn(110), "barrier");
    publisher.keepalive(lsn(500));
    await turn();
    expect(publisher.ackable()).toBe(lsn(1));
    writer.waiting.shift()?.settle();
    await turn();
    writer.waiting.shift()?.settle();
    await turn();
    expect(publisher.ackable()).toBe(lsn(500));
  });

  describe("of small transactions", () => {
    const sizes = ({ waiting }: SlowWriter): readonly (readonly string[])[] =>
      waiting.map(({ batches }) => batches.map(({ topic, count }) => `${count} ${topic}`));

    test("one after a while of nothing goes at once; those that come within a millisecond of it share the next request", async () => {
      const { writer, publisher, first } = scene();
      transaction(publisher, 100, first);
      await vi.advanceTimersByTimeAsync(0);
      expect(sizes(writer)).toEqual([["1 shop.public.orders"]]);
      writer.waiting.shift()?.settle();
      for (const commit of [200, 300, 400]) transaction(publisher, commit, first);
      await vi.advanceTimersByTimeAsync(0);
      expect(writer.waiting).toEqual([]);
      await vi.advanceTimersByTimeAsync(1);
      expect(sizes(writer)).toEqual([["3 shop.public.orders"], ["1 shop.barriers"]]);
    });

    test("a barrier goes with the events behind it, or alone when none come within 5 ms", async () => {
      const { writer, publisher, first } = scene();
      transaction(publisher, 100, first);
      await vi.advanceTimersByTimeAsync(0);
      writer.waiting.shift()?.settle();
      await vi.advanceTimersByTimeAsync(4);
      expect(writer.waiting).toEqual([]);
      transaction(publisher, 200, first);
      await vi.advanceTimersByTimeAsync(0);
      expect(sizes(writer)).toEqual([["1 shop.public.orders"], ["1 shop.barriers"]]);
      for (const { settle } of writer.waiting.splice(0)) settle();
      await vi.advanceTimersByTimeAsync(4);
      expect(writer.waiting).toEqual([]);
      await vi.advanceTimersByTimeAsync(2);
      expect(sizes(writer)).toEqual([["1 shop.barriers"]]);
      writer.waiting.shift()?.settle();
      await turn();
      expect(writer.barriers.map(({ commitLsn }) => commitLsn)).toEqual([lsn(100), lsn(200)]);
      expect(publisher.ackable()).toBe(lsn(210));
    });

    test("a full round takes the barrier of those before along", async () => {
      const { writer, publisher, first } = scene();
      transaction(publisher, 100, first);
      await vi.advanceTimersByTimeAsync(0);
      writer.waiting.shift()?.settle();
      await vi.advanceTimersByTimeAsync(1);
      publisher.begin(200n);
      write(publisher, first, 600_000);
      expect(sizes(writer)).toEqual([["1 shop.public.orders"], ["1 shop.barriers"]]);
    });

    test("a publisher that is drained waits for nothing", async () => {
      const { writer, publisher, first } = scene();
      transaction(publisher, 100, first);
      const drained = publisher.drained();
      writer.waiting.shift()?.settle();
      await vi.advanceTimersByTimeAsync(0);
      expect(sizes(writer)).toEqual([["1 shop.barriers"]]);
      writer.waiting.shift()?.settle();
      await drained;
      expect(publisher.ackable()).toBe(lsn(110));
    });
  });

  test("R-writer: a base offset that is not the expected one ends it", async () => {
    const { writer, publisher, first, seen } = scene();
    writer.shift = 1;
    transaction(publisher, 100, first);
    await turn();
    writer.waiting.shift()?.settle();
    await turn();
    expect(seen.failed.map(({ code }) => code)).toEqual(["SECOND_WRITER"]);
    expect(publisher.ackable()).toBe(lsn(1));
  });

  test("with the log behind, reading pauses, and goes on when it has caught up", async () => {
    const { writer, publisher, first, seen } = scene();
    publisher.begin(100n);
    for (let i = 0; i < 200; i++) write(publisher, first, 100_000);
    expect(seen.paused).toEqual([true]);
    while (writer.waiting.length > 0) {
      writer.waiting.shift()?.settle();
      await turn();
    }
    expect(seen.paused).toEqual([true, false]);
  });

  test("every pause is followed by a resume, also when the last append to settle is a barrier", async () => {
    const { writer, publisher, first, seen } = scene();
    for (let index = 1; index <= 6; index++) {
      publisher.begin(BigInt(index));
      write(publisher, first, 600_000); // a round of its own
      publisher.commit(lsn(index * 100), lsn(index * 100 + 10), "barrier");
    }
    expect(seen.paused).toEqual([true]);
    const settleAll = async (topic: string): Promise<void> => {
      for (let index = writer.waiting.length - 1; index >= 0; index--) {
        if (writer.waiting[index]?.batches[0]?.topic === topic) writer.waiting.splice(index, 1)[0]?.settle();
      }
      await turn();
    };
    await settleAll("shop.public.orders");
    while (writer.waiting.length > 0) {
      await settleAll("shop.barriers");
      await settleAll("shop.public.orders");
    }
    expect(seen.paused).toEqual([true, false]);
    expect(publisher.ackable()).toBe(lsn(610));
  });

  test("with a barrier that is long under way small transactions gather behind it: reading goes on, and one request has them all", async () => {
    const { writer, publisher, first, seen } = scene();
    transaction(publisher, 100, first);
    await turn();
    writer.waiting.shift()?.settle();
    await turn();
    const barrier = writer.waiting.shift();
    const counts: number[] = [];
    for (let commit = 200; commit <= 2_000; commit += 100) {
      transaction(publisher, commit, first);
      await turn();
      for (const { batches, settle } of writer.waiting.splice(0)) {
        counts.push(batches[0]?.count ?? 0);
        settle();
      }
    }
    expect([seen.paused, counts]).toEqual([[], [1]]);
    barrier?.settle();
    await turn();
    expect(writer.waiting.map(({ batches }) => batches[0]?.count)).toEqual([18, 1]);
  });

  test("once abandoned it publishes nothing more of what it holds", async () => {
    const { writer, publisher, first } = scene();
    publisher.begin(100n);
    write(publisher, first);
    publisher.abandon();
    publisher.commit(lsn(100), lsn(110), "barrier");
    await turn();
    expect(writer.waiting).toHaveLength(0);
    await publisher.drained();
  });

  test("in whatever order appends settle, what may be acknowledged never passes a transaction that is not durable with its barrier", async () => {
    const sizes = fc.array(fc.integer({ min: 1, max: 5 }), { minLength: 1, maxLength: 12 });
    await fc.assert(
      fc.asyncProperty(sizes, fc.array(fc.nat(), { minLength: 60, maxLength: 60 }), async (rowsOf, order) => {
        const { writer, publisher, first, second } = scene();
        const offsetsAfter: number[][] = [];
        let turnOf = 0;
        const settleOne = async (): Promise<void> => {
          const index = (order[turnOf++ % order.length] ?? 0) % writer.waiting.length;
          writer.waiting.splice(index, 1)[0]?.settle();
          await turn();
        };
        const counts = [0, 0];
        for (const [index, rows] of rowsOf.entries()) {
          publisher.begin(BigInt(index));
          for (let row = 0; row < rows; row++) {
            const partition = (index + row) % 2;
            write(publisher, partition === 0 ? first : second, 150_000);
            counts[partition] = (counts[partition] ?? 0) + 1;
          }
          publisher.commit(lsn(100 * (index + 1)), lsn(100 * (index + 1) + 10), "barrier");
          offsetsAfter.push([...counts]);
          await turn();
          if ((order[index] ?? 0) % 2 === 0 && writer.waiting.length > 0) await settleOne();
          check();
        }
        while (writer.waiting.length > 0) {
          await settleOne();
          check();
        }
        expect(publisher.ackable()).toBe(lsn(100 * rowsOf.length + 10));

        function check(): void {
          const acked = Number(publisher.ackable());
          const transactions = Math.floor(acked / 100);
          const covering = writer.barriers.filter(({ commitLsn }) => Number(commitLsn) >= transactions * 100);
          expect(transactions === 0 || covering.length > 0).toBe(true);
          for (const { commitLsn, topics } of writer.barriers) expect(topics[0]?.next).toEqual(offsetsAfter[Number(commitLsn) / 100 - 1]);
        }
      }),
      { numRuns: 60 },
    );
  });
});
