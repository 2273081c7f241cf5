// R-barrier: a commit together with the log offsets that hold everything up to it, one record in `<prefix>.barriers`.
// The source reads the last one to find its tails; sinks learn from them which snapshots are complete (R-sweep).
import { TailraceError, reasonOf } from "./errors.ts";
import type { TableName } from "./table.ts";
import type { EventLog, TopicSpec } from "./event-log.ts";
import { formatLsn, parseLsn, type Lsn } from "./lsn.ts";

/** R-sweep: up to this barrier's offsets stands every row that the table had since `opening`; rows below it are gone. */
export type SnapshotEnd = {
  readonly table: TableName;
  readonly topic: string;
  /** Text form of the opening mark's sequence. */
  readonly opening: string;
};

export type Barrier = {
  readonly epoch: number;
  readonly commitLsn: Lsn;
  /** Microseconds since 1970. */
  readonly commitMicros: bigint;
  /** Per topic the offset after the last event of that commit or an earlier one, by partition. */
  readonly topics: readonly { readonly name: string; readonly id: string; readonly next: readonly number[] }[];
  /** R-park: tables whose events up to that commit stand elsewhere, in part or all. */
  readonly parked: readonly TableName[];
  /** Snapshots that are complete since the barrier before, or said so again. */
  readonly snapshots: readonly SnapshotEnd[];
};

export function barrierTopic(prefix: string): string {
  return `${prefix}.barriers`;
}

export function barrierTopicSpec(prefix: string, replication: number): TopicSpec {
  return { name: barrierTopic(prefix), partitions: 1, replication, configs: { "cleanup.policy": "delete" } };
}

export function encodeBarrier(barrier: Barrier): Buffer {
  const { epoch, commitLsn, commitMicros, topics, parked, snapshots } = barrier;
  return Buffer.from(
    JSON.stringify({ epoch, commit_lsn: formatLsn(commitLsn), commit_ts_us: commitMicros.toString(), topics, parked, snapshots }),
  );
}

/** Throws LOG_CORRUPT. */
export function decodeBarrier(value: Buffer, place: { readonly topic: string; readonly offset: number }): Barrier {
  try {
    const raw = JSON.parse(value.toString()) as {
      epoch: number;
      commit_lsn: string;
      commit_ts_us: string;
      topics: Barrier["topics"];
      parked?: Barrier["parked"];
      snapshots?: Barrier["snapshots"];
    };
    const { epoch, commit_lsn: lsn, commit_ts_us: micros, topics, parked = [], snapshots = [] } = raw;
    return { epoch, commitLsn: parseLsn(lsn), commitMicros: BigInt(micros), topics, parked, snapshots };
  } catch (cause) {
    throw new TailraceError("LOG_CORRUPT", { topic: place.topic, partition: 0, offset: place.offset, reason: reasonOf(cause) }, { cause });
  }
}

/**
 * The barrier that stands furthest (highest epoch, then commit LSN) among the last ones, and null for a topic without
 * any. Looks back some records and not at the last alone: a dead process's late barrier may stand behind a newer one.
 */
export async function lastBarrier(log: EventLog, prefix: string, signal: AbortSignal): Promise<Barrier | null> {
  const topic = barrierTopic(prefix);
  const [range] = await log.offsets(topic, signal);
  if (range === undefined || range.end <= range.start) return null;
  let best: Barrier | null = null;
  let next = Math.max(range.start, range.end - 64);
  while (next < range.end) {
    const fetched = await log.read({ topic, partition: 0, offset: next }, 1 << 20, signal);
    for (const record of fetched.records) {
      if (record.value === null) continue;
      const barrier = decodeBarrier(record.value, { topic, offset: record.offset });
      if (best === null || barrier.epoch > best.epoch || (barrier.epoch === best.epoch && barrier.commitLsn >= best.commitLsn))
        best = barrier;
    }
    if (fetched.next <= next) break;
    next = fetched.next;
  }
  return best;
}
