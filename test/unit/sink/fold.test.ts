import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { LogRecord } from "../../../src/core/event-log.ts";
import { toLsn } from "../../../src/core/lsn.ts";
import { formatSequence } from "../../../src/core/sequence.ts";
import type { Value } from "../../../src/core/table.ts";
import { dropValues, foldChange, truncateRow, type Change, type FoldedRow, type KeptColumns } from "../../../src/sink/fold.ts";

const KEY = Buffer.from("k");
let offset = 0;

function change(op: Change["op"], values: readonly Value[], unchanged: readonly number[] = []): Change {
  const record: LogRecord = {
    offset: offset++,
    timestamp: 0,
    key: KEY,
    value: offset % 2 === 0 ? null : Buffer.from(`value ${offset}`),
    headers: [],
  };
  return { op, sequence: formatSequence({ epoch: 1, commitLsn: toLsn(1n), ordinal: offset }), commitMicros: 0n, values, unchanged, record };
}

function fold(...changes: readonly Change[]): FoldedRow {
  return foldKeeping(null, changes);
}

/** For a target with soft deletes, whose first column is its key. */
function foldSoftly(...changes: readonly Change[]): FoldedRow {
  return foldKeeping([1, 2], changes);
}

function foldKeeping(kept: KeptColumns, changes: readonly Change[]): FoldedRow {
  const row = changes.reduce<FoldedRow | undefined>((before, one) => foldChange(before, one, KEY, 0, kept), undefined);
  if (row === undefined) throw new Error("nothing to fold");
  return row;
}

describe("the fold of one key's changes", () => {
  test("is the last one", () => {
    expect(fold(change("c", [1n, "a"]), change("u", [1n, "b"]))).toMatchObject({ values: [1n, "b"], deleted: false, unchanged: [] });
  });

  test("an unchanged column takes its value from the change before", () => {
    expect(fold(change("c", [1n, "large"]), change("u", [1n, null], [1]))).toMatchObject({ values: [1n, "large"], unchanged: [] });
  });

  test("a column that no change brought stays unchanged, for the target's value", () => {
    expect(fold(change("u", [1n, "a", null], [2]), change("u", [1n, null, null], [1, 2]))).toMatchObject({
      values: [1n, "a", null],
      unchanged: [2],
    });
  });

  test("a delete ends the inheritance of unchanged columns", () => {
    expect(fold(change("c", [1n, "large"]), change("d", [1n, null]), change("u", [1n, null], [1]))).toMatchObject({
      values: [1n, null],
      unchanged: [1],
    });
  });

  test("a row made anew after a delete is live", () => {
    expect(fold(change("c", [1n, "a"]), change("d", [1n, null]), change("c", [1n, "b"]))).toMatchObject({
      deleted: false,
      values: [1n, "b"],
    });
  });

  test("R-dead: every folded event is kept for the dead letter", () => {
    const changes = [change("c", [1n, "a"]), change("u", [1n, "b"]), change("d", [1n, null])];
    const kept = fold(...changes).events.map(({ offset: at, key, value, sequence }) => ({ offset: at, key, value, sequence }));
    expect(kept).toEqual(changes.map(({ record: { offset: at, key, value }, sequence }) => ({ offset: at, key, value, sequence })));
  });

  test("folding in two steps gives what folding at once gives, whatever was left unchanged", () => {
    // A flush may fall between any two changes: what it leaves unchanged is then kept from the target.
    const step = fc.record({ value: fc.string(), unchanged: fc.boolean() });
    fc.assert(
      fc.property(fc.array(step, { minLength: 2, maxLength: 8 }), fc.nat(), (steps, cut) => {
        const changes = [
          change("c", [1n, "first"]),
          ...steps.map((s) => (s.unchanged ? change("u", [1n, null], [1]) : change("u", [1n, s.value]))),
        ];
        const at = 1 + (cut % (changes.length - 1));
        const target = fold(...changes.slice(0, at)).values[1];
        const later = fold(...changes.slice(at));
        const merged = later.unchanged.includes(1) ? target : later.values[1];
        expect(merged).toBe(fold(...changes).values[1]);
      }),
    );
  });
});

