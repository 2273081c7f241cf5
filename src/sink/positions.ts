// Where a sink goes on: its warehouse's checkpoints held against the source's topics. Pure.
import { TailraceError } from "../core/errors.ts";
import type { Position } from "../core/event-log.ts";
import { parseSequence } from "../core/sequence.ts";
import type { SourceState, TopicState } from "../core/source-state.ts";
import type { Checkpoint } from "../core/warehouse.ts";

/** How far one partition is merged. `stored`: its row stands in the warehouse. */
export type Progress = Checkpoint & { readonly stored: boolean };

/**
 * The progress of every partition of every topic, 0 for those without a checkpoint. Throws TOPIC_LOST for a topic made
 * again since (R-routing), CHECKPOINT_AHEAD for a checkpoint of a later epoch than the source's (R-epoch).
 */
export function startPositions(
  sink: string,
  state: Pick<SourceState, "epoch" | "topics">,
  checkpoints: readonly Checkpoint[],
): readonly Progress[] {
  for (const { sequence } of checkpoints) {
    const epoch = sequence === "" ? 0 : parseSequence(sequence).epoch;
    if (epoch > state.epoch) throw new TailraceError("CHECKPOINT_AHEAD", { sink, checkpoint: epoch, seen: state.epoch });
  }
  return state.topics.flatMap((topic) => {
    const known = checkpoints.filter((checkpoint) => checkpoint.topic === topic.name);
    const other = known.find((checkpoint) => checkpoint.topicId !== topic.id);
    if (other !== undefined) {
      throw new TailraceError("TOPIC_LOST", {
        topic: topic.name,
        reason: `its id is ${topic.id}, the sink's checkpoint was made with ${other.topicId}`,
      });
    }
    return Array.from({ length: topic.partitions }, (_, partition) => progressOf(topic, partition, known));
  });
}

function progressOf(topic: TopicState, partition: number, known: readonly Checkpoint[]): Progress {
  const checkpoint = known.find((candidate) => candidate.partition === partition);
  return checkpoint === undefined
    ? { topic: topic.name, partition, topicId: topic.id, nextOffset: 0, sequence: "", stored: false }
    : { ...checkpoint, stored: true };
}

export function toPosition(progress: Progress): Position {
  return { topic: progress.topic, partition: progress.partition, offset: progress.nextOffset };
}
