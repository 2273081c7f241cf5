// Which rows may be of a former shape of a composite, told by two looks at its attributes.
import fc from "fast-check";
import { expect, test } from "vitest";
import { toLsn } from "../../../src/core/lsn.ts";
import type { CompositeShape } from "../../../src/core/table-layout.ts";
import { alteredComposite, composites, untoldUpTo } from "../../../src/postgres/composites.ts";

const INT4 = 23;
const shape = (given: number, ...numbers: readonly number[]): CompositeShape => [
  16_500,
  "public.pair",
  given,
  numbers.map((number) => [number, `a${number}`, INT4, -1]),
];
const known = (of: CompositeShape) => composites(undefined, [of], "0/10", toLsn(0n));

test.each<[string, CompositeShape, CompositeShape, boolean]>([
  ["the same", shape(2, 1, 2), shape(2, 1, 2), false],
  ["one added", shape(2, 1, 2), shape(3, 1, 2, 3), false],
  ["one dropped", shape(2, 1, 2), shape(2, 2), false],
  ["one added and one dropped", shape(2, 1, 2), shape(3, 2, 3), true],
  ["one added, dropped again, and another added", shape(2, 1, 2), shape(4, 1, 2, 4), true],
  ["one added and dropped again", shape(2, 1, 2), shape(3, 1, 2), true],
  [
    "one of another type",
    shape(2, 1, 2),
    [
      16_500,
      "public.pair",
      2,
      [
        [1, "a1", 20, -1],
        [2, "a2", INT4, -1],
      ],
    ],
    true,
  ],
  [
    "one renamed",
    shape(2, 1, 2),
    [
      16_500,
      "public.pair",
      2,
      [
        [1, "b", INT4, -1],
        [2, "a2", INT4, -1],
      ],
    ],
    false,
  ],
])("rows are told by their number of attributes, unless some were added and others dropped: %s", (_, before, now, isUntold) => {
  const after = composites(known(before), [now], "0/20", toLsn(0n));
  expect(untoldUpTo(after)).toBe(isUntold ? 0x20n : 0n);
  expect(alteredComposite([before], [now]) === null).toBe(JSON.stringify(before) === JSON.stringify(now));
});

test("what was added counts with what is dropped later, until all of before is acknowledged", () => {
  const added = composites(known(shape(2, 1, 2)), [shape(3, 1, 2, 3)], "0/20", toLsn(0n));
  expect(untoldUpTo(added)).toBe(0n);
  expect(untoldUpTo(composites(added, [shape(3, 2, 3)], "0/30", toLsn(0x1fn)))).toBe(0x30n);
  expect(untoldUpTo(composites(added, [shape(3, 2, 3)], "0/30", toLsn(0x20n)))).toBe(0n);
});

test("a look that finds no change keeps what is known, and tables without composites keep nothing", () => {
  const altered = composites(known(shape(2, 1, 2)), [shape(3, 2, 3)], "0/20", toLsn(0n));
  expect(composites(altered, [shape(3, 2, 3)], "0/30", toLsn(0n))).toEqual(altered);
  expect(composites(altered, [], "0/30", toLsn(0n))).toBeUndefined();
  expect(composites(undefined, [shape(9, 8, 9)], "0/30", toLsn(0n))).toMatchObject({ since: "0/0", added: false, dropped: false });
});

test("whatever ALTER TYPE did between two looks, a row of a shape in between that could be taken for the last one is not told", () => {
  // Each step adds an attribute (true) or drops one of those that are there.
  const steps = fc.array(fc.oneof(fc.constant(true as const), fc.nat(5)), { maxLength: 6 });
  fc.assert(
    fc.property(steps, (alters) => {
      const shapes: CompositeShape[] = [shape(2, 1, 2)];
      for (const step of alters) {
        const [, , given, attributes] = shapes.at(-1)!;
        const numbers = attributes.map(([number]) => number);
        if (step === true) shapes.push(shape(given + 1, ...numbers, given + 1));
        else if (numbers.length > 1) shapes.push(shape(given, ...numbers.filter((_, at) => at !== step % numbers.length)));
      }
      const last = shapes.at(-1)!;
      const after = composites(known(shapes[0]!), [last], "0/20", toLsn(0n));
      const isMistaken = shapes.some((each) => each[3].length === last[3].length && JSON.stringify(each[3]) !== JSON.stringify(last[3]));
      if (isMistaken) expect(untoldUpTo(after)).toBe(0x20n);
    }),
  );
});
