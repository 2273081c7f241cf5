import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { KeyRange, QueuedKey } from "../../../src/core/snapshot-record.ts";
import { TableSnapshot } from "../../../src/source/snapshot-progress.ts";
import { parseVisibility } from "../../../src/postgres/visibility.ts";

const orders = { schema: "public", name: "orders" };
const WHOLE: KeyRange = { after: null, upTo: null };

const begin = (): TableSnapshot => TableSnapshot.begin(orders, "table", "first start");
const restarted = (snapshot: TableSnapshot): TableSnapshot => TableSnapshot.of(snapshot.record());
const queuedKey = (value: string): QueuedKey => [{ form: "text", value: Buffer.from(value).toString("base64") }];

/** Takes a range and cuts it behind `upTo`. */
function takeUpTo(snapshot: TableSnapshot, upTo: string): KeyRange {
  return snapshot.carve(snapshot.take()!, [upTo]);
}

describe("ranges", () => {
  test("a chunk is carved off the front; what it leaves is there for another session", () => {
    const snapshot = begin();
    expect(takeUpTo(snapshot, "g")).toEqual({ after: null, upTo: ["g"] });
    expect(takeUpTo(snapshot, "p")).toEqual({ after: ["g"], upTo: ["p"] });
    expect(snapshot.take()).toEqual({ after: ["p"], upTo: null });
    expect(snapshot.take()).toBeNull();
  });

  test("what is in flight is still to do in the durable state, as one range with its neighbours", () => {
    const snapshot = begin();
    takeUpTo(snapshot, "g");
    takeUpTo(snapshot, "p");
    expect(snapshot.record().todo).toEqual([WHOLE]);
  });

  test("a restart goes on at the chunks that were not durable", () => {
    const snapshot = begin();
    const [first, second, third] = [takeUpTo(snapshot, "g"), takeUpTo(snapshot, "p"), takeUpTo(snapshot, "t")];
    snapshot.durable(second, "o1", 10);
    const after = restarted(snapshot);
    expect(after.record().todo).toEqual([
      { after: null, upTo: ["g"] },
      { after: ["p"], upTo: null },
    ]);
    expect([after.rows, after.chunks, after.complete]).toEqual([10, 1, false]);
    snapshot.durable(third, "o1", 1);
    snapshot.durable(first, "o1", 1);
    expect(snapshot.record().todo).toEqual([{ after: ["t"], upTo: null }]);
  });

  test("a composite key's neighbours are joined by all of its columns", () => {
    const snapshot = begin();
    const range = snapshot.carve(snapshot.take()!, ["a", "b,c"]);
    snapshot.carve(snapshot.take()!, ["a,b", "c"]);
    snapshot.durable(range, "o1", 1);
    expect(snapshot.record().todo).toEqual([{ after: ["a", "b,c"], upTo: null }]);
  });

  test("a range that was not read, and all after a lost stream session, are taken again", () => {
    const snapshot = begin();
    const range = takeUpTo(snapshot, "g");
    snapshot.giveBack(range);
    expect(snapshot.take()).toBe(range);
    snapshot.take();
    expect(snapshot.take()).toBeNull();
    snapshot.giveAllBack();
    expect(snapshot.take()).toBe(range);
  });

  test("a range that was cut or read meanwhile is not cut again: what is left of it stays as it is", () => {
    const snapshot = begin();
    const whole = snapshot.take()!;
    const front = snapshot.carve(whole, ["g"]);
    expect(() => snapshot.carve(whole, ["k"])).toThrow(RangeError);
    snapshot.durable(front, "o1", 1);
    expect(() => snapshot.carve(front, ["c"])).toThrow(RangeError);
    expect(snapshot.record().todo).toEqual([{ after: ["g"], upTo: null }]);
  });

  test("a chunk that becomes durable twice counts once", () => {
    const snapshot = begin();
    const range = takeUpTo(snapshot, "g");
    snapshot.durable(range, "o1", 10);
    snapshot.durable(range, "o1", 10);
    expect([snapshot.rows, snapshot.chunks]).toEqual([10, 1]);
  });

  test("however chunks are carved, given back, made durable and restarted, each key is in exactly one range until it is durable", () => {
    const KEYS = 40;
    const isIn = (key: number, { after, upTo }: KeyRange): boolean =>
      (after === null || key > Number(after[0])) && (upTo === null || key <= Number(upTo[0]));
    const steps = fc.array(fc.tuple(fc.nat(5), fc.nat(KEYS)), { maxLength: 60 });
    fc.assert(
      fc.property(steps, (commands) => {
        let snapshot = begin();
        let inFlight: KeyRange[] = [];
        const durable = new Set<number>();
        for (const [what, value] of commands) {
          const range = inFlight[value % Math.max(inFlight.length, 1)];
          if (what < 3) {
            const taken = snapshot.take();
            const inside = taken !== null && isIn(value, taken) && isIn(value + 1, taken);
            if (taken !== null) inFlight.push(inside ? snapshot.carve(taken, [String(value)]) : taken);
          } else if (what === 3 && range !== undefined) {
            snapshot.giveBack(range);
            inFlight = inFlight.filter((each) => each !== range);
          } else if (what === 4 && range !== undefined) {
            snapshot.durable(range, "o1", 1);
            inFlight = inFlight.filter((each) => each !== range);
            for (let key = 0; key <= KEYS; key++) if (isIn(key, range)) durable.add(key);
          } else if (what === 5) {
            snapshot = restarted(snapshot);
            inFlight = [];
          }
          const { todo } = snapshot.record();
          for (let key = 0; key <= KEYS; key++)
            expect(todo.filter((each) => isIn(key, each)).length, `key ${key}`).toBe(durable.has(key) ? 0 : 1);
        }
      }),
    );
  });
});

