import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { partsOf } from "../../../src/core/sequence.ts";
import type { Value } from "../../support/row-values.ts";
import type { Tuple } from "../../../src/core/tuple.ts";
import { truncateBelow, truncatePartition } from "../../../src/sink/fold.ts";
import { columnTypes, binary, column, int8, NULL, samplesOf, table, text, tuple, UNCHANGED, type Cell, type Sample } from "../avro/rows.ts";
import { Folding, sequenceOf, type RowEvent, type SeenRow } from "./folding.ts";

const orders = table([column("id", "int8", 1), column("a", "text"), column("b", "text")]);
let commit = 0;

/** undefined: it was not sent. */
function row(a: string | null | undefined, b: string | null | undefined, id = 1n): Tuple {
  const cell = (value: string | null | undefined): Cell => (value === undefined ? UNCHANGED : value === null ? NULL : text(value));
  return tuple(binary(int8(id)), cell(a), cell(b));
}

const create = (a: string | null, b: string | null, id = 1n): RowEvent => ({ op: "c", row: row(a, b, id), commit: ++commit });
const update = (a?: string | null, b?: string | null, id = 1n): RowEvent => ({ op: "u", row: row(a, b, id), commit: ++commit });
const remove = (a: string | null = null, b: string | null = null): RowEvent => ({ op: "d", row: row(a, b), commit: ++commit });

function foldAll(deletes: "hard" | "soft", events: readonly RowEvent[]): Folding {
  const folding = new Folding(orders, deletes);
  for (const event of events) folding.take(event);
  return folding;
}

const fold = (...events: readonly RowEvent[]): SeenRow => foldAll("hard", events).rows()[0]!;
/** For a target with soft deletes. */
const foldSoftly = (...events: readonly RowEvent[]): SeenRow => foldAll("soft", events).rows()[0]!;

describe("the fold of one key's changes", () => {
  test("is the last one, with its sequence, commit time and key", () => {
    const last = update("b", null);
    const key = foldAll("hard", [last]).records[0]!.key.subarray(5);
    expect(fold(create("a", "x"), last)).toEqual({
      ...{ values: [1n, "b", null], deleted: false, unchanged: [], keyBytes: key },
      ...{ sequence: sequenceOf(last.commit), commitMicros: BigInt(last.commit) },
    });
  });

  test("an unchanged column takes its value from the change before", () => {
    expect(fold(create("a", "large"), update("b"))).toMatchObject({ values: [1n, "b", "large"], unchanged: [] });
    expect(fold(create("a", "large"), update("b"), update(undefined, "larger"))).toMatchObject({
      values: [1n, "b", "larger"],
      unchanged: [],
    });
  });

  test("a column that no change brought stays unchanged, for the target's value", () => {
    expect(fold(update("a"), update())).toMatchObject({ values: [1n, "a", null], unchanged: [2] });
    expect(fold(update("a"), update("b", "c"))).toMatchObject({ values: [1n, "b", "c"], unchanged: [] });
  });

  test("a delete ends the inheritance of unchanged columns", () => {
    expect(fold(create("a", "large"), remove(), update("b"))).toMatchObject({ values: [1n, "b", null], unchanged: [2], deleted: false });
  });

  test("a row made anew after a delete is live", () => {
    expect(fold(create("a", null), remove(), create("b", null))).toMatchObject({ deleted: false, values: [1n, "b", null] });
  });

  test("R-dead: every folded event is kept for the dead letter, as it was read", () => {
    const folding = foldAll("hard", [create("a", null), create("of another row", null, 2n), update("b"), remove()]);
    const [first, , third, fourth] = folding.records;
    const kept = folding.fold.eventsOf(0).map(({ offset, key, value }) => ({ offset, key, value }));
    expect(kept).toEqual([first, third, fourth].map((record) => ({ offset: record!.offset, key: record!.key, value: record!.value })));
  });

  test("a row that a snapshot read is folded as a create: it brings every column, and what comes after it inherits from it", () => {
    const read = (): RowEvent => ({ ...create("read", "long"), op: "r" });
    expect(fold(update("older"), read())).toMatchObject({ values: [1n, "read", "long"], unchanged: [], deleted: false });
    expect(fold(remove(), read())).toMatchObject({ values: [1n, "read", "long"], deleted: false });
    expect(fold(read(), update("newer"))).toMatchObject({ values: [1n, "newer", "long"], unchanged: [] });
  });

  test("a hard delete carries its key", () => {
    expect(fold(create("a", "large"), remove())).toMatchObject({ values: [1n, null, null], unchanged: [], deleted: true });
  });
});

