// The barriers as a sink reads them: which snapshots are complete (R-sweep), and when their sweeps are due. Pure.
import { decodeBarrier, type Barrier } from "../core/barrier.ts";
import type { FetchedRecords } from "../core/event-log.ts";
import { ZERO_LSN } from "../core/lsn.ts";
import { formatSequence, parseSequence } from "../core/sequence.ts";
import type { TopicState } from "../core/source-state.ts";
import type { TableName } from "../core/table.ts";
import type { CheckpointMove, Sweep } from "../core/warehouse.ts";
import type { Progress } from "./positions.ts";
import { routeOf, type TableRule } from "./routes.ts";

/** A sweep that waits until every partition of `topic` is merged up to `next`. */
export type AwaitedSweep = Sweep & {
  /** The source's. */
  readonly table: TableName;
  readonly topic: string;
  readonly next: readonly number[];
  readonly barrierOffset: number;
};

/** A barrier with ends of snapshots, and where it stands. */
export type EndBarrier = Barrier & { readonly offset: number };

/* Barrier ::= {"epoch":Int,…,"snapshots":[…]} in JSON, as core/barrier writes it: the epoch first, the snapshots last.
 * Nearly all have none: those are told apart by these bytes. Whatever looks different is parsed. */
const HEAD = Buffer.from('{"epoch":', "ascii");
const WITHOUT_ENDS = Buffer.from('"snapshots":[]}', "ascii");
const [ZERO, NINE, COMMA] = [0x30, 0x39, 0x2c];

/** Where a sink stands among the barriers, and the sweeps that it still owes. */
export class Barriers {
  readonly #from: Progress;
  #next: number;
  #stored: Progress["stored"];
  #epoch: number;
  #awaited: readonly AwaitedSweep[] = [];

  constructor(from: Progress) {
    this.#from = from;
    this.#next = from.nextOffset;
    this.#stored = from.stored;
    this.#epoch = from.sequence === "" ? 0 : parseSequence(from.sequence).epoch;
  }

  /** Barriers read that a flush would move the checkpoint past; not those behind a sweep that waits, of a paused table perhaps. */
  get unstored(): number {
    return this.#reached([]) - (this.#stored?.nextOffset ?? 0);
  }

  /** Whether a sweep of the topic is on its way: its snapshot's rows may be too. */
  isAwaited(topic: string): boolean {
    return this.#awaited.some((sweep) => sweep.topic === topic);
  }

  /**
   * Passes over records of the topic of barriers. R-epoch: those of a lower epoch than one before them are late words
   * of a dead process: `skipped`, and not among the ends. Throws LOG_CORRUPT.
   */
  read({ topic, records, next }: FetchedRecords): { readonly ends: readonly EndBarrier[]; readonly skipped: number } {
    const ends: EndBarrier[] = [];
    let skipped = 0;
    for (const { value, offset } of records) {
      if (value === null) continue;
      const known = plainEpoch(value);
      const barrier = known === null ? decodeBarrier(value, { topic, offset }) : null;
      const epoch = barrier?.epoch ?? known ?? 0;
      if (epoch < this.#epoch) skipped += 1;
      else if (barrier !== null && barrier.snapshots.length > 0) ends.push({ ...barrier, offset });
      this.#epoch = Math.max(this.#epoch, epoch);
    }
    this.#next = next;
    return { ends, skipped };
  }

  await(sweeps: readonly AwaitedSweep[]): void {
    this.#awaited = [...this.#awaited, ...sweeps];
  }

  /** The sweeps whose barrier is reached. `merged`: the offset up to which a partition will be merged, null where it is not read. */
  due(merged: (topic: string, partition: number) => number | null): readonly AwaitedSweep[] {
    return this.#awaited.filter(({ topic, next }) => next.every((offset, partition) => (merged(topic, partition) ?? -1) >= offset));
  }

  /** How the checkpoint moves with a flush that runs these sweeps: to the first barrier with another one; null: it stays. */
  moveAfter(done: readonly AwaitedSweep[]): CheckpointMove | null {
    const nextOffset = this.#reached(done);
    const { topic, partition, topicId } = this.#from;
    if (this.#stored?.topicId === topicId && this.#stored.nextOffset === nextOffset) return null;
    const sequence = this.#epoch === 0 ? "" : formatSequence({ epoch: this.#epoch, commitLsn: ZERO_LSN, ordinal: 0 });
    return { topic, partition, topicId, nextOffset, sequence, expected: this.#stored };
  }

  #reached(done: readonly AwaitedSweep[]): number {
    const left = this.#awaited.filter((sweep) => !done.includes(sweep));
    return Math.min(this.#next, ...left.map(({ barrierOffset }) => barrierOffset));
  }

  /** That flush is durable. */
  done(sweeps: readonly AwaitedSweep[], move: CheckpointMove | null): void {
    this.#awaited = this.#awaited.filter((sweep) => !sweeps.includes(sweep));
    if (move !== null) this.#stored = { topicId: move.topicId, nextOffset: move.nextOffset };
  }
}

/**
 * What a barrier's ends ask of a sink. `topics`: the source's, as its state has them after the barrier was read; an end of
 * a topic that is gone, or was made again since, is `skipped`: its table has another snapshot.
 */
export function sweepsOf(
  barrier: EndBarrier,
  topics: readonly TopicState[],
  rule: TableRule,
): { readonly sweeps: readonly AwaitedSweep[]; readonly skipped: number } {
  const sweeps: AwaitedSweep[] = [];
  let skipped = 0;
  for (const { table, topic, opening } of barrier.snapshots) {
    if (rule(table) === null) continue;
    const reached = barrier.topics.find(({ name }) => name === topic);
    const known = topics.find(({ name }) => name === topic);
    const route = known === undefined || reached?.id !== known.id ? null : routeOf(known, rule);
    if (route === null || reached === undefined) skipped += 1;
    else {
      const { target, deletes } = route;
      sweeps.push({ target, deletes, opening, table, topic, next: reached.next, barrierOffset: barrier.offset });
    }
  }
  return { sweeps, skipped };
}

/** The epoch of a barrier without ends; null: it has some, or has to be parsed to know. */
function plainEpoch(value: Buffer): number | null {
  if (value.compare(WITHOUT_ENDS, 0, WITHOUT_ENDS.length, Math.max(0, value.length - WITHOUT_ENDS.length)) !== 0) return null;
  if (value.compare(HEAD, 0, HEAD.length, 0, Math.min(HEAD.length, value.length)) !== 0) return null;
  let epoch = 0;
  let at = HEAD.length;
  for (; value[at]! >= ZERO && value[at]! <= NINE; at++) epoch = epoch * 10 + value[at]! - ZERO;
  return value[at] === COMMA && at > HEAD.length ? epoch : null;
}