describe("the opening mark (R-sweep)", () => {
  test("is the one of the first durable chunk, in this process and after a restart", () => {
    const snapshot = begin();
    expect(snapshot.opening).toBeNull();
    const first = takeUpTo(snapshot, "g");
    const second = takeUpTo(snapshot, "p");
    snapshot.durable(second, "o1", 1);
    snapshot.durable(first, "o2", 1);
    const after = restarted(snapshot);
    after.durable(after.take()!, "o3", 1);
    expect([after.opening, after.complete]).toEqual(["o1", true]);
  });
});

describe("re-reads (R-window-toast)", () => {
  test("a table is not complete while a key is queued", () => {
    const snapshot = begin();
    snapshot.queue(queuedKey("a"), 11);
    snapshot.durable(snapshot.take()!, "o1", 1);
    expect([snapshot.complete, snapshot.queued]).toEqual([false, 1]);
    snapshot.reread(snapshot.takeRereads(10), parseVisibility("12:12:"));
    expect([snapshot.complete, snapshot.queued]).toEqual([true, 0]);
  });

  test("a key is read again until a snapshot has seen every change that queued it, also one that came meanwhile", () => {
    const snapshot = TableSnapshot.begin(orders, "rereads", "key change");
    const key = queuedKey("a");
    snapshot.queue(key, 11);
    const keys = snapshot.takeRereads(10);
    snapshot.queue(key, 13);
    snapshot.reread(keys, parseVisibility("11:11:"));
    expect(snapshot.queued).toBe(1);
    snapshot.reread(snapshot.takeRereads(10), parseVisibility("12:14:13"));
    expect(snapshot.queued).toBe(1);
    snapshot.reread(snapshot.takeRereads(10), parseVisibility("14:14:"));
    expect(snapshot.complete).toBe(true);
  });

  test("a key whose reader failed is taken again", () => {
    const snapshot = begin();
    snapshot.queue(queuedKey("a"), 11);
    const keys = snapshot.takeRereads(10);
    expect(snapshot.takeRereads(10)).toEqual([]);
    snapshot.reread(keys, null);
    expect(snapshot.takeRereads(10)).toEqual(keys);
    snapshot.giveAllBack();
    expect(snapshot.takeRereads(10)).toEqual(keys);
  });

  test("keys come a few at a time, each once", () => {
    const snapshot = begin();
    for (const name of ["a", "b", "a", "c"]) snapshot.queue(queuedKey(name), 11);
    expect(snapshot.takeRereads(2)).toEqual([queuedKey("a"), queuedKey("b")]);
    expect(snapshot.takeRereads(2)).toEqual([queuedKey("c")]);
  });

  test("the queue survives a restart; who changed the keys has ended by then (R-window-start)", () => {
    const snapshot = begin();
    snapshot.queue(queuedKey("a"), 11);
    snapshot.takeRereads(1);
    const after = restarted(snapshot);
    after.reread(after.takeRereads(10), parseVisibility("5:5:"));
    expect(after.queued).toBe(0);
  });
});

describe("kinds", () => {
  test("a snapshot of re-reads has no range, and is over with its last key", () => {
    const snapshot = TableSnapshot.begin(orders, "rereads", "key change");
    expect([snapshot.take(), snapshot.complete]).toEqual([null, true]);
  });

  test("a keyless one begins again from the beginning (R-keyless)", () => {
    const snapshot = TableSnapshot.begin(orders, "keyless", "first start");
    snapshot.durable(snapshot.take()!, "o1", 7);
    const after = restarted(snapshot);
    expect([after.rows, after.chunks, after.opening, after.complete]).toEqual([0, 0, null, false]);
    expect(after.record().todo).toEqual([WHOLE]);
  });

  test("the condition of a filtered one is kept", () => {
    const record = TableSnapshot.begin(orders, "filtered", "asked for", "id > 5").record();
    expect(TableSnapshot.of(record).record()).toEqual(record);
  });
});
