import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { toLsn } from "../../../src/core/lsn.ts";
import type { Sequence } from "../../../src/core/sequence.ts";
import { Redelivery } from "../../../src/source/redelivery.ts";

const EPOCH = 3;
const at = (commitLsn: number, ordinal = 0, epoch = EPOCH): Sequence => ({ epoch, commitLsn: toLsn(BigInt(commitLsn)), ordinal });
const lsn = (position: number) => toLsn(BigInt(position));

describe("R-tail", () => {
  test("an event is in the log up to its partition's watermark, and not behind it", () => {
    const redelivery = new Redelivery(EPOCH, at(20, 4), lsn(10));
    redelivery.begin(lsn(20));
    expect([0, 3, 4, 5].map((ordinal) => redelivery.has(at(20, 4), lsn(20), ordinal))).toEqual([true, true, true, false]);
    expect(redelivery.has(at(15, 9), lsn(20), 0)).toBe(false);
    expect(redelivery.has(at(30, 0), lsn(20), 99)).toBe(true);
  });

  test("a partition without events, and one whose events are of another epoch, have nothing of this one", () => {
    const redelivery = new Redelivery(EPOCH, at(20), lsn(10));
    expect(redelivery.has(null, lsn(10), 0)).toBe(false);
    expect(redelivery.has(undefined, lsn(10), 0)).toBe(false);
    expect(redelivery.has(at(20, 0, EPOCH - 1), lsn(10), 0)).toBe(false);
  });

  test("it goes on until the transaction of the highest tail is complete, or a later one begins", () => {
    const steps = (redelivery: Redelivery) => [
      redelivery.goesOn,
      (redelivery.begin(lsn(20)), redelivery.goesOn),
      (redelivery.commit(lsn(20)), redelivery.goesOn),
    ];
    expect(steps(new Redelivery(EPOCH, at(20), lsn(10)))).toEqual([true, true, false]);
    expect(steps(new Redelivery(EPOCH, at(19), lsn(10)))).toEqual([true, false, false]);
    expect(steps(new Redelivery(EPOCH, at(9), lsn(10)))).toEqual([false, false, false]);
    expect(steps(new Redelivery(EPOCH, null, lsn(10)))).toEqual([false, false, false]);
  });

  test("once it is over it stays over, whatever comes", () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 40 })), (commits) => {
        const redelivery = new Redelivery(EPOCH, at(20), lsn(1));
        let over = false;
        for (const commit of commits) {
          redelivery.begin(lsn(commit));
          if (over) expect(redelivery.goesOn).toBe(false);
          redelivery.commit(lsn(commit));
          over ||= !redelivery.goesOn;
        }
        expect(over).toBe(commits.some((commit) => commit >= 20));
      }),
    );
  });
});
