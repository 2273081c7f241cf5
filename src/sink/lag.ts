// How far a sink is behind: the ends of its partitions held against what is merged. It outlives the sink's runs: a warehouse
// that is down ends one after the other, and just then the lag has to be seen growing.
import type { EventLog, TopicPartition } from "../core/event-log.ts";
import { pause } from "../core/pause.ts";

/** How often the ends are asked for. The reader tells them as well, but only of what it reads, ms. */
const WATCH_MS = 5_000;
/** The same until all are known for the first time, ms. */
const FIRST_MS = 250;

type Place = TopicPartition & { merged: number; end: number | null };

export class SinkLag {
  readonly #places = new Map<string, Place>();

  /** Records in the log that are not merged; null before the checkpoint and every end are known. */
  get records(): number | null {
    if (this.#places.size === 0) return null;
    let records = 0;
    for (const { merged, end } of this.#places.values()) {
      if (end === null) return null;
      records += Math.max(0, end - merged);
    }
    return records;
  }

  get topics(): ReadonlySet<string> {
    return new Set([...this.#places.values()].map(({ topic }) => topic));
  }

  /** Everything before `offset` is merged. */
  merged({ topic, partition }: TopicPartition, offset: number): void {
    const place = this.#places.get(nameOf({ topic, partition }));
    if (place !== undefined) {
      if (offset < place.merged) place.end = null; // the topic was made again: its end is another
      place.merged = offset;
    } else this.#places.set(nameOf({ topic, partition }), { topic, partition, merged: offset, end: null });
  }

  /** `end`: the offset that the partition's next record gets, as it was a moment ago. */
  seen(of: TopicPartition, end: number): void {
    const place = this.#places.get(nameOf(of));
    if (place !== undefined) place.end = Math.max(end, place.end ?? 0);
  }
}

/** Asks for the ends until the signal aborts. What the log refuses is left to those who read it. */
export async function watchLag(log: EventLog, lag: SinkLag, looked: () => void, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    try {
      for (const topic of lag.topics) for (const range of await log.offsets(topic, signal)) lag.seen(range, range.end);
      looked();
    } catch {
      // the next look may do better
    }
    await pause(lag.records === null ? FIRST_MS : WATCH_MS, signal);
  }
}

function nameOf({ topic, partition }: TopicPartition): string {
  return `${partition} ${topic}`;
}
