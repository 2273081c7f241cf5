// The streaming part of a session. The slot comes first: while it is ours nobody else publishes, so the tails that are
// read then stay true. Then changes in, acknowledgements out, until the end.
import { barrierTopic } from "../core/barrier.ts";
import { TailraceError } from "../core/errors.ts";
import type { Topic } from "../core/event-log.ts";
import { formatLsn, parseLsn } from "../core/lsn.ts";
import { pause } from "../core/pause.ts";
import type { Sequence } from "../core/sequence.ts";
import type { SourceState } from "../core/source-state.ts";
import { tableLabel, type Table, type TableName } from "../core/table.ts";
import { openStream } from "../postgres/stream.ts";
import { clusterProblem } from "../postgres/timeline.ts";
import { Acknowledger } from "./acknowledger.ts";
import { countedOps, highestWatermark, type CapturedTable, type CountedOp } from "./captured-table.ts";
import { CapturedTables } from "./captured-tables.ts";
import { Changes } from "./changes.ts";
import type { SnapshotRequest } from "./control.ts";
import { deadLetterTopic, encodeDeadLetter, readLetters, type KnownLetters, type SourceDeadLetter } from "./dead-letters.ts";
import type { Prepared, SourceMemory, SourceOptions, SourceParts } from "./parts.ts";
import { Parking } from "./parking.ts";
import type { PartitionBuffer } from "./partition-buffers.ts";
import { Publisher, type PublishedRound } from "./publisher.ts";
import { beginSnapshot, newSnapshots, runSnapshots, versionSnapshots } from "./session-snapshots.ts";
import type { Snapshots } from "./snapshots.ts";
import { lookForSilentChanges } from "./silent-changes.ts";
import { isBehind, knownCluster } from "./start.ts";
import type { Refusals } from "./refusals.ts";
import { higherTails, readTails, type Tail } from "./tails.ts";
import { DEFAULT_MESSAGE_BYTES, type DataTopic } from "./topics.ts";
import { Unparking } from "./unparking.ts";
import { Versioning } from "./versioning.ts";
import { watchSource } from "./watch.ts";

/** Why the stream is not read. */
type HeldFor = "start" | "log" | "relation" | "snapshot" | "end";

/** What the session waits for after its end for a look that is under way, ms; closing its connection ends the look. */
const WATCH_END_MS = 200;

