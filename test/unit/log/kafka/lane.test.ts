// A lane's rules, and the lane against a broker as Kafka has it: whatever is refused, lost or late, the log holds every batch once
// and in order, and every acknowledgement is of the right place.
import fc from "fast-check";
import { expect, test } from "vitest";
import { sequenceAfter } from "../../../../src/core/record-batch.ts";
import { Lane } from "../../../../src/log/kafka/lane.ts";

type Entry = { readonly number: number; readonly count: number; sequence: number };

function laneOf(numbers: number): Lane<Entry> {
  const lane = new Lane<Entry>({ topic: "t", partition: 0 });
  for (let number = 0; number < numbers; number++) {
    const entry = { number, count: 1 + (number % 3), sequence: 0 };
    entry.sequence = lane.add(entry);
  }
  return lane;
}

/** Sends what may be sent; returns the numbers. */
function send(lane: Lane<Entry>, now = 0): number[] {
  const sent: number[] = [];
  for (let entry = lane.next(now); entry !== null; entry = lane.next(now)) {
    lane.sent(now);
    sent.push(entry.number);
  }
  return sent;
}

test("R-writer: the first batch travels alone; then there are five under way", () => {
  const lane = laneOf(9);
  expect(send(lane)).toEqual([0]);
  expect(lane.landed(0)?.number).toBe(0);
  expect(send(lane)).toEqual([1, 2, 3, 4, 5]);
  expect(lane.landed(0)?.number).toBe(1);
  expect(send(lane)).toEqual([6]);
});

test("R-writer: the first one after a long pause travels alone again", () => {
  const lane = laneOf(4);
  send(lane);
  lane.landed(1_000);
  expect(send(lane, 60_999)).toEqual([1, 2, 3]);
  for (let left = 3; left > 0; left--) lane.landed(61_000);
  for (const number of [4, 5]) lane.add({ number, count: 1, sequence: 0 });
  expect(send(lane, 121_000)).toEqual([4]);
  lane.landed(121_001);
  expect(send(lane, 121_001)).toEqual([5]);
});

test("sequence numbers follow one another by the records", () => {
  const lane = new Lane({ topic: "t", partition: 0 });
  expect([3, 1, 0x7fff_fffb, 2].map((count) => lane.add({ count }))).toEqual([0, 3, 4, 0x7fff_ffff]);
  expect(lane.add({ count: 1 })).toBe(1);
});

test("after a refusal nothing is sent until all under way is answered; then it begins with the refused one, alone", () => {
  const lane = laneOf(6);
  send(lane);
  lane.landed(0);
  expect(send(lane)).toEqual([1, 2, 3, 4, 5]);
  lane.landed(0);
  lane.refuse(10);
  expect([lane.refused, lane.inFlight, lane.next(10)]).toEqual([true, 3, null]);
  expect(() => lane.mend()).toThrow(RangeError);
  expect(lane.landed(10)).toBe(null); // behind the refused one: it is sent again, and the broker remembers it
  lane.refuse(10);
  lane.refuse(10);
  expect(lane.refusals).toBe(1);
  lane.mend();
  expect(send(lane)).toEqual([2]);
  lane.landed(20);
  expect(send(lane)).toEqual([3, 4, 5]);
});

test("trouble lasts from the first refusal until a batch has landed", () => {
  const lane = laneOf(2);
  expect(lane.troubledMs(5)).toBe(0);
  send(lane);
  lane.refuse(100);
  lane.mend();
  lane.stall(150);
  expect([lane.troubledMs(400), lane.refusals]).toEqual([300, 2]);
  lane.mend();
  send(lane, 400);
  lane.landed(500);
  expect([lane.troubledMs(600), lane.refusals]).toEqual([0, 0]);
});

test("what is taken out at the end is everything that has not landed, in order", () => {
  const lane = laneOf(4);
  send(lane);
  lane.landed(0);
  send(lane);
  expect(lane.clear().map(({ number }) => number)).toEqual([1, 2, 3]);
  expect(lane.next(0)).toBe(null);
});

/** A leader's side of idempotence (Kafka's ProducerStateManager): five batches remembered, any number taken after nothing. */
class Broker {
  readonly log: number[] = [];
  #end = 0;
  #remembered: { readonly entry: Entry; readonly offset: number }[] = [];

  append(entry: Entry): number | "out of order" {
    const before = this.#remembered.find(({ entry: known }) => known.sequence === entry.sequence && known.count === entry.count);
    if (before !== undefined) return before.offset;
    const last = this.#remembered.at(-1)?.entry;
    if (last !== undefined && sequenceAfter(last.sequence, last.count) !== entry.sequence) return "out of order";
    const offset = this.#end;
    this.#end += entry.count;
    this.log.push(entry.number);
    this.#remembered = [...this.#remembered, { entry, offset }].slice(-5);
    return offset;
  }

  forget(): void {
    this.#remembered = [];
  }
}

const step = fc.constantFrom("send", "work", "work", "refuse", "refuse after", "answer lost", "cut", "late", "mend", "long pause");

test("R-writer: whatever is refused, lost or late, every batch is in the log once, in order, and acknowledged with its place", () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 150 }), (steps) => {
      const lane = laneOf(30);
      const broker = new Broker();
      let now = 0;
      let way: Entry[] = []; // on the connection, not worked on yet
      let stale: Entry[] = []; // on a lost connection; the broker may still read them
      const acknowledged: number[][] = [];
      const landed = (offset: number): void => {
        const entry = lane.landed(now);
        if (entry !== null) acknowledged.push([entry.number, offset]);
      };
      const lose = (): void => {
        stale.push(...way);
        way = [];
        while (lane.inFlight > 0) lane.refuse(now);
      };
      const act = (one: string): void => {
        now += 10;
        const entry = way[0];
        if (one === "send") {
          for (let next = lane.next(now); next !== null; next = lane.next(now)) {
            lane.sent(now);
            way.push(next);
          }
        } else if (one === "work" && entry !== undefined) {
          way.shift();
          const offset = broker.append(entry);
          if (offset !== "out of order") landed(offset);
          else if (lane.refused) lane.refuse(now);
          else throw new Error(`out of order: ${entry.number} after ${broker.log.join()}`);
        } else if (one === "refuse" && entry !== undefined) {
          way.shift();
          lane.refuse(now);
        } else if (one === "refuse after" && entry !== undefined) {
          // Appended, not replicated in time; one out of order would say so.
          way.shift();
          broker.append(entry);
          lane.refuse(now);
        } else if (one === "answer lost" && entry !== undefined) {
          broker.append(entry);
          way.shift();
          lose();
        } else if (one === "cut") {
          lose();
        } else if (one === "late" && stale.length > 0) {
          broker.append(stale.shift()!);
        } else if (one === "mend" && lane.refused && lane.inFlight === 0) {
          lane.mend();
        } else if (one === "long pause" && lane.inFlight === 0) {
          now += 86_400_000;
          stale = [];
          broker.forget();
        }
      };
      // Forgetting a batch that may have landed unheard is a refusal away from writing it twice: the writer gives up long before.
      for (const one of steps) if (one !== "long pause" || lane.refusals === 0) act(one);
      for (let turn = 0; turn < 200; turn++) for (const one of ["mend", "send", "work"]) act(one);
      expect(broker.log).toEqual(Array.from({ length: 30 }, (_, number) => number));
      const offsets = laneOf(30)
        .clear()
        .map(({ number, sequence }) => [number, sequence]);
      expect(acknowledged).toEqual(offsets); // the first record's sequence number is its offset here
    }),
    { numRuns: 2_000 },
  );
});
