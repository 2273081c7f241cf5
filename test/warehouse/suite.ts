// What every warehouse owes the sink, whatever SQL it speaks (the port in src/core/warehouse.ts).
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { TableName } from "../../src/core/table.ts";
import type { TargetSpec, WarehouseSession } from "../../src/core/warehouse.ts";
import type { Place, WarehouseKind } from "./places.ts";
import { at, change, deletion, keyBytes, letter, tableFlush, targetSpec, Worker } from "./staged.ts";
import { samples } from "./values.ts";

const { signal } = new AbortController();
const PLAIN_TEXT = {
  duckdb: "SET TimeZone = 'UTC';",
  postgres: "SET TimeZone = 'UTC'; SET DateStyle = ISO; SET IntervalStyle = postgres;",
};
const TARGET: TableName = { schema: "analytics", name: "orders" };
const COLUMNS = { id: { kind: "int8" }, name: { kind: "text" }, note: { kind: "text" } } as const;
const hard = targetSpec(TARGET, ["id"], COLUMNS, "hard");
const soft = targetSpec(TARGET, ["id"], COLUMNS, "soft");

export function warehouseSuite(kind: WarehouseKind): void {
  describe(kind.title, () => {
    let place: Place;
    let session: WarehouseSession;
    const worker = (): Worker => current;
    let current: Worker;

    beforeEach(async () => {
      place = await kind.make();
      session = await place.warehouse.open(signal);
      await session.prepare();
      current = new Worker();
      await current.acquire(session);
    });
    afterEach(async () => {
      await session[Symbol.asyncDispose]();
      await place[Symbol.asyncDispose]();
    });

    /** Ends the session, asks, and begins another one: DuckDB's file has one holder. */
    async function sql(text: string): Promise<(string | null)[][]> {
      await session[Symbol.asyncDispose]();
      const rows = await place.sql(text);
      session = await place.warehouse.open(signal);
      return rows;
    }
    const rows = (): Promise<(string | null)[][]> => sql("SELECT id::text, name, note FROM analytics.orders ORDER BY id");
    const softRows = (): Promise<(string | null)[][]> =>
      sql("SELECT id::text, name, note, _tailrace_deleted::text FROM analytics.orders ORDER BY id");
    const tombstones = (): Promise<(string | null)[][]> => sql("SELECT sequence FROM _tailrace.tombstones ORDER BY 1");

    async function merge(spec: TargetSpec, changes: Parameters<typeof tableFlush>[1], truncate: string | null = null) {
      await session.ensureTarget(spec);
      return worker().merge(session, [tableFlush(spec, changes, truncate)]);
    }

    describe("merging", () => {
      test("inserts, updates and hard deletes arrive, and the rows that changed are counted", async () => {
        expect(
          (await merge(hard, [change(1, { id: 1n, name: "a" }), change(2, { id: 2n, name: "b" }), change(3, { id: 3n, name: "c" })]))
            .merged,
        ).toEqual([3]);
        expect(
          (await merge(hard, [change(4, { id: 1n, name: "A", note: "x" }), deletion(5, { id: 2n }), deletion(6, { id: 9n })])).merged,
        ).toEqual([2]);
        expect(await rows()).toEqual([
          ["1", "A", "x"],
          ["3", "c", null],
        ]);
      });

      test("each row says its sequence, when it was committed and when it was merged", async () => {
        await merge(hard, [change(7, { id: 1n })]);
        const seconds = kind.name === "duckdb" ? "epoch(now())" : "extract(epoch FROM now())";
        const committed =
          kind.name === "duckdb" ? "epoch_us(_tailrace_commit_ts)" : "(extract(epoch FROM _tailrace_commit_ts) * 1000000)::bigint";
        const age = `(${seconds} - ${seconds.replace("now()", "_tailrace_merged_ts")}) BETWEEN 0 AND 60`;
        expect(await sql(`SELECT _tailrace_seq, ${committed}::text, (${age})::text FROM analytics.orders`)).toEqual([
          [at(7), "1700000000000000", "true"],
        ]);
      });

      test("a row that is older than the target's, or is the target's, changes nothing (R-sequence)", async () => {
        await merge(hard, [change(5, { id: 1n, name: "new" })]);
        expect((await merge(hard, [change(4, { id: 1n, name: "old" })])).merged).toEqual([0]);
        expect((await merge(hard, [change(5, { id: 1n, name: "again" })])).merged).toEqual([0]);
        expect((await merge(hard, [deletion(4, { id: 1n })])).merged).toEqual([0]);
        expect(await rows()).toEqual([["1", "new", null]]);
        expect(await tombstones()).toEqual([]);
      });

      test("sequences are ordered by epoch, then commit, then ordinal", async () => {
        await merge(hard, [{ row: { id: 1n, name: "a" }, at: at(0xff, 9, 1) }]);
        await merge(hard, [{ row: { id: 1n, name: "lower ordinal" }, at: at(0xff, 8, 1) }]);
        await merge(hard, [{ row: { id: 1n, name: "b" }, at: at(0x100, 0, 1) }]);
        await merge(hard, [{ row: { id: 1n, name: "c" }, at: at(1, 0, 2) }]);
        await merge(hard, [{ row: { id: 1n, name: "older epoch" }, at: at(0xffff, 0, 1) }]);
        expect(await rows()).toEqual([["1", "c", null]]);
      });

      test("keys of several columns identify a row together", async () => {
        const spec = targetSpec(TARGET, ["a", "b"], { a: { kind: "int4" }, b: { kind: "text" }, v: { kind: "int4" } });
        await merge(spec, [change(1, { a: 1, b: "x", v: 1 }), change(1, { a: 1, b: "y", v: 2 }), change(1, { a: 2, b: "x", v: 3 })]);
        await merge(spec, [change(2, { a: 1, b: "y", v: 20 }), deletion(2, { a: 2, b: "x" })]);
        expect(await sql("SELECT a::text, b, v::text FROM analytics.orders ORDER BY a, b")).toEqual([
          ["1", "x", "1"],
          ["1", "y", "20"],
        ]);
      });

      test("a table of key columns only is merged", async () => {
        const spec = targetSpec(TARGET, ["id"], { id: { kind: "int8" } });
        await merge(spec, [change(1, { id: 1n }), change(1, { id: 2n })]);
        await merge(spec, [change(2, { id: 1n }), deletion(2, { id: 2n })]);
        expect(await sql("SELECT id::text, _tailrace_seq FROM analytics.orders")).toEqual([["1", at(2)]]);
      });

      test("a key whose text changed and whose value did not, deleted and made again in one flush, is one row", async () => {
        const spec = targetSpec(TARGET, ["k"], { k: { kind: "numeric" }, v: { kind: "text" } });
        await merge(spec, [change(1, { k: "1.0", v: "before" })]);
        await merge(spec, [deletion(2, { k: "1.0" }), { row: { k: "1.00", v: "after" }, at: at(2, 1) }]);
        expect(await sql("SELECT k::text, v FROM analytics.orders")).toEqual([["1.00", "after"]]);
      });

      test("more rows than one chunk of the bulk path, with nulls, all arrive and are all updated", async () => {
        const many = Array.from({ length: 5_000 }, (_, id) => ({
          id: BigInt(id),
          name: id % 3 === 0 ? null : `n${id}`,
          note: "x".repeat(id % 300),
        }));
        expect(
          (
            await merge(
              hard,
              many.map((row) => change(1, row)),
            )
          ).merged,
        ).toEqual([5_000]);
        expect(
          (
            await merge(
              hard,
              many.map((row) => change(2, { ...row, note: null })),
            )
          ).merged,
        ).toEqual([5_000]);
        const counts = "SELECT count(*)::text, count(name)::text, count(note)::text, count(DISTINCT id)::text FROM analytics.orders";
        expect(await sql(counts)).toEqual([["5000", "3333", "0", "5000"]]);
        expect(await sql("SELECT id::text FROM analytics.orders WHERE name <> concat('n', id)")).toEqual([]);
      });

      test("a flush of several tables merges all of them, and counts each", async () => {
        const other = targetSpec({ schema: "raw", name: "items" }, ["id"], COLUMNS);
        await session.ensureTarget(hard);
        await session.ensureTarget(other);
        const result = await worker().merge(session, [
          tableFlush(hard, [change(1, { id: 1n })]),
          tableFlush(other, [change(1, { id: 1n }), change(1, { id: 2n })]),
          tableFlush(hard, []),
        ]);
        expect(result).toEqual({ merged: [1, 2, 0], deadLetters: [] });
        expect(await sql("SELECT count(*)::text FROM raw.items")).toEqual([["2"]]);
      });
    });

    describe("R-tombstone", () => {
      test("an insert that is older than its key's hard delete stays out, a newer one takes the tombstone away", async () => {
        await merge(hard, [change(1, { id: 1n, name: "a" })]);
        await merge(hard, [deletion(3, { id: 1n })]);
        expect(await tombstones()).toEqual([[at(3)]]);
        expect((await merge(hard, [change(2, { id: 1n, name: "older" })])).merged).toEqual([0]);
        expect((await merge(hard, [change(3, { id: 1n, name: "same" })])).merged).toEqual([0]);
        expect(await rows()).toEqual([]);
        expect((await merge(hard, [change(4, { id: 1n, name: "newer" })])).merged).toEqual([1]);
        expect(await rows()).toEqual([["1", "newer", null]]);
        expect(await tombstones()).toEqual([]);
      });

      test("a delete of a row that is not there leaves a tombstone too", async () => {
        await merge(hard, [deletion(3, { id: 1n })]);
        await merge(hard, [change(2, { id: 1n, name: "late" })]);
        expect(await rows()).toEqual([]);
      });

      test("a key has one tombstone, with its highest sequence", async () => {
        await merge(hard, [deletion(3, { id: 1n })]);
        await merge(hard, [deletion(2, { id: 1n })]);
        expect(await tombstones()).toEqual([[at(3)]]);
        await merge(hard, [deletion(4, { id: 1n })]);
        expect(await tombstones()).toEqual([[at(4)]]);
      });

      test("a tombstone is of its target only", async () => {
        const other = targetSpec({ schema: "analytics", name: "other" }, ["id"], COLUMNS);
        await merge(hard, [deletion(3, { id: 1n })]);
        await merge(other, [change(2, { id: 1n, name: "another table" })]);
        expect(await sql("SELECT name FROM analytics.other")).toEqual([["another table"]]);
      });

      test("TRUNCATE empties the target up to its sequence and keeps older rows out from then on", async () => {
        await merge(hard, [change(1, { id: 1n, name: "before" }), change(6, { id: 2n, name: "of a partition that is ahead" })]);
        await merge(hard, [deletion(3, { id: 3n })]);
        await merge(hard, [change(2, { id: 4n, name: "below" }), change(7, { id: 5n, name: "above" })], at(5));
        const left = [
          ["2", "of a partition that is ahead", null],
          ["5", "above", null],
        ];
        expect(await rows()).toEqual(left);
        expect(await tombstones()).toEqual([]);
        expect((await merge(hard, [change(4, { id: 1n, name: "replayed" }), deletion(4, { id: 8n })])).merged).toEqual([0]);
        expect(await rows()).toEqual(left);
        expect(await tombstones()).toEqual([]);
      });

      test("a replayed TRUNCATE changes nothing, and does not lower the floor", async () => {
        await merge(hard, [change(9, { id: 1n, name: "newer" })], at(8));
        await merge(hard, [], at(5));
        await merge(hard, [change(6, { id: 2n, name: "between" })]);
        expect(await rows()).toEqual([["1", "newer", null]]);
      });

      test("TRUNCATE of a target with soft deletes marks its rows deleted, with its sequence", async () => {
        await merge(soft, [change(1, { id: 1n, name: "a" }), change(9, { id: 2n, name: "b" })]);
        await merge(soft, [], at(5));
        expect(await softRows()).toEqual([
          ["1", "a", null, "true"],
          ["2", "b", null, "false"],
        ]);
        expect((await merge(soft, [change(4, { id: 1n, name: "late" })])).merged).toEqual([0]);
        expect((await merge(soft, [change(6, { id: 1n, name: "again" })])).merged).toEqual([1]);
        expect((await softRows())[0]).toEqual(["1", "again", null, "false"]);
      });
    });

    describe("soft deletes", () => {
      test("a deleted row keeps its values and is marked; a newer insert revives it", async () => {
        await merge(soft, [change(1, { id: 1n, name: "a", note: "x" }), change(1, { id: 2n, name: "b" })]);
        expect((await merge(soft, [deletion(2, { id: 1n })])).merged).toEqual([1]);
        expect(await softRows()).toEqual([
          ["1", "a", "x", "true"],
          ["2", "b", null, "false"],
        ]);
        expect((await merge(soft, [change(1, { id: 1n, name: "late" })])).merged).toEqual([0]);
        await merge(soft, [change(3, { id: 1n, name: "again" })]);
        expect((await softRows())[0]).toEqual(["1", "again", null, "false"]);
      });

      test("a delete of a row that is not there makes a deleted row of its key, which guards as a tombstone does", async () => {
        expect((await merge(soft, [deletion(3, { id: 1n })])).merged).toEqual([1]);
        await merge(soft, [change(2, { id: 1n, name: "late" })]);
        expect(await softRows()).toEqual([["1", null, null, "true"]]);
        expect(await tombstones()).toEqual([]);
      });

      test("a deleted row that is deleted again stays as it is", async () => {
        await merge(soft, [change(1, { id: 1n, name: "a" })]);
        await merge(soft, [deletion(2, { id: 1n })]);
        await merge(soft, [deletion(3, { id: 1n })]);
        expect(await softRows()).toEqual([["1", "a", null, "true"]]);
      });
    });

    describe("unchanged columns", () => {
      for (const spec of [hard, soft]) {
        test(`keep the target's value (${spec.deletes} deletes)`, async () => {
          await merge(spec, [change(1, { id: 1n, name: "a", note: "long" }), change(1, { id: 2n, name: "b", note: "kept" })]);
          const result = await merge(spec, [
            change(2, { id: 1n, name: "A" }, ["note"]),
            change(2, { id: 2n, note: "new" }, ["name"]),
            change(2, { id: 3n, name: "c" }),
          ]);
          expect(result).toEqual({ merged: [3], deadLetters: [] });
          expect(await rows()).toEqual([
            ["1", "A", "long"],
            ["2", "b", "new"],
            ["3", "c", null],
          ]);
        });

        test(`of a row that is not there, or is deleted, make a dead letter inside the flush; the rest goes on (${spec.deletes} deletes, R-dead)`, async () => {
          await merge(spec, [change(1, { id: 1n, name: "a", note: "long" }), change(1, { id: 2n, name: "b", note: "gone" })]);
          await merge(spec, [deletion(2, { id: 2n })]);
          const result = await merge(spec, [
            change(3, { id: 1n, name: "A" }, ["note"]),
            change(3, { id: 2n, name: "B" }, ["note"]),
            change(3, { id: 3n, name: "C" }, ["note"]),
          ]);
          expect(result.merged).toEqual([1]);
          expect(result.deadLetters.map(({ offset }) => offset)).toEqual([101, 102]);
          expect((await session.openDeadLetters("lake")).map(({ offset, code }) => [offset, code])).toEqual([
            [101, "UNCHANGED_WITHOUT_ROW"],
            [102, "UNCHANGED_WITHOUT_ROW"],
          ]);
          const live =
            spec.deletes === "soft"
              ? "SELECT id::text, name, note FROM analytics.orders WHERE NOT _tailrace_deleted"
              : "SELECT id::text, name, note FROM analytics.orders";
          expect(await sql(live)).toEqual([["1", "A", "long"]]);
        });

        test(`of a row that the guard would drop make no dead letter (${spec.deletes} deletes, R-dead)`, async () => {
          await merge(spec, [change(4, { id: 1n, name: "a" }), deletion(4, { id: 2n })]);
          const late = [change(3, { id: 1n }, ["note"]), change(3, { id: 2n }, ["note"]), change(2, { id: 3n }, ["note"])];
          expect(await merge(spec, late, at(3))).toEqual({ merged: [0], deadLetters: [] });
        });

        test(`of a row that the same flush truncates make a dead letter (${spec.deletes} deletes)`, async () => {
          await merge(spec, [change(1, { id: 1n, name: "a", note: "long" })]);
          expect((await merge(spec, [change(6, { id: 1n }, ["note"])], at(5))).deadLetters.length).toBe(1);
        });
      }

      test("a dead letter leaves its key's tombstone where it was", async () => {
        await merge(hard, [deletion(2, { id: 1n })]);
        await merge(hard, [change(3, { id: 1n }, ["note"])]);
        expect(await tombstones()).toEqual([[at(2)]]);
      });
    });

    describe("R-checkpoint", () => {
      test("what was merged and how far it was are read back together", async () => {
        await merge(hard, [change(1, { id: 1n })]);
        await merge(hard, [change(2, { id: 2n })]);
        const { fence, checkpoints } = await session.acquire("lake");
        expect(checkpoints).toEqual([{ topic: "t", partition: 0, topicId: "id", nextOffset: 2, sequence: at(2) }]);
        expect(fence).toBe(2);
        expect((await session.acquire("another")).checkpoints).toEqual([]);
      });

      test("a flush from a place that is not the checkpoint changes nothing", async () => {
        await session.ensureTarget(hard);
        const flush = worker().flush([tableFlush(hard, [change(1, { id: 1n, name: "first" })])]);
        await session.flush(flush, signal);
        const replay = { ...flush, tables: [tableFlush(hard, [change(2, { id: 1n, name: "second" })])] };
        await expect(session.flush(replay, signal)).rejects.toMatchObject({ code: "CHECKPOINT_MOVED" });
        const elsewhere = { ...replay, checkpoints: flush.checkpoints.map((move) => ({ ...move, expectedOffset: 5, nextOffset: 6 })) };
        await expect(session.flush(elsewhere, signal)).rejects.toMatchObject({ code: "CHECKPOINT_MOVED" });
        expect(await rows()).toEqual([["1", "first", null]]);
        expect((await session.acquire("lake")).checkpoints[0]?.nextOffset).toBe(1);
      });

      test("a topic that was made again has another id, and its checkpoint is not the old one's", async () => {
        await merge(hard, [change(1, { id: 1n })]);
        const flush = worker().flush([]);
        const another = { ...flush, checkpoints: flush.checkpoints.map((move) => ({ ...move, topicId: "another" })) };
        await expect(session.flush(another, signal)).rejects.toMatchObject({ code: "CHECKPOINT_MOVED" });
      });

      test("one partition that moved spoils the flush of all", async () => {
        await merge(hard, [change(1, { id: 1n })]);
        const flush = worker().flush([tableFlush(hard, [change(2, { id: 2n })])]);
        const [move] = flush.checkpoints;
        const both = { ...flush, checkpoints: [move!, { ...move!, partition: 1, expectedOffset: 3 }] };
        const error = await session.flush(both, signal).catch((cause: unknown) => cause);
        expect(error).toMatchObject({ code: "CHECKPOINT_MOVED", message: "another worker moved the checkpoint of t partition 1" });
        expect((await rows()).length).toBe(1);
        const right = { ...flush, checkpoints: [move!, { ...move!, partition: 1, expectedOffset: null }] };
        await session.flush(right, signal);
        expect((await session.acquire("lake")).checkpoints.map(({ partition, nextOffset }) => [partition, nextOffset])).toEqual([
          [0, 2],
          [1, 2],
        ]);
      });

      test("a worker that another one has replaced can't flush any more", async () => {
        await session.ensureTarget(hard);
        const old = new Worker();
        await old.acquire(session);
        await current.acquire(session);
        await expect(old.merge(session, [tableFlush(hard, [change(1, { id: 1n })])])).rejects.toMatchObject({ code: "CHECKPOINT_MOVED" });
        expect(await rows()).toEqual([]);
        await merge(hard, [change(1, { id: 1n, name: "by the new one" })]);
        expect(await rows()).toEqual([["1", "by the new one", null]]);
      });

      test("every flush is a row of the runs table", async () => {
        await session.ensureTarget(hard);
        await worker().merge(session, [tableFlush(hard, [change(1, { id: 1n }), change(2, { id: 2n }), change(3, { id: 3n }, ["note"])])]);
        const run =
          "SELECT sink, events::text, merged::text, dead_letters::text, first_sequence, last_sequence, (finished_at > started_at)::text FROM _tailrace.runs";
        expect(await sql(run)).toEqual([["lake", "3", "2", "1", at(1), at(3), "true"]]);
      });

      test("prepare and ensureTarget can be repeated", async () => {
        await merge(hard, [change(1, { id: 1n })]);
        await session.prepare();
        await session.ensureTarget(hard);
        expect((await session.acquire("lake")).checkpoints.length).toBe(1);
        expect((await rows()).length).toBe(1);
      });
    });

    describe("dead letters", () => {
      test("come back with their bytes, in sequence order, until they are closed", async () => {
        const letters = [
          letter(3),
          letter(1, { keyBytes: null, key: null, value: null, message: "naïve 'quotes' and 🚰" }),
          letter(2, { keyBytes: Buffer.from([0]) }),
        ];
        await worker().merge(session, [], { deadLetters: letters });
        expect(await session.openDeadLetters("lake")).toEqual([letters[1], letters[2], letters[0]]);
        expect(await session.openDeadLetters("another")).toEqual([]);
        await worker().merge(session, [], {
          closedDeadLetters: [
            { topic: "t", keyBytes: Buffer.from([0]), sequence: letter(9).sequence },
            { topic: "u", keyBytes: Buffer.from("key"), sequence: letter(9).sequence },
          ],
        });
        expect((await session.openDeadLetters("lake")).map(({ offset }) => offset)).toEqual([1, 3]);
        expect(await sql("SELECT state, (closed_at IS NULL)::text FROM _tailrace.dead_letters ORDER BY log_offset")).toEqual([
          ["open", "true"],
          ["superseded", "false"],
          ["open", "true"],
        ]);
      });

      test("a letter that its own flush supersedes is there, and closed", async () => {
        const closed = { topic: "t", keyBytes: Buffer.from("key"), sequence: letter(2).sequence };
        await worker().merge(session, [], { deadLetters: [letter(1)], closedDeadLetters: [closed] });
        expect(await session.openDeadLetters("lake")).toEqual([]);
        expect(await sql("SELECT state, (closed_at IS NULL)::text FROM _tailrace.dead_letters")).toEqual([["superseded", "false"]]);
      });

      test("a letter of the flush that closes its key's older ones stays open", async () => {
        await worker().merge(session, [], { deadLetters: [letter(1)] });
        await worker().merge(session, [], {
          deadLetters: [letter(2)],
          closedDeadLetters: [{ topic: "t", keyBytes: Buffer.from("key"), sequence: letter(2).sequence }],
        });
        expect((await session.openDeadLetters("lake")).map(({ offset }) => offset)).toEqual([2]);
      });

      test("a thousand and more in one flush are all there", async () => {
        const letters = Array.from({ length: 1_234 }, (_, offset) => letter(offset));
        await worker().merge(session, [], { deadLetters: letters });
        expect((await session.openDeadLetters("lake")).length).toBe(1_234);
      });

      test("are not there when their flush failed", async () => {
        const flush = worker().flush([], { deadLetters: [letter(1)] });
        const moved = { ...flush, checkpoints: flush.checkpoints.map((move) => ({ ...move, expectedOffset: 7 })) };
        await expect(session.flush(moved, signal)).rejects.toThrow();
        expect(await session.openDeadLetters("lake")).toEqual([]);
      });
    });

    describe("rows that the target refuses (R-dead)", () => {
      const checked = `CREATE SCHEMA analytics; CREATE TABLE analytics.orders (id bigint NOT NULL ${kind.name === "postgres" ? "PRIMARY KEY" : ""}, name ${kind.name === "postgres" ? "text" : "VARCHAR"} CHECK (name <> 'bad'))`;

      test("fail the whole flush as ROW_REFUSED, and refusal() says which and why, and leaves nothing behind", async () => {
        await sql(checked);
        await session.ensureTarget(hard);
        const good = change(1, { id: 1n, name: "good" });
        const bad = change(1, { id: 2n, name: "bad" });
        await expect(worker().merge(session, [tableFlush(hard, [good, bad])])).rejects.toMatchObject({
          code: "ROW_REFUSED",
          message: expect.stringMatching(/^target analytics\.orders refuses a row: .*(check|CHECK)/) as string,
        });
        expect(await session.refusal(tableFlush(hard, [good]), signal)).toBe(null);
        expect(await session.refusal(tableFlush(hard, [bad]), signal)).toMatch(/check/i);
        expect(await rows()).toEqual([]);
        expect((await session.acquire("lake")).checkpoints).toEqual([]);
        await current.acquire(session);
        await merge(hard, [good]);
        expect(await rows()).toEqual([["1", "good", null]]);
      });

      test("refusal() asks the guard too: a bad row that would be dropped is none", async () => {
        await sql(checked);
        await merge(hard, [change(5, { id: 1n, name: "newer" })]);
        expect(await session.refusal(tableFlush(hard, [change(4, { id: 1n, name: "bad" })]), signal)).toBe(null);
        expect(await session.refusal(tableFlush(hard, [change(4, { id: 9n, name: "bad" })], at(4)), signal)).toBe(null);
        expect(await rows()).toEqual([["1", "newer", null]]);
      });
    });

    describe("targets", () => {
      test("are made with their schema; only key columns are required", async () => {
        await session.ensureTarget(soft);
        const columns = await sql(
          "SELECT column_name::text, is_nullable::text FROM information_schema.columns WHERE table_schema = 'analytics' ORDER BY ordinal_position",
        );
        expect(columns).toEqual([
          ["id", "NO"],
          ["name", "YES"],
          ["note", "YES"],
          ["_tailrace_seq", "YES"],
          ["_tailrace_commit_ts", "YES"],
          ["_tailrace_merged_ts", "YES"],
          ["_tailrace_deleted", "YES"],
        ]);
      });

      test("get the columns that they lack, and rows that somebody loaded count as older than every event", async () => {
        const key = kind.name === "postgres" ? "PRIMARY KEY" : "NOT NULL";
        await sql(
          `CREATE SCHEMA analytics; CREATE TABLE analytics.orders (id bigint ${key}); INSERT INTO analytics.orders VALUES (1), (2), (3)`,
        );
        await merge(hard, [change(1, { id: 1n, name: "a" }), deletion(1, { id: 2n })]);
        expect(await rows()).toEqual([
          ["1", "a", null],
          ["3", null, null],
        ]);
        await merge(hard, [], at(2));
        expect(await rows()).toEqual([]);
      });

      test("of other types are refused with the SQL that mends them", async () => {
        const key = kind.name === "postgres" ? "PRIMARY KEY" : "NOT NULL";
        await sql(`CREATE SCHEMA analytics; CREATE TABLE analytics.orders (id integer ${key}, name text, note date)`);
        const error = (await session.ensureTarget(hard).catch((cause: unknown) => cause)) as {
          code: string;
          message: string;
          remedy: string;
        };
        expect(error.code).toBe("TARGET_DIFFERS");
        expect(error.message).toMatch(
          /^target analytics\.orders does not fit: id is integer, needed is bigint; note is date, needed is (text|varchar)$/i,
        );
        const mend = /^run: (.*); or name another table/.exec(error.remedy)?.[1] ?? "";
        await sql(mend);
        await merge(hard, [change(1, { id: 1n, note: "text" })]);
        expect(await rows()).toEqual([["1", null, "text"]]);
      });

      test("that lack a key column, or were kept with soft deletes and now are not, are refused with the SQL too", async () => {
        await session.ensureTarget(soft);
        await expect(session.ensureTarget(hard)).rejects.toMatchObject({
          code: "TARGET_DIFFERS",
          message: expect.stringContaining("softly deleted") as string,
        });
        const other = targetSpec(TARGET, ["code"], { code: { kind: "text" } }, "soft");
        await expect(session.ensureTarget(other)).rejects.toMatchObject({
          code: "TARGET_DIFFERS",
          message: expect.stringContaining("lacks key column code") as string,
        });
      });

      test("may have columns of other people: their values stay, their defaults work", async () => {
        await session.ensureTarget(hard);
        await sql(`ALTER TABLE analytics.orders ADD COLUMN "by hand" ${kind.name === "postgres" ? "text" : "VARCHAR"} DEFAULT 'default'`);
        await merge(hard, [change(1, { id: 1n, name: "a", note: "long" })]);
        await sql(`UPDATE analytics.orders SET "by hand" = 'mine'`);
        await merge(hard, [change(2, { id: 1n, name: "b" }, ["note"]), change(2, { id: 2n, name: "c" })]);
        expect(await sql(`SELECT id::text, name, note, "by hand" FROM analytics.orders ORDER BY id`)).toEqual([
          ["1", "b", "long", "mine"],
          ["2", "c", null, "default"],
        ]);
      });

      test("may have any names: quotes, dots, spaces, letters of every alphabet, words of SQL", async () => {
        const target = { schema: 'we"ird.schema', name: "Täb'le \\ 表" };
        const spec = targetSpec(
          target,
          ['ke"y', "select"],
          { 'ke"y': { kind: "text" }, select: { kind: "int4" }, "Größe in µ'm": { kind: "text" } },
          "soft",
        );
        await session.ensureTarget(spec);
        await session.ensureTarget(spec);
        const row = { 'ke"y': "k", select: 1, "Größe in µ'm": "v" };
        await worker().merge(session, [tableFlush(spec, [change(1, row)])]);
        await worker().merge(session, [tableFlush(spec, [change(2, row, ["Größe in µ'm"])])]);
        await worker().merge(session, [tableFlush(spec, [], at(3))]);
        expect(await sql(`SELECT "Größe in µ'm", _tailrace_deleted::text FROM "we""ird.schema"."Täb'le \\ 表"`)).toEqual([["v", "true"]]);
      });

      test("can't have a captured column with a name of ours", async () => {
        const spec = targetSpec(TARGET, ["id"], { id: { kind: "int8" }, _tailrace_seq: { kind: "text" } });
        await expect(session.ensureTarget(spec)).rejects.toMatchObject({ code: "NAME_COLLISION" });
      });
    });

    describe("aborting", () => {
      test("a flush that is aborted in the middle changes nothing, and the next session goes on", async () => {
        await session.ensureTarget(hard);
        const many = tableFlush(
          hard,
          Array.from({ length: 60_000 }, (_, id) => change(1, { id: BigInt(id), name: "n" })),
        );
        const controller = new AbortController();
        const reason = new Error("enough");
        setTimeout(() => controller.abort(reason), 30);
        await expect(session.flush(worker().flush([many]), controller.signal)).rejects.toBe(reason);
        expect(await rows()).toEqual([]);
        expect((await session.acquire("lake")).checkpoints).toEqual([]);
      });

      test("what was aborted before it began is not begun", async () => {
        const reason = new Error("enough");
        await expect(session.flush(worker().flush([]), AbortSignal.abort(reason))).rejects.toBe(reason);
        await expect(place.warehouse.open(AbortSignal.abort(reason))).rejects.toBe(reason);
        expect((await session.acquire("lake")).checkpoints).toEqual([]);
      });
    });

    describe("values", () => {
      for (const { type, cases } of samples) {
        const title = type.kind === "decimal" ? `decimal(${type.precision},${type.scale})` : type.kind;
        test(`of kind ${title} are found as they were, in inserts and through updates`, async () => {
          const spec = targetSpec(TARGET, ["id"], { id: { kind: "int4" }, v: type, kept: type });
          const written = cases.map(({ value }, id) => change(1, { id, v: value, kept: value }));
          await merge(spec, [...written, change(1, { id: 1000 })]);
          await merge(spec, [...cases.map(({ value }, id) => change(2, { id, v: value }, ["kept"])), change(2, { id: 1000 })]);
          await session[Symbol.asyncDispose]();
          const text = await place.sql(
            `${PLAIN_TEXT[kind.name]} SELECT id::text, v::text, kept::text FROM analytics.orders o ORDER BY o.id`,
          );
          session = await place.warehouse.open(signal);
          const expected = cases.map(({ found }, id) => {
            const one = typeof found === "string" ? found : found[kind.name];
            return [String(id), one, one];
          });
          expect(text).toEqual([...expected, ["1000", null, null]]);
        });
      }

      test("that a key can be of are found by it", async () => {
        for (const [index, { type, cases }] of samples.entries()) {
          if (type.kind === "json" || (kind.name === "postgres" && cases.some(({ value }) => String(value).length > 2_000))) continue;
          const spec = targetSpec({ schema: "keys", name: `k${index}` }, ["k"], { k: type, v: { kind: "int4" } });
          const distinct = cases.filter(({ value }, at) => !cases.some((other, before) => before < at && other.value === value));
          await merge(
            spec,
            distinct.map(({ value }, v) => change(1, { k: value, v })),
          );
          await merge(
            spec,
            distinct.map(({ value }, v) => change(2, { k: value, v: v + 100 })),
          );
          expect(
            (
              await merge(
                spec,
                distinct.map(({ value }) => deletion(3, { k: value })),
              )
            ).merged,
            type.kind,
          ).toEqual([distinct.length]);
          expect(await sql(`SELECT k::text FROM keys.k${index}`), type.kind).toEqual([]);
        }
      });
    });

    test("a key's bytes are what tombstones are kept by", async () => {
      await merge(hard, [deletion(1, { id: 1n })]);
      const hex = kind.name === "postgres" ? "encode(key, 'hex')" : "lower(hex(key))";
      expect(await sql(`SELECT target_schema, target_name, ${hex} FROM _tailrace.tombstones`)).toEqual([
        ["analytics", "orders", keyBytes(hard, { id: 1n }).toString("hex")],
      ]);
    });
  });
}
