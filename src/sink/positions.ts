// Where a sink goes on: its warehouse's checkpoints held against the source's topics. Pure.
import { TailraceError } from "../core/errors.ts";
import type { OffsetRange, Position, TopicPartition } from "../core/event-log.ts";
import { parseSequence } from "../core/sequence.ts";
import type { Checkpoint } from "../core/warehouse.ts";

/** How far one partition is merged. `stored`: what its row in the warehouse says now; null: there is none. */
export type Progress = Checkpoint & { readonly stored: Pick<Checkpoint, "topicId" | "nextOffset"> | null };

/** A topic of the source, as its state has it. */
export type ReadTopic = { readonly name: string; readonly id: string; readonly partitions: number };

/**
 * The progress of every partition of every topic, 0 for those without a checkpoint. A topic that was made again since
 * (R-routing) begins at 0 when the source's epoch has grown, which says that a snapshot brings what is lost; its
 * sequence stays. Throws TOPIC_LOST when it has not, CHECKPOINT_AHEAD for a checkpoint of a later epoch than the
 * source's (R-epoch).
 */
export function startPositions(
  sink: string,
  source: { readonly epoch: number; readonly topics: readonly ReadTopic[] },
  checkpoints: readonly Checkpoint[],
): readonly Progress[] {
  for (const checkpoint of checkpoints) {
    const epoch = epochOf(checkpoint);
    if (epoch > source.epoch) throw new TailraceError("CHECKPOINT_AHEAD", { sink, checkpoint: epoch, seen: source.epoch });
  }
  return source.topics.flatMap((topic) => {
    const known = checkpoints.filter((checkpoint) => checkpoint.topic === topic.name);
    const lost = known.find((checkpoint) => checkpoint.topicId !== topic.id && source.epoch <= epochOf(checkpoint));
    if (lost !== undefined) {
      throw new TailraceError("TOPIC_LOST", {
        topic: topic.name,
        reason: `its id is ${topic.id}, the sink's checkpoint was made with ${lost.topicId}`,
      });
    }
    return Array.from({ length: topic.partitions }, (_, partition) => progressOf(topic, partition, known));
  });
}

function progressOf(topic: ReadTopic, partition: number, known: readonly Checkpoint[]): Progress {
  const checkpoint = known.find((candidate) => candidate.partition === partition);
  const begin = { topic: topic.name, partition, topicId: topic.id, nextOffset: 0, sequence: "" };
  if (checkpoint === undefined) return { ...begin, stored: null };
  const stored = { topicId: checkpoint.topicId, nextOffset: checkpoint.nextOffset };
  return checkpoint.topicId === topic.id ? { ...checkpoint, stored } : { ...begin, sequence: checkpoint.sequence, stored };
}

/** The first epoch that there is for a partition of which nothing is merged. */
function epochOf({ sequence }: Checkpoint): number {
  return sequence === "" ? 1 : parseSequence(sequence).epoch;
}

export function toPosition(progress: Progress): Position {
  return { topic: progress.topic, partition: progress.partition, offset: progress.nextOffset };
}

/** The name of a partition, as a map's key. */
export function placeOf({ topic, partition }: TopicPartition): string {
  return `${topic}/${partition}`;
}

export type Gap = { readonly progress: Progress; readonly start: number };

/** R-routing: where the log begins only behind what is merged: records between were there, and are gone. */
export function findGaps(progress: readonly Progress[], ranges: readonly OffsetRange[]): readonly Gap[] {
  const starts = new Map(ranges.map((range) => [placeOf(range), range.start]));
  return progress.flatMap((one) => {
    const start = starts.get(placeOf(one)) ?? 0;
    return start > one.nextOffset ? [{ progress: one, start }] : [];
  });
}
