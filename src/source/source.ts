// One source: reads one database through one slot and makes its changes durable in the log. A session goes from nothing
// to streaming in the order that keeps the promises (publication, slot, tails, then the stream); whatever fails ends the
// whole session, and the next one begins again from what is durable.
import { barrierTopic } from "../core/barrier.ts";
import { TailraceError } from "../core/errors.ts";
import { reach } from "../core/failpoint.ts";
import { formatLsn, ZERO_LSN, type Lsn } from "../core/lsn.ts";
import { stateTopic, stateTopicSpec, versionOf, writeState, type ParkedTable, type SourceState } from "../core/source-state.ts";
import { tableLabel, type Table } from "../core/table.ts";
import type { TableLayout } from "../core/table-layout.ts";
import { composites, shapesOf, untoldUpTo } from "../postgres/composites.ts";
import { readLayouts, type SeenLayout } from "../postgres/layout.ts";
import { compareFingerprints, dropPublication, ensurePublication, type PublicationFingerprint } from "../postgres/publication.ts";
import type { ServerFacts } from "../postgres/server.ts";
import { Session, type ConnectionSettings } from "../postgres/session.ts";
import { createSlot, dropSlot, slotPatienceMs, walOf } from "../postgres/slot.ts";
import { streamFingerprint } from "../postgres/stream.ts";
import type { CatalogTable } from "../postgres/table-judgement.ts";
import { needsText } from "../postgres/types.ts";
import type { SourceMemory, SourceOptions, SourceParts } from "./parts.ts";
import { initialSnapshots } from "./initial-snapshots.ts";
import { findBeginning, findObstacles, seeDatabase, type Beginning, type SeenDatabase } from "./past.ts";
import { sayAltered, sayOverlooked, saySkipped } from "./new-tables.ts";
import { firstLayouts } from "./silent-changes.ts";
import { isGap, knownCluster, type Start } from "./start.ts";
import { streamChanges } from "./streaming.ts";
import { ensureDataTopics, ensureOwnTopics, ensureParkedTopic, smallStateTopic, type DataTopic } from "./topics.ts";

/**
 * Sessions, one after the other while each ends for a table's next version (R-version), which the next one then has: until `stop` is aborted (what was received is made durable and acknowledged, the slot released), an
 * error, or, with snapshot.mode initial_only, the end of the snapshots. `force` ends it at once. Throws GAP_FOUND for a
 * gap that showed while it streamed, where the next session heals it.
 */
export async function runSource(
  options: SourceOptions,
  parts: SourceParts,
  memory: SourceMemory,
  stop: AbortSignal,
  force: AbortSignal,
): Promise<void> {
  for (;;) {
    try {
      return await healing(options, parts, memory, stop, force);
    } catch (cause) {
      const isVersion = cause instanceof TailraceError && cause.code === "TABLE_VERSIONED";
      if (!isVersion || stop.aborted || force.aborted) throw cause;
    }
  }
}

async function healing(
  options: SourceOptions,
  parts: SourceParts,
  memory: SourceMemory,
  stop: AbortSignal,
  force: AbortSignal,
): Promise<void> {
  /** What is refused before is not healed by another session either: it would find the same. */
  const judged = { past: false };
  try {
    await runSession(options, parts, memory, () => (judged.past = true), stop, force);
  } catch (cause) {
    const error = TailraceError.from(cause);
    if (force.aborted || stop.aborted || options.snapshot.mode === "no_data" || !isGap(error) || !judged.past) throw cause;
    // What the next session would not see: PostgreSQL before 18 can't decode what stands before a publication was made, though
    // it is there again, and by then the WAL may have grown past the events that it does not have.
    if (error.code === "PUBLICATION_MISSING" || error.code === "WAL_REWOUND") memory.found = error;
    throw new TailraceError("GAP_FOUND", { reason: error.message }, { cause: error });
  }
}

