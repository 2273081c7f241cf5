import { describe, expect, test } from "vitest";
import type { Barrier } from "../../../src/core/barrier.ts";
import { errors, type ErrorCode } from "../../../src/core/error-catalogue.ts";
import { TailraceError } from "../../../src/core/errors.ts";
import { parseLsn, ZERO_LSN } from "../../../src/core/lsn.ts";
import type { SourceState } from "../../../src/core/source-state.ts";
import type { PublicationFingerprint, PublishedTable } from "../../../src/postgres/publication.ts";
import type { Slot } from "../../../src/postgres/slot.ts";
import {
  anotherCluster,
  changesOf,
  isBehind,
  isGap,
  judgeOptions,
  judgePublication,
  judgeStart,
  judgeTopics,
  renewal,
  type SeenTopics,
  type StartFacts,
} from "../../../src/source/start.ts";

const slot: Slot = {
  name: "tailrace_shop",
  type: "logical",
  plugin: "pgoutput",
  database: "shop",
  temporary: false,
  activePid: null,
  application: "",
  restartLsn: parseLsn("0/50"),
  confirmedFlushLsn: parseLsn("0/100"),
  walStatus: "reserved",
  invalidationReason: null,
  safeWalBytes: null,
  twoPhase: false,
  failover: false,
  retainedWalBytes: 0,
};
const state: SourceState = {
  generation: 3,
  number: 9,
  epoch: 1,
  systemId: "7",
  timeline: 1,
  slot: slot.name,
  phase: "streaming",
  options: "o",
  publication: "{}",
  acknowledged: parseLsn("0/100"),
  published: parseLsn("0/90"),
  barriers: "B",
  topics: [{ name: "shop.public.orders", id: "A", partitions: 2, table: { schema: "public", name: "orders" } }],
  snapshots: null,
  layouts: [],
  parked: [],
  versions: [],
  retired: [],
};
const barrier: Barrier = {
  epoch: 1,
  commitLsn: parseLsn("0/90"),
  commitMicros: 0n,
  topics: [{ name: "shop.public.orders", id: "A", next: [5, 6] }],
  parked: [],
  snapshots: [],
};
const facts: StartFacts = {
  prefix: "shop",
  slotName: slot.name,
  create: true,
  database: "shop",
  state,
  slot,
  cluster: { systemIdentifier: "7", timeline: 1, walEnd: parseLsn("0/200"), history: [] },
  systemId: null,
  barrier,
};

const refused = (code: string): unknown => expect.objectContaining({ code });

