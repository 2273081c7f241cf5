import { describe, expect, test } from "vitest";
import { ChunkOrder, GATHER_MS } from "../../../src/source/chunk-order.ts";
import { TableSnapshot } from "../../../src/source/snapshot-progress.ts";
import { parseVisibility } from "../../../src/source/window.ts";

const begin = (): TableSnapshot => TableSnapshot.begin({ schema: "public", name: "orders" }, "table", "first start");
const queue = (snapshot: TableSnapshot, value: number): void =>
  snapshot.queue([{ form: "text", value: Buffer.from(String(value)).toString("base64") }], 100);

describe("keys that are queued for a re-read, and ranges", () => {
  test("with a key queued between any two chunks, ranges are read as long as keys are gathered, and keys ten times a second", () => {
    const [order, snapshot] = [new ChunkOrder(), begin()];
    const kinds: string[] = [];
    for (let now = 0; now < 1_000; now += 10) {
      queue(snapshot, now);
      const job = order.next(snapshot, now);
      kinds.push(job?.kind ?? "nothing");
      if (job?.kind === "keys") snapshot.reread(job.keys, parseVisibility("200:200:"));
      if (job?.kind === "range") snapshot.durable(snapshot.carve(job.range, [String(now)]), "o", 1);
    }
    expect(kinds.filter((kind) => kind === "keys")).toHaveLength(1_000 / GATHER_MS);
    expect(kinds.filter((kind) => kind === "range")).toHaveLength(90);
  });

  test("with no range left that nobody reads keys are gathered too: other tables come in between", () => {
    const [order, snapshot] = [new ChunkOrder(), begin()];
    queue(snapshot, 1);
    expect(order.next(snapshot, 0)?.kind).toBe("keys");
    expect(order.next(snapshot, 1)?.kind).toBe("range");
    queue(snapshot, 2);
    expect(order.next(snapshot, GATHER_MS - 1)).toBeNull();
    expect(order.next(snapshot, GATHER_MS)?.kind).toBe("keys");
  });

  test("one table's keys do not keep another's waiting", () => {
    const [order, one, other] = [new ChunkOrder(), begin(), begin()];
    queue(one, 1);
    queue(other, 1);
    expect([order.next(one, 0)?.kind, order.next(other, 1)?.kind]).toEqual(["keys", "keys"]);
  });
});
