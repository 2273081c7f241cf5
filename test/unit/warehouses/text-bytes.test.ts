import fc from "fast-check";
import { expect, test } from "vitest";
import { decimalText, unscaledOf } from "../../../src/core/decimal.ts";
import { mendedUtf8 } from "../../../src/warehouses/utf8.ts";
import { UUID_BYTES, writeUuid } from "../../../src/warehouses/uuid.ts";

test("text that is UTF-8 is left alone, any other is mended as TextDecoder does it, wherever it stands", () => {
  fc.assert(
    fc.property(fc.string({ unit: "grapheme", maxLength: 100 }), fc.uint8Array({ maxLength: 100 }), fc.nat(9), (good, any, start) => {
      for (const part of [Buffer.from(good), Buffer.from(any)]) {
        const bytes = Buffer.concat([Buffer.alloc(start, 0xff), part, Buffer.of(0xff)]);
        const mended = mendedUtf8(bytes, start, start + part.length);
        expect((mended ?? part).toString("latin1")).toBe(Buffer.from(part.toString("utf8")).toString("latin1"));
        if (Buffer.from(part.toString("utf8")).equals(part)) expect(mended).toBeNull();
      }
    }),
  );
});

test("a uuid's text gives its bytes, and no other text passes for one", () => {
  fc.assert(
    fc.property(fc.uuid(), fc.nat(35), fc.string({ minLength: 1, maxLength: 1 }), (uuid, at, other) => {
      const into = Buffer.alloc(20);
      const text = Buffer.from(`xx${uuid}yy`);
      expect(writeUuid(text, 2, 38, into, 3)).toBe(true);
      expect(into.subarray(3, 3 + UUID_BYTES).toString("hex")).toBe(uuid.replaceAll("-", ""));
      const changed = uuid.slice(0, at) + other + uuid.slice(at + 1);
      const isOne = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(changed);
      expect(writeUuid(Buffer.from(changed), 0, Buffer.byteLength(changed), into, 0)).toBe(isOne);
      expect(writeUuid(text, 2, 37, into, 0)).toBe(false);
    }),
  );
});

test("a decimal's bytes are its unscaled value, of whatever size", () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 1, maxLength: 40 }), (bytes) => {
      let value = bytes[0]! > 0x7f ? -1n : 0n;
      for (const byte of bytes) value = value * 256n + BigInt(byte);
      expect(unscaledOf(Buffer.from([9, ...bytes, 9]), 1, 1 + bytes.length)).toBe(value);
      expect(decimalText(value, 0)).toBe(value.toString());
    }),
  );
});