describe("the fold of one key's changes for a target that keeps what soft deletes delete", () => {
  test("a delete has the values of the row before it, and what they leave unchanged", () => {
    expect(foldSoftly(create("a", "large"), remove())).toMatchObject({ values: [1n, "a", "large"], unchanged: [], deleted: true });
    expect(foldSoftly(create("a", "large"), update("b"), remove())).toMatchObject({ values: [1n, "b", "large"], unchanged: [] });
    expect(foldSoftly(update("b"), remove())).toMatchObject({ values: [1n, "b", null], unchanged: [2] });
    expect(foldSoftly(create("a", "large"), remove(), remove())).toMatchObject({
      values: [1n, "a", "large"],
      unchanged: [],
      deleted: true,
    });
  });

  test("a delete that is the first change leaves all columns but the key's to the target, whatever it brings itself", () => {
    expect(foldSoftly(remove())).toMatchObject({ values: [1n, null, null], unchanged: [1, 2], deleted: true });
    expect(foldSoftly(remove("of REPLICA IDENTITY FULL", "b"))).toMatchObject({ values: [1n, null, null], unchanged: [1, 2] });
  });

  test("a row that was made anew and deleted again has nothing of the row before", () => {
    expect(foldSoftly(remove(), create("new", null), remove())).toMatchObject({ values: [1n, "new", null], unchanged: [] });
    expect(foldSoftly(create("old", "old"), remove(), create("new", null), remove())).toMatchObject({
      ...{ values: [1n, "new", null], unchanged: [], deleted: true },
    });
  });

  test("a row made anew after a delete brings its own values", () => {
    expect(foldSoftly(create("a", "b"), remove(), create("c", "d"))).toMatchObject({ values: [1n, "c", "d"], deleted: false });
  });

  test("R-dead: a delete whose values are refused goes without them", () => {
    const folding = foldAll("soft", [create("bad", "b"), remove()]);
    folding.fold.dropValues(0, [1, 2]);
    expect(folding.rows()[0]).toMatchObject({ values: [1n, null, null], unchanged: [1, 2], deleted: true });
  });
});

describe("TRUNCATE", () => {
  const parts = (at: number): ReturnType<typeof partsOf> => partsOf(sequenceOf(at));

  test("where deletes are soft, deletes a live row with its values and its own sequence, and leaves a deleted one as it is", () => {
    const [live, last] = [update("b"), remove()];
    const folding = foldAll("soft", [live]);
    truncatePartition(folding.fold, 0, parts(9_999));
    const deleted = { values: [1n, "b", null], unchanged: [2], deleted: true };
    expect(folding.rows()[0]).toMatchObject({ ...deleted, sequence: sequenceOf(9_999), commitMicros: BigInt(live.commit) });
    folding.take({ ...create("new", "row"), commit: 10_000 });
    expect(folding.rows()[0]).toMatchObject({ values: [1n, "new", "row"], unchanged: [], deleted: false, sequence: sequenceOf(10_000) });
    const before = foldAll("soft", [create("a", "b"), last]);
    truncatePartition(before.fold, 0, parts(9_999));
    expect(before.rows()[0]).toMatchObject({ values: [1n, "a", "b"], deleted: true, sequence: sequenceOf(last.commit) });
  });

  test("where deletes are soft, reaches rows of other partitions that are older than it, once all is read", () => {
    const [older, newer] = [create("a", "b", 1n), create("a", "b", 2n)];
    const folding = foldAll("soft", [older, newer]);
    truncateBelow(folding.fold, parts(newer.commit));
    expect(folding.rows()).toMatchObject([{ deleted: true, sequence: sequenceOf(newer.commit) }, { deleted: false }]);
  });

  test("where deletes are hard, takes its partition's rows, and those of others keep their values and keys", () => {
    const folding = new Folding(orders);
    const ids = Array.from({ length: 200 }, (_, id) => BigInt(id));
    for (const id of ids) folding.take(id % 3n === 0n ? update("a", undefined, id) : create("a", `b${id}`, id), Number(id % 2n));
    folding.take(update("newer", undefined, 7n), 1);
    truncatePartition(folding.fold, 0, parts(9_999));
    const kept = ids.filter((id) => id % 2n === 1n);
    const values = kept.map((id) => [id, id === 7n ? "newer" : "a", id % 3n === 0n ? null : `b${id}`]);
    expect(folding.rows().map((one) => one.values)).toEqual(values);
    expect(folding.rows().map(({ unchanged }) => unchanged)).toEqual(kept.map((id) => (id % 3n === 0n ? [2] : [])));
    folding.take(create("again", null, 8n), 0);
    folding.take(update("last", undefined, 9n), 1);
    const rows = folding.rows();
    expect([rows.length, rows.at(-1)?.values]).toEqual([kept.length + 1, [8n, "again", null]]);
    expect(rows[kept.indexOf(9n)]).toMatchObject({ values: [9n, "last", null], unchanged: [2] });
  });
});