describe("the start of a source", () => {
  test("goes on where slot, state and log agree", () => {
    expect(judgeStart(facts)).toEqual({ kind: "resume", epoch: 1, from: parseLsn("0/100") });
  });

  test("with nothing anywhere it begins with a new slot", () => {
    expect(judgeStart({ ...facts, state: null, slot: null, barrier: null })).toEqual({ kind: "fresh", epoch: 1 });
  });

  test("with create: false a slot made by hand is taken over, a missing one asked for", () => {
    const empty = { ...facts, create: false, state: null, barrier: null };
    expect(judgeStart(empty)).toMatchObject({ kind: "adopt", from: slot.confirmedFlushLsn });
    expect(() => judgeStart({ ...empty, slot: null })).toThrow(refused("SLOT_NOT_MADE"));
  });

  test("a process that died while it made its slot is followed by one that finds it or makes it", () => {
    const making: StartFacts = {
      ...facts,
      barrier: null,
      state: { ...state, phase: "making", acknowledged: ZERO_LSN, published: ZERO_LSN },
    };
    expect(judgeStart(making)).toMatchObject({ kind: "adopt" });
    expect(judgeStart({ ...making, slot: null })).toMatchObject({ kind: "fresh" });
  });

  test.each<[string, Partial<StartFacts>, string]>([
    ["R-slot: the slot is gone", { slot: null }, "SLOT_MISSING"],
    ["R-slot: somebody moved the slot", { slot: { ...slot, confirmedFlushLsn: parseLsn("0/101") } }, "SLOT_AHEAD"],
    ["R-slot: the slot lost its WAL", { slot: { ...slot, walStatus: "lost" } }, "SLOT_LOST"],
    ["R-slot: another cluster that is meant", { cluster: { ...facts.cluster, systemIdentifier: "8" }, systemId: "8" }, "ANOTHER_HISTORY"],
    ["R-slot: another cluster", { cluster: { ...facts.cluster, systemIdentifier: "8" } }, "ANOTHER_DATABASE"],
    [
      "R-slot: the WAL ends before the last barrier, which the state has not caught up with",
      { barrier: { ...barrier, commitLsn: parseLsn("0/201") } },
      "WAL_REWOUND",
    ],
    [
      "R-slot: the WAL ends where the last published commit begins",
      { cluster: { ...facts.cluster, walEnd: parseLsn("0/90") } },
      "WAL_REWOUND",
    ],
    ["R-slot: the WAL ends before the last published commit", { cluster: { ...facts.cluster, walEnd: parseLsn("0/80") } }, "WAL_REWOUND"],
    ["R-epoch: the state is gone, events are there", { state: null, slot: null }, "STATE_MISSING"],
    ["R-epoch: the state is gone, the slot is there", { state: null, barrier: null }, "STATE_MISSING"],
    ["R-epoch: the log is of a later epoch", { barrier: { ...barrier, epoch: 2 } }, "STATE_BEHIND"],
    [
      "R-epoch: the log has a barrier of the epoch that is being made",
      { state: { ...state, phase: "making", acknowledged: ZERO_LSN, published: ZERO_LSN } },
      "STATE_BEHIND",
    ],
    ["the slot belongs to somebody else", { slot: { ...slot, plugin: "test_decoding" } }, "SLOT_FOREIGN"],
    ["the slot is being read", { slot: { ...slot, activePid: 4711 } }, "SLOT_ACTIVE"],
  ])("is refused by name: %s", (_, part, code) => {
    expect(() => judgeStart({ ...facts, ...part })).toThrow(refused(code));
  });

  test("R-slot: a new timeline that forked after the last published commit is none of a gap", () => {
    const cluster = { ...facts.cluster, timeline: 2, history: [{ timeline: 1, at: parseLsn("0/91") }] };
    expect(judgeStart({ ...facts, cluster })).toMatchObject({ kind: "resume" });
    const there = { ...cluster, history: [{ timeline: 1, at: parseLsn("0/90") }] };
    expect(() => judgeStart({ ...facts, cluster: there })).toThrow(refused("WAL_REWOUND"));
  });
});

test("R-epoch: only a source that goes on may meet records of its own epoch, and none may meet a later one's", () => {
  const behind = (kind: "fresh" | "adopt" | "resume" | "renew", seen: number): boolean => isBehind({ kind, epoch: 2 }, seen);
  expect([1, 2, 3].map((seen) => behind("resume", seen))).toEqual([false, false, true]);
  for (const kind of ["fresh", "adopt", "renew"] as const)
    expect(
      [1, 2, 3].map((seen) => behind(kind, seen)),
      kind,
    ).toEqual([false, true, true]);
});

test("R-slot: a cluster is another one wherever anything may have been published before", () => {
  const seen = { systemIdentifier: "8" };
  expect(anotherCluster(state, seen, null)).toMatchObject({ code: "ANOTHER_DATABASE" });
  expect(anotherCluster({ ...state, phase: "making", epoch: 2 }, seen, null)).toMatchObject({ code: "ANOTHER_DATABASE" });
  expect(anotherCluster({ ...state, phase: "over" }, seen, "8")).toMatchObject({ code: "ANOTHER_HISTORY" });
  for (const none of [null, { ...state, phase: "making", epoch: 1 } as const]) expect(anotherCluster(none, seen, null)).toBeNull();
  expect(anotherCluster(state, { systemIdentifier: "7" }, "8")).toBeNull();
});

