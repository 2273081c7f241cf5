// R-dead: what is set aside, and the rows that a target refuses.
import { describe, expect, test } from "vitest";
import type { DeadLetter } from "../../../src/core/warehouse.ts";
import { at, change, letter, tableFlush } from "../staged.ts";
import { hard, type OpenWarehouse } from "./open-warehouse.ts";

const { signal } = new AbortController();

export function lettersSuite(warehouse: OpenWarehouse): void {
  const { kind, merge, sql, rows } = warehouse;

  describe("dead letters", () => {
    test("come back with their bytes, in sequence order, until they are closed", async () => {
      const letters = [
        letter(3),
        letter(1, { keyBytes: null, key: null, value: null, message: "naïve 'quotes' and 🚰" }),
        letter(2, { keyBytes: Buffer.from([0]) }),
      ];
      await warehouse.worker.merge(warehouse.session, [], { deadLetters: letters });
      const hex = (bytes: Buffer | null): string | null => bytes?.toString("hex").toUpperCase() ?? null;
      const row = ({ offset, code, message, keyBytes, key, value }: DeadLetter): (string | null)[] =>
        [String(offset), code, message].concat([keyBytes, key, value].map(hex) as string[]);
      expect(await warehouse.openLetters()).toEqual([letters[1]!, letters[2]!, letters[0]!].map(row));
      expect(await warehouse.openLetters("another")).toEqual([]);
      await warehouse.worker.merge(warehouse.session, [], {
        closedDeadLetters: [
          { topic: "t", keyBytes: Buffer.from([0]), sequence: letter(9).sequence },
          { topic: "u", keyBytes: Buffer.from("key"), sequence: letter(9).sequence },
        ],
      });
      expect(await warehouse.openOffsets()).toEqual([1, 3]);
      expect(await sql("SELECT state, (closed_at IS NULL)::text FROM _tailrace.dead_letters ORDER BY log_offset")).toEqual([
        ["open", "true"],
        ["superseded", "false"],
        ["open", "true"],
      ]);
    });

    test("are listed by sequence, the last ones of one sink, open ones only, and found by their place with all their bytes", async () => {
      const { session } = warehouse;
      expect(await session.letters("lake", { place: null, limit: 10 })).toEqual([]);
      const letters = [letter(3), letter(1, { keyBytes: null, key: null, value: null }), letter(2), letter(4, { code: "AWAITS_SNAPSHOT" })];
      const before = Date.now();
      await warehouse.worker.merge(session, [], { deadLetters: letters });
      const createdMs = expect.toSatisfy((ms: number) => ms > before - 1_000 && ms < Date.now() + 1_000) as number;
      const kept = (one: DeadLetter): object => ({ ...one, value: null, state: "open", createdMs });
      expect(await session.letters("lake", { place: null, limit: 10 })).toEqual(
        [letter(1, { keyBytes: null, key: null }), letter(2), letter(3)].map(kept),
      );
      expect(await session.letters("lake", { place: null, limit: 2 })).toEqual([letter(2), letter(3)].map(kept));
      expect(await session.letters("another", { place: null, limit: 10 })).toEqual([]);
      const place = { topic: "t", partition: 0, offset: 3 };
      expect(await session.letters("lake", { place, limit: 1 })).toEqual([{ ...letter(3), state: "open", createdMs }]);
      const closed = { topic: "t", keyBytes: Buffer.from("key"), sequence: letter(9).sequence };
      await warehouse.worker.merge(session, [], { closedDeadLetters: [closed] });
      expect(await session.letters("lake", { place: null, limit: 10 })).toMatchObject([{ offset: 1 }]);
      expect(await session.letters("lake", { place, limit: 1 })).toMatchObject([{ offset: 3, state: "superseded" }]);
      expect(await session.letters("lake", { place: { ...place, offset: 9 }, limit: 1 })).toEqual([]);
    });

    test("a letter that its own flush supersedes is there, and closed", async () => {
      const closed = { topic: "t", keyBytes: Buffer.from("key"), sequence: letter(2).sequence };
      await warehouse.worker.merge(warehouse.session, [], { deadLetters: [letter(1)], closedDeadLetters: [closed] });
      expect(await warehouse.openOffsets()).toEqual([]);
      expect(await sql("SELECT state, (closed_at IS NULL)::text FROM _tailrace.dead_letters")).toEqual([["superseded", "false"]]);
    });

    test("a letter of the flush that closes its key's older ones stays open", async () => {
      await warehouse.worker.merge(warehouse.session, [], { deadLetters: [letter(1)] });
      await warehouse.worker.merge(warehouse.session, [], {
        deadLetters: [letter(2)],
        closedDeadLetters: [{ topic: "t", keyBytes: Buffer.from("key"), sequence: letter(2).sequence }],
      });
      expect(await warehouse.openOffsets()).toEqual([2]);
    });

    test("one that only waited for a snapshot is deleted when it is closed", async () => {
      await warehouse.worker.merge(warehouse.session, [], { deadLetters: [letter(1, { code: "AWAITS_SNAPSHOT" }), letter(2)] });
      await warehouse.worker.merge(warehouse.session, [], {
        closedDeadLetters: [{ topic: "t", keyBytes: Buffer.from("key"), sequence: letter(3).sequence }],
      });
      expect(await sql("SELECT log_offset::text, state FROM _tailrace.dead_letters")).toEqual([["2", "superseded"]]);
    });

    test("R-tombstone: a floor closes those of its topic that are older, of every key and of none", async () => {
      await warehouse.worker.merge(warehouse.session, [], {
        deadLetters: [
          letter(1),
          letter(2, { keyBytes: null }),
          letter(3, { code: "AWAITS_SNAPSHOT" }),
          letter(4, { topic: "u" }),
          letter(5, { keyBytes: Buffer.from("another") }),
        ],
      });
      await warehouse.worker.merge(warehouse.session, [], { letterFloors: [{ topic: "t", sequence: letter(5).sequence }] });
      expect(await warehouse.openOffsets()).toEqual([4, 5]);
      expect(await sql("SELECT log_offset::text FROM _tailrace.dead_letters WHERE state = 'superseded' ORDER BY 1")).toEqual([
        ["1"],
        ["2"],
      ]);
    });

    test("a thousand and more in one flush are all there", async () => {
      const letters = Array.from({ length: 1_234 }, (_, offset) => letter(offset));
      await warehouse.worker.merge(warehouse.session, [], { deadLetters: letters });
      expect((await warehouse.openOffsets()).length).toBe(1_234);
    });

    test("are known to a sink that starts by their keys: the highest sequences of all, and of those that no snapshot closes", async () => {
      const awaiting = Buffer.from([0, 255]);
      await warehouse.worker.merge(warehouse.session, [], {
        deadLetters: [
          letter(1),
          letter(3, { code: "AWAITS_SNAPSHOT" }),
          letter(2),
          letter(4, { keyBytes: awaiting, code: "AWAITS_SNAPSHOT" }),
          letter(5, { keyBytes: null }),
          letter(6, { keyBytes: Buffer.from("closed") }),
        ],
        closedDeadLetters: [{ topic: "t", keyBytes: Buffer.from("closed"), sequence: at(7) }],
      });
      const keys = [...(await warehouse.session.openKeys("lake"))].sort((a, b) => (a.last < b.last ? -1 : 1));
      expect(keys).toEqual([
        { topic: "t", keyBytes: Buffer.from("key"), last: at(3), lastDead: at(2) },
        { topic: "t", keyBytes: awaiting, last: at(4), lastDead: "" },
      ]);
      expect(await warehouse.session.openKeys("another")).toEqual([]);
    });

    test("of 200,000 rows that a target refused do not fill the memory of the sink that starts with them", async () => {
      const [bytes, blob] =
        kind.name === "postgres"
          ? ["convert_to(i::text, 'UTF8')", "convert_to(repeat('x', 4000), 'UTF8')"]
          : ["encode(i::VARCHAR)", "encode(repeat('x', 4000))"];
      await sql(`INSERT INTO _tailrace.dead_letters
SELECT 'lake', 't', 0, i, ${bytes}, '${at(1)}', 'ROW_REFUSED', 'it is refused', ${bytes}, ${blob}, 'open', now(), NULL FROM generate_series(1, 200000) g(i)`);
      const held = (): number => process.memoryUsage().heapUsed + process.memoryUsage().external;
      const before = held();
      const keys = await warehouse.session.openKeys("lake");
      expect(held() - before).toBeLessThan(400 * 1024 * 1024); // their bytes are 800 MB
      expect(keys.length).toBe(200_000);
    });

    test("are not there when their flush failed", async () => {
      const flush = warehouse.worker.flush([], { deadLetters: [letter(1)] });
      const moved = { ...flush, checkpoints: flush.checkpoints.map((move) => ({ ...move, expected: { topicId: "id", nextOffset: 7 } })) };
      await expect(warehouse.session.flush(moved, signal)).rejects.toThrow();
      expect(await warehouse.openOffsets()).toEqual([]);
    });
  });

  describe("rows that the target refuses (R-dead)", () => {
    const checked = `CREATE SCHEMA analytics; CREATE TABLE analytics.orders (id bigint NOT NULL ${kind.name === "postgres" ? "PRIMARY KEY" : ""}, name ${kind.name === "postgres" ? "text" : "VARCHAR"} CHECK (name <> 'bad'))`;

    test("fail the whole flush as ROW_REFUSED, and refusal() says which and why, and leaves nothing behind", async () => {
      await sql(checked);
      await warehouse.session.ensureTarget(hard);
      const good = change(1, { id: 1n, name: "good" });
      const bad = change(1, { id: 2n, name: "bad" });
      await expect(warehouse.worker.merge(warehouse.session, [tableFlush(hard, [good, bad])])).rejects.toMatchObject({
        code: "ROW_REFUSED",
        message: expect.stringMatching(/^target analytics\.orders refuses a row: .*(check|CHECK)/) as string,
      });
      expect(await warehouse.session.refusal(tableFlush(hard, [good]), signal)).toBe(null);
      expect(await warehouse.session.refusal(tableFlush(hard, [bad]), signal)).toMatch(/check/i);
      expect(await rows()).toEqual([]);
      expect((await warehouse.session.acquire("lake")).checkpoints).toEqual([]);
      await warehouse.worker.acquire(warehouse.session);
      await merge(hard, [good]);
      expect(await rows()).toEqual([["1", "good", null]]);
    });

    test("refusal() asks the guard too: a bad row that would be dropped is none", async () => {
      await sql(checked);
      await merge(hard, [change(5, { id: 1n, name: "newer" })]);
      expect(await warehouse.session.refusal(tableFlush(hard, [change(4, { id: 1n, name: "bad" })]), signal)).toBe(null);
      expect(await warehouse.session.refusal(tableFlush(hard, [change(4, { id: 9n, name: "bad" })], at(4)), signal)).toBe(null);
      expect(await rows()).toEqual([["1", "newer", null]]);
    });
  });
}
