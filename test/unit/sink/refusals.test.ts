// R-dead: one bad row costs that row, however many there are; a target that takes none is not asked about each.
import { describe, expect, test } from "vitest";
import type { StagedRows } from "../../../src/core/staged-rows.ts";
import type { TableFlush, WarehouseSession } from "../../../src/core/warehouse.ts";
import { findRefused, pickRows, probes } from "../../../src/sink/refusals.ts";
import { ValueList } from "../../support/row-values.ts";

const { signal } = new AbortController();

/** Rows whose only column is their index; they are deletes of odd ones. */
function flushOf(rows: number): TableFlush {
  const staged: StagedRows = {
    rows,
    unchanged: [null],
    deleted: Uint8Array.from({ length: rows }, (_, row) => row % 2),
    writeValues: (row, into) => into[0]!.int(row),
    writeSequence: (row, into) => into.text(Buffer.from(String(row)), 0, String(row).length),
    writeCommitTime: (row, into) => into.long(0, row),
    writeKey: (row, into) => into.bytes(Buffer.from(`k${row}`), 0, String(row).length + 1),
  };
  const target = { schema: "analytics", name: "orders" };
  const columns = [{ name: "id", type: { kind: "int4" }, unchanged: "impossible" }] as const;
  return { plan: { target, key: ["id"], columns, deletes: "hard" }, truncate: null, staged };
}

function indexesOf(staged: StagedRows): readonly number[] {
  const into = new ValueList();
  for (let row = 0; row < staged.rows; row++) staged.writeValues(row, [into]);
  return into.values as readonly number[];
}

/** What is found of a target that refuses the rows that `isBad` says, and how often it was asked. */
async function find(rows: number, isBad: (row: number) => boolean): Promise<{ found: Promise<readonly number[]>; asked: () => number }> {
  let asked = 0;
  const session = {
    refusal: ({ staged }: TableFlush) => {
      asked += 1;
      const bad = indexesOf(staged).find(isBad);
      return Promise.resolve(bad === undefined ? null : `row ${bad} is bad`);
    },
  } as unknown as WarehouseSession;
  const found = findRefused(session, flushOf(rows), signal).then((refusals) => refusals.map(({ row }) => row));
  found.catch(() => undefined);
  await found.catch(() => undefined);
  return { found, asked: () => asked };
}

describe("refused rows (R-dead)", () => {
  test("are found alone, in few attempts where they are few", async () => {
    const { found, asked } = await find(100_000, (row) => row === 0 || row === 77_777);
    expect(await found).toEqual([0, 77_777]);
    expect(asked()).toBeLessThan(80);
  });

  test("are all found where half of a table is good, wherever that half stands", async () => {
    const halves = [
      (row: number) => row < 500,
      (row: number) => row >= 500,
      ...[2, 4, 10, 20].map((beat) => (row: number) => row % beat < beat / 2),
    ];
    for (const isBad of halves) {
      const { found } = await find(1_000, isBad);
      expect(await found).toEqual(Array.from({ length: 1_000 }, (_, row) => row).filter(isBad));
    }
  });

  test("are all found in a small flush, be none of it good", async () => {
    const { found } = await find(100, () => true);
    expect((await found).length).toBe(100);
  });

  test("are not looked for where not one of a hundred, spread over a large flush, is taken: the target is at fault", async () => {
    const { found, asked } = await find(100_000, () => true);
    await expect(found).rejects.toMatchObject({
      code: "TARGET_REFUSES",
      retry: "operator",
      message: expect.stringMatching(/^target analytics\.orders takes none of the 100000 rows .* row 0 is bad$/) as string,
    });
    expect(asked()).toBeLessThan(110);
  });

  test("of rows that are only refused together none is to blame", async () => {
    const session = {
      refusal: ({ staged }: TableFlush) => Promise.resolve(staged.rows > 1 ? "both" : null),
    } as unknown as WarehouseSession;
    await expect(findRefused(session, flushOf(2), signal)).rejects.toMatchObject({ code: "WAREHOUSE_REFUSED" });
    expect(await findRefused(session, flushOf(0), signal)).toEqual([]);
  });
});

test("the rows that are asked first are spread over the flush, each once", () => {
  expect(probes(100)).toEqual([]);
  for (const rows of [101, 150, 100_000]) {
    const spread = probes(rows);
    expect([new Set(spread).size, spread[0]]).toEqual([spread.length, 0]);
    expect(spread.length).toBeGreaterThan(60);
    expect(spread.at(-1)).toBeGreaterThanOrEqual(Math.floor(rows * 0.98));
    expect(spread.at(-1)).toBeLessThan(rows);
  }
});

test("picked rows keep every column's place", () => {
  const picked = pickRows(flushOf(5).staged, [3, 2]);
  const beside = new ValueList();
  for (const row of [0, 1]) {
    picked.writeSequence(row, beside);
    picked.writeCommitTime(row, beside);
    picked.writeKey(row, beside);
  }
  expect([picked.rows, indexesOf(picked), [...picked.deleted]]).toEqual([2, [3, 2], [1, 0]]);
  expect(beside.values).toEqual(["3", 3n, Buffer.from("k3"), "2", 2n, Buffer.from("k2")]);
});