test("a row that a snapshot read is folded as a create: it brings every column, and what comes after it inherits from it", () => {
  const read = change("r", [1n, "read", "long"]);
  expect(fold(read)).toMatchObject({ values: [1n, "read", "long"], unchanged: [], deleted: false });
  expect(fold(change("u", [1n, "older", null], [2]), read)).toMatchObject({ values: [1n, "read", "long"], unchanged: [] });
  expect(fold(change("d", [1n, null, null]), read)).toMatchObject({ values: [1n, "read", "long"], deleted: false });
  expect(fold(read, change("u", [1n, "newer", null], [2]))).toMatchObject({ values: [1n, "newer", "long"], unchanged: [] });
});

describe("the fold of one key's changes for a target that keeps what soft deletes delete", () => {
  const deletion = (): Change => change("d", [1n, null, null]);

  test("a delete has the values of the row before it, and what they leave unchanged", () => {
    const row = change("c", [1n, "a", "large"]);
    expect(foldSoftly(row, deletion())).toMatchObject({ values: [1n, "a", "large"], unchanged: [], deleted: true });
    expect(foldSoftly(row, change("u", [1n, "b", null], [2]), deletion())).toMatchObject({ values: [1n, "b", "large"], unchanged: [] });
    expect(foldSoftly(change("u", [1n, "b", null], [2]), deletion())).toMatchObject({ values: [1n, "b", null], unchanged: [2] });
    expect(foldSoftly(row, deletion(), deletion())).toMatchObject({ values: [1n, "a", "large"], unchanged: [], deleted: true });
  });

  test("a delete that is the first change leaves all columns but the key's to the target, whatever it brings itself", () => {
    expect(foldSoftly(deletion())).toMatchObject({ values: [1n, null, null], unchanged: [1, 2], deleted: true });
    expect(foldSoftly(change("d", [1n, "of REPLICA IDENTITY FULL", "b"]))).toMatchObject({ values: [1n, null, null], unchanged: [1, 2] });
  });

  test("a row that was made anew and deleted again has nothing of the row before", () => {
    expect(foldSoftly(deletion(), change("c", [1n, "new", null]), deletion())).toMatchObject({ values: [1n, "new", null], unchanged: [] });
    expect(foldSoftly(change("c", [1n, "old", "old"]), deletion(), change("c", [1n, "new", null]), deletion())).toMatchObject({
      values: [1n, "new", null],
      unchanged: [],
      deleted: true,
    });
  });

  test("a row made anew after a delete brings its own values", () => {
    expect(foldSoftly(change("c", [1n, "a", "b"]), deletion(), change("c", [1n, "c", "d"]))).toMatchObject({
      values: [1n, "c", "d"],
      deleted: false,
    });
  });

  test("TRUNCATE deletes a live row with its values and its own sequence, and leaves a deleted one as it is", () => {
    const sequence = formatSequence({ epoch: 1, commitLsn: toLsn(9n), ordinal: 0 });
    const row = foldSoftly(change("u", [1n, "b", null], [2]));
    truncateRow(row, sequence);
    expect(row).toMatchObject({ values: [1n, "b", null], unchanged: [2], deleted: true, sequence });
    const last = deletion();
    const deleted = foldSoftly(change("c", [1n, "a", "b"]), last);
    truncateRow(deleted, sequence);
    expect(deleted).toMatchObject({ values: [1n, "a", "b"], deleted: true, sequence: last.sequence });
  });

  test("R-dead: a delete whose values are refused goes without them", () => {
    const row = foldSoftly(change("c", [1n, "bad", "b"]), deletion());
    dropValues(row, [1, 2]);
    expect(row).toMatchObject({ values: [1n, null, null], unchanged: [1, 2], deleted: true });
  });
});

test("a hard delete carries nothing but its key", () => {
  expect(fold(change("c", [1n, "a", "large"]), change("d", [1n, null, null]))).toMatchObject({ values: [1n, null, null], unchanged: [] });
});
