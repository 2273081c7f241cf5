import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { EventLog } from "../../../src/core/event-log.ts";
import { parseLsn, toLsn } from "../../../src/core/lsn.ts";
import { RecordBatchWriter } from "../../../src/core/record-batch.ts";
import {
  lookAtState,
  mergeStates,
  readState,
  stateTopic,
  stateTopicSpec,
  writeState,
  type SourceState,
} from "../../../src/core/source-state.ts";
import { openEmbeddedLog } from "../../../src/log/embedded/embedded-log.ts";

const state: SourceState = {
  generation: 1,
  number: 1,
  epoch: 1,
  systemId: "7",
  timeline: 1,
  slot: "s",
  phase: "streaming",
  options: "",
  publication: "",
  acknowledged: parseLsn("0/10"),
  published: parseLsn("0/8"),
  barriers: "B",
  topics: [],
  snapshots: null,
  layouts: [],
  parked: [],
  versions: [],
  retired: [],
};

describe("R-epoch: the state that counts", () => {
  test("is none when there is none", () => {
    expect(mergeStates([])).toBeNull();
  });

  test("is the newest generation's last record, in whatever order the records stand", () => {
    const older = { ...state, number: 5, slot: "old" };
    const newer = { ...state, generation: 2, number: 1, slot: "new" };
    expect(mergeStates([newer, older])).toMatchObject({ generation: 2, slot: "new" });
    expect(mergeStates([older, newer])).toMatchObject({ generation: 2, slot: "new" });
  });

  test("keeps what a dead process acknowledged after its successor had read the state", () => {
    const successor = { ...state, generation: 2, acknowledged: parseLsn("0/10") };
    const late = { ...state, number: 2, acknowledged: parseLsn("0/20"), published: parseLsn("0/18") };
    expect(mergeStates([successor, late])).toMatchObject({ generation: 2, acknowledged: parseLsn("0/20"), published: parseLsn("0/18") });
  });

  test("a late record of an earlier epoch turns neither epoch nor LSNs", () => {
    const next = { ...state, generation: 2, epoch: 2, acknowledged: parseLsn("0/5"), published: parseLsn("0/4") };
    const late = { ...state, number: 2, acknowledged: parseLsn("0/90") };
    expect(mergeStates([next, late])).toMatchObject({ epoch: 2, acknowledged: parseLsn("0/5"), published: parseLsn("0/4") });
  });

  // A watcher merges what is new into what it knows: with a rule that minds how records are grouped it would believe
  // another state than a process that starts.
  test("is the same whether its records are merged at once or as they come", () => {
    const small = fc.integer({ min: 1, max: 4 });
    const lsn = fc.integer({ min: 0, max: 9 }).map((value) => toLsn(BigInt(value)));
    const record = fc
      .record({ generation: small, number: small, epoch: small, acknowledged: lsn, published: lsn, slot: fc.constantFrom("a", "b", "c") })
      .map((parts): SourceState => ({ ...state, ...parts }));
    fc.assert(
      fc.property(fc.array(record, { maxLength: 12 }), (records) => {
        const oneByOne = records.reduce<SourceState | null>((known, next) => mergeStates(known === null ? [next] : [known, next]), null);
        expect(oneByOne).toEqual(mergeStates(records));
      }),
      { numRuns: 2_000 },
    );
  });
});

function bound(log: EventLog): EventLog {
  return {
    kind: log.kind,
    address: log.address,
    topics: (...args) => log.topics(...args),
    createTopic: (...args) => log.createTopic(...args),
    topicConfigs: (...args) => log.topicConfigs(...args),
    deleteTopic: (...args) => log.deleteTopic(...args),
    offsets: (...args) => log.offsets(...args),
    read: (...args) => log.read(...args),
    openWriter: (...args) => log.openWriter(...args),
    openReader: (...args) => log.openReader(...args),
    [Symbol.asyncDispose]: () => log[Symbol.asyncDispose](),
  };
}

describe("a state record in a log", () => {
  const { signal } = new AbortController();
  let folder: string;
  let log: EventLog;
  beforeAll(async () => {
    folder = await mkdtemp(path.join(tmpdir(), "tailrace-state-"));
    log = await openEmbeddedLog({ path: folder });
  });
  afterAll(async () => {
    await log[Symbol.asyncDispose]();
    await rm(folder, { recursive: true, force: true });
  });

  test("is read as it was written", async () => {
    await log.createTopic(stateTopicSpec("new", -1), signal);
    await using writer = await log.openWriter({ name: "w" }, signal);
    await writeState(writer, "new", state, signal);
    expect(await readState(log, "new", signal)).toEqual(state);
  });

  test("from before the id of the topic of barriers was kept has none", async () => {
    const { name: topic } = await log.createTopic(stateTopicSpec("old", -1), signal);
    await using writer = await log.openWriter({ name: "w" }, signal);
    const { barriers: _, ...older } = { ...state, acknowledged: "0/10", published: "0/8" };
    const value = Buffer.from(JSON.stringify(older));
    const batch = new RecordBatchWriter();
    batch.append(null, 0, 0, value, 0, value.length);
    await writer.append([{ topic, partition: 0, bytes: batch.finish(0), count: 1 }], signal);
    expect(await readState(log, "old", signal)).toEqual({ ...state, barriers: null });
  });

  test("is read once by those who look again: what is new alone, and everything of a topic that was made again", async () => {
    await log.createTopic(stateTopicSpec("watched", -1), signal);
    const offsets: number[] = [];
    const counting: EventLog = {
      ...bound(log),
      read: async (from, maxBytes, aborted) => {
        const fetched = await log.read(from, maxBytes, aborted);
        offsets.push(...fetched.records.map(({ offset }) => offset));
        return fetched;
      },
    };
    const readBy = async <T>(look: () => Promise<T>): Promise<readonly [T, number]> => {
      offsets.length = 0;
      return [await look(), offsets.length];
    };
    {
      await using writer = await log.openWriter({ name: "w" }, signal);
      for (let number = 1; number <= 40; number++) await writeState(writer, "watched", { ...state, number }, signal);
      const [first, all] = await readBy(() => lookAtState(counting, "watched", null, signal));
      expect([first?.state?.number, all]).toEqual([40, 40]);
      expect(await readBy(() => lookAtState(counting, "watched", first, signal))).toEqual([first, 0]);
      // A late record of a dead process makes no older state of it.
      await writeState(writer, "watched", { ...state, number: 3, acknowledged: parseLsn("0/99") }, signal);
      const [second, one] = await readBy(() => lookAtState(counting, "watched", first, signal));
      expect([second?.state?.number, second?.state?.acknowledged, one]).toEqual([40, parseLsn("0/99"), 1]);
      expect(second?.state).toEqual(await readState(log, "watched", signal));
      await log.deleteTopic(stateTopic("watched"), signal);
      expect(await lookAtState(counting, "watched", second, signal)).toBeNull();
      await log.createTopic(stateTopicSpec("watched", -1), signal);
      await using anew = await log.openWriter({ name: "w" }, signal);
      for (let number = 1; number <= 45; number++) await writeState(anew, "watched", { ...state, number, slot: "new" }, signal);
      const [third, again] = await readBy(() => lookAtState(counting, "watched", second, signal));
      expect([third?.state?.slot, third?.state?.number, third?.state?.acknowledged, again]).toEqual(["new", 45, parseLsn("0/10"), 45]);
    }
  });
});
