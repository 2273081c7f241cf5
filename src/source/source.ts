// One source: reads one database through one slot and makes its changes durable in the log. A session goes from nothing
// to streaming in the order that keeps the promises (publication, slot, tails, then the stream); whatever fails ends the
// whole session, and the next one begins again from what is durable.
import { barrierTopic, lastBarrier, type Barrier } from "../core/barrier.ts";
import { TailraceError } from "../core/errors.ts";
import type { EventLog, OffsetRange } from "../core/event-log.ts";
import { reach } from "../core/failpoint.ts";
import { formatLsn, ZERO_LSN, type Lsn } from "../core/lsn.ts";
import { readState, writeState, type SourceState } from "../core/source-state.ts";
import { tableLabel, type Table } from "../core/table.ts";
import { resolveTables } from "../postgres/catalog.ts";
import { ensurePublication, readPublication } from "../postgres/publication.ts";
import { missingPrivileges, readServer, readTimelineHistory, serverProblems, type ServerFacts } from "../postgres/server.ts";
import { Session, type ConnectionSettings } from "../postgres/session.ts";
import { createSlot, readSlot, type Slot } from "../postgres/slot.ts";
import { streamFingerprint } from "../postgres/stream.ts";
import type { CatalogTable } from "../postgres/table-judgement.ts";
import { needsText } from "../postgres/types.ts";
import type { SourceMemory, SourceOptions, SourceParts } from "./parts.ts";
import { judgeOptions, judgePublication, judgeStart, judgeTopics, knownCluster, type Start } from "./start.ts";
import { streamChanges } from "./streaming.ts";
import { dataTopicNames, ensureDataTopics, ensureOwnTopics, type DataTopic } from "./topics.ts";

/**
 * One session: until `stop` is aborted (what was received is made durable and acknowledged, the slot released) or an
 * error. `force` ends it at once.
 */
export async function runSource(
  options: SourceOptions,
  parts: SourceParts,
  memory: SourceMemory,
  stop: AbortSignal,
  force: AbortSignal,
): Promise<void> {
  parts.observer.state("connecting");
  const settings: ConnectionSettings = { url: options.url(), applicationName: `tailrace ${options.name}` };
  await using session = await Session.open(settings, force);
  const facts = await readServer(session);
  const database = (await session.query("SELECT current_database() AS name"))[0]?.name ?? "";
  // Before the state is read: what an inactive slot has confirmed is in the state by now, its last reader's words too.
  const slot = await readSlot(session, options.slot);
  const tables = await selectTables(options, parts, memory, session, facts, slot);
  await ensureOwnTopics(parts.log, options.topics, stop);
  const before = await readState(parts.log, options.topics.prefix, stop);
  const barrier = await lastBarrier(parts.log, options.topics.prefix, stop);
  const history = before !== null && before.timeline !== facts.timeline ? await readTimelineHistory(settings, facts.timeline, stop) : [];
  const cluster = { ...facts, history };
  const start = judgeStart({
    prefix: options.topics.prefix,
    slotName: options.slot,
    create: options.create,
    database,
    state: before,
    slot,
    cluster,
    barrier,
  });
  if (start.kind === "resume" && before !== null) await judgeBefore(options, parts.log, before, barrier, session, tables, start.from, stop);

  await using writer = await parts.log.openWriter({ name: `tailrace-${options.name}` }, stop);
  const making = beginState(options, facts, before, start);
  const topics = await ensureDataTopics(parts.log, options.topics, tables, stop);
  await refuseGaps(parts.log, before, topics, stop);
  // Before the slot exists: a slot that stands without this record is not known to be ours.
  if (start.kind === "fresh") await writeState(writer, options.topics.prefix, making, stop);
  const publication = await ensurePublication(session, { name: options.publication, tables, create: options.create });
  // What was judged before may have been dropped and made again since; the one that is streamed from is this one.
  if (start.kind === "resume" && before !== null) judgePublication(options.publication, before, publication, tables);
  const from = start.kind === "fresh" ? await createSlot(session, { name: options.slot }) : start.from;
  reach("source.after_slot");
  if (start.kind !== "resume")
    parts.logger.info(
      { slot: options.slot, lsn: formatLsn(from) },
      `${start.kind === "fresh" ? "made" : "took over"} the slot; earlier changes are not in the log`,
    );
  const state: SourceState = {
    ...making,
    number: making.number + 1,
    phase: "streaming",
    publication: JSON.stringify(publication),
    acknowledged: start.kind === "resume" ? making.acknowledged : from,
    topics: topics.map((topic) => topic.state),
  };
  await writeState(writer, options.topics.prefix, state, stop);
  const binary = !memory.text && !needsText(tables.flatMap((table: Table) => table.columns));
  await streamChanges(
    options,
    parts,
    memory,
    {
      settings,
      session,
      facts,
      database,
      tables,
      topics,
      barrier,
      cluster,
      known: knownCluster(before ?? state, barrier),
      state,
      from,
      binary,
      writer,
    },
    stop,
    force,
  );
}

