// What a source finds before it begins: its database as it is now, and its own past in the log. Reads only; `check` looks
// at the same. What it refuses here is a gap, and comes before whatever else is wrong: an obstacle would hide it.
import { barrierTopic, lastBarrier, type Barrier } from "../core/barrier.ts";
import { TailraceError } from "../core/errors.ts";
import type { EventLog, OffsetRange, Topic } from "../core/event-log.ts";
import { topicName } from "../core/naming.ts";
import type { SchemaRegistry } from "../core/schema-registry.ts";
import { readState, stateTopic, type SourceState, type VersionedTable } from "../core/source-state.ts";
import { tableLabel, type TableName } from "../core/table.ts";
import { resolveTables, type ResolvedTables } from "../postgres/catalog.ts";
import { publicationProblem, readPublication, unpublished, type PublicationFingerprint } from "../postgres/publication.ts";
import { missingPrivileges, readServer, readTimelineHistory, serverProblems, wrongServer, type ServerFacts } from "../postgres/server.ts";
import type { ConnectionSettings, Session } from "../postgres/session.ts";
import { readSlot, type Slot } from "../postgres/slot.ts";
import { streamFingerprint } from "../postgres/stream.ts";
import type { SeenCluster } from "../postgres/timeline.ts";
import type { SourceMemory, SourceOptions } from "./parts.ts";
import {
  anotherCluster,
  changesOf,
  isBehind,
  judgeOptions,
  judgeStart,
  judgeTopics,
  publicationChanged,
  renewal,
  type Start,
} from "./start.ts";
import { lastEpoch } from "./tails.ts";
import { dataTopicNames, namingProblems, parkedTopicName } from "./topics.ts";

/** A source's database as it is now. */
export type SeenDatabase = ResolvedTables & {
  readonly facts: ServerFacts;
  readonly slot: Slot | null;
  /** As it bears on the tables; null: there is none. */
  readonly publication: PublicationFingerprint | null;
};

/** Throws SERVER_TOO_OLD, NOT_PRIMARY, DATABASE_UNREACHABLE. */
export async function seeDatabase(options: SourceOptions, session: Session): Promise<SeenDatabase> {
  const first = await readServer(session);
  const wrong = wrongServer(first, session.peer);
  if (wrong !== null) throw wrong;
  const slot = await readSlot(session, options.slot);
  // Again: whoever had the slot until now may have published beyond the end of the WAL that was seen before.
  const facts = await readServer(session);
  const resolved = await resolveTables(session, options.selection, options.publication);
  const publication = await readPublication(session, options.publication, resolved.tables);
  return { ...resolved, facts, slot, publication };
}

/** What keeps the source from working though nothing is lost, every part of it: of the server, the tables, the publication, the user's privileges. */
export async function findObstacles(
  options: SourceOptions,
  session: Session,
  seen: SeenDatabase,
  versions: readonly VersionedTable[],
): Promise<readonly TailraceError[]> {
  const { facts, slot, publication, tables } = seen;
  const plan = { name: options.publication, tables, create: options.create };
  const unserved = publicationProblem(plan, publication);
  const lacking = unpublished(plan, publication);
  const publishes = options.create && unserved === null && (publication === null || lacking.length > 0);
  const publishing = publishes ? { publication: options.publication, exists: publication !== null, tables: lacking } : null;
  return [
    ...serverProblems(facts, slot === null && options.create),
    ...seen.problems,
    ...seen.wronglyAsked.map(({ error }) => error),
    ...namingProblems(options.topics, tables, versions),
    ...(unserved === null ? [] : [unserved]),
    ...(await missingPrivileges(session, facts, publishing)),
  ];
}

/** How a source begins, and what the log remembers of it. */
export type Beginning = {
  readonly start: Start;
  readonly state: SourceState | null;
  readonly barrier: Barrier | null;
  readonly cluster: SeenCluster;
  /** What was lost, in the order in which it was found. Empty where no snapshots are made: there a gap is thrown. */
  readonly gaps: readonly TailraceError[];
  /** Tables that have to be read again for it; null: all. */
  readonly concerned: readonly TableName[] | null;
};

/**
 * R-slot, R-publication, R-options, R-routing, R-epoch: holds the source's past against what is there now. `seen` must
 * be older than this call: what an inactive slot has confirmed is then in the state, its last reader's words too. `log`
 * null: there is none yet. `registry` null: events aren't looked at. `memory`: what an earlier session of this process found. Throws the named error of a gap
 * where no snapshot may heal it, and SLOT_ACTIVE, SLOT_FOREIGN, SLOT_NOT_MADE.
 */
