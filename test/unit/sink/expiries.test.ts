// R-tombstone: what is concluded from the beginnings of the log. Too high a sequence would bring deleted rows back.
import { describe, expect, test } from "vitest";
import type { EventLog } from "../../../src/core/event-log.ts";
import { formatSequence, SEQUENCE_HEADER } from "../../../src/core/sequence.ts";
import { toLsn } from "../../../src/core/lsn.ts";
import { Decoders } from "../../../src/sink/decoders.ts";
import { Expiries, expiriesOf, type First } from "../../../src/sink/expiries.ts";
import type { Route } from "../../../src/sink/routes.ts";

const { signal } = new AbortController();
const at = (commit: number): string => formatSequence({ epoch: 1, commitLsn: toLsn(BigInt(commit)), ordinal: 0 });

function route(name: string, into = name, deletes: "hard" | "soft" = "hard"): Route {
  const table = { schema: "public", name };
  return { topic: { name, id: name, partitions: 2, table }, target: { schema: "raw", name: into }, deletes };
}

function of(firsts: Readonly<Record<string, readonly First[]>>, ...routes: readonly Route[]): readonly string[] {
  return expiriesOf(routes, (topic) => firsts[topic] ?? ["unknown"]).map(({ target, sequence }) => `${target.name} ${sequence}`);
}

describe("tombstones may go", () => {
  test("below the first sequence of all partitions of a target's topics", () => {
    expect(of({ a: [{ sequence: at(7) }, { sequence: at(5) }] }, route("a"))).toEqual([`a ${at(5)}`]);
    const both = { a: [{ sequence: at(7) }], b: [{ sequence: at(3) }, { sequence: at(9) }] };
    expect(of(both, route("a", "t"), route("b", "t"))).toEqual([`t ${at(3)}`]);
  });

  test("whatever an empty partition held, but not by empty ones alone, which say no sequence", () => {
    expect(of({ a: ["empty", { sequence: at(5) }] }, route("a"))).toEqual([`a ${at(5)}`]);
    expect(of({ a: ["empty", "empty"] }, route("a"))).toEqual([]);
  });

  test("nowhere where one partition of one topic is not known; soft deletes have none", () => {
    expect(of({ a: [{ sequence: at(5) }, "unknown"] }, route("a"))).toEqual([]);
    expect(of({ a: [{ sequence: at(5) }] }, route("a", "t"), route("b", "t"), route("a", "u"))).toEqual([`u ${at(5)}`]);
    expect(of({ a: [{ sequence: at(5) }] }, route("a", "a", "soft"))).toEqual([]);
  });
});

test("the log is asked now and then, read only where something was cut, and believed only where something was", async () => {
  let start = 0;
  let reads = 0;
  const log = {
    offsets: (topic: string) =>
      Promise.resolve([0, 1].map((partition) => ({ topic, partition, start: start * (1 - partition), end: 9 * (1 - partition) }))),
    read: ({ offset }: { readonly offset: number }) => {
      reads += 1;
      if (offset === 4) return Promise.reject(new Error("it is gone by now"));
      const headers = [[SEQUENCE_HEADER, Buffer.from(at(offset))]];
      return Promise.resolve({ records: [{ offset, timestamp: 0, key: null, value: null, headers }] });
    },
  } as unknown as EventLog;
  const expiries = new Expiries(log, new Decoders({} as never), 100);
  const look = async (now: number): Promise<readonly string[]> =>
    (await expiries.look([route("a")], now, signal)).map(({ sequence }) => sequence);
  expect([await look(0), reads]).toEqual([[], 0]);
  start = 3;
  expect([await look(99), reads]).toEqual([[], 0]);
  expect([await look(100), reads]).toEqual([[at(3)], 1]);
  expect([await look(200), reads]).toEqual([[at(3)], 1]); // a flush takes some tombstones only
  start = 4;
  expect(await look(300)).toEqual([]);
  start = 5;
  expect(await look(400)).toEqual([at(5)]);
});