/** Rows as values, folded as soon as they are read: what the fold over bytes must come to. */
type ModelRow = { values: Value[]; unchanged: readonly number[]; deleted: boolean };

function foldValues(before: ModelRow | undefined, event: RandomEvent, kept: readonly number[] | null): ModelRow {
  const values = event.cells.map((cell) => (cell === null || cell === "unsent" ? null : cell.value));
  const unsent = event.cells.flatMap((cell, index) => (cell === "unsent" ? [index] : []));
  if (event.op === "d") {
    if (kept === null) return { values, unchanged: [], deleted: true };
    if (before !== undefined) return { ...before, deleted: true };
    return { values: values.map((value, index) => (kept.includes(index) ? null : value)), unchanged: kept, deleted: true };
  }
  if (before === undefined || before.deleted || unsent.length === 0) return { values, unchanged: unsent, deleted: false };
  for (const index of unsent) values[index] = before.values[index] ?? null;
  return { values, unchanged: unsent.filter((index) => before.unchanged.includes(index)), deleted: false };
}

type RandomEvent = { readonly op: RowEvent["op"]; readonly key: number; readonly cells: readonly (Sample | null | "unsent")[] };

/** A table of random columns with the keys 0 to 3 at a random place, and what happens in it. */
const randomHistories = fc
  .tuple(fc.array(columnTypes(), { minLength: 1, maxLength: 6 }), fc.nat(), fc.nat(3))
  .chain(([types, place, keys]) => {
    const at = place % (types.length + 1);
    const plain = types.map((type, index) => column(`c${index}`, type));
    const columns = [...plain.slice(0, at), column("key", "int4", 1), ...plain.slice(at)];
    const cell = (one: (typeof columns)[number]): fc.Arbitrary<Sample | null | "unsent"> =>
      fc.oneof({ weight: 4, arbitrary: samplesOf(one.type) }, fc.constant(null), { weight: 2, arbitrary: fc.constant("unsent" as const) });
    const event = fc
      .tuple(fc.constantFrom("c", "u", "u", "u", "d", "r"), fc.nat(keys), fc.tuple(...columns.map(cell)))
      .map(([op, key, random]): RandomEvent => {
        const number: Sample = { text: Buffer.from(String(key)), binary: Buffer.from([0, 0, 0, key]), value: key };
        const cells = random.map((each, index) => (index === at ? number : each === "unsent" && op !== "u" ? null : each));
        return { op: op, key, cells };
      });
    return fc.record({ table: fc.constant(table(columns)), at: fc.constant(at), events: fc.array(event, { maxLength: 25 }) });
  });

test("what is read from bytes when it is merged is what reading every value at once would have come to", () => {
  fc.assert(
    fc.property(randomHistories, fc.constantFrom("hard", "soft"), ({ table: random, at, events }, deletes) => {
      const kept = deletes === "hard" ? null : random.columns.flatMap((_, index) => (index === at ? [] : [index]));
      const folding = new Folding(random, deletes);
      const expected = new Map<number, ModelRow>();
      for (const [index, event] of events.entries()) {
        const cells = event.cells.map((cell): Cell => (cell === null ? NULL : cell === "unsent" ? UNCHANGED : text(cell.text)));
        folding.take({ op: event.op, row: tuple(...cells), commit: index + 1 });
        expected.set(event.key, foldValues(expected.get(event.key), event, kept));
      }
      const seen = folding.rows().map(({ values, unchanged, deleted }) => ({ values, unchanged, deleted }));
      expect(seen).toStrictEqual([...expected.values()]);
    }),
    { numRuns: 400 },
  );
});

test("folding in two steps gives what folding at once gives, whatever was left unchanged", () => {
  // A flush may fall between any two changes: what it leaves unchanged is then kept from the target.
  const step = fc.record({ value: fc.string(), unchanged: fc.boolean() });
  fc.assert(
    fc.property(fc.array(step, { minLength: 2, maxLength: 8 }), fc.nat(), (steps, cut) => {
      const changes = [create("first", null), ...steps.map((one) => (one.unchanged ? update() : update(one.value, null)))];
      const at = 1 + (cut % (changes.length - 1));
      const target = fold(...changes.slice(0, at)).values[1];
      const later = fold(...changes.slice(at));
      const merged = later.unchanged.includes(1) ? target : later.values[1];
      expect(merged).toBe(fold(...changes).values[1]);
    }),
  );
});
