import { describe, expect, test } from "vitest";
import { ChunkOrder, GATHER_MS } from "../../../src/source/chunk-order.ts";
import { TableSnapshot } from "../../../src/source/snapshot-progress.ts";
import { parseVisibility } from "../../../src/postgres/visibility.ts";

const begin = (name = "orders"): TableSnapshot => TableSnapshot.begin({ schema: "public", name }, "table", "first start");
const beginRereads = (name: string): TableSnapshot => TableSnapshot.begin({ schema: "public", name }, "rereads", "a changed key");
const queue = (snapshot: TableSnapshot, value: number): void =>
  snapshot.queue([{ form: "text", value: Buffer.from(String(value)).toString("base64") }], 100);

/** Table and kind of the jobs that one reader takes for a second, `ms` each; between any two a key of every table is queued. */
function readFor1s(snapshots: readonly TableSnapshot[], ms: number): string[] {
  const order = new ChunkOrder();
  const taken: string[] = [];
  for (let now = 0; now < 1_000; now += ms) {
    for (const snapshot of snapshots) queue(snapshot, now);
    const job = order.next(snapshots, now);
    taken.push(job === null ? "nothing" : `${job.kind} of ${job.snapshot.table.name}`);
    if (job?.kind === "keys") job.snapshot.reread(job.keys, parseVisibility("200:200:"));
    if (job?.kind === "range") job.snapshot.durable(job.snapshot.carve(job.range, [String(now)]), "o", 1);
  }
  return taken;
}

const count = (taken: readonly string[], what: string): number => taken.filter((one) => one === what).length;

describe("keys that are queued for a re-read, and ranges", () => {
  test("with a key queued between any two chunks, ranges are read as long as keys are gathered, and keys ten times a second", () => {
    const taken = readFor1s([begin()], 10);
    expect(count(taken, "keys of orders")).toBe(1_000 / GATHER_MS);
    expect(count(taken, "range of orders")).toBe(90);
  });

  test("re-reads that take longer than keys are gathered keep neither their own table's ranges waiting, nor another table's", () => {
    expect(count(readFor1s([begin()], 2 * GATHER_MS), "range of orders")).toBe(2);
    const taken = readFor1s([beginRereads("moving"), begin("other")], GATHER_MS);
    expect(count(taken, "range of other")).toBe(5);
  });

  test("one table's re-reads, however long each takes, do not keep another's waiting", () => {
    const taken = readFor1s([beginRereads("one"), beginRereads("two"), beginRereads("three")], 2 * GATHER_MS);
    expect(taken).toEqual(["keys of one", "keys of two", "keys of three", "keys of one", "keys of two"]);
  });

  test("nor does a large table that is read before it: its keys are read in between", () => {
    const taken = readFor1s([begin("large"), beginRereads("moving")], 10);
    expect(count(taken, "keys of moving")).toBeGreaterThan(4);
  });

  test("with no range left that nobody reads keys are gathered too: other tables come in between", () => {
    const [order, snapshot] = [new ChunkOrder(), begin()];
    queue(snapshot, 1);
    expect(order.next([snapshot], 0)?.kind).toBe("keys");
    expect(order.next([snapshot], 1)?.kind).toBe("range");
    queue(snapshot, 2);
    expect(order.next([snapshot], GATHER_MS - 1)).toBeNull();
    expect(order.next([snapshot], GATHER_MS)?.kind).toBe("keys");
  });

  test("ranges of the table that stands first are read first", () => {
    const [order, first, second] = [new ChunkOrder(), begin("first"), begin("second")];
    expect(order.next([first, second], 0)?.snapshot).toBe(first);
    expect(order.next([first, second], 1)?.snapshot).toBe(second);
    expect(order.next([first, second], 2)).toBeNull();
  });
});
