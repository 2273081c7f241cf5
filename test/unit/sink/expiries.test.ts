// R-tombstone: what is concluded from the beginnings of the log. Too high a sequence would bring deleted rows back.
import { setImmediate as turn } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import type { EventLog } from "../../../src/core/event-log.ts";
import { formatSequence, SEQUENCE_HEADER } from "../../../src/core/sequence.ts";
import { toLsn } from "../../../src/core/lsn.ts";
import { EXPIRED_ROWS } from "../../../src/core/warehouse.ts";
import { Decoders } from "../../../src/sink/decoders.ts";
import { Expiries, expiriesOf, type First } from "../../../src/sink/expiries.ts";
import type { Route } from "../../../src/sink/routes.ts";

const at = (commit: number): string => formatSequence({ epoch: 1, commitLsn: toLsn(BigInt(commit)), ordinal: 0 });

function route(name: string, into = name, deletes: "hard" | "soft" = "hard"): Route {
  const table = { schema: "public", name };
  return { topic: { name, id: name, partitions: 2, table }, target: { schema: "raw", name: into }, deletes, first: null };
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

const expiring = (sequence: string, name = "a") => ({ target: { schema: "raw", name }, sequence });
const cut = (topic: string, start: number) =>
  [0, 1].map((partition) => ({ topic, partition, start: start * (1 - partition), end: 9 * (1 - partition) }));
const recordAt = (offset: number) => ({
  records: [{ offset, timestamp: 0, key: null, value: null, headers: [[SEQUENCE_HEADER, Buffer.from(at(offset))]] }],
});

test("the log is asked now and then, read only where something was cut, and believed only where something was", async () => {
  let start = 0;
  let reads = 0;
  const log = {
    offsets: (topic: string) => Promise.resolve(cut(topic, start)),
    read: ({ offset }: { readonly offset: number }) => {
      reads += 1;
      return offset === 4 ? Promise.reject(new Error("it is gone by now")) : Promise.resolve(recordAt(offset));
    },
  } as unknown as EventLog;
  await using expiries = new Expiries(log, new Decoders({} as never), 100);
  /** What is due when a look that began then, if any, has ended. */
  const look = async (now: number): Promise<readonly string[]> => {
    expiries.due(now);
    await turn();
    return expiries.due(now).map(({ sequence }) => sequence);
  };
  expiries.route([route("a")], 0);
  expect([await look(0), reads]).toEqual([[], 0]);
  start = 3;
  expect([await look(99), reads]).toEqual([[], 0]);
  expect([await look(100), reads]).toEqual([[at(3)], 1]);
  expect([await look(200), reads]).toEqual([[at(3)], 1]);
  start = 4;
  expect(await look(300)).toEqual([]);
  start = 5;
  expect(await look(400)).toEqual([at(5)]);
  expiries.route([route("b")], 401);
  expect(expiries.due(402)).toEqual([]);
  await turn();
  expect(expiries.due(403)).toEqual([expiring(at(5), "b")]);
});

test("a flush does not wait for the log, and whoever ends the sink ends the look", async () => {
  const log = {
    offsets: (_: string, aborted: AbortSignal) =>
      new Promise((_resolve, reject) => aborted.addEventListener("abort", () => reject(new Error("over")))),
  } as unknown as EventLog;
  const expiries = new Expiries(log, new Decoders({} as never), 100);
  expiries.route([route("a")], 0);
  expect(expiries.due(1)).toEqual([]);
  await expiries[Symbol.asyncDispose]();
  expect(expiries.due(1000)).toEqual([]);
});

test("of many tombstones each flush takes some, as long as there are more: 2,000 deletes a second do not outgrow that", async () => {
  const log = {
    offsets: (topic: string) => Promise.resolve(cut(topic, 3)),
    read: () => Promise.resolve(recordAt(3)),
  } as unknown as EventLog;
  await using expiries = new Expiries(log, new Decoders({} as never), 600_000);
  expiries.route([route("a"), route("b")], 0);
  await turn();
  let due = expiries.due(1);
  expect(due).toEqual([expiring(at(3)), expiring(at(3), "b")]);
  expiries.done(due, [EXPIRED_ROWS, 17]);
  due = expiries.due(2);
  expect(due).toEqual([expiring(at(3))]);
  expiries.done(due, [0]);
  expect(expiries.due(3)).toEqual([]);
});
