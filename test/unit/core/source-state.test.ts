import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { EventLog } from "../../../src/core/event-log.ts";
import { parseLsn } from "../../../src/core/lsn.ts";
import { RecordBatchWriter } from "../../../src/core/record-batch.ts";
import { mergeStates, readState, stateTopicSpec, writeState, type SourceState } from "../../../src/core/source-state.ts";
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
});

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
});
