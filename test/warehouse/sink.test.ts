// The sink with a real warehouse behind it: what it says of its lag, and what soft deletes leave.
import { TailraceError } from "../../src/core/errors.ts";
import type { EventLog } from "../../src/core/event-log.ts";
import { afterAll, describe, expect, test, vi } from "vitest";
import type { Warehouse } from "../../src/core/warehouse.ts";
import { openDuckdb } from "../../src/warehouses/duckdb/warehouse.ts";
import { eventually } from "../support/eventually.ts";
import { dropDatabases, duckdbKind, duckdbPlace, postgresKind, type Place } from "./places.ts";
import { insert, remove, SinkScene, truncate, update, type OrderEvent } from "./sink-scene.ts";

const { signal } = new AbortController();

afterAll(dropDatabases);

test("the lag counts what is not merged, also while a flush waits for the warehouse and while runs fail", async () => {
  await using place = await duckdbPlace();
  await using scene = await SinkScene.open();
  const warehouse = openDuckdb({ path: place.file, lockWaitMs: 1_000 });
  const told = (records: number) => eventually(`a lag of ${records}, now ${scene.lags.at(-1)}`, () => scene.lags.at(-1) === records);

  const running = scene.run(warehouse, "hard");
  await scene.publish(0, insert(1, 1n, "a", null), insert(2, 2n, "b", null));
  await scene.publish(1, insert(3, 3n, "c", null));
  await eventually("three rows merged", () => scene.flushes.reduce((sum, { events }) => sum + events, 0) === 3);
  await told(0);

  const holder = await openDuckdb({ path: place.file }).open(signal);
  await scene.publish(0, update(4, 1n, "A", null), update(5, 2n, "B", null));
  await told(2);
  await expect(running.ended).rejects.toMatchObject({ code: "WAREHOUSE_LOCKED" });
  expect(scene.lags.at(-1)).toBe(2);
  await scene.publish(1, update(6, 3n, "C", null));
  const retrying = scene.run(warehouse, "hard");
  await told(3);
  await expect(retrying.ended).rejects.toMatchObject({ code: "WAREHOUSE_LOCKED" });

  await holder[Symbol.asyncDispose]();
  const recovered = scene.run(warehouse, "hard");
  await told(0);
  await recovered.stop();
});

type Gated = {
  readonly warehouse: Warehouse;
  readonly waiting: () => number;
  /** `error`: what those that wait fail with. */
  readonly letThrough: (error?: TailraceError) => void;
};

/** The warehouse, whose flushes begin only when let through. */
function gated(warehouse: Warehouse): Gated {
  const waiting: ((error?: TailraceError) => void)[] = [];
  let open = false;
  return {
    waiting: () => waiting.length,
    letThrough: (error) => {
      open = true;
      for (const go of waiting.splice(0)) go(error);
    },
    warehouse: wrapped(warehouse, {
      open: async (aborted) => {
        const session = await warehouse.open(aborted);
        return wrapped(session, {
          flush: async (flush, signal) => {
            const error = open ? undefined : await new Promise<TailraceError | undefined>((resolve) => waiting.push(resolve));
            if (error !== undefined) throw error;
            return session.flush(flush, signal);
          },
        });
      },
    }),
  };
}

/** `object` with some of its methods replaced. */
function wrapped<T extends object>(object: T, methods: Partial<T>): T {
  return new Proxy(object, {
    get: (target, name) => {
      const own: unknown = Reflect.get(name in methods ? methods : target, name);
      return typeof own === "function" ? (own.bind(target) as unknown) : own;
    },
  });
}

