// The sink's half of snapshots, on real warehouses: rows that come as op=r, sweeps, gaps of the log, and events that wait.
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, describe, expect, test } from "vitest";
import type { Warehouse } from "../../src/core/warehouse.ts";
import { eventually } from "../support/eventually.ts";
import { dropDatabases, duckdbKind, postgresKind, type Place } from "./places.ts";
import { insert, move, read, remove, SinkScene, update } from "./sink-scene.ts";

afterAll(dropDatabases);

for (const kind of [duckdbKind, postgresKind]) {
  describe(kind.title, () => {
    const rows = (place: Place): Promise<(string | null)[][]> =>
      place.sql("SELECT id::text, name, note FROM analytics.orders o ORDER BY o.id");
    const checkpoint = async (place: Place): Promise<string | null | undefined> =>
      (await place.sql("SELECT next_offset::text FROM _tailrace.checkpoints WHERE topic = 'shop.barriers'"))[0]?.[0];
    const letters = (place: Place): Promise<(string | null)[][]> =>
      place.sql("SELECT code, state FROM _tailrace.dead_letters ORDER BY log_offset");

    /** Runs the sink until it has said so many flushes more, and stops it. */
    async function flush(scene: SinkScene, place: Place, deletes: "hard" | "soft" = "hard", flushes = 1): Promise<void> {
      const before = scene.flushes.length;
      const run = scene.run(place.warehouse, deletes);
      await Promise.race([eventually("a flush", () => scene.flushes.length >= before + flushes), run.ended]);
      await run.stop();
    }

    test("an event of op r is a row as a create is, under the guard of its sequence", async () => {
      await using place = await kind.make();
      await using scene = await SinkScene.open();
      await scene.publish(0, insert(1, 1n, "a", "x"), read(2, 1n, "b", "y"), read(3, 2n, "c", null), update(4, 2n, "d"));
      await flush(scene, place);
      expect(await rows(place)).toEqual([
        ["1", "b", "y"],
        ["2", "d", null],
      ]);
    });

    test("barriers of other tables' commits move their checkpoint by and by, though nothing is to be merged: a restart must not read all of them again", async () => {
      await using place = await kind.make();
      await using scene = await SinkScene.open();
      await scene.publish(0, insert(1, 1n, "a", null));
      const run = scene.run(place.warehouse, "hard");
      await eventually("the row's flush", () => scene.flushes.length > 0);
      const before = scene.flushes.length;
      await scene.quietBarriers(50_000);
      await Promise.race([eventually("a flush of barriers alone", () => scene.flushes.length > before), run.ended]);
      await run.stop();
      expect(scene.flushes.at(before)?.events).toBe(0);
      expect(await checkpoint(place)).toBe("50000");
    });

    test("a sweep that takes longer than flush.every leaves nothing due, whatever barriers come meanwhile: the sink then waits for records", async () => {
      await using place = await kind.make();
      await using scene = await SinkScene.open();
      await scene.publish(0, read(11, 2n, "new", null));
      await flush(scene, place);
      await scene.barrier([1, 0], 10);
      const open: Warehouse["open"] = async (signal) => {
        if (scene.flushes.length === before) await scene.quietBarriers(1); // brings a look at what is due while the sweep is under way
        await sleep(100);
        return place.warehouse.open(signal);
      };
      const before = scene.flushes.length;
      const run = scene.run({ ...place.warehouse, open }, "hard");
      await Promise.race([eventually("the sweep", () => scene.flushes.length > before), run.ended]);
      const polls = scene.waits.length;
      await Promise.race([eventually("a poll that waits", () => scene.waits.slice(polls).some((ms) => ms > 20)), run.ended]);
      await run.stop();
    });

    test("R-sweep: what was not read again goes once both partitions are merged up to the barrier, by a flush of its own if need be", async () => {
      await using place = await kind.make();
      await using scene = await SinkScene.open();
      await scene.publish(0, insert(1, 1n, "deleted in the gap", null), insert(2, 2n, "old", null));
      await scene.publish(1, insert(3, 3n, "deleted in the gap", null));
      await flush(scene, place);
      await scene.publish(0, read(11, 2n, "new", null));
      await scene.barrier([3, 2], 10);
      await flush(scene, place);
      expect(await rows(place)).toEqual([
        ["1", "deleted in the gap", null],
        ["2", "new", null],
        ["3", "deleted in the gap", null],
      ]);
      expect(await checkpoint(place)).toBe("0");
      await scene.publish(1, read(12, 4n, "added in the gap", null));
      await flush(scene, place);
      const left = [
        ["2", "new", null],
        ["4", "added in the gap", null],
      ];
      expect(await rows(place)).toEqual(left);
      expect(await checkpoint(place)).toBe("1");

      await scene.publish(1, insert(13, 5n, "after", null));
      await flush(scene, place);
      await scene.barrier([3, 3], 13);
      await flush(scene, place);
      expect(await rows(place)).toEqual([["5", "after", null]]);
      expect(await checkpoint(place)).toBe("2");
      expect(scene.barriersSkipped).toBe(0);
    });

    test("R-sweep: one that a crash has run without its checkpoint runs again and changes nothing", async () => {
      await using place = await kind.make();
      await using scene = await SinkScene.open();
      await scene.publish(0, insert(1, 1n, "gone", "last"), insert(2, 2n, "old", null));
      await flush(scene, place, "soft");
      await scene.publish(0, read(11, 2n, "new", null));
      await scene.barrier([3, 0], 10);
      await scene.barrier([3, 0], 10);
      await flush(scene, place, "soft");
      const all = () =>
        place.sql("SELECT id::text, name, note, _tailrace_deleted::text, _tailrace_seq FROM analytics.orders o ORDER BY o.id");
      const before = await all();
      expect(before.map((row) => row.slice(0, 4))).toEqual([
        ["1", "gone", "last", "true"],
        ["2", "new", null, "false"],
      ]);
      await place.sql("UPDATE _tailrace.checkpoints SET next_offset = 0 WHERE topic = 'shop.barriers'");
      await scene.publish(1, read(12, 3n, "later", null));
      await flush(scene, place, "soft");
      expect((await all()).slice(0, 2)).toEqual(before);
      expect(await checkpoint(place)).toBe("2");
    });

    test("R-epoch: barriers of a lower epoch, and ends of a topic that is gone, are skipped and counted; a table that is not merged is nothing", async () => {
      await using place = await kind.make();
      await using scene = await SinkScene.open();
      await scene.state({ epoch: 2 });
      await scene.publish(0, insert(1, 1n, "a", null));
      await scene.barrier([0, 0]);
      await scene.barrier([0, 0], 10, { epoch: 1 });
      await scene.barrier([0, 0], 10, { topicId: "another" });
      await scene.barrier([0, 0], 10, { table: "unrouted" });
      await flush(scene, place);
      expect(await rows(place)).toEqual([["1", "a", null]]);
      expect(scene.barriersSkipped).toBe(2);
      expect(await checkpoint(place)).toBe("4");
    });

    test("R-routing: a topic that was made again is read from its start when the epoch has grown, and the new epoch is waited for when it has not", async () => {
      await using place = await kind.make();
      await using scene = await SinkScene.open();
      await scene.publish(0, insert(1, 1n, "a", null), insert(2, 2n, "b", null));
      await scene.barrier([2, 0], 1);
      await flush(scene, place);
      await scene.remake("data", 1);
      await expect(scene.run(place.warehouse, "hard").ended).rejects.toMatchObject({ code: "GAP_FOUND" });
      await scene.state({ epoch: 2 });
      await scene.remake("barriers", 2);
      await scene.publish(0, read(1, 2n, "B", null));
      await scene.barrier([1, 0], 1);
      await flush(scene, place);
      expect(await rows(place)).toEqual([["2", "B", null]]);
      const places = "SELECT topic, partition::text, next_offset::text FROM _tailrace.checkpoints ORDER BY 1, 2";
      expect(await place.sql(places)).toEqual([
        ["shop.barriers", "0", "1"],
        ["shop.public.orders", "0", "1"],
      ]);
    });

    test("R-epoch: an epoch that is met in the log before its state was read is gone on with; one that has no state yet is waited for", async () => {
      await using place = await kind.make();
      await using scene = await SinkScene.open();
      await scene.publish(0, insert(1, 1n, "a", null), insert(2, 2n, "b", null));
      let run = scene.run(place.warehouse, "hard");
      const untilMerged = (events: number): Promise<boolean> =>
        eventually(`${events} events merged`, () => scene.flushes.reduce((sum, flushed) => sum + flushed.events, 0) === events);
      await untilMerged(2);
      await scene.state({ epoch: 2 });
      await scene.publish(0, read(1, 2n, "B", null));
      await untilMerged(3);
      await run.stop();
      expect(await rows(place)).toEqual([
        ["1", "a", null],
        ["2", "B", null],
      ]);

      scene.epoch = 3;
      await scene.publish(1, read(1, 3n, "c", null));
      run = scene.run(place.warehouse, "hard");
      await expect(run.ended).rejects.toMatchObject({ code: "GAP_FOUND", message: expect.stringContaining("epoch 3") as string });
      await scene.state({ epoch: 3 });
      await flush(scene, place);
      expect((await rows(place)).at(-1)).toEqual(["3", "c", null]);
    });

    test("R-epoch: what is read again under another epoch stands as if it had not been read: letters that are closed, ends of snapshots that were said", async () => {
      await using place = await kind.make();
      await using scene = await SinkScene.open();
      await scene.publish(0, insert(1, 9n, "another", null), update(2, 1n, "a"));
      await flush(scene, place);
      expect(await letters(place)).toEqual([["UNCHANGED_WITHOUT_ROW", "open"]]);

      await scene.state({ snapshotting: true });
      const polled = scene.polled;
      const run = scene.run(place.warehouse, "hard", 3_600_000);
      await scene.publish(0, update(3, 1n, "b", "whole"), remove(4, 2n), update(5, 2n, "c"));
      await eventually("the events are read", () => scene.polled === polled + 3);
      await scene.barrier([9, 0], 4);
      await eventually("the end is read", () => scene.polled === polled + 4);
      await scene.state({ epoch: 2 });
      await scene.publish(0, insert(1, 3n, "of another epoch", null));
      await Promise.race([eventually("all is read again", () => scene.polled === polled + 5 + 5), run.ended]);
      await run.stop();
      expect(await letters(place)).toEqual([
        ["UNCHANGED_WITHOUT_ROW", "superseded"],
        ["AWAITS_SNAPSHOT", "open"],
      ]);
      expect(scene.flushes.at(-1)).toMatchObject({ openLetters: 0, awaitingSnapshot: 1 });
      expect((await rows(place))[0]).toEqual(["1", "b", "whole"]);
    });

    test("R-routing: a log that begins behind the checkpoint is read on when a snapshot is sure to come, and sweeps said before it are not", async () => {
      await using place = await kind.make();
      await using scene = await SinkScene.open();
      await scene.publish(0, insert(1, 1n, "a", null));
      await flush(scene, place);
      await scene.publish(0, update(2, 1n, "in the gap", null), remove(3, 1n), insert(4, 2n, "b", null));
      await scene.barrier([1, 0], 2);
      const cut = scene.cutLog("data", 3);
      scene.makesSnapshots = false;
      await expect(scene.run(place.warehouse, "hard", 20, cut).ended).rejects.toMatchObject({ code: "GAP_FOUND" });
      expect(scene.gaps).toBe(0);
      scene.makesSnapshots = true;
      const run = scene.run(place.warehouse, "hard", 20, cut);
      await eventually("two flushes", () => scene.flushes.length >= 3);
      await eventually("a sweep passed by", () => scene.barriersSkipped === 1);
      await run.stop();
      expect(await rows(place)).toEqual([
        ["1", "a", null],
        ["2", "b", null],
      ]);
      expect(scene.gaps).toBe(1);
      expect(scene.requests.at(-1)).toMatch(/^orders: shop\.public\.orders partition 0 starts at offset 3, the sink needs 1/);
      await scene.barrier([4, 0], 4);
      await flush(scene, place);
      expect(await rows(place)).toEqual([["2", "b", null]]);
    });

    test("barriers that retention has taken are passed over without a snapshot", async () => {
      await using place = await kind.make();
      await using scene = await SinkScene.open();
      await scene.barrier([0, 0]);
      await scene.barrier([0, 0]);
      await scene.publish(0, insert(1, 1n, "a", null));
      const run = scene.run(place.warehouse, "hard", 20, scene.cutLog("barriers", 1));
      await eventually("a flush", () => scene.flushes.length > 0);
      await run.stop();
      expect(await checkpoint(place)).toBe("2");
      expect([scene.requests, scene.gaps]).toEqual([[], 0]);
    });

    test("R-dead: events with unsent columns whose row a snapshot brings wait for it, and are no dead letters", async () => {
      await using place = await kind.make();
      await using scene = await SinkScene.open();
      await scene.publish(1, insert(1, 9n, "another", null));
      await flush(scene, place);
      await scene.state({ snapshotting: true });
      await scene.publish(0, update(2, 1n, "a"), move(3, 5n, 2n, "moved"), update(4, 2n, "moved on"));
      await flush(scene, place);
      expect(await letters(place)).toEqual([
        ["AWAITS_SNAPSHOT", "open"],
        ["AWAITS_SNAPSHOT", "open"],
        ["AWAITS_SNAPSHOT", "open"],
      ]);
      expect(scene.flushes.at(-1)).toMatchObject({ deadLetters: [], openLetters: 0, awaitingSnapshot: 2 });
      await scene.publish(0, update(5, 1n, "A"));
      await flush(scene, place);
      expect(scene.flushes.at(-1)).toMatchObject({ deadLetters: [], awaitingSnapshot: 2 });
      await scene.publish(0, read(6, 1n, "A", "long"), read(7, 2n, "moved on", "long"), update(8, 1n, "B"));
      await flush(scene, place);
      expect(await letters(place)).toEqual([]);
      expect(scene.flushes.at(-1)).toMatchObject({ openLetters: 0, awaitingSnapshot: 0 });
      expect(await rows(place)).toEqual([
        ["1", "B", "long"],
        ["2", "moved on", "long"],
        ["9", "another", null],
      ]);
    });

    test("R-dead: where no snapshot is to come they are dead letters, which a sweep closes", async () => {
      await using place = await kind.make();
      await using scene = await SinkScene.open();
      await scene.publish(0, insert(1, 9n, "another", null), update(2, 1n, "a"));
      await flush(scene, place);
      expect(scene.flushes.at(-1)).toMatchObject({ deadLetters: [{ code: "UNCHANGED_WITHOUT_ROW" }], openLetters: 1, awaitingSnapshot: 0 });
      await scene.barrier([2, 0], 10);
      await flush(scene, place);
      expect(scene.flushes.at(-1)).toMatchObject({ deadLetters: [], openLetters: 0 });
      expect(await letters(place)).toEqual([["UNCHANGED_WITHOUT_ROW", "superseded"]]);
    });

    test("R-sweep: deletes that have become soft: the rows of a table that was emptied in the gap are marked deleted, though no event of it comes", async () => {
      await using place = await kind.make();
      await using scene = await SinkScene.open();
      await scene.publish(0, insert(1, 1n, "gone", "last"));
      await flush(scene, place);
      await scene.barrier([1, 0], 10);
      await flush(scene, place, "soft");
      expect(await place.sql("SELECT id::text, name, note, _tailrace_deleted::text FROM analytics.orders o")).toEqual([
        ["1", "gone", "last", "true"],
      ]);
    });
  });
}
