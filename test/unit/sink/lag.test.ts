import { expect, test } from "vitest";
import { SinkLag } from "../../../src/sink/lag.ts";

const first = { topic: "shop.public.orders", partition: 0 };
const second = { topic: "shop.public.orders", partition: 1 };

test("the lag is unknown until the checkpoint and every partition's end are known", () => {
  const lag = new SinkLag();
  lag.seen(first, 5);
  expect(lag.records).toBe(null);
  lag.merged(first, 0);
  lag.merged(second, 7);
  lag.seen(first, 5);
  expect(lag.records).toBe(null);
  lag.seen(second, 7);
  expect(lag.records).toBe(5);
});

test("the lag falls with what is merged, grows with the log, and is the sum of the partitions", () => {
  const lag = new SinkLag();
  for (const place of [first, second]) {
    lag.merged(place, 10);
    lag.seen(place, 15);
  }
  expect(lag.records).toBe(10);
  lag.merged(first, 14);
  expect(lag.records).toBe(6);
  lag.seen(second, 25);
  expect(lag.records).toBe(16);
});

test("an end that is older than what is known does not count, and a partition is never ahead of its end", () => {
  const lag = new SinkLag();
  lag.merged(first, 0);
  lag.seen(first, 9);
  lag.seen(first, 4);
  expect(lag.records).toBe(9);
  lag.merged(first, 12);
  expect(lag.records).toBe(0);
});

test("a topic that was made again has another end, which is not known at first", () => {
  const lag = new SinkLag();
  lag.merged(first, 12);
  lag.seen(first, 50);
  lag.merged(first, 0);
  expect(lag.records).toBe(null);
  lag.seen(first, 4);
  expect(lag.records).toBe(4);
});