for (const kind of [duckdbKind, postgresKind]) {
  describe(`what is read while ${kind.title} merges`, () => {
    const rows = (place: Place): Promise<(string | null)[][]> =>
      place.sql("SELECT id::text, name, note FROM analytics.orders o ORDER BY o.id");
    const letters = (place: Place): Promise<(string | null)[][]> =>
      place.sql("SELECT code, state FROM _tailrace.dead_letters ORDER BY log_offset");

    /** `first` is being merged while `then` is published; then both are. */
    async function ahead(scene: SinkScene, place: Place, first: readonly OrderEvent[], then: readonly OrderEvent[]): Promise<void> {
      const gate = gated(place.warehouse);
      const run = scene.run(gate.warehouse, "hard");
      await scene.publish(0, ...first);
      await eventually("a flush", () => gate.waiting() === 1);
      await scene.publish(0, ...then);
      await eventually("more read", () => scene.polled === first.length + then.length);
      expect(gate.waiting()).toBe(1);
      gate.letThrough();
      await eventually("both merged", () => scene.flushes.reduce((sum, { events }) => sum + events, 0) === first.length + then.length);
      await run.stop();
      expect(scene.flushes.map(({ events }) => events)).toEqual([first.length, then.length]);
    }

    test("is merged by the next flush", async () => {
      await using place = await kind.make();
      await using scene = await SinkScene.open();
      await ahead(
        scene,
        place,
        [insert(1, 1n, "a", "x"), insert(2, 2n, "b", "y")],
        [update(3, 1n, "A", "X"), remove(4, 2n), insert(5, 3n, "c", null)],
      );
      expect(await rows(place)).toEqual([
        ["1", "A", "X"],
        ["3", "c", null],
      ]);
    });

    test("R-dead: a complete event closes the letter that the flush before it opens, and takes its row along", async () => {
      await using place = await kind.make();
      await using scene = await SinkScene.open();
      scene.makesSnapshots = false;
      await scene.state({});
      await ahead(scene, place, [update(1, 5n, "without its row")], [update(2, 5n, "whole", "x")]);
      expect(await rows(place)).toEqual([["5", "whole", "x"]]);
      expect(await letters(place)).toEqual([["UNCHANGED_WITHOUT_ROW", "superseded"]]);
      expect(scene.flushes.at(-1)?.openLetters).toBe(0);
    });

    test("R-dead: an event that lacks values waits for the flush, and joins the letter that it opens", async () => {
      await using place = await kind.make();
      await using scene = await SinkScene.open();
      scene.makesSnapshots = false;
      await scene.state({});
      await ahead(scene, place, [update(1, 5n, "without its row")], [update(2, 5n, "nor this one")]);
      expect(await rows(place)).toEqual([]);
      expect(await letters(place)).toEqual([
        ["UNCHANGED_WITHOUT_ROW", "open"],
        ["UNCHANGED_WITHOUT_ROW", "open"],
      ]);
    });

    test("does not keep a sink that merges from being called running, though there is always something that waits", async () => {
      await using place = await kind.make();
      await using scene = await SinkScene.open();
      let at = 0;
      const enough = new AbortController();
      const writing = (async () => {
        for (; !enough.signal.aborted; at++) await scene.publish(0, insert(at + 1, BigInt(at), "a", "x"));
      })();
      await eventually("some events", () => at > 10);
      const run = scene.run(place.warehouse, "hard", 0);
      await Promise.race([eventually("it reads", () => scene.states.includes("reading")), run.ended]);
      enough.abort();
      await writing;
      await run.stop();
    });

    test("a TRUNCATE takes what is being merged", async () => {
      await using place = await kind.make();
      await using scene = await SinkScene.open();
      await ahead(scene, place, [insert(1, 1n, "a", "x")], [truncate(2), insert(3, 3n, "c", null)]);
      expect(await rows(place)).toEqual([["3", "c", null]]);
    });

    test("is read again when the flush before it fails, which ends the run", async () => {
      await using place = await kind.make();
      await using scene = await SinkScene.open();
      const gate = gated(place.warehouse);
      const run = scene.run(gate.warehouse, "hard");
      await scene.publish(0, insert(1, 1n, "a", "x"));
      await eventually("a flush", () => gate.waiting() === 1);
      await scene.publish(0, update(2, 1n, "A", "X"));
      await eventually("more read", () => scene.polled === 2);
      gate.letThrough(new TailraceError("WAREHOUSE_UNREACHABLE", { warehouse: "postgres", reason: "it went away" }));
      await expect(run.ended).rejects.toMatchObject({ code: "WAREHOUSE_UNREACHABLE" });
      const again = scene.run(place.warehouse, "hard");
      await eventually("both merged", () => scene.flushes.reduce((sum, { events }) => sum + events, 0) === 2);
      await again.stop();
      expect(await rows(place)).toEqual([["1", "A", "X"]]);
    });
  });

  describe(`soft deletes on ${kind.title}`, () => {
    const rows = (place: Place): Promise<(string | null)[][]> =>
      place.sql("SELECT id::text, name, note, _tailrace_deleted::text FROM analytics.orders o ORDER BY o.id");

    const flushOnce = (scene: SinkScene, place: Place, events: Readonly<Record<number, readonly OrderEvent[]>>): Promise<void> =>
      scene.flushOnce(place.warehouse, "soft", events);

    test("a row that came and went within one flush keeps its last values", async () => {
      await using place = await kind.make();
      await using scene = await SinkScene.open();
      await flushOnce(scene, place, { 0: [insert(1, 1n, "a", "large"), insert(2, 2n, "b", "x")], 1: [insert(1, 3n, "c", "large")] });
      await flushOnce(scene, place, {
        0: [update(3, 1n, "A"), remove(4, 1n), remove(5, 2n), insert(6, 2n, "again", null), remove(7, 2n)],
        1: [insert(8, 4n, "d", "x"), update(9, 4n, "D"), remove(10, 4n), remove(11, 3n)],
      });
      expect(await rows(place)).toEqual([
        ["1", "A", "large", "true"],
        ["2", "again", null, "true"],
        ["3", "c", "large", "true"],
        ["4", "D", "x", "true"],
      ]);
    });

    test("TRUNCATE leaves the values that its flush brought, also those of a partition whose own TRUNCATE is not read yet", async () => {
      await using place = await kind.make();
      await using scene = await SinkScene.open();
      await flushOnce(scene, place, { 0: [insert(1, 1n, "a", "large")], 1: [insert(2, 2n, "b", "large")] });
      await flushOnce(scene, place, {
        0: [update(3, 1n, "A"), truncate(5), insert(6, 3n, "after", null)],
        1: [update(4, 2n, "B")],
      });
      const expected = [
        ["1", "A", "large", "true"],
        ["2", "B", "large", "true"],
        ["3", "after", null, "false"],
      ];
      expect(await rows(place)).toEqual(expected);
      await flushOnce(scene, place, { 1: [truncate(5)] });
      expect(await rows(place)).toEqual(expected);
    });

    test("R-dead: a row that was deleted is deleted, though the target refuses the values that it had last", async () => {
      await using place = await kind.make();
      await using scene = await SinkScene.open();
      await flushOnce(scene, place, { 0: [insert(1, 1n, "good", "kept")] });
      await place.sql(
        kind.name === "postgres"
          ? "ALTER TABLE analytics.orders ADD CHECK (name <> 'bad')"
          : `CREATE TABLE analytics.checked (id BIGINT NOT NULL, name VARCHAR CHECK (name <> 'bad'), note VARCHAR, _tailrace_seq VARCHAR,
               _tailrace_commit_ts TIMESTAMPTZ, _tailrace_merged_ts TIMESTAMPTZ, _tailrace_deleted BOOLEAN);
             INSERT INTO analytics.checked FROM analytics.orders; DROP TABLE analytics.orders;
             ALTER TABLE analytics.checked RENAME TO orders`,
      );
      await flushOnce(scene, place, {
        0: [update(2, 1n, "bad", "lost"), remove(3, 1n), insert(4, 2n, "bad", null), remove(5, 2n), insert(6, 3n, "bad", null)],
      });
      expect(await rows(place)).toEqual([
        ["1", "good", "kept", "true"],
        ["2", null, null, "true"],
      ]);
      expect(scene.flushes.at(-1)?.deadLetters.map(({ offset, code }) => [offset, code])).toEqual([[5, "ROW_REFUSED"]]);
    });

    test("R-dead: a target that takes no row stops the sink for its operator, without dead letters; one that takes half of them has the other half set aside", async () => {
      await using place = await kind.make();
      await using scene = await SinkScene.open();
      await flushOnce(scene, place, { 0: [insert(1, 1n, "first", null)] });
      const constraint = (check: string): string =>
        kind.name === "postgres"
          ? `ALTER TABLE analytics.orders DROP CONSTRAINT IF EXISTS checked, ADD CONSTRAINT checked CHECK (${check}) NOT VALID`
          : `CREATE TABLE analytics.checked (id BIGINT NOT NULL, name VARCHAR CHECK (name = 'first' OR ${check}), note VARCHAR, _tailrace_seq VARCHAR,
               _tailrace_commit_ts TIMESTAMPTZ, _tailrace_merged_ts TIMESTAMPTZ, _tailrace_deleted BOOLEAN);
             INSERT INTO analytics.checked FROM analytics.orders; DROP TABLE analytics.orders;
             ALTER TABLE analytics.checked RENAME TO orders`;
      await place.sql(constraint("name = 'nothing'"));
      const many = Array.from({ length: 300 }, (_, index) => insert(index + 2, BigInt(index + 2), index < 150 ? "bad" : "good", null));
      await scene.publish(0, ...many);
      await expect(scene.run(place.warehouse, "soft").ended).rejects.toMatchObject({ code: "TARGET_REFUSES", retry: "operator" });
      expect(await place.sql("SELECT count(*)::text FROM _tailrace.dead_letters")).toEqual([["0"]]);
      await place.sql(constraint("name = 'good'"));
      const run = scene.run(place.warehouse, "soft");
      await expect.poll(() => scene.lags.at(-1), { timeout: 30_000 }).toBe(0);
      await run.stop();
      expect(await place.sql("SELECT count(*)::text FROM _tailrace.dead_letters")).toEqual([["150"]]);
      expect(await place.sql("SELECT count(*)::text FROM analytics.orders")).toEqual([["151"]]);
    });

    test("R-tombstone: a tombstone goes when retention has cut what it guards against from the log, not before", async () => {
      await using place = await kind.make();
      await using scene = await SinkScene.open();
      const tombstones = () => place.sql("SELECT count(*)::text FROM _tailrace.tombstones");
      const merged = async (event: OrderEvent, log?: EventLog): Promise<void> => {
        const read = log === undefined ? null : vi.spyOn(log, "read");
        const run = scene.run(place.warehouse, "hard", 20, log);
        const isLookedAt = (): boolean =>
          read?.mock.calls.some(
            ([{ topic }], at) => topic === "shop.public.orders" && read.mock.settledResults[at]?.type === "fulfilled",
          ) !== false;
        await Promise.race([eventually("the log's beginning is read", isLookedAt), run.ended]);
        await scene.publish(0, event);
        await Promise.race([expect.poll(() => scene.lags.at(-1), { timeout: 30_000 }).toBe(0), run.ended]);
        await run.stop();
      };
      await scene.publish(0, insert(1, 1n, "a", null), remove(2, 1n));
      await merged(insert(3, 2n, "b", null));
      await merged(update(4, 2n, "c", null), scene.cutLog("data", 1)); // the delete is still there
      expect(await tombstones()).toEqual([["1"]]);
      await merged(update(5, 2n, "d", null), scene.cutLog("data", 2));
      expect(await tombstones()).toEqual([["0"]]);
    });
  });
}
