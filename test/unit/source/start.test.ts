import { describe, expect, test } from "vitest";
import type { Barrier } from "../../../src/core/barrier.ts";
import { parseLsn, ZERO_LSN } from "../../../src/core/lsn.ts";
import type { SourceState } from "../../../src/core/source-state.ts";
import type { Slot } from "../../../src/postgres/slot.ts";
import { judgeOptions, judgeStart, judgeTopics, type SeenTopics, type StartFacts } from "../../../src/source/start.ts";

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
};
const barrier: Barrier = {
  epoch: 1,
  commitLsn: parseLsn("0/90"),
  commitMicros: 0n,
  topics: [{ name: "shop.public.orders", id: "A", next: [5, 6] }],
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
    ["R-slot: another cluster", { cluster: { ...facts.cluster, systemIdentifier: "8" } }, "ANOTHER_DATABASE"],
    [
      "R-slot: the WAL ends before the last barrier, which the state has not caught up with",
      { barrier: { ...barrier, commitLsn: parseLsn("0/201") } },
      "WAL_REWOUND",
    ],
    ["R-slot: the WAL ends before the last published commit", { cluster: { ...facts.cluster, walEnd: parseLsn("0/80") } }, "WAL_REWOUND"],
    ["R-epoch: the state is gone, events are there", { state: null, slot: null }, "STATE_MISSING"],
    ["R-epoch: the state is gone, the slot is there", { state: null, barrier: null }, "STATE_MISSING"],
    ["R-epoch: the log is of a later epoch", { barrier: { ...barrier, epoch: 2 } }, "STATE_BEHIND"],
    ["the slot belongs to somebody else", { slot: { ...slot, plugin: "test_decoding" } }, "SLOT_FOREIGN"],
    ["the slot is being read", { slot: { ...slot, activePid: 4711 } }, "SLOT_ACTIVE"],
  ])("is refused by name: %s", (_, part, code) => {
    expect(() => judgeStart({ ...facts, ...part })).toThrow(refused(code));
  });

  test("R-slot: a new timeline that forked after the last published commit is none of a gap", () => {
    const cluster = { ...facts.cluster, timeline: 2, history: [{ timeline: 1, at: parseLsn("0/90") }] };
    expect(judgeStart({ ...facts, cluster })).toMatchObject({ kind: "resume" });
    const earlier = { ...cluster, history: [{ timeline: 1, at: parseLsn("0/8F") }] };
    expect(() => judgeStart({ ...facts, cluster: earlier })).toThrow(refused("WAL_REWOUND"));
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
