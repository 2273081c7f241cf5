import fc from "fast-check";
import { expect, test } from "vitest";
import type { FoldedRow } from "../../../src/sink/fold.ts";
import { KeyedRows } from "../../../src/sink/keyed-rows.ts";

const row = (key: Buffer): FoldedRow => ({ keyBytes: key }) as FoldedRow;

test("whatever keys come in whatever order, each has one row, found by its bytes alone, and others have none", () => {
  const keys = fc.array(fc.uint8Array({ maxLength: 3, max: 3 }), { maxLength: 300 });
  fc.assert(
    fc.property(keys, keys, fc.nat(4), (there, asked, start) => {
      const rows = new KeyedRows();
      const expected = new Map<string, FoldedRow>();
      const framed = (key: Uint8Array): Buffer => Buffer.concat([Buffer.alloc(start), key]);
      const find = (key: Uint8Array): FoldedRow | undefined => rows.get(framed(key), start);
      for (const key of there) {
        const name = Buffer.from(key).toString("hex");
        expect(find(key)).toBe(expected.get(name));
        if (expected.has(name)) continue;
        const made = row(Buffer.from(key));
        rows.add(made);
        expected.set(name, made);
      }
      expect([...rows]).toEqual([...expected.values()]);
      for (const key of asked) expect(find(key)).toBe(expected.get(Buffer.from(key).toString("hex")));

      const isKept = ({ keyBytes }: FoldedRow): boolean => keyBytes.length !== 1;
      rows.retain(isKept);
      expect(rows.rows).toEqual([...expected.values()].filter(isKept));
      for (const [name, one] of expected) expect(find(Buffer.from(name, "hex"))).toBe(isKept(one) ? one : undefined);
    }),
  );
});

test("a hundred thousand keys that differ in their last bytes are no slower than a few: none is looked for in many places", () => {
  const rows = new KeyedRows();
  const key = (id: number): Buffer => {
    const bytes = Buffer.alloc(40, 7);
    bytes.writeInt32BE(id, 36);
    return bytes;
  };
  for (let id = 0; id < 100_000; id++) rows.add(row(key(id)));
  expect(rows.size).toBe(100_000);
  for (let id = 0; id < 100_000; id++) if (rows.get(key(id), 0) !== rows.rows[id]) throw new Error(`row ${id} is another`);
  expect(rows.get(key(100_000), 0)).toBeUndefined();
});
