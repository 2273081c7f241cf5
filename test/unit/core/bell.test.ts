import { expect, test } from "vitest";
import { Bell } from "../../../src/core/bell.ts";

const never = new AbortController().signal;

test("a ring wakes all who wait, and none who come later", async () => {
  const bell = new Bell();
  const woken = [bell.wait(60_000, never), bell.wait(60_000, never)];
  bell.ring();
  await Promise.all(woken);
  const began = performance.now();
  await bell.wait(30, never);
  expect(performance.now() - began).toBeGreaterThan(20);
});

test("an abort ends the wait with its reason, before it and in the midst of it", async () => {
  const bell = new Bell();
  const reason = new Error("asked to stop");
  const controller = new AbortController();
  const waiting = bell.wait(60_000, controller.signal);
  controller.abort(reason);
  await expect(waiting).rejects.toBe(reason);
  await expect(bell.wait(60_000, controller.signal)).rejects.toBe(reason);
});

// Trap: Promise.race with a promise that never settles keeps what each race added to it.
test("waits that end leave nothing behind, however long nobody rings", async () => {
  const bell = new Bell();
  const { signal } = new AbortController();
  const warnings: Error[] = [];
  const onWarning = (warning: Error): void => void warnings.push(warning);
  process.on("warning", onWarning);
  for (let turn = 0; turn < 20; turn++) await bell.wait(1, signal);
  process.off("warning", onWarning);
  expect(bell.waiting).toBe(0);
  expect(warnings).toEqual([]);
});