async function runSession(
  options: SourceOptions,
  parts: SourceParts,
  memory: SourceMemory,
  /** The past is judged, and a beginning found. */
  begun: () => void,
  stop: AbortSignal,
  force: AbortSignal,
): Promise<void> {
  parts.observer.state("connecting");
  const settings: ConnectionSettings = { url: options.url(), applicationName: `tailrace ${options.name}` };
  await using session = await Session.open(settings, force);
  const seen = await seeDatabase(options, session);
  const { facts, tables } = seen;
  saySkipped(parts.logger, memory.said, seen.skipped);
  sayOverlooked(parts.logger, memory.said, seen.overlooked);
  sayWal(parts, seen);
  const beginning = await findBeginning(options, parts.log, parts.registry, settings, seen, memory, stop);
  const { start, state: before, barrier, cluster } = beginning;
  begun();
  if (isOver(options, before)) {
    if (options.create) await dropOwn(options, parts, session); // else a slot of a process that died before this keeps WAL for good
    return;
  }
  const captured = new Set(before?.layouts.map(({ oid }) => oid));
  const wronglyAsked = sayAltered(parts.logger, memory.said, seen.wronglyAsked, captured);
  const [obstacle] = await findObstacles(options, session, { ...seen, wronglyAsked }, before?.versions ?? []);
  if (obstacle !== undefined) throw obstacle;

  const { prefix } = options.topics;
  const own = await ensureOwnTopics(parts.log, options.topics, stop);
  await saySmallState(parts, memory, options, stop);
  const barriers = own.find(({ name }) => name === barrierTopic(prefix))?.id ?? null;
  await using writer = await parts.log.openWriter({ name: `tailrace-${options.name}` }, stop);
  const snapshots = snapshotsOf(options, memory, beginning, tables);
  const layouts = await readLayouts(
    session,
    tables.map(({ oid }) => oid),
  );
  const acknowledged = before?.acknowledged ?? ZERO_LSN;
  const known = before?.layouts ?? [];
  const making = beginState(
    options,
    facts,
    beginning,
    { snapshots, layouts: firstLayouts(known, layouts, { snapshots, acknowledged }) },
    barriers,
  );
  const topics = await ensureDataTopics(parts.log, options.topics, tables, making.versions, stop);
  reach("source.after_version_topic");
  // Before the slot exists: a slot that stands without this record is not known to be ours.
  if (start.kind === "fresh" || start.kind === "renew") await writeState(writer, prefix, making, stop);
  const publication = await ensurePublication(session, { name: options.publication, tables, create: options.create });
  refuseChange(options.publication, seen.publication, publication, tables);
  const made = start.kind === "fresh" || start.from === null;
  if (start.kind === "renew" && made) await dropSlot(session, options.slot);
  const from = !made ? start.from : options.temporary === true ? null : await makeSlot(session, options.slot, memory);
  memory.found = null;
  memory.begun = true;
  reach("source.after_slot");
  sayBeginning(parts, options, beginning, from);
  const state: SourceState = {
    ...making,
    number: making.number + 1,
    phase: "streaming",
    publication: JSON.stringify(publication),
    acknowledged: start.kind === "resume" || from === null ? making.acknowledged : from,
    topics: topics.map((topic) => topic.state),
    retired: await retiredNow(parts, making, topics, stop),
    parked: await parkedNow(options, parts, making, topics, stop),
  };
  const binary = !memory.text && !needsText(tables.flatMap((table: Table) => table.columns));
  const isRead = await streamChanges(
    options,
    parts,
    memory,
    {
      settings,
      session,
      facts,
      tables,
      topics,
      barrier,
      cluster,
      untold: untoldRows(start, known, layouts, tables, acknowledged),
      known: knownCluster(start.kind === "resume" ? (before ?? state) : state, barrier),
      state,
      from,
      binary,
      writer,
      resumed: start.kind === "resume",
    },
    stop,
    force,
  );
  if (isRead && options.create) await dropOwn(options, parts, session);
}

/** R-park: the tables that are parked still; a topic that was made anew since has nothing of them. */
async function parkedNow(
  { topics: options }: SourceOptions,
  { log }: SourceParts,
  before: SourceState,
  topics: readonly DataTopic[],
  signal: AbortSignal,
): Promise<SourceState["parked"]> {
  const kept: ParkedTable[] = [];
  for (const parked of before.parked) {
    const own = topics.find(({ state }) => tableLabel(state.table) === tableLabel(parked.table));
    if (own === undefined) continue; // not captured any more: should it be again, it is read anew
    const { topic } = await ensureParkedTopic(log, options, own.topic.name, signal);
    const isSame = before.topics.some(({ id }) => id === own.topic.id);
    const zeros = Array.from({ length: own.topic.partitions }, () => 0);
    kept.push({
      ...parked,
      ...(topic.id === parked.topic.id ? {} : { topic, from: zeros }),
      ...(isSame ? {} : { ownFrom: zeros }),
    });
  }
  return kept;
}

/** R-version: the topics of versions before, but for those that an operator has deleted. */
async function retiredNow(
  { log }: SourceParts,
  { topics: before, retired, versions }: SourceState,
  topics: readonly DataTopic[],
  signal: AbortSignal,
): Promise<SourceState["retired"]> {
  const left = before.filter((topic) => (topic.version ?? 1) < versionOf(versions, topic.table));
  const all = [...retired, ...left].filter(({ id }, at, list) => list.findIndex((each) => each.id === id) === at);
  const former = all.filter(({ id }) => !topics.some(({ state }) => state.id === id));
  const names = former.map(({ name }) => name);
  const found = names.length === 0 ? [] : await log.topics(names, signal);
  return former.filter(({ id }) => found.some((topic) => topic.id === id));
}

async function dropOwn({ slot, publication }: SourceOptions, { logger }: SourceParts, session: Session): Promise<void> {
  await dropSlot(session, slot);
  await dropPublication(session, publication);
  logger.info({ slot }, "everything is read (snapshot.mode initial_only): slot and publication are dropped");
}

