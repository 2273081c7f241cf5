// Whether a source may go on where it was: its state held against slot, server, publication and log. Pure. What it
// refuses by name is a gap, which only a snapshot heals: renewal() says how the source then begins.
import { barrierTopic, type Barrier } from "../core/barrier.ts";
import type { ErrorCode } from "../core/error-catalogue.ts";
import { TailraceError } from "../core/errors.ts";
import { formatLsn, maxLsn, ZERO_LSN, type Lsn } from "../core/lsn.ts";
import { stateTopic, type SourceState } from "../core/source-state.ts";
import type { OffsetRange, Topic } from "../core/event-log.ts";
import { partitionsDiffer } from "./topics.ts";
import type { TableName } from "../core/table.ts";
import { publicationChanges, type PublicationChange, type PublicationFingerprint } from "../postgres/publication.ts";
import { judgeSlot, slotError, type Slot } from "../postgres/slot.ts";
import { clusterProblem, identityProblem, type KnownCluster, type SeenCluster } from "../postgres/timeline.ts";

export type StartFacts = {
  readonly prefix: string;
  readonly slotName: string;
  /** Whether slot and publication may be made. */
  readonly create: boolean;
  readonly database: string;
  readonly state: SourceState | null;
  readonly slot: Slot | null;
  readonly cluster: SeenCluster;
  /** postgres.system_id: the cluster that the operator says is meant; null: none is named. */
  readonly systemId: string | null;
  readonly barrier: Barrier | null;
};

/**
 * How to begin. `fresh`: the slot is to be made. `adopt`: it exists and nothing was published from it. `renew`: behind a
 * gap, in a new epoch; `from` null: the slot is to be made, after one that is there was dropped.
 */
export type Start =
  | { readonly kind: "fresh"; readonly epoch: number }
  | { readonly kind: "adopt"; readonly epoch: number; readonly from: Lsn }
  | { readonly kind: "resume"; readonly epoch: number; readonly from: Lsn }
  | { readonly kind: "renew"; readonly epoch: number; readonly from: Lsn | null };

/** What a gap asks for, by its error: whether the slot can go on, or has to be made anew. */
const RENEWALS: ReadonlyMap<ErrorCode, "keep" | "anew"> = new Map([
  ["SLOT_MISSING", "anew"],
  ["SLOT_LOST", "anew"],
  ["SLOT_AHEAD", "keep"],
  // Not ANOTHER_DATABASE: a wrong url must cost neither a slot there nor the rows of the targets.
  ["ANOTHER_HISTORY", "anew"],
  ["WAL_REWOUND", "anew"],
  // Before PostgreSQL 18 a slot can't pass the time in which its publication was not there.
  ["PUBLICATION_MISSING", "anew"],
  ["PUBLICATION_CHANGED", "anew"],
  ["OPTIONS_CHANGED", "keep"],
  ["TOPIC_LOST", "keep"],
  ["STATE_MISSING", "keep"],
  ["STATE_BEHIND", "keep"],
]);

/** Whether a snapshot heals this error. */
export function isGap(error: TailraceError): boolean {
  return RENEWALS.has(error.code) || error.code === "TABLE_GAP";
}

/** R-epoch: the beginning behind a gap; null when it can't be healed here. `epochSeen`: the highest of any record known. */
export function renewal(gap: TailraceError, slot: Slot | null, create: boolean, epochSeen: number): Start | null {
  const wanted = RENEWALS.get(gap.code);
  if (wanted === undefined) return null;
  const from = wanted === "keep" ? (slot?.confirmedFlushLsn ?? null) : null;
  if (from === null && !create) return null;
  return { kind: "renew", epoch: epochSeen + 1, from };
}

/** R-epoch: whether records of epoch `seen` forbid this start. One that goes on may meet those of its own epoch, no other may. */
export function isBehind({ kind, epoch }: Pick<Start, "kind" | "epoch">, seen: number): boolean {
  return kind === "resume" ? seen > epoch : seen >= epoch;
}

/**
 * R-slot: ANOTHER_DATABASE, or ANOTHER_HISTORY of one that is meant; null for the cluster that the state is of, or where nothing
 * was published yet. To be asked first: nothing that another cluster has says anything of this source.
 */
export function anotherCluster(
  state: SourceState | null,
  { systemIdentifier }: Pick<SeenCluster, "systemIdentifier">,
  meant: string | null,
): TailraceError | null {
  if (state === null || (state.phase === "making" && state.epoch === 1)) return null;
  return identityProblem(state.systemId, systemIdentifier, meant);
}