/** Resolves after a graceful stop, or (true) when snapshot.mode initial_only has read all; throws the error that ended the stream. */
export async function streamChanges(
  options: SourceOptions,
  parts: SourceParts,
  memory: SourceMemory,
  prepared: Prepared,
  stop: AbortSignal,
  force: AbortSignal,
): Promise<boolean> {
  const { settings, facts, binary } = prepared;
  const { slot, publication } = options;
  const inbox = new Inbox();
  const { promise: failed, reject: fail } = failure();
  await using stream = await openStream(
    {
      connection: settings,
      slot,
      publication,
      from: prepared.from,
      binary,
      walSenderTimeoutMs: facts.walSenderTimeoutMs,
      onMessage: (bytes, start, end, walHigh, walLow) => inbox.take(bytes, start, end, walHigh, walLow),
      onKeepalive: (walEnd) => {
        if (inbox.changes?.busy === false) publisher.keepalive(walEnd);
      },
    },
    force,
  );
  const pausedBy = new Set<HeldFor>();
  const hold = (reason: HeldFor, on: boolean): void => {
    if (on) pausedBy.add(reason);
    else pausedBy.delete(reason);
    if (on) stream.pause();
    else if (pausedBy.size === 0) stream.resume();
  };
  hold("start", true);
  const { from } = stream;

  const counters = prepared.tables.flatMap((table) => countedOps.map((op) => ({ table: tableLabel(table), op })));
  const publisher: Publisher = new Publisher({
    writer: prepared.writer,
    prefix: options.topics.prefix,
    epoch: prepared.state.epoch,
    acknowledged: from,
    published: knownCluster(prepared.state, prepared.barrier).published,
    counters: counters.length + 1,
    barrierEnd: (await parts.log.offsets(barrierTopic(options.topics.prefix), force))[0]?.end ?? 0,
    signal: force,
    events: {
      backpressure: (on) => hold("log", on),
      published: (round) => reportRound(parts, counters, round, publisher.bytesInFlight),
      progress: () => {
        snapshots?.published(publisher.published);
        acks.request();
      },
      announced: (ends) => snapshots?.announced(ends),
      failed: fail,
    },
  });
  const snapshots = newSnapshots(options, parts, prepared, publisher, (table) => parking.find(table) !== null);
  const acks = new Acknowledger({
    publisher,
    stream,
    writer: prepared.writer,
    prefix: options.topics.prefix,
    state: prepared.from === null ? { ...prepared.state, acknowledged: from } : prepared.state,
    from,
    signal: force,
    snapshots: () => snapshots?.records() ?? null,
    acknowledged: (lsn) => parts.observer.acknowledged(lsn),
    failed: fail,
  });
  const parking = new Parking({
    options,
    parts,
    parked: prepared.state.parked,
    topics: prepared.topics.map(({ topic }) => topic.name),
    publisher,
    save: async (change) => acks.save(change),
    signal: force,
  });
  const versioning = new Versioning({
    options,
    parts,
    versions: prepared.state.versions,
    tables: prepared.tables,
    publisher,
    save: async (change) => acks.save(change),
    signal: force,
  });
  const refusals = { parking, versioning, snapshots: versionSnapshots(snapshots, prepared.session) };
  const known = await readLetters(parts.log, options.topics.prefix, force);
  await using tables = await captureTables(options, parts, memory, prepared, publisher, refusals, known, force);
  await acks.save(); // R-epoch: only now may a process that follows go on in this epoch
  const letters = await letterBuffer(options, parts, publisher, force);
  const changes = new Changes({
    publisher,
    epoch: prepared.state.epoch,
    tombstones: options.topics.tombstones,
    highestTail: tailOf(tables.all, prepared.state.epoch),
    lettersTail: known.tail,
    startedAt: from,
    resolve: (...message) => tables.resolve(...message),
    stalled: (on) => hold("relation", on),
    lookAtShapes: async () => tables.lookAtShapes(),
    failed: fail,
    snapshots,
    deadLetter: (letter) => {
      appendLetter(letter, letters, publisher, counters.length);
      parts.observer.deadLetter(letter.error.code);
      parts.logger.warn({ ...letter.error.toJSON(), sequence: letter.sequence, op: letter.op }, "dead letter");
    },
    renew: (captured) => tables.find(captured.label),
  });
  tables.interruptBy(changes);
  inbox.open(changes);
  hold("start", false);
  parts.observer.state("streaming");
  parts.logger.info({ slot, lsn: formatLsn(from), protocol: binary ? "binary" : "text" }, "streaming");

  const over = new AbortController();
  const lag = { bytes: 0, retained: 0 };
  const { session } = prepared;
  const begin =
    snapshots === null
      ? null
      : (request: SnapshotRequest, reason: string) => beginSnapshot({ snapshots, tables, captured: prepared.tables }, request, reason);
  const look = {
    session,
    logger: parts.logger,
    state: () => acks.state,
    save: async (change: Pick<SourceState, "layouts">) => acks.save(change),
    begin,
  };
  const ending = aborted(over.signal, over.signal).then(() => {
    throw new TailraceError("SOURCE_NOT_STREAMING", { source: options.name, state: "ending" });
  });
  ending.catch(() => undefined);
  const unparking = new Unparking({
    options,
    parts,
    publisher,
    tables,
    parking,
    session,
    snapshots,
    signal: AbortSignal.any([force, over.signal]),
  });
  parts.control({
    requestSnapshot: async (requests, reason) => {
      if (begin === null) throw new TailraceError("UNEXPECTED", { reason: "this source makes no snapshots" });
      for (const request of requests) begin(request, reason);
      await acks.save();
    },
    unpark: async (table) => {
      try {
        return await Promise.race([unparking.unpark(table), failed, ending]);
      } catch (cause) {
        if (unparking.hasVersioned(table)) return "versioned";
        throw cause;
      }
    },
  });
  const watch = watchSource(
    options,
    parts,
    memory,
    prepared,
    () => acks.state.acknowledged,
    lag,
    async (existing, seen) => lookForSilentChanges(look, existing, seen),
    () => keylessUnderWay(snapshots, acks.state),
    over.signal,
  );
  watch.catch((cause: unknown) => fail(TailraceError.from(cause)));
  const reading =
    snapshots === null
      ? new Promise<boolean>(() => undefined)
      : runSnapshots(
          {
            options,
            parts,
            settings,
            snapshots,
            tables,
            captured: prepared.tables,
            acks,
            epoch: prepared.state.epoch,
            lag,
            hold: (on) => hold("snapshot", on),
          },
          AbortSignal.any([stop, over.signal]),
        );
  reading.catch((cause: unknown) => fail(TailraceError.from(cause)));
  parts.observer.versions(prepared.state.versions); // not before their snapshots are told of: else a version looks complete
  try {
    const isRead = await Promise.race([aborted(stop, over.signal).then(() => false), failed, stream.ended, reading]);
    hold("end", true);
    await Promise.race([publisher.drained(), failed, stream.ended, aborted(force, over.signal)]);
    if (!force.aborted) await acks.finish(isRead ? "over" : "streaming");
    return isRead;
  } finally {
    parts.control(null);
    hold("end", true);
    over.abort();
    await Promise.race([Promise.allSettled([acks.close(), watch]), pause(WATCH_END_MS, force)]);
  }
}

