// R-dead: one bad row costs that row, however many there are; a target that takes none is not asked about each.
import { describe, expect, test } from "vitest";
import type { StagedRows, TableFlush, WarehouseSession } from "../../../src/core/warehouse.ts";
import { findRefused, pickRows, probes } from "../../../src/sink/refusals.ts";

const { signal } = new AbortController();

/** Rows whose only column is their index. */
function flushOf(rows: number): TableFlush {
  const all = Array.from({ length: rows }, (_, row) => row);
  const staged: StagedRows = {
    rows,
    values: [all],
    unchanged: [null],
    sequence: all.map(String),
    commitMicros: all.map(BigInt),
    deleted: new Uint8Array(rows),
    keyBytes: all.map((row) => Buffer.from(String(row))),
  };
  const target = { schema: "analytics", name: "orders" };
  const columns = [{ name: "id", type: { kind: "int4" }, unchanged: "impossible" }] as const;
  return { plan: { target, key: ["id"], columns, deletes: "hard" }, truncate: null, staged };
}

/** What is found of a target that refuses the rows that `isBad` says, and how often it was asked. */
async function find(rows: number, isBad: (row: number) => boolean): Promise<{ found: Promise<readonly number[]>; asked: () => number }> {
  let asked = 0;
  const session = {
    refusal: ({ staged }: TableFlush) => {
      asked += 1;
      const bad = (staged.values[0] as readonly number[]).find(isBad);
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
  const { staged } = flushOf(5);
  expect(pickRows(staged, [3, 1])).toMatchObject({ rows: 2, values: [[3, 1]], sequence: ["3", "1"], commitMicros: [3n, 1n] });
});
