import fc from "fast-check";
import { expect, test } from "vitest";
import { Cursor } from "../../../src/avro/cursor.ts";
import { ByteWriter } from "../../../src/core/byte-writer.ts";

function reading(bytes: Buffer): Cursor {
  const cursor = new Cursor();
  cursor.begin(bytes, 0);
  return cursor;
}

test("every long and int that ByteWriter writes is read back", () => {
  fc.assert(
    fc.property(fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }), fc.integer(), (long, int) => {
      const out = new ByteWriter(1);
      out.varlong(Number(long >> 32n), Number(long & 0xffff_ffffn));
      out.varint(int);
      const cursor = reading(out.bytes.subarray(0, out.position));
      cursor.skipLong();
      const behind = cursor.position;
      cursor.begin(out.bytes, 0);
      cursor.long();
      expect((BigInt(cursor.high) << 32n) | BigInt(cursor.low)).toBe(long);
      expect(cursor.position).toBe(behind);
      expect(cursor.int()).toBe(int);
    }),
  );
});

test("a varint with more bits than its type, or without an end, is refused", () => {
  expect(() => reading(Buffer.alloc(20, 0xff)).int()).toThrow(/32 bits/);
  expect(() => reading(Buffer.alloc(20, 0xff)).long()).toThrow(/64 bits/);
  expect(() => reading(Buffer.alloc(4, 0xff)).int()).toThrow(/too early/);
  expect(() => reading(Buffer.alloc(9, 0xff)).long()).toThrow(/too early/);
  for (const [last, length] of [
    [0x01, 10],
    [0x02, 10],
    [0x00, 11],
  ] as const) {
    const bytes = Buffer.concat([Buffer.alloc(length - 1, 0xff), Buffer.of(last)]);
    if (last === 0x01) reading(bytes).skipLong();
    else for (const pass of ["long", "skipLong"] as const) expect(() => reading(bytes)[pass](), pass).toThrow(/64 bits/);
  }
  expect(() => reading(Buffer.alloc(9, 0xff)).skipLong()).toThrow(/too early/);
});

test("a size beyond the end, or below 0, is refused before anything is made of it", () => {
  expect(() => reading(Buffer.of(0x04, 0x61)).string()).toThrow(/too early/);
  expect(() => reading(Buffer.of(0x01)).sized()).toThrow(/out of its range/);
  expect(() => reading(Buffer.of(0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f)).string()).toThrow(/out of its range/);
});

test("fixed values must be there whole, booleans 0 or 1, branches null or the other", () => {
  expect(() => reading(Buffer.alloc(3)).skip(4)).toThrow(/too early/);
  expect(() => reading(Buffer.of(2)).boolean()).toThrow(/boolean/);
  expect(() => reading(Buffer.of(4)).present()).toThrow(/branch/);
  expect(() => reading(Buffer.of(0)).unscaled()).toThrow(/decimal/);
});
