import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { parseLsn, toLsn, ZERO_LSN } from "../../../src/core/lsn.ts";
import { ackable, type Outstanding, type Round } from "../../../src/source/acks.ts";

const lsn = parseLsn;
const idle: Outstanding = { rounds: [], open: false, unsent: false, keepalive: ZERO_LSN, acked: ZERO_LSN };

describe("R-ack", () => {
  test("a transaction that is durable early waits for the one before it", () => {
    const rounds: Round[] = [
      { endLsn: lsn("0/10"), durable: false },
      { endLsn: lsn("0/20"), durable: true },
    ];
    expect(ackable({ ...idle, rounds, keepalive: lsn("0/30"), acked: lsn("0/8") })).toBe(lsn("0/8"));
  });

  test("a round that ends inside a transaction acknowledges the transaction before it", () => {
    const rounds: Round[] = [
      { endLsn: lsn("0/10"), durable: true },
      { endLsn: null, durable: true },
    ];
    expect(ackable({ ...idle, rounds, open: true, keepalive: lsn("0/30") })).toBe(lsn("0/10"));
  });

  test("a keepalive is acknowledged with nothing outstanding", () => {
    expect(ackable({ ...idle, keepalive: lsn("0/30"), acked: lsn("0/10") })).toBe(lsn("0/30"));
  });

  test.each<[string, Partial<Outstanding>]>([
    ["inside a transaction", { open: true }],
    ["while events wait to be sent", { unsent: true }],
    ["while a round is in flight", { rounds: [{ endLsn: null, durable: false }] }],
  ])("a keepalive is not acknowledged %s", (_, part) => {
    expect(ackable({ ...idle, keepalive: lsn("0/30"), acked: lsn("0/10"), ...part })).toBe(lsn("0/10"));
  });

  test("an old keepalive does not move the acknowledgement back", () => {
    expect(ackable({ ...idle, keepalive: lsn("0/5"), acked: lsn("0/10") })).toBe(lsn("0/10"));
  });

  test("in whatever order rounds become durable, it never moves back and never passes what is not durable", () => {
    const order = fc.integer({ min: 1, max: 8 }).chain((n) => fc.shuffledSubarray([...Array(n).keys()], { minLength: n, maxLength: n }));
    fc.assert(
      fc.property(order, fc.array(fc.boolean(), { minLength: 8, maxLength: 8 }), (durableOrder, completes) => {
        const rounds = durableOrder.map((_, i) => ({ endLsn: completes[i] === true ? toLsn(BigInt(i + 1)) : null, durable: false }));
        let acked = ZERO_LSN;
        for (const index of durableOrder) {
          const round = rounds[index];
          if (round !== undefined) round.durable = true;
          const next = ackable({ ...idle, rounds, acked, keepalive: toLsn(100n) });
          expect(next).toBeGreaterThanOrEqual(acked);
          const firstOpen = rounds.findIndex((r) => !r.durable);
          if (firstOpen !== -1) expect(next).toBeLessThanOrEqual(BigInt(firstOpen));
          acked = next;
        }
        expect(acked).toBe(100n);
      }),
    );
  });
});
