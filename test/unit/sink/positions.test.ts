import { describe, expect, test } from "vitest";
import type { TopicState } from "../../../src/core/source-state.ts";
import type { Checkpoint } from "../../../src/core/warehouse.ts";
import { startPositions } from "../../../src/sink/positions.ts";

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
      { partition: 0, nextOffset: 0, sequence: "", stored: false },
      { partition: 1, nextOffset: 7, sequence: checkpoint.sequence, stored: true },
    ]);
  });

  test("R-routing: a topic that was made again is a lost log", () => {
    expect(() => startPositions("lake", state, [{ ...checkpoint, topicId: "B" }])).toThrow(expect.objectContaining({ code: "TOPIC_LOST" }));
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