/** The tables to capture; what is wrong with the server, a named table or the user's privileges is thrown, the first of it. */
async function selectTables(
  options: SourceOptions,
  parts: SourceParts,
  memory: SourceMemory,
  session: Session,
  facts: ServerFacts,
  slot: Slot | null,
): Promise<readonly CatalogTable[]> {
  const [problem] = serverProblems(facts, session.peer, slot === null && options.create);
  if (problem !== undefined) throw problem;
  const { tables, skipped, problems } = await resolveTables(session, options.selection, options.publication);
  for (const { table, reason } of skipped) {
    const label = tableLabel(table);
    if (memory.said.has(label)) continue;
    memory.said.add(label);
    parts.logger.warn({ table: label }, `not captured: ${reason}`);
  }
  const exists = (await readPublication(session, options.publication, tables)) !== null;
  const [refused] = [...problems, ...(await missingPrivileges(session, facts, tables, options.create && !exists))];
  if (refused !== undefined) throw refused;
  dataTopicNames(options.topics, tables);
  return tables;
}

/** R-publication, R-options, R-routing: holds what a source that resumes has published against what is there now. Throws the named error of a gap. */
export async function judgeBefore(
  options: SourceOptions,
  log: EventLog,
  state: SourceState,
  barrier: Barrier | null,
  session: Session,
  tables: readonly CatalogTable[],
  confirmed: Lsn,
  signal: AbortSignal,
): Promise<void> {
  judgePublication(options.publication, state, await readPublication(session, options.publication, tables), tables);
  judgeOptions(state, barrier, streamFingerprint(options.publication), confirmed);
  const captured = state.topics.filter(({ table }) => tables.some(({ schema, name }) => schema === table.schema && name === table.name));
  const found = await log.topics(
    captured.map(({ name }) => name),
    signal,
  );
  const barrierEnd = (await log.offsets(barrierTopic(options.topics.prefix), signal))[0]?.end ?? 0;
  const ranges: OffsetRange[] = [];
  for (const { name } of found) ranges.push(...(await log.offsets(name, signal)));
  judgeTopics({ ...state, topics: captured }, options.topics.partitions, found, barrier, ranges, barrierEnd);
}

/** A table that is new to this source must not have events already: what happened since the last of them was not captured. */
async function refuseGaps(log: EventLog, before: SourceState | null, topics: readonly DataTopic[], signal: AbortSignal): Promise<void> {
  for (const { topic, state } of topics) {
    if (before?.topics.some(({ id }) => id === topic.id) === true) continue;
    const ranges = await log.offsets(topic.name, signal);
    if (ranges.some(({ end }) => end > 0)) throw new TailraceError("TABLE_GAP", { topic: topic.name, table: tableLabel(state.table) });
  }
}

/** The first record of this session: it has merged everything before it. */
function beginState(options: SourceOptions, facts: ServerFacts, before: SourceState | null, start: Start): SourceState {
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
    published: before?.published ?? ZERO_LSN,
    topics: before?.topics ?? [],
  };
}
