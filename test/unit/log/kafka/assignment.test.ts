import fc from "fast-check";
import { expect, test } from "vitest";
import { choose } from "../../../../src/log/kafka/assignment.ts";
import type { Claim } from "../../../../src/log/kafka/assignment.ts";

const claim = (holdsSince: number | null): Claim => ({ holdsSince, partitions: { t: [0] } });

test("a worker that has the partitions keeps them, whoever comes", () => {
  const members = [
    { memberId: "a-new", claim: claim(null) },
    { memberId: "z-old", claim: claim(5) },
  ];
  expect(choose(members)).toBe("z-old");
});

test("of two that say they have them, the one that has had them longer", () => {
  expect(
    choose([
      { memberId: "a", claim: claim(6) },
      { memberId: "b", claim: claim(5) },
    ]),
  ).toBe("b");
});

test("a member whose words can't be read gets nothing", () => {
  expect(choose([{ memberId: "a", claim: null }])).toBeNull();
  expect(choose([])).toBeNull();
});

test("in whatever order members are listed, the same one is chosen", () => {
  const members = fc.uniqueArray(fc.record({ memberId: fc.string(), claim: fc.option(fc.option(fc.nat(3)).map(claim)) }), {
    selector: ({ memberId }) => memberId,
  });
  fc.assert(fc.property(members, (list) => choose(list) === choose(list.toReversed())));
});
