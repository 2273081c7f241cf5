// R-version: which rows are of before a version, by their sequences, and in which order its beginning becomes durable.
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { toLsn } from "../../../src/core/lsn.ts";
import { compareSequence, formatSequence, LAST_ORDINAL, parseSequence, type Sequence } from "../../../src/core/sequence.ts";
import type { VersionedTable } from "../../../src/core/source-state.ts";
import type { Table } from "../../../src/core/table.ts";
import { SchemasRefused } from "../../../src/source/table-schemas.ts";
import { Versioning } from "../../../src/source/versioning.ts";

const orders: Table = { oid: 1, schema: "public", name: "orders", columns: [] } as unknown as Table;
const at = (commit: number, ordinal = 0, epoch = 1): Sequence => ({ epoch, commitLsn: toLsn(BigInt(commit)), ordinal });
const refusal = { difference: "n: int4 → text", words: "no" };

type Scene = { readonly versioning: Versioning; readonly done: string[]; saved: readonly VersionedTable[] };

type Parts = {
  versions?: readonly VersionedTable[];
  topics?: readonly string[];
  tables?: readonly string[];
  mode?: "initial" | "no_data";
};

function scene(parts: Parts = {}): Scene {
  const { versions = [], topics = [], tables = ["orders"], mode = "initial" } = parts;
  const done: string[] = [];
  const made: Scene = {
    done,
    saved: [],
    versioning: new Versioning({
      options: {
        name: "shop",
        topics: { prefix: "shop", partitions: 1, replication: 1, create: true, tombstones: true },
        snapshot: { mode },
        incompatible: ({ name }) => (name === "orders" ? "version" : "park"),
      },
      parts: {
        log: {
          topics: async (names: readonly string[]) => topics.filter((name) => names.includes(name)).map((name) => ({ name })),
          offsets: async (name: string) => [{ end: 0 }, { end: name.endsWith("_v4") ? 0 : 7 }],
        } as never,
        logger: { warn: () => done.push("said") } as never,
      },
      versions,
      tables: tables.map((name) => ({ schema: "public", name })),
      publisher: { flushed: async () => void done.push("flushed") },
      save: async (change) => {
        done.push("saved");
        made.saved = change.versions;
      },
      signal: new AbortController().signal,
    }),
  };
  return made;
}

const second = (after: Sequence): VersionedTable => ({ table: orders, version: 2, after: formatSequence(after), ...refusal });

async function begun(one: Scene, place: Sequence, watermarks: readonly (Sequence | null)[] = []): Promise<VersionedTable> {
  await expect(one.versioning.begin({ table: orders, watermarks }, refusal, place)).rejects.toMatchObject({ code: "TABLE_VERSIONED" });
  return one.saved.at(-1)!;
}

describe("R-version: a version begins", () => {
  test("once everything of before is durable, and is said when its record is", async () => {
    const one = scene();
    expect(await begun(one, at(9, 4))).toMatchObject({ table: { schema: "public", name: "orders" }, version: 2, ...refusal });
    expect(one.done).toEqual(["flushed", "saved", "said"]);
  });

  test("behind the last sequence before its first event's, or what its topics are known to hold", async () => {
    expect((await begun(scene(), at(9, 4))).after).toBe(formatSequence(at(9, 3)));
    expect((await begun(scene(), at(9, 0))).after).toBe(formatSequence(at(8, LAST_ORDINAL)));
    expect((await begun(scene(), at(9, 4), [null, at(12, 6), at(3)])).after).toBe(formatSequence(at(12, 6)));
  });

  test("not without a reading of the table, where one partition is known to be further than the event, and another may not be: the source stops", async () => {
    const one = scene({ mode: "no_data" });
    const begin = (watermarks: readonly (Sequence | null)[]): Promise<never> =>
      one.versioning.begin({ table: orders, watermarks }, refusal, at(9, 4));
    await expect(begin([at(12, 6), at(3)])).rejects.toMatchObject({ code: "SCHEMA_CHANGED" });
    expect(one.done).toEqual([]);
    await expect(begin([at(9, 3), at(3)])).rejects.toMatchObject({ code: "TABLE_VERSIONED" });
    await expect(begin([at(12, 6)])).rejects.toMatchObject({ code: "TABLE_VERSIONED" });
  });

  test("under the next number whose topic is free: what stands in one is another's", async () => {
    expect(await begun(scene({ versions: [second(at(1))] }), at(9))).toMatchObject({ version: 3 });
    const there = ["2", "3", "4"].map((version) => `shop.public.orders_v${version}`);
    expect(await begun(scene({ topics: there.slice(0, 2) }), at(9))).toMatchObject({ version: 4 });
    expect(await begun(scene({ topics: there }), at(9))).toMatchObject({ version: 4 }); // it is empty
  });

  test("not where another captured table has that name: it is refused by name, and nothing is written", async () => {
    const one = scene({ tables: ["orders", "orders_v2"] });
    await expect(one.versioning.begin({ table: orders, watermarks: [] }, refusal, at(9))).rejects.toMatchObject({ code: "NAME_COLLISION" });
    expect(one.done).toEqual(["flushed"]);
  });

  test("not where a subject without any schema refuses too: no version would be taken, and the source stops", async () => {
    const one = scene();
    const all = new SchemasRefused("nothing to compare with", "no", "curl", true);
    await expect(one.versioning.begin({ table: orders, watermarks: [] }, all, at(9))).rejects.toMatchObject({ code: "SCHEMA_REFUSED" });
    expect(one.done).toEqual([]);
  });
});

describe("R-version: rows that come again", () => {
  test("are of before the version up to its beginning, and of no other epoch's", () => {
    const { versioning } = scene({ versions: [second(at(9, 3))] });
    const places = [at(9, 3), at(9, 4), at(8, 9), at(8, 9, 2)];
    expect(places.map((place) => versioning.before(orders, place))).toEqual([at(9, 3), null, at(9, 3), null]);
    expect(scene().versioning.before(orders, at(1))).toBe(null);
  });

  test("that can't be written are of before it until rows have come that it takes", () => {
    const { versioning } = scene({ versions: [second(at(9, 3))] });
    expect(versioning.isOfBefore(orders)).toBe(true);
    versioning.reached(orders);
    expect(versioning.isOfBefore(orders)).toBe(false);
    expect(scene().versioning.isOfBefore(orders)).toBe(false);
  });

  test("wherever a version begins, what came before it is before it, and its first event is not", async () => {
    const place = fc.record({ commit: fc.integer({ min: 1, max: 1_000 }), ordinal: fc.integer({ min: 0, max: 50 }) });
    await fc.assert(
      fc.asyncProperty(place, place, async (first, other) => {
        const one = scene();
        const begins = at(first.commit, first.ordinal);
        const { after } = await begun(one, begins);
        const seen = at(other.commit, other.ordinal);
        expect(compareSequence(seen, parseSequence(after)) <= 0).toBe(compareSequence(seen, begins) < 0);
      }),
    );
  });
});
