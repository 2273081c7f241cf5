import { describe, expect, test } from "vitest";
import type { TopicState } from "../../../src/core/source-state.ts";
import type { Checkpoint } from "../../../src/core/warehouse.ts";
import { findGaps, startPositions } from "../../../src/sink/positions.ts";

const topic: TopicState = { name: "shop.public.orders", id: "A", partitions: 2, table: { schema: "public", name: "orders" } };
const state = { epoch: 2, topics: [topic] };
const checkpoint: Checkpoint = {
  topic: topic.name,
  partition: 1,
  topicId: "A",
  nextOffset: 7,
  sequence: "0002-0000000000000010-000000000000",
};

describe("where a sink goes on", () => {
  test("a partition without a checkpoint begins at 0, one with it at its offset", () => {
    expect(startPositions("lake", state, [checkpoint])).toMatchObject([
      { partition: 0, nextOffset: 0, sequence: "", stored: null },
      { partition: 1, nextOffset: 7, sequence: checkpoint.sequence, stored: { topicId: "A", nextOffset: 7 } },
    ]);
  });

  test("R-routing: a topic that was made again is a lost log while the epoch is the same", () => {
    expect(() => startPositions("lake", state, [{ ...checkpoint, topicId: "B" }])).toThrow(expect.objectContaining({ code: "TOPIC_LOST" }));
    const unread = { ...checkpoint, topicId: "B", nextOffset: 0, sequence: "" };
    expect(() => startPositions("lake", { ...state, epoch: 1 }, [unread])).toThrow(expect.objectContaining({ code: "TOPIC_LOST" }));
  });

  test("R-epoch: with a higher epoch it is read from its start, over what its row says now", () => {
    const old = { ...checkpoint, topicId: "B" };
    expect(startPositions("lake", { ...state, epoch: 3 }, [old, { ...old, partition: 5 }])).toEqual([
      { topic: topic.name, partition: 0, topicId: "A", nextOffset: 0, sequence: "", stored: null },
      { ...old, topicId: "A", nextOffset: 0, stored: { topicId: "B", nextOffset: 7 } },
    ]);
  });

  test("R-epoch: partitions whose rows say the new id already don't make those of before a lost log", () => {
    const old = { ...checkpoint, partition: 0, topicId: "B", sequence: "0001-0000000000000010-000000000000" };
    expect(startPositions("lake", state, [old, checkpoint])).toMatchObject([
      { partition: 0, topicId: "A", nextOffset: 0, stored: { topicId: "B", nextOffset: 7 } },
      { partition: 1, nextOffset: 7, stored: { topicId: "A", nextOffset: 7 } },
    ]);
  });

  test("R-epoch: one partition that has events of the present epoch is enough for a lost log", () => {
    const checkpoints = [
      { ...checkpoint, topicId: "B" },
      { ...checkpoint, topicId: "B", partition: 0, sequence: "" },
    ];
    expect(() => startPositions("lake", state, checkpoints)).toThrow(expect.objectContaining({ code: "TOPIC_LOST" }));
  });

  test("R-epoch: a checkpoint of a later epoch than the source's is refused", () => {
    expect(() => startPositions("lake", { ...state, epoch: 1 }, [checkpoint])).toThrow(
      expect.objectContaining({ code: "CHECKPOINT_AHEAD" }),
    );
  });

  test("R-epoch: a checkpoint of an earlier epoch goes on", () => {
    expect(startPositions("lake", { ...state, epoch: 3 }, [checkpoint])).toHaveLength(2);
  });
});

describe("gaps of the log", () => {
  const [first, second] = startPositions("lake", state, [checkpoint]);
  const range = { topic: topic.name, end: 100 };

  test("R-routing: are where a partition begins behind what is next, for a new sink behind 0", () => {
    const ranges = [
      { ...range, partition: 0, start: 1 },
      { ...range, partition: 1, start: 8 },
    ];
    expect(findGaps([first!, second!], ranges)).toEqual([
      { progress: first, start: 1 },
      { progress: second, start: 8 },
    ]);
  });

  test("are none where the log begins at what is next, or ends before it", () => {
    const ranges = [
      { ...range, partition: 0, start: 0 },
      { ...range, partition: 1, start: 7, end: 7 },
      { ...range, topic: "another", partition: 1, start: 50 },
    ];
    expect(findGaps([first!, second!], ranges)).toEqual([]);
    expect(findGaps([second!], [{ ...range, partition: 1, start: 0, end: 3 }])).toEqual([]);
  });
});