/** R-slot, R-epoch. Throws the named error of a gap, SLOT_ACTIVE while another reads the slot, SLOT_FOREIGN, SLOT_NOT_MADE. */
export function judgeStart(facts: StartFacts): Start {
  const { state, slot, slotName, barrier } = facts;
  const expected = { database: facts.database, recorded: state?.phase === "streaming" ? state.acknowledged : null };
  const verdict = judgeSlot(slot, expected);
  if (verdict.kind !== "missing" && verdict.kind !== "usable") throw slotError(slotName, verdict, expected)!;
  if (state === null) {
    const topic = stateTopic(facts.prefix);
    if (barrier !== null)
      throw new TailraceError("STATE_MISSING", { topic, evidence: `the log holds events up to ${formatLsn(barrier.commitLsn)}` });
    if (verdict.kind === "missing") return fresh(facts);
    if (facts.create) {
      const confirmed = formatLsn(verdict.confirmed);
      throw new TailraceError("STATE_MISSING", {
        topic,
        evidence: `slot ${slotName} exists, confirmed up to ${confirmed} (if it was made for this source and nobody has read it, set postgres.create: false)`,
      });
    }
    return { kind: "adopt", epoch: 1, from: verdict.confirmed };
  }
  const making = state.phase === "making";
  if (barrier !== null && isBehind({ kind: making ? "fresh" : "resume", epoch: state.epoch }, barrier.epoch))
    throw new TailraceError("STATE_BEHIND", { state: state.epoch, seen: barrier.epoch });
  if (making) {
    return verdict.kind === "missing" ? fresh(facts, state.epoch) : { kind: "adopt", epoch: state.epoch, from: verdict.confirmed };
  }
  const problem = clusterProblem(knownCluster(state, barrier), facts.cluster, facts.systemId);
  if (problem !== null) throw problem;
  if (verdict.kind === "missing") throw slotError(slotName, verdict, expected)!;
  return { kind: "resume", epoch: state.epoch, from: verdict.confirmed };
}

/** The cluster as it was left. The state is written with acknowledgements, the barrier with every round: it is ahead. */
export function knownCluster(state: SourceState, barrier: Barrier | null): KnownCluster {
  const published = maxLsn(state.published, barrier?.epoch === state.epoch ? barrier.commitLsn : ZERO_LSN);
  return { systemIdentifier: state.systemId, timeline: state.timeline, published };
}

function fresh(facts: StartFacts, epoch = 1): Start {
  if (!facts.create) throw new TailraceError("SLOT_NOT_MADE", { slot: facts.slotName });
  return { kind: "fresh", epoch };
}

/** R-publication: throws when changes of tables that were captured before, and are still, may have passed unpublished. */
export function judgePublication(name: string, state: SourceState, now: PublicationFingerprint | null, tables: readonly TableName[]): void {
  const [change] = changesOf(name, state, now, tables);
  if (change !== undefined) throw publicationChanged(name, change);
}

/** R-publication: what a difference asks to be read again. Throws PUBLICATION_MISSING. */
export function changesOf(
  name: string,
  state: SourceState,
  now: PublicationFingerprint | null,
  tables: readonly TableName[],
): readonly PublicationChange[] {
  if (now === null) throw new TailraceError("PUBLICATION_MISSING", { publication: name });
  return publicationChanges(JSON.parse(state.publication) as PublicationFingerprint, now, tables);
}

export function publicationChanged(publication: string, { words }: PublicationChange): TailraceError {
  return new TailraceError("PUBLICATION_CHANGED", { publication, difference: words });
}

/** R-options: another set of options numbers rows anew, so nothing published may be unacknowledged then. */
export function judgeOptions(state: SourceState, barrier: Barrier | null, options: string, confirmed: Lsn): void {
  if (state.options === options || confirmed > knownCluster(state, barrier).published) return;
  throw new TailraceError("OPTIONS_CHANGED", { difference: `${state.options} → ${options}` });
}

/** The topics of a source as they are now. */
export type SeenTopics = {
  readonly prefix: string;
  /** topics.partitions. */
  readonly partitions: number;
  /** Those of the state's topics that exist, and the ranges of their partitions. */
  readonly topics: readonly Topic[];
  readonly ranges: readonly OffsetRange[];
  /** The topic of barriers, null when there is none; the offset after its last record; the last barrier in it. */
  readonly barriers: Topic | null;
  readonly barriersEnd: number;
  readonly barrier: Barrier | null;
};

/** R-routing: what the state and the last barrier say of the topics, held against the topics that are there. */
export function judgeTopics(state: SourceState, seen: SeenTopics): void {
  judgeBarriers(state, seen);
  for (const known of state.topics) {
    const topic = seen.topics.find(({ name }) => name === known.name);
    requireSame(known.name, known.id, topic ?? null);
    const { name, partitions: expected } = known;
    if (topic?.partitions !== expected) throw partitionsDiffer(name, `the topic has ${topic?.partitions}`, expected);
    if (seen.partitions !== expected) throw partitionsDiffer(name, `topics.partitions says ${seen.partitions}`, expected);
  }
  for (const { id, name, next } of seen.barrier?.topics ?? []) {
    if (!state.topics.some((topic) => topic.id === id)) continue;
    for (const [partition, offset] of next.entries()) {
      const end = seen.ranges.find((range) => range.topic === name && range.partition === partition)?.end ?? 0;
      if (end < offset) throw topicLost(name, `partition ${partition} ends at offset ${end}, ${offset} was published`);
    }
  }
}

function judgeBarriers(state: SourceState, { prefix, barriers, barriersEnd }: SeenTopics): void {
  const name = barrierTopic(prefix);
  requireSame(name, state.barriers, barriers);
  // Retention may have emptied it, but an end of 0 says that nothing was ever in it.
  if (barriersEnd === 0 && state.published > 0n) throw topicLost(name, `it is empty, ${formatLsn(state.published)} was published`);
}

/** `id`: what it was; null when that is not known. */
function requireSame(name: string, id: string | null, topic: Topic | null): void {
  if (topic === null) throw topicLost(name, "it does not exist");
  if (id !== null && topic.id !== id) throw topicLost(name, `its id is ${topic.id}, it was ${id}`);
}

function topicLost(topic: string, reason: string): TailraceError {
  return new TailraceError("TOPIC_LOST", { topic, reason });
}
