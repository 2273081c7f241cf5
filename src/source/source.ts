// One source: reads one database through one slot and makes its changes durable in the log. A session goes from nothing
// to streaming in the order that keeps the promises (publication, slot, tails, then the stream); whatever fails ends the
// whole session, and the next one begins again from what is durable.
import { barrierTopic } from "../core/barrier.ts";
import { reach } from "../core/failpoint.ts";
import { formatLsn, ZERO_LSN } from "../core/lsn.ts";
import { writeState, type SourceState } from "../core/source-state.ts";
import { tableLabel, type Table } from "../core/table.ts";
import type { ResolvedTables } from "../postgres/catalog.ts";
import { ensurePublication } from "../postgres/publication.ts";
import type { ServerFacts } from "../postgres/server.ts";
import { Session, type ConnectionSettings } from "../postgres/session.ts";
import { createSlot } from "../postgres/slot.ts";
import { streamFingerprint } from "../postgres/stream.ts";
import { needsText } from "../postgres/types.ts";
import type { SourceMemory, SourceOptions, SourceParts } from "./parts.ts";
import { findBeginning, findObstacles, seeDatabase } from "./past.ts";
import { judgePublication, knownCluster, type Start } from "./start.ts";
import { streamChanges } from "./streaming.ts";
import { ensureDataTopics, ensureOwnTopics } from "./topics.ts";

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
  const seen = await seeDatabase(options, session);
  const { facts, tables } = seen;
  saySkipped(parts, memory, seen);
  const { start, state: before, barrier, cluster } = await findBeginning(options, parts.log, settings, seen, stop);
  const [obstacle] = await findObstacles(options, session, seen);
  if (obstacle !== undefined) throw obstacle;

  const { prefix } = options.topics;
  const own = await ensureOwnTopics(parts.log, options.topics, stop);
  const barriers = own.find(({ name }) => name === barrierTopic(prefix))?.id ?? null;
  await using writer = await parts.log.openWriter({ name: `tailrace-${options.name}` }, stop);
  const making = beginState(options, facts, before, start, barriers);
  const topics = await ensureDataTopics(parts.log, options.topics, tables, stop);
  // Before the slot exists: a slot that stands without this record is not known to be ours.
  if (start.kind === "fresh") await writeState(writer, prefix, making, stop);
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
  await writeState(writer, prefix, state, stop);
  const binary = !memory.text && !needsText(tables.flatMap((table: Table) => table.columns));
  await streamChanges(
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

/** What a glob leaves out, once a process. */
function saySkipped({ logger }: SourceParts, memory: SourceMemory, { skipped }: Pick<ResolvedTables, "skipped">): void {
  for (const { table, reason } of skipped) {
    const label = tableLabel(table);
    if (memory.said.has(label)) continue;
    memory.said.add(label);
    logger.warn({ table: label }, `not captured: ${reason}`);
  }
}

/** The first record of this session: it has merged everything before it. `barriers`: the topic's id. */
function beginState(
  options: SourceOptions,
  facts: ServerFacts,
  before: SourceState | null,
  start: Start,
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
    published: before?.published ?? ZERO_LSN,
    barriers,
    topics: before?.topics ?? [],
  };
}