/** R-keyless: a table without a key that is being read, or has been and is unfinished in the state still: a new session would begin it anew. */
function keylessUnderWay(snapshots: Snapshots | null, state: SourceState): TableName | null {
  if (snapshots === null) return null;
  const ending = snapshots.all.find(({ kind, complete }) => kind === "keyless" && complete);
  const unsaved = state.snapshots?.find(({ kind, table }) => kind === "keyless" && !snapshots.all.some((one) => isSame(one.table, table)));
  return (snapshots.keyless ?? ending ?? unsaved)?.table ?? null;
}

function isSame(a: TableName, b: TableName): boolean {
  return a.schema === b.schema && a.name === b.name;
}

/** Keeps what comes before the changes can be taken: a few messages of the first chunk. */
class Inbox {
  changes: Changes | null = null;
  #early: { readonly bytes: Buffer; readonly walHigh: number; readonly walLow: number }[] = [];

  take(bytes: Buffer, start: number, end: number, walHigh: number, walLow: number): void {
    if (this.changes === null) this.#early.push({ bytes: Buffer.from(bytes.subarray(start, end)), walHigh, walLow });
    else this.changes.take(bytes, start, end, walHigh, walLow);
  }

  open(changes: Changes): void {
    this.changes = changes;
    for (const { bytes, walHigh, walLow } of this.#early) changes.take(bytes, 0, bytes.length, walHigh, walLow);
    this.#early = [];
  }
}

/** Reads each topic's tails, then registers and compiles. Throws STATE_BEHIND, WAL_REWOUND for a log that is ahead of its past. */
async function captureTables(
  options: SourceOptions,
  parts: SourceParts,
  memory: SourceMemory,
  prepared: Prepared,
  publisher: Publisher,
  refusals: Refusals,
  letters: KnownLetters,
  signal: AbortSignal,
): Promise<CapturedTables> {
  const { parking } = refusals;
  const { epoch } = prepared.state;
  const tables = new CapturedTables(options, parts, memory, prepared, refusals, signal);
  const captured: {
    readonly table: Table;
    readonly data: DataTopic;
    readonly tails: readonly Tail[];
    /** Of the parked topic; null: it is not parked. */
    readonly parked: readonly Tail[] | null;
  }[] = [];
  for (const [index, table] of prepared.tables.entries()) {
    const data = prepared.topics[index];
    if (data === undefined) throw new TailraceError("UNEXPECTED", { reason: `table ${tableLabel(table)} has no topic` });
    const tailsOf = async (topic: Topic): Promise<readonly Tail[]> => readTails(parts.log, parts.registry, topic, prepared.barrier, signal);
    const parked = parking.find(table);
    captured.push({ table, data, tails: await tailsOf(data.topic), parked: parked === null ? null : await tailsOf(parked.topic) });
  }
  const watermarks = captured.map(({ tails, parked }) => ({ watermarks: higherTails(tails, parked ?? []) }));
  const highest = highestWatermark(watermarks);
  const seen = Math.max(0, ...watermarks.flatMap((each) => each.watermarks.map((watermark) => watermark?.epoch ?? 0)));
  if (isBehind({ kind: prepared.resumed ? "resume" : "fresh", epoch }, seen)) {
    memory.epochSeen = seen;
    throw new TailraceError("STATE_BEHIND", { state: epoch, seen });
  }
  if (highest?.epoch === epoch) {
    const [row] = await prepared.session.query("SELECT pg_current_wal_lsn()::text AS lsn");
    const cluster = { ...prepared.cluster, walEnd: parseLsn(row?.lsn ?? "0/0") };
    const problem = clusterProblem({ ...prepared.known, published: highest.commitLsn }, cluster);
    if (problem !== null) throw problem;
  }
  for (const { table, data, tails, parked } of captured) {
    const ends = tails.map(({ end }) => end);
    await tables.add(
      table,
      data,
      publisher.addTopic(data.topic, ends, data.maxBytes),
      tails,
      parked,
      letters.keys.get(tableLabel(table)) ?? null,
    );
  }
  return tables;
}

async function letterBuffer(
  options: SourceOptions,
  { log }: SourceParts,
  publisher: Publisher,
  signal: AbortSignal,
): Promise<PartitionBuffer> {
  const name = deadLetterTopic(options.topics.prefix);
  const [topic] = await log.topics([name], signal);
  const ends = (await log.offsets(name, signal)).map(({ end }) => end);
  const configs = await log.topicConfigs(name, ["max.message.bytes"], signal);
  const [buffer] =
    topic === undefined ? [] : publisher.addTopic(topic, ends, Number(configs["max.message.bytes"] ?? DEFAULT_MESSAGE_BYTES), "aside");
  if (buffer === undefined) throw new TailraceError("TOPIC_MISSING", { topic: name, partitions: 1 });
  return buffer;
}

function appendLetter(letter: SourceDeadLetter, buffer: PartitionBuffer, publisher: Publisher, counter: number): void {
  const value = encodeDeadLetter(letter);
  const keyBytes = letter.key?.length ?? 0;
  publisher.reserve(buffer, value.length + keyBytes);
  buffer.batch.append(letter.key, 0, keyBytes, value, 0, value.length);
  publisher.appended(buffer, value.length + keyBytes, counter);
}

function reportRound(
  { observer }: SourceParts,
  counters: readonly { readonly table: string; readonly op: CountedOp }[],
  { counts, durationMs, newestCommitMicros }: PublishedRound,
  bytesInFlight: number,
): void {
  const tables = counters.flatMap((counter, index) => {
    const events = counts[index] ?? 0;
    return events > 0 ? [{ ...counter, events }] : [];
  });
  observer.published({ tables, durationMs, newestCommitMicros });
  observer.bytesInFlight(bytesInFlight);
}

/** The highest sequence of this epoch in the log: what redelivery has to pass. Events of an earlier one don't come again. */
function tailOf(tables: readonly CapturedTable[], epoch: number): Sequence | null {
  const highest = highestWatermark(tables);
  return highest?.epoch === epoch ? highest : null;
}

/** A promise that only rejects; an error that comes while nobody waits is kept. */
function failure(): { readonly promise: Promise<never>; readonly reject: (error: TailraceError) => void } {
  let reject: (error: TailraceError) => void = () => undefined;
  const promise = new Promise<never>((_, give) => (reject = give));
  promise.catch(() => undefined);
  return { promise, reject };
}

/** Resolves when the signal aborts, or when `over` does: listeners must not outlive the session. */
async function aborted(signal: AbortSignal, over: AbortSignal): Promise<void> {
  const either = AbortSignal.any([signal, over]);
  if (either.aborted) return;
  await new Promise<void>((resolve) => {
    either.addEventListener("abort", () => resolve(), { once: true });
  });
}