async function makeSlot(session: Session, name: string, memory: SourceMemory): Promise<Lsn> {
  try {
    const from = await createSlot(session, { name, timeoutMs: slotPatienceMs(memory.slotWaits) });
    memory.slotWaits = 0;
    return from;
  } catch (error) {
    if (error instanceof TailraceError && error.code === "SLOT_WAITS") memory.slotWaits += 1;
    throw error;
  }
}

/** What was judged may have been dropped and made again since; the one that is streamed from is the one seen last. */
function refuseChange(
  name: string,
  seen: PublicationFingerprint | null,
  now: PublicationFingerprint,
  tables: readonly CatalogTable[],
): void {
  const change = seen === null ? null : compareFingerprints(seen, now, tables);
  if (change !== null) throw new TailraceError("STREAM_LOST", { reason: `publication ${name} is being changed: ${change}` });
}

/** While a source waits for its log or its registry nobody watches what the server keeps for it: each try says so. */
function sayWal({ observer }: SourceParts, { facts, slot }: SeenDatabase): void {
  if (slot?.database !== facts.database) return;
  observer.wal(...walOf(slot, facts.walEnd));
}

function sayBeginning({ logger }: SourceParts, options: SourceOptions, { start, gaps }: Beginning, from: Lsn | null): void {
  const { slot, snapshot, temporary = false } = options;
  for (const gap of gaps) {
    if (temporary && gap.code === "SLOT_MISSING")
      logger.info({ slot }, "the temporary slot went with its connection: every table is read again");
    else logger.warn(gap.toJSON(), "a gap: the tables concerned are read again");
  }
  if (start.kind === "resume" || from === null) return;
  const made = start.kind === "adopt" ? "took over the slot" : start.kind === "renew" ? `begins epoch ${start.epoch}` : "made the slot";
  logger.info({ slot, lsn: formatLsn(from) }, snapshot.mode === "no_data" ? `${made}; earlier changes are not in the log` : made);
}

/**
 * By a table's OID, where there are any: rows up to here may be of a composite's former shape, and don't tell. A slot that is made now has
 * no row of before the catalogs were read.
 */
function untoldRows(
  start: Start,
  known: readonly TableLayout[],
  seen: readonly SeenLayout[],
  tables: readonly CatalogTable[],
  acknowledged: Lsn,
): ReadonlyMap<number, Lsn> {
  if (start.kind !== "resume") return new Map();
  return new Map(
    tables.map((table) => {
      const lsn = seen.find(({ oid }) => oid === table.oid)?.lsn ?? "0/0";
      const before = known.find(({ oid }) => oid === table.oid)?.composites;
      return [table.oid, untoldUpTo(composites(before, shapesOf(table), lsn, acknowledged))];
    }),
  );
}

/** snapshot.mode initial_only, and all is read. */
function isOver({ snapshot }: SourceOptions, before: SourceState | null): boolean {
  return snapshot.mode === "initial_only" && before?.phase === "over";
}

function snapshotsOf(
  { snapshot }: SourceOptions,
  memory: SourceMemory,
  { state, start, gaps, concerned }: Beginning,
  tables: readonly CatalogTable[],
): SourceState["snapshots"] {
  const gap = gaps.map(({ message }) => message).join("; ");
  return initialSnapshots({ mode: snapshot.mode, tables, state, start, concerned, gap, first: !memory.begun });
}

/** The first record of this session: it has merged everything before it. `barriers`: the topic's id. */
function beginState(
  options: SourceOptions,
  facts: ServerFacts,
  { state: before, start }: Beginning,
  { snapshots, layouts }: Pick<SourceState, "snapshots" | "layouts">,
  barriers: string | null,
): SourceState {
  return {
    generation: (before?.generation ?? 0) + 1,
    number: 1,
    epoch: start.epoch,
    systemId: facts.systemIdentifier,
    timeline: facts.timeline,
    slot: options.slot,
    phase: "making",
    options: streamFingerprint(options.publication),
    publication: "",
    acknowledged: start.kind === "resume" && before !== null ? before.acknowledged : ZERO_LSN,
    published: start.kind === "resume" && before !== null ? before.published : ZERO_LSN,
    barriers,
    topics: before?.topics ?? [],
    snapshots,
    layouts,
    parked: before?.parked ?? [],
    versions: before?.versions ?? [],
    retired: before?.retired ?? [],
  };
}

/** A state that is too large for its topic stops the source: said before there is one, once a process. */
async function saySmallState(
  { log, logger }: SourceParts,
  { said }: SourceMemory,
  { topics }: SourceOptions,
  signal: AbortSignal,
): Promise<void> {
  const topic = stateTopic(topics.prefix);
  // Who may not ask is not kept from starting by that.
  const bytes = said.has(topic) ? null : await smallStateTopic(log, topics, signal).catch(() => null);
  if (bytes === null) return;
  said.add(topic);
  const { configs } = stateTopicSpec(topics.prefix, topics.replication);
  logger.warn(
    { topic, bytes },
    `large snapshots may outgrow the topic of states: set its max.message.bytes to ${configs["max.message.bytes"]}`,
  );
}
