import { expect, test, vi } from "vitest";
import type { SnapshotRecord } from "../../../src/core/snapshot-record.ts";
import { parseLsn } from "../../../src/core/lsn.ts";
import { stateTopicSpec, writeState, type SourceState } from "../../../src/core/source-state.ts";
import { openEmbeddedLog } from "../../../src/log/embedded/embedded-log.ts";
import { SourceWatch } from "../../../src/sink/source-watch.ts";
import { temporaryFolder } from "../../support/temporary-folder.ts";

const { signal } = new AbortController();
const orders = { schema: "public", name: "orders" };
const snapshot: SnapshotRecord = {
  table: orders,
  kind: "table",
  reason: "first start",
  where: null,
  opening: "0001-0000000000000042-000000000000",
  todo: [],
  rereads: [],
  rows: 1,
  chunks: 1,
  estimatedRows: null,
};
const state: SourceState = {
  generation: 1,
  number: 1,
  epoch: 1,
  systemId: "7",
  timeline: 1,
  slot: "s",
  phase: "streaming",
  options: "o",
  publication: "{}",
  acknowledged: parseLsn("0/1"),
  published: parseLsn("0/1"),
  barriers: "B",
  topics: [],
  snapshots: [snapshot],
  layouts: [],
  parked: [],
  versions: [],
  retired: [],
};

test("R-sweep: a snapshot counts as unfinished until its end is merged, though the state is further, and not once more while the state is behind", async () => {
  await using log = await openEmbeddedLog({ path: await temporaryFolder("watch") });
  await log.createTopic(stateTopicSpec("shop", 1), signal);
  await using writer = await log.openWriter({ name: "test" }, signal);
  const watch = new SourceWatch(log, "shop");
  const told = async (snapshots: readonly SnapshotRecord[], number: number): Promise<boolean> => {
    await writeState(writer, "shop", { ...state, number, snapshots }, signal);
    await watch.refresh(performance.now(), signal);
    return watch.isSnapshotting(orders);
  };
  expect(await told([snapshot], 1)).toBe(true);
  expect(await told([], 2)).toBe(true);
  watch.ended({ table: orders, opening: snapshot.opening ?? "" });
  expect(watch.isSnapshotting(orders)).toBe(false);
  expect(await told([snapshot], 3)).toBe(false);
  expect(await told([{ ...snapshot, opening: null }], 4)).toBe(true);
});

test("a look reads what is new: a sink that looks every 2 s must not parse a thousand records of a large source each time", async () => {
  await using log = await openEmbeddedLog({ path: await temporaryFolder("watch") });
  await log.createTopic(stateTopicSpec("shop", 1), signal);
  await using writer = await log.openWriter({ name: "test" }, signal);
  for (let number = 1; number <= 50; number++) await writeState(writer, "shop", { ...state, number }, signal);
  const read = vi.spyOn(log, "read");
  const watch = new SourceWatch(log, "shop");
  expect((await watch.refresh(performance.now(), signal))?.number).toBe(50);
  const first = read.mock.calls.length;
  await watch.refresh(performance.now(), signal);
  expect(read.mock.calls.length).toBe(first);
  await writeState(writer, "shop", { ...state, number: 51 }, signal);
  expect((await watch.refresh(performance.now(), signal))?.number).toBe(51);
  expect(read.mock.calls.slice(first).map(([from]) => from.offset)).toEqual([50]);
});
