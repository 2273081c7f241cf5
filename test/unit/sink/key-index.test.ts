import fc from "fast-check";
import { expect, test } from "vitest";
import { KeyIndex, type IsKey } from "../../../src/sink/key-index.ts";

/** An index over keys that are kept here. */
function indexOf(): { readonly index: KeyIndex; keys: Buffer[] } {
  const isKey: IsKey = (number, bytes, start) => made.keys[number]!.equals(bytes.subarray(start));
  const made: { readonly index: KeyIndex; keys: Buffer[] } = { index: new KeyIndex(isKey), keys: [] };
  return made;
}

test("whatever keys come in whatever order, each has one number, found by its bytes alone, and others have none", () => {
  const keys = fc.array(fc.uint8Array({ maxLength: 3, max: 3 }), { maxLength: 300 });
  fc.assert(
    fc.property(keys, keys, fc.nat(4), (there, asked, start) => {
      const made = indexOf();
      const { index } = made;
      const expected = new Map<string, number>();
      const find = (key: Uint8Array): number => index.find(Buffer.concat([Buffer.alloc(start), key]), start);
      for (const key of there) {
        const name = Buffer.from(key).toString("hex");
        expect(find(key)).toBe(expected.get(name) ?? -1);
        if (expected.has(name)) continue;
        made.keys.push(Buffer.from(key));
        expected.set(name, index.add());
      }
      expect([index.size, [...expected.values()]]).toEqual([made.keys.length, made.keys.map((_, number) => number)]);
      for (const key of asked) expect(find(key)).toBe(expected.get(Buffer.from(key).toString("hex")) ?? -1);

      const before = made.keys;
      made.keys = before.filter((key) => key.length !== 1);
      index.retain((number) => before[number]!.length !== 1);
      expect(index.size).toBe(made.keys.length);
      for (const key of before) expect(find(key)).toBe(made.keys.indexOf(key));
    }),
  );
});

test("a hundred thousand keys that differ in their last bytes are no slower than a few: none is looked for in many places", () => {
  const made = indexOf();
  const key = (id: number): Buffer => {
    const bytes = Buffer.alloc(40, 7);
    bytes.writeInt32BE(id, 36);
    return bytes;
  };
  for (let id = 0; id < 100_000; id++) {
    expect(made.index.find(key(id), 0)).toBe(-1);
    made.keys.push(key(id));
    made.index.add();
  }
  for (let id = 0; id < 100_000; id++) if (made.index.find(key(id), 0) !== id) throw new Error(`key ${id} has another number`);
  expect(made.index.find(key(100_000), 0)).toBe(-1);
});
