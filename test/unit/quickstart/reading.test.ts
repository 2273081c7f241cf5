import { expect, test } from "vitest";
import { Reading } from "../../../src/quickstart/reading.ts";
import type { SnapshotStatus } from "../../../src/source/snapshot-status.ts";

function table(name: string, rows: number, estimatedRows: number | null, waitingFor: string | null = null): SnapshotStatus {
  return { table: name, state: "reading", rows, estimatedRows, chunks: 0, rowsPerSecond: rows, waitingFor };
}

test("tables that are read to their end still count until all are", () => {
  const reading = new Reading();
  expect(reading.look([table("a", 0, 100), table("b", 10, 300)])).toMatchObject({ rows: 10, estimatedRows: 400, tables: 2 });
  expect(reading.look([table("b", 200, 300)])).toEqual({ rows: 300, estimatedRows: 400, rowsPerSecond: 200, tables: 1, waitingFor: null });
  expect(reading.look([])).toBeNull();
  expect(reading.look([table("a", 1, 100)])).toMatchObject({ rows: 1, estimatedRows: 100 });
});

test("an estimate that was too low, or that nobody has, is what was read", () => {
  const reading = new Reading();
  expect(reading.look([table("a", 150, 100), table("b", 7, null)])).toMatchObject({ rows: 157, estimatedRows: 157 });
});

test("a table that is read again is not counted twice", () => {
  const reading = new Reading();
  reading.look([table("a", 90, 100), table("b", 0, 10)]);
  reading.look([table("b", 5, 10)]);
  expect(reading.look([table("a", 20, 100), table("b", 5, 10)])).toMatchObject({ rows: 25, estimatedRows: 110, tables: 2 });
});

test("who is waited for is told", () => {
  expect(new Reading().look([table("a", 0, 1), table("b", 0, 1, "PID 7")])).toMatchObject({ waitingFor: "PID 7" });
});