describe("behind a gap", () => {
  // In place of errors that have parameters: only the code counts.
  const gap = (code: ErrorCode): TailraceError => new TailraceError(code);
  const anew = ["SLOT_MISSING", "SLOT_LOST", "ANOTHER_HISTORY", "WAL_REWOUND", "PUBLICATION_MISSING", "PUBLICATION_CHANGED"] as const;
  const kept = ["SLOT_AHEAD", "OPTIONS_CHANGED", "TOPIC_LOST", "STATE_MISSING", "STATE_BEHIND"] as const;

  test.each(kept)("R-epoch: %s begins the next epoch where the slot stands", (code) => {
    expect(renewal(gap(code), slot, true, 4)).toEqual({ kind: "renew", epoch: 5, from: slot.confirmedFlushLsn });
    expect(renewal(gap(code), slot, false, 4)).toMatchObject({ kind: "renew", from: slot.confirmedFlushLsn });
  });

  test.each(anew)("R-epoch: %s begins the next epoch with a new slot, also where one stands", (code) => {
    expect(renewal(gap(code), slot, true, 1)).toEqual({ kind: "renew", epoch: 2, from: null });
  });

  test("R-epoch: a state that is gone together with its slot asks for a new slot", () => {
    expect(renewal(gap("STATE_MISSING"), null, true, 3)).toEqual({ kind: "renew", epoch: 4, from: null });
    const invalid = { ...slot, confirmedFlushLsn: null };
    expect(renewal(gap("STATE_BEHIND"), invalid, true, 3)).toEqual({ kind: "renew", epoch: 4, from: null });
  });

  test("with create: false a slot that would have to be made is left to the operator", () => {
    for (const code of anew) expect(renewal(gap(code), slot, false, 1)).toBeNull();
    for (const code of kept) expect(renewal(gap(code), null, false, 1)).toBeNull();
  });

  test("R-routing: a table whose events were not captured for a while is healed alone, within the epoch", () => {
    expect(isGap(gap("TABLE_GAP"))).toBe(true);
    expect(renewal(gap("TABLE_GAP"), slot, true, 1)).toBeNull();
  });

  test("no other error is taken for a gap: what nobody has lost is not read again", () => {
    const healed = new Set<string>([...anew, ...kept, "TABLE_GAP"]);
    const others = (Object.keys(errors) as ErrorCode[]).filter((code) => !healed.has(code));
    expect(others.filter((code) => isGap(gap(code)))).toEqual([]);
    expect(others.filter((code) => renewal(gap(code), slot, true, 1) !== null)).toEqual([]);
    expect([...healed].filter((code) => !isGap(gap(code as ErrorCode)))).toEqual([]);
  });

  test("every gap says that it heals by itself, and what to write where it does not", () => {
    for (const code of [...anew, ...kept, "TABLE_GAP"] as const) {
      expect(gap(code).remedy, code).toMatch(/with snapshot\.mode initial .* by itself.*; with no_data .*set mode: initial/);
      expect(gap(code).remedy.includes("create: true"), code).toBe((anew as readonly ErrorCode[]).includes(code));
    }
  });

  test("a gap never comes back as one: what it left is gone on with", () => {
    const making: SourceState = { ...state, phase: "making", epoch: 2, acknowledged: ZERO_LSN, published: ZERO_LSN, snapshots: [] };
    expect(judgeStart({ ...facts, state: making, slot: null })).toEqual({ kind: "fresh", epoch: 2 });
    expect(judgeStart({ ...facts, state: making })).toEqual({ kind: "adopt", epoch: 2, from: slot.confirmedFlushLsn });
  });
});

describe("R-publication", () => {
  const member = (name: string, membership: number): PublishedTable => {
    return { schema: "public", name, oid: name.length, membership, filter: null, columns: null };
  };
  const flags = { insert: true, update: true, delete: true, truncate: true, viaRoot: true, generated: false };
  const then: PublicationFingerprint = { oid: 1, ...flags, tables: [member("items", 11), member("notes", 12), member("orders", 13)] };
  const before: SourceState = { ...state, publication: JSON.stringify(then) };
  const tables = ["items", "notes", "orders"].map((name) => ({ schema: "public", name }));

  test("the same publication asks for nothing, nor does a table that is new to it", () => {
    expect(changesOf("p", before, then, tables)).toEqual([]);
    expect(changesOf("p", before, { ...then, tables: [...then.tables, member("late", 14)] }, tables)).toEqual([]);
  });

  test("a table that was taken out and added again is read again, and no other; every such table is named", () => {
    const now = { ...then, tables: [member("items", 21), member("notes", 12), { ...member("orders", 13), filter: "digest" }] };
    expect(changesOf("p", before, now, tables)).toEqual([
      { table: tables[0], words: "table public.items was taken out and added again" },
      { table: tables[2], words: "the row filter of table public.orders changed" },
    ]);
    expect(() => judgePublication("p", before, now, tables)).toThrow(refused("PUBLICATION_CHANGED"));
  });

  test("a table that is not captured any more may leave the publication", () => {
    expect(changesOf("p", before, { ...then, tables: then.tables.slice(1) }, tables.slice(1))).toEqual([]);
  });

  test("a publication that was made again, or sent less for a while, concerns every table", () => {
    expect(changesOf("p", before, { ...then, oid: 2 }, tables)).toEqual([{ table: null, words: "it was dropped and made again" }]);
    expect(changesOf("p", before, { ...then, delete: false }, tables)).toEqual([
      { table: null, words: "publishing DELETE was turned off" },
    ]);
  });

  test("a publication that is gone is refused by name", () => {
    expect(() => changesOf("p", before, null, tables)).toThrow(refused("PUBLICATION_MISSING"));
  });
});

