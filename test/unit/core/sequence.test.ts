import fc from "fast-check";
import { expect, test } from "vitest";
import { toLsn } from "../../../src/core/lsn.ts";
import {
  compareSequence,
  formatSequence,
  parseSequence,
  SEQUENCE_TEXT_BYTES,
  isBelow,
  partsOf,
  partsText,
  type Sequence,
} from "../../../src/core/sequence.ts";

const sequences: fc.Arbitrary<Sequence> = fc.record({
  epoch: fc.oneof(fc.integer({ min: 1, max: 3 }), fc.integer({ min: 1, max: 0xffff })),
  commitLsn: fc.oneof(fc.bigInt({ min: 0n, max: 3n }), fc.bigInt({ min: 0n, max: 2n ** 64n - 1n })).map(toLsn),
  ordinal: fc.oneof(fc.nat(3), fc.nat(2 ** 48 - 1)),
});

test("R-sequence: string order of the text form is the order of sequences", () => {
  fc.assert(
    fc.property(sequences, sequences, (a, b) => {
      const [first, second] = [formatSequence(a), formatSequence(b)];
      expect(Math.sign(compareSequence(a, b))).toBe(first < second ? -1 : first > second ? 1 : 0);
    }),
  );
});

test("R-sequence: the text form has a fixed width and reads back", () => {
  fc.assert(
    fc.property(sequences, (sequence) => {
      const text = formatSequence(sequence);
      expect(text).toMatch(/^[0-9a-f]{4}-[0-9a-f]{16}-[0-9a-f]{12}$/);
      expect(text).toHaveLength(SEQUENCE_TEXT_BYTES);
      expect(parseSequence(text)).toEqual(sequence);
    }),
  );
});

test("R-sequence: in plain numbers a sequence has the same order and the same text", () => {
  fc.assert(
    fc.property(sequences, sequences, (a, b) => {
      const [first, second] = [partsOf(formatSequence(a)), partsOf(formatSequence(b))];
      expect([partsText(first), isBelow(first, second)]).toEqual([formatSequence(a), compareSequence(a, b) < 0]);
      expect(isBelow(partsOf(""), first)).toBe(true);
    }),
  );
  expect(partsText(partsOf(""))).toBe("");
});

test("what is no sequence is refused", () => {
  for (const text of [
    "",
    "0001-0000000000000000-00000000000",
    "0001-0000000000000000-00000000000G",
    "0001-0000000000000000-0000000000000",
  ]) {
    expect(() => parseSequence(text)).toThrow(RangeError);
  }
  const commitLsn = toLsn(1n);
  expect(() => formatSequence({ epoch: 0x1_0000, commitLsn, ordinal: 0 })).toThrow(RangeError);
  expect(() => formatSequence({ epoch: 1, commitLsn, ordinal: 2 ** 48 })).toThrow(RangeError);
  expect(() => formatSequence({ epoch: 1, commitLsn, ordinal: -1 })).toThrow(RangeError);
});
