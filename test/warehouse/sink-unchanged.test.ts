// Columns whose TOASTed value the database did not send, through fold and merge, on real warehouses: where their values come from, and
// where nothing may be inherited.
import { afterAll, describe, expect, test } from "vitest";
import { dropDatabases, duckdbKind, postgresKind, type Place, type WarehouseKind } from "./places.ts";
import { insert, move, read, remove, SinkScene, update, type OrderEvent } from "./sink-scene.ts";

afterAll(dropDatabases);

for (const kind of [duckdbKind, postgresKind])
  for (const deletes of ["hard", "soft"] as const)
    describe(`unsent columns on ${kind.title}, ${deletes} deletes:`, () => unsentColumns(kind, deletes));

function unsentColumns(kind: WarehouseKind, deletes: "hard" | "soft"): void {
  const live = deletes === "soft" ? "WHERE NOT _tailrace_deleted" : "";
  const rows = (place: Place): Promise<(string | null)[][]> =>
    place.sql(`SELECT id::text, name, note FROM analytics.orders o ${live} ORDER BY o.id`);
  const letters = (place: Place): Promise<(string | null)[][]> =>
    place.sql("SELECT log_offset::text, code, state FROM _tailrace.dead_letters ORDER BY log_offset");

  /** What these flushes, of partition 0, leave in a new place. */
  async function merged(...flushes: readonly (readonly OrderEvent[])[]): Promise<(string | null)[][]> {
    await using place = await kind.make();
    await using scene = await SinkScene.open();
    for (const events of flushes) await scene.flushOnce(place.warehouse, deletes, { 0: events });
    expect(await letters(place)).toEqual([]);
    return await rows(place); // before its place goes
  }

  test("an update finds what its insert brought, in the same flush and in the one before, also when it was null", async () => {
    const history = [insert(1, 1n, "a", "large"), insert(2, 2n, "b", null), update(3, 1n, "A"), update(4, 2n, "B"), update(5, 1n, "AA")];
    for (let cut = 1; cut <= history.length; cut++) {
      expect(await merged(...[history.slice(0, cut), history.slice(cut)].filter(({ length }) => length > 0)), `cut at ${cut}`).toEqual([
        ["1", "AA", "large"],
        ["2", "B", null],
      ]);
    }
  });

  test("a row that is made again under a key inherits nothing of the one that was deleted, wherever flushes end", async () => {
    const history = [insert(1, 1n, "a", "of the old row"), remove(2, 1n), insert(3, 1n, "b", null), update(4, 1n, "B")];
    for (let cut = 1; cut <= history.length; cut++) {
      const flushes = [history.slice(0, cut), history.slice(cut)].filter(({ length }) => length > 0);
      expect(await merged(...flushes), `cut at ${cut}`).toEqual([["1", "B", null]]);
    }
    expect(await merged(...history.map((event) => [event])), "a flush each").toEqual([["1", "B", null]]);
  });

  test("R-dead: an update behind a delete has no row to inherit from, though the target has one until this flush is merged", async () => {
    await using place = await kind.make();
    await using scene = await SinkScene.open();
    scene.makesSnapshots = false;
    await scene.state({});
    await scene.flushOnce(place.warehouse, deletes, { 0: [insert(1, 1n, "a", "of the old row")] });
    await scene.flushOnce(place.warehouse, deletes, { 0: [remove(2, 1n), update(3, 1n, "b")] });
    expect(await rows(place)).toEqual([]);
    expect(await letters(place)).toEqual([["2", "UNCHANGED_WITHOUT_ROW", "open"]]);
  });

  test("a row whose key changes waits for its re-read, and takes nothing of the row that had its new key", async () => {
    await using place = await kind.make();
    await using scene = await SinkScene.open();
    await scene.flushOnce(place.warehouse, deletes, { 0: [insert(1, 1n, "a", "of a"), insert(2, 2n, "b", "of b")] });
    // UPDATE … SET id = id + 1, of the higher one first; then a change that leaves the value out as well.
    const moves = [remove(3, 2n), move(4, 2n, 3n, "b", "of b"), remove(5, 1n), move(6, 1n, 2n, "a"), update(7, 2n, "A")];
    await scene.flushOnce(place.warehouse, deletes, { 0: moves });
    expect(await rows(place)).toEqual([["3", "b", "of b"]]);
    expect(await letters(place)).toEqual([
      ["5", "AWAITS_SNAPSHOT", "open"],
      ["6", "AWAITS_SNAPSHOT", "open"],
    ]);
    await scene.flushOnce(place.warehouse, deletes, { 0: [update(8, 2n, "AA")] });
    expect(await rows(place)).toEqual([["3", "b", "of b"]]);
    await scene.flushOnce(place.warehouse, deletes, { 0: [read(9, 2n, "AA", "of a"), update(10, 2n, "AAA")] });
    expect(await rows(place)).toEqual([
      ["2", "AAA", "of a"],
      ["3", "b", "of b"],
    ]);
    expect(await letters(place)).toEqual([]);
  });

  test("R-dead: an update behind a dead letter of its key joins it, though the target has an older row; a complete one closes both", async () => {
    await using place = await kind.make();
    await using scene = await SinkScene.open();
    scene.makesSnapshots = false;
    await scene.state({});
    await scene.flushOnce(place.warehouse, deletes, { 0: [insert(1, 1n, "good", "of the row before"), insert(2, 2n, "b", "other")] });
    await place.sql(refusing("bad"));
    await scene.flushOnce(place.warehouse, deletes, { 0: [update(3, 1n, "bad", "refused")] });
    await scene.flushOnce(place.warehouse, deletes, { 0: [update(4, 1n, "good again"), update(5, 2n, "B")] });
    expect(await rows(place)).toEqual([
      ["1", "good", "of the row before"],
      ["2", "B", "other"],
    ]);
    expect(await letters(place)).toEqual([
      ["2", "ROW_REFUSED", "open"],
      ["3", "UNCHANGED_WITHOUT_ROW", "open"],
    ]);
    await scene.flushOnce(place.warehouse, deletes, { 0: [update(6, 1n, "whole", "new"), update(7, 1n, "last")] });
    expect(await rows(place)).toEqual([
      ["1", "last", "new"],
      ["2", "B", "other"],
    ]);
    expect((await letters(place)).map(([, , state]) => state)).toEqual(["superseded", "superseded"]);
  });

  test("R-dead: a delete closes the dead letter of its key; the row that follows has its own values", async () => {
    await using place = await kind.make();
    await using scene = await SinkScene.open();
    await scene.flushOnce(place.warehouse, deletes, { 0: [insert(1, 1n, "good", "of the row before")] });
    await place.sql(refusing("bad"));
    await scene.flushOnce(place.warehouse, deletes, { 0: [update(2, 1n, "bad", "refused")] });
    await scene.flushOnce(place.warehouse, deletes, { 0: [remove(3, 1n)] });
    expect(await letters(place)).toEqual([["1", "ROW_REFUSED", "superseded"]]);
    await scene.flushOnce(place.warehouse, deletes, { 0: [insert(4, 1n, "new", null)] });
    await scene.flushOnce(place.warehouse, deletes, { 0: [update(5, 1n, "newer")] });
    expect(await rows(place)).toEqual([["1", "newer", null]]);
  });

  /** The target refuses this name from now on. DuckDB adds no CHECK to a table that is there. */
  function refusing(name: string): string {
    if (kind.name === "postgres") return `ALTER TABLE analytics.orders ADD CHECK (name <> '${name}')`;
    const mark = deletes === "soft" ? ", _tailrace_deleted BOOLEAN" : "";
    return `CREATE TABLE analytics.checked (id BIGINT NOT NULL, name VARCHAR CHECK (name <> '${name}'), note VARCHAR, _tailrace_seq VARCHAR,
      _tailrace_commit_ts TIMESTAMPTZ, _tailrace_merged_ts TIMESTAMPTZ${mark});
      INSERT INTO analytics.checked FROM analytics.orders; DROP TABLE analytics.orders; ALTER TABLE analytics.checked RENAME TO orders`;
  }
}
