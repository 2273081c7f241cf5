import { expect, test } from "vitest";
import { deadline } from "../../../src/core/deadline.ts";
import { pause } from "../../../src/core/pause.ts";

const never = new AbortController().signal;

test("it aborts with a TimeoutError when the time is over, and not before", async () => {
  using bound = deadline(30, never);
  expect(bound.signal.aborted).toBe(false);
  await pause(5_000, bound.signal);
  expect(bound.signal.reason).toMatchObject({ name: "TimeoutError", message: "nothing within 30 ms" });
});

test("it aborts with the parent's reason, also of one that was aborted before", async () => {
  const parent = new AbortController();
  using bound = deadline(60_000, parent.signal);
  parent.abort(new Error("stop"));
  expect(bound.signal.reason).toMatchObject({ message: "stop" });
  using late = deadline(60_000, parent.signal);
  expect(late.signal.reason).toMatchObject({ message: "stop" });
});

test("disposed it stays as it is, whatever the time and the parent do", async () => {
  const parent = new AbortController();
  const bound = deadline(10, parent.signal);
  bound[Symbol.dispose]();
  await pause(30, never);
  parent.abort();
  expect(bound.signal.aborted).toBe(false);
});
