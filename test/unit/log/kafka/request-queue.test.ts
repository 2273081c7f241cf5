import { createRequire } from "node:module";
import { afterEach, expect, test, vi } from "vitest";
import { mendRequestQueue } from "../../../../src/log/kafka/request-queue.ts";

type RequestQueue = { pending: unknown[]; throttledUntil: number; scheduleCheckPendingRequests(): void; destroy(): void };

const Queue = createRequire(import.meta.url)("kafkajs/src/network/requestQueue") as new (options: object) => RequestQueue;

afterEach(() => {
  vi.restoreAllMocks();
});

test("kafkajs asks for no timer while nothing waits to be sent, and for one when something does", () => {
  mendRequestQueue();
  mendRequestQueue();
  const timer = vi.spyOn(globalThis, "setTimeout");
  const queue = new Queue({ requestTimeout: 1_000, enforceRequestTimeout: false, broker: "b", clientId: "c", logger: {} });
  queue.scheduleCheckPendingRequests();
  expect(timer).not.toHaveBeenCalled();
  queue.pending = ["a request"];
  queue.throttledUntil = Date.now() + 60_000;
  queue.scheduleCheckPendingRequests();
  expect(timer).toHaveBeenCalledOnce();
  expect(timer.mock.calls[0]?.[1]).toBeGreaterThan(0);
  queue.destroy();
});