export async function findBeginning(
  options: SourceOptions,
  log: EventLog | null,
  registry: SchemaRegistry | null,
  settings: ConnectionSettings,
  seen: SeenDatabase,
  memory: Pick<SourceMemory, "epochSeen" | "found">,
  signal: AbortSignal,
): Promise<Beginning> {
  const { facts, slot } = seen;
  const { prefix } = options.topics;
  const state = log === null ? null : await readState(log, prefix, signal);
  const [barriers = null] = log === null ? [] : await log.topics([barrierTopic(prefix)], signal);
  const barrier = log === null || barriers === null ? null : await lastBarrier(log, prefix, signal);
  const history = state !== null && state.timeline !== facts.timeline ? await readTimelineHistory(settings, facts.timeline, signal) : [];
  const cluster = { ...facts, history };
  const { slot: slotName, create, publication } = options;
  const heals = options.snapshot.mode !== "no_data";
  const gaps: TailraceError[] = [];
  const concerned: TableName[] = [];
  /** Of a start that does not go on: sinks must never read a state whose epoch is below that of the events. */
  const epochOfEvents = async (): Promise<number> => {
    if (log === null || registry === null) return memory.epochSeen;
    return Math.max(memory.epochSeen, await lastEpoch(log, registry, await eventTopics(options, log, state, seen.tables, signal), signal));
  };
  try {
    const other = anotherCluster(state, cluster, options.systemId);
    if (other !== null) throw other;
    if (memory.found !== null && heals) throw memory.found;
    const start = judgeStart({
      prefix,
      slotName,
      create,
      database: facts.database,
      state,
      slot,
      cluster,
      systemId: options.systemId,
      barrier,
    });
    const epochSeen = start.kind === "resume" ? memory.epochSeen : await epochOfEvents();
    if (isBehind(start, epochSeen)) throw behind(prefix, state, epochSeen);
    if (log !== null && state !== null && start.kind === "resume") {
      for (const change of changesOf(publication, state, seen.publication, seen.tables)) {
        const gap = publicationChanged(publication, change);
        if (!heals || change.table === null) throw gap;
        gaps.push(gap);
        concerned.push(change.table);
      }
      judgeOptions(state, barrier, streamFingerprint(publication), start.from);
      await judgeLog(options, log, { state, barriers, barrier }, seen.tables, signal);
    }
    for (const { gap, table } of log === null ? [] : await tableGaps(options, log, state, seen.tables, signal)) {
      if (!heals) throw gap;
      gaps.push(gap);
      concerned.push(table);
    }
    return { start, state, barrier, cluster, gaps, concerned };
  } catch (cause) {
    const gap = TailraceError.from(cause);
    if (!heals || log === null || renewal(gap, slot, create, 0) === null) throw cause;
    const start = renewal(gap, slot, create, Math.max(state?.epoch ?? 0, barrier?.epoch ?? 0, await epochOfEvents()))!;
    return { start, state, barrier, cluster, gaps: [gap, ...gaps], concerned: null };
  }
}

function behind(prefix: string, state: SourceState | null, seen: number): TailraceError {
  return state === null
    ? new TailraceError("STATE_MISSING", { topic: stateTopic(prefix), evidence: `the topics of its tables are of epoch ${seen}` })
    : new TailraceError("STATE_BEHIND", { state: state.epoch, seen });
}

/** The topics that hold events of this source: of the tables that it captures now, and of those that its state knows. */
async function eventTopics(
  { topics: options }: SourceOptions,
  log: EventLog,
  state: SourceState | null,
  tables: readonly TableName[],
  signal: AbortSignal,
): Promise<readonly string[]> {
  const names = new Set([...(state?.topics ?? []), ...(state?.retired ?? [])].map(({ name }) => name));
  const versions = state?.versions ?? [];
  if (namingProblems(options, tables, versions).length > 0) return (await log.topics([...names], signal)).map(({ name }) => name);
  for (const name of dataTopicNames(options, tables, versions)) names.add(name).add(parkedTopicName(name));
  const found = (await log.topics([...names], signal)).map(({ name }) => name);
  return state === null ? [...found, ...(await versionTopics(options.prefix, log, tables, signal))] : found;
}

/** R-version: a state that is lost says no more which versions there were. */
async function versionTopics(prefix: string, log: EventLog, tables: readonly TableName[], signal: AbortSignal): Promise<readonly string[]> {
  const all: string[] = [];
  for (let version = 2; ; version++) {
    const names = tables.map((table) => topicName(prefix, table, version));
    const found = await log.topics(names, signal);
    if (found.length === 0) return all;
    all.push(...found.map(({ name }) => name));
  }
}

/** Tables that are new to this source and have events already: what happened since the last of them was not captured. */
export async function tableGaps(
  options: SourceOptions,
  log: EventLog,
  state: SourceState | null,
  tables: readonly TableName[],
  signal: AbortSignal,
): Promise<readonly { readonly gap: TailraceError; readonly table: TableName }[]> {
  const versions = state?.versions ?? [];
  if (namingProblems(options.topics, tables, versions).length > 0) return []; // said as an obstacle
  const gaps: { gap: TailraceError; table: TableName }[] = [];
  const names = dataTopicNames(options.topics, tables, versions);
  for (const { name, id } of await log.topics(names, signal)) {
    if (state?.topics.some((known) => known.id === id) === true) continue;
    const ranges = await log.offsets(name, signal);
    const table = tables[names.indexOf(name)]!;
    if (ranges.some(({ end }) => end > 0))
      gaps.push({ gap: new TailraceError("TABLE_GAP", { topic: name, table: tableLabel(table) }), table });
  }
  return gaps;
}

/** R-routing, for the tables that are captured still. */
async function judgeLog(
  options: SourceOptions,
  log: EventLog,
  past: { readonly state: SourceState; readonly barriers: Topic | null; readonly barrier: Barrier | null },
  tables: readonly TableName[],
  signal: AbortSignal,
): Promise<void> {
  const { prefix, partitions } = options.topics;
  const { state, barriers, barrier } = past;
  const parked = state.parked.map(({ topic, table }) => ({ ...topic, table }));
  const known = [...state.topics, ...parked].filter(({ table }) =>
    tables.some(({ schema, name }) => schema === table.schema && name === table.name),
  );
  const topics = await log.topics(
    known.map(({ name }) => name),
    signal,
  );
  const ranges: OffsetRange[] = [];
  for (const { name } of topics) ranges.push(...(await log.offsets(name, signal)));
  const barriersEnd = barriers === null ? 0 : ((await log.offsets(barriers.name, signal))[0]?.end ?? 0);
  judgeTopics({ ...state, topics: known }, { prefix, partitions, topics, ranges, barriers, barriersEnd, barrier });
}