describe("R-options", () => {
  test("a change takes effect when all that was published is acknowledged, and is refused before", () => {
    expect(() => judgeOptions(state, null, "p", parseLsn("0/91"))).not.toThrow();
    expect(() => judgeOptions(state, null, "p", parseLsn("0/90"))).toThrow(refused("OPTIONS_CHANGED"));
    expect(() => judgeOptions(state, null, "o", parseLsn("0/10"))).not.toThrow();
  });
});

describe("R-routing", () => {
  const topic = { name: "shop.public.orders", id: "A", partitions: 2 };
  const barriers = { name: "shop.barriers", id: "B", partitions: 1 };
  const ranges = [5, 6].map((end, partition) => ({ topic: topic.name, partition, start: 0, end }));
  const seen: SeenTopics = { prefix: "shop", partitions: 2, topics: [topic], ranges, barriers, barriersEnd: 9, barrier };

  test("barriers that retention has removed are no loss", () => {
    expect(() => judgeTopics(state, { ...seen, barrier: null })).not.toThrow();
  });

  test("topics that are as the state and the last barrier say are gone on with", () => {
    expect(() => judgeTopics(state, seen)).not.toThrow();
  });

  test("a state from before the id of the topic of barriers was kept is gone on with", () => {
    expect(() => judgeTopics({ ...state, barriers: null }, seen)).not.toThrow();
  });

  test.each<[string, Partial<SeenTopics>, string, string]>([
    ["a topic is gone", { topics: [] }, "TOPIC_LOST", "topic shop.public.orders "],
    ["a topic was made again", { topics: [{ ...topic, id: "C" }] }, "TOPIC_LOST", "topic shop.public.orders "],
    [
      "a topic ends before the last barrier",
      { ranges: ranges.map((range) => ({ ...range, end: 5 })) },
      "TOPIC_LOST",
      "partition 1 ends at offset 5, 6",
    ],
    ["the topic of barriers is gone", { barriers: null, barriersEnd: 0, barrier: null }, "TOPIC_LOST", "topic shop.barriers "],
    ["the topic of barriers was made again", { barriers: { ...barriers, id: "C" } }, "TOPIC_LOST", "its id is C, it was B"],
    ["the topic of barriers is empty", { barriersEnd: 0, barrier: null }, "TOPIC_LOST", "topic shop.barriers "],
    ["a topic got more partitions", { topics: [{ ...topic, partitions: 3 }] }, "TOPIC_PARTITIONS", "the topic has 3"],
    ["the configuration asks for another count", { partitions: 4 }, "TOPIC_PARTITIONS", "topics.partitions says 4"],
  ])("is refused by name: %s", (_, part, code, words) => {
    expect(() => judgeTopics(state, { ...seen, ...part })).toThrow(
      expect.objectContaining({ code, message: expect.stringContaining(words) as string }),
    );
  });

  test("an older state's topic of barriers that was made again is seen by its end", () => {
    const remade = { barriers: { ...barriers, id: "C" }, barriersEnd: 0, barrier: null };
    expect(() => judgeTopics({ ...state, barriers: null }, { ...seen, ...remade })).toThrow(refused("TOPIC_LOST"));
  });
});
