// A fault of kafkajs 2.2.4 (its issue 1751, not released): after each answer it looks at its queue again after
// `throttledUntil - Date.now()` ms, and throttledUntil is −1 while no broker throttles it. Node makes 1 ms of that, so that every
// connection wakes the process a thousand times a second, and says so on stderr from 24 on, where our log is.
import { createRequire } from "node:module";

/** Of an open connection. */
type RequestQueue = {
  /** Requests that wait to be sent. */
  readonly pending: readonly unknown[];
  scheduleCheckPendingRequests: (this: RequestQueue) => void;
};

const { prototype } = createRequire(import.meta.url)("kafkajs/src/network/requestQueue") as { readonly prototype: RequestQueue };
const { scheduleCheckPendingRequests } = prototype;

/** Keeps all connections of kafkajs in this process from asking for a timer when nothing waits to be sent. */
export function mendRequestQueue(): void {
  prototype.scheduleCheckPendingRequests = function (): void {
    if (this.pending.length > 0) scheduleCheckPendingRequests.call(this);
  };
}
