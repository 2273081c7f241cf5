// What a sink knows of its source: the newest state that it has read.
import { barrierTopic, type SnapshotEnd } from "../core/barrier.ts";
import type { EventLog } from "../core/event-log.ts";
import { pause } from "../core/pause.ts";
import { lookAtState, type SourceState, type StateLook, type TopicState } from "../core/source-state.ts";
import { tableLabel, type TableName } from "../core/table.ts";
import type { ReadTopic } from "./positions.ts";

/** How often the state is read for topics that are new, ms. */
const STATE_EVERY_MS = 2_000;
/** How long a source that has no state yet is left alone between two looks, ms. */
const WAIT_FOR_SOURCE_MS = 500;

export class SourceWatch {
  readonly #log: EventLog;
  readonly #prefix: string;
  #newest: SourceState | null = null;
  /** How far the state was read. */
  #look: StateLook | null = null;
  /** Labels of tables. */
  readonly #snapshotting = new Set<string>();
  /** By label: the opening of the last snapshot that is merged to its end. */
  readonly #ended = new Map<string, string>();
  /** performance.now() when the newest state was asked for. */
  #askedAt = -Infinity;

  constructor(log: EventLog, prefix: string) {
    this.#log = log;
    this.#prefix = prefix;
  }

  /** The newest state read. */
  get state(): SourceState | null {
    return this.#newest;
  }

  /** Whether the source reads rows again whose unsent columns nobody has (R-window-toast). */
  get makesSnapshots(): boolean {
    return this.#newest !== null && this.#newest.snapshots !== null;
  }

  /** Whether a snapshot of every row of the table is unfinished, or was, and its end is not merged: the state is ahead of what is read. */
  isSnapshotting(table: TableName): boolean {
    return this.#snapshotting.has(tableLabel(table));
  }

  /** R-version: nothing more comes to the topic. */
  isRetired(topic: string): boolean {
    return this.#newest?.retired.some(({ name }) => name === topic) === true;
  }

  /** The table's snapshot is merged to the end that a barrier has said. Not before that is durable: it may have to be read again. */
  ended({ table, opening }: Pick<SnapshotEnd, "table" | "opening">): void {
    this.#snapshotting.delete(tableLabel(table));
    this.#ended.set(tableLabel(table), opening);
  }

  /** Reads the state unless that was done at `since` (performance.now()) or later. */
  async refresh(since: number, signal: AbortSignal): Promise<SourceState | null> {
    if (this.#askedAt >= since) return this.#newest;
    const asked = performance.now();
    const look = await lookAtState(this.#log, this.#prefix, this.#look, signal);
    if (asked >= this.#askedAt) {
      this.#look = look;
      this.#newest = look?.state ?? this.#newest;
      for (const { table, kind, opening } of this.#newest?.snapshots ?? []) {
        // The state may name a snapshot for a while whose end is merged.
        const isOver = opening !== null && opening <= (this.#ended.get(tableLabel(table)) ?? "");
        if ((kind === "table" || kind === "keyless") && !isOver) this.#snapshotting.add(tableLabel(table));
      }
      this.#askedAt = asked;
    }
    return this.#newest;
  }

  /** The state once it has other topics than `known`; null when `stop` aborts first. */
  async next(known: SourceState | null, stop: AbortSignal): Promise<SourceState | null> {
    while (!stop.aborted) {
      const state = await this.refresh(performance.now(), stop);
      if (state !== null && hasNewTopics(state, known)) return state;
      await pause(known === null ? WAIT_FOR_SOURCE_MS : STATE_EVERY_MS, stop);
    }
    return null;
  }
}

function hasNewTopics(state: SourceState, known: SourceState | null): boolean {
  if (known !== null && state.barriers !== known.barriers) return true;
  return state.topics.some(({ id }) => known?.topics.some((topic) => topic.id === id) !== true);
}

/** The topics of the source's tables, those of versions before (R-version) among them. */
export function tableTopics({ topics, retired }: Pick<SourceState, "topics" | "retired">): readonly TopicState[] {
  return [...topics, ...retired];
}

/** All topics of the source that a sink reads: of its tables, and of its barriers where the state names it. */
export function readTopics(state: SourceState, prefix: string): readonly ReadTopic[] {
  const { barriers } = state;
  const topics = tableTopics(state);
  return barriers === null ? topics : [...topics, { name: barrierTopic(prefix), id: barriers, partitions: 1 }];
}
