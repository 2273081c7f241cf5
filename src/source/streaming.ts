// The streaming part of a session: encoders and tails first, then changes in, acknowledgements out, until the end.
import { TableEncoder } from "../avro/encoder.ts";
import { tableSchemas } from "../avro/schema.ts";
import { TailraceError } from "../core/errors.ts";
import { reach } from "../core/failpoint.ts";
import { formatLsn, parseLsn, type Lsn } from "../core/lsn.ts";
import { pause } from "../core/pause.ts";
import { writeState, type SourceState } from "../core/source-state.ts";
import { keyColumns, tableLabel, type Table } from "../core/table.ts";
import { describeTable } from "../postgres/catalog.ts";
import type { Relation } from "../postgres/pgoutput.ts";
import { readPublication } from "../postgres/publication.ts";
import { readSlot } from "../postgres/slot.ts";
import { openStream, type Stream } from "../postgres/stream.ts";
import { needsText } from "../postgres/types.ts";
import { version } from "../core/version.ts";
import { highestWatermark, inShapeOf, keylessPartition, sameShape, TABLE_COUNTERS, type CapturedTable } from "./captured-table.ts";
import { Changes } from "./changes.ts";
import { deadLetterTopic, encodeDeadLetter, type SourceDeadLetter } from "./dead-letters.ts";
import { Publisher, type PartitionBuffer, type PublishedRound } from "./publisher.ts";
import type { Prepared, SourceMemory, SourceOptions, SourceParts } from "./parts.ts";
import { judgePublication } from "./start.ts";
import { readTails } from "./tails.ts";

/** Least time between two acknowledgements, ms: each costs a state record. WAL is held back that much longer. */
const ACK_EVERY_MS = 500;
/** How often slot and publication are looked at, ms. */
const WATCH_EVERY_MS = 5_000;

/** Resolves after a graceful stop; throws the error that ended the stream. */
export async function streamChanges(
  options: SourceOptions,
  parts: SourceParts,
  memory: SourceMemory,
  prepared: Prepared,
  stop: AbortSignal,
  force: AbortSignal,
): Promise<void> {
  const streaming = await Streaming.prepare(options, parts, memory, prepared, force);
  await streaming.run(stop, force);
}

type Topics = Prepared["topics"];

class Streaming {
  readonly #options: SourceOptions;
  readonly #parts: SourceParts;
  readonly #memory: SourceMemory;
  readonly #prepared: Prepared;
  readonly #signal: AbortSignal;
  readonly #captured: CapturedTable[] = [];
  readonly #publisher: Publisher;
  readonly #counters: readonly { readonly table: string; readonly op: "c" | "u" | "d" | "t" }[];
  readonly #pausedBy = new Set<"log" | "relation" | "stop">();
  #stream: Stream | null = null;
  #state: SourceState;
  #ackTimer: NodeJS.Timeout | null = null;
  #ackedAt = 0;
  #acking: Promise<void> = Promise.resolve();
  #fail: (error: TailraceError) => void = () => undefined;
  readonly #failed: Promise<never>;

  private constructor(options: SourceOptions, parts: SourceParts, memory: SourceMemory, prepared: Prepared, signal: AbortSignal) {
    this.#options = options;
    this.#parts = parts;
    this.#memory = memory;
    this.#prepared = prepared;
    this.#signal = signal;
    this.#state = prepared.state;
    this.#failed = new Promise<never>((_, reject) => (this.#fail = reject));
    this.#failed.catch(() => undefined); // run() waits for it; an error before that is not lost
    this.#counters = prepared.tables.flatMap((table) => (["c", "u", "d", "t"] as const).map((op) => ({ table: tableLabel(table), op })));
    this.#publisher = new Publisher({
      writer: prepared.writer,
      prefix: options.topics.prefix,
      epoch: prepared.state.epoch,
      acknowledged: prepared.from,
      published: prepared.barrier?.commitLsn ?? prepared.state.published,
      counters: this.#counters.length + 1,
      signal,
      events: {
        backpressure: (paused) => this.#hold("log", paused),
        published: (round) => this.#published(round),
        progress: () => this.#requestAck(),
        failed: (error) => this.#fail(error),
      },
    });
  }

  static async prepare(
    options: SourceOptions,
    parts: SourceParts,
    memory: SourceMemory,
    prepared: Prepared,
    signal: AbortSignal,
  ): Promise<Streaming> {
    const streaming = new Streaming(options, parts, memory, prepared, signal);
    for (const [index, table] of prepared.tables.entries()) await streaming.#addTable(table, index, prepared.topics);
    return streaming;
  }

  async run(stop: AbortSignal, force: AbortSignal): Promise<void> {
    const { log } = this.#parts;
    const letters = deadLetterTopic(this.#options.topics.prefix);
    const [letterTopic] = await log.topics([letters], force);
    const letterEnds = (await log.offsets(letters, force)).map(({ end }) => end);
    if (letterTopic === undefined) throw new TailraceError("TOPIC_MISSING", { topic: letters, partitions: 1 });
    const [letterBuffer] = this.#publisher.addTopic(letterTopic, letterEnds, Number.MAX_SAFE_INTEGER, "aside");

    const { settings, facts, from, binary } = this.#prepared;
    const { slot, publication } = this.#options;
    const changes = new Changes({
      publisher: this.#publisher,
      epoch: this.#state.epoch,
      tombstones: this.#options.topics.tombstones,
      highestTail: highestWatermark(this.#captured),
      startedAt: from,
      resolve: (relation) => this.#resolve(relation),
      stalled: (waiting) => this.#hold("relation", waiting),
      failed: (error) => this.#fail(error),
      deadLetter: (letter) => {
        if (letterBuffer !== undefined) this.#setAside(letter, letterBuffer);
      },
    });
    await using stream = await openStream(
      {
        connection: settings,
        slot,
        publication,
        from,
        binary,
        walSenderTimeoutMs: facts.walSenderTimeoutMs,
        onMessage: (bytes, walHigh, walLow) => changes.take(bytes, walHigh, walLow),
        onKeepalive: (walEnd) => {
          if (!changes.busy) this.#publisher.keepalive(walEnd);
        },
      },
      force,
    );
    this.#stream = stream;
    if (this.#pausedBy.size > 0) stream.pause();
    this.#parts.observer.state("streaming");
    this.#parts.logger.info({ slot, lsn: formatLsn(from), protocol: binary ? "binary" : "text" }, "streaming");
    const over = new AbortController();
    const watch = this.#watch(over.signal);
    watch.catch((cause: unknown) => this.#fail(TailraceError.from(cause)));
    try {
      await Promise.race([aborted(stop, over.signal), this.#failed, stream.ended]);
      this.#hold("stop", true); // a log that catches up must not resume it
      await Promise.race([this.#publisher.drained(), this.#failed, stream.ended, aborted(force, over.signal)]);
      await this.#acking;
      if (!force.aborted) await this.#ack();
    } finally {
      over.abort();
      if (this.#ackTimer !== null) clearTimeout(this.#ackTimer);
      this.#stream = null;
      await Promise.allSettled([this.#acking, watch]);
    }
  }

  async #addTable(table: Table, index: number, topics: Topics): Promise<void> {
    const data = topics[index];
    if (data === undefined) throw new TailraceError("UNEXPECTED", { reason: `table ${tableLabel(table)} has no topic` });
    const { log, registry } = this.#parts;
    const tails = await readTails(log, registry, data.topic, this.#prepared.barrier, this.#signal);
    const { epoch } = this.#state;
    for (const { watermark } of tails) {
      if (watermark !== null && watermark.epoch > epoch) throw new TailraceError("STATE_BEHIND", { state: epoch, seen: watermark.epoch });
    }
    this.#captured.push({
      ...(await this.#compile(table, data.topic.name)),
      buffers: this.#publisher.addTopic(
        data.topic,
        tails.map(({ end }) => end),
        data.maxBytes,
      ),
      watermarks: tails.map(({ watermark }) => watermark),
      keylessPartition: keylessPartition(table, data.topic.partitions),
      counter: index * TABLE_COUNTERS,
    });
  }

  /** Registers the table's schemas and compiles its encoder. Registration comes before the first event that uses it. */
  async #compile(table: Table, topic: string): Promise<Pick<CapturedTable, "table" | "label" | "encoder" | "keyIndexes" | "transaction">> {
    const { registry } = this.#parts;
    const schemas = tableSchemas(table, topic);
    const keySchemaId = schemas.key === null ? null : await registry.register(`${topic}-key`, schemas.key, this.#signal);
    const valueSchemaId = await registry.register(`${topic}-value`, schemas.value, this.#signal);
    const encoder = new TableEncoder({
      table,
      keySchemaId,
      valueSchemaId,
      constants: { version, connector: this.#options.name, database: this.#prepared.database },
    });
    const keyIndexes = keyColumns(table).map((column) => table.columns.indexOf(column));
    return { table, label: tableLabel(table), encoder, keyIndexes, transaction: -1n };
  }

  #resolve(relation: Relation): CapturedTable | null | Promise<CapturedTable | null> {
    const captured = this.#captured.find(({ table }) => table.schema === relation.schema && table.name === relation.name);
    if (captured === undefined) return null;
    return sameShape(captured.table, relation) ? captured : this.#reshape(captured, relation);
  }

  /**
   * The table under another shape than the one known so far. After a restart it may be an older one: the stream delivers
   * rows of before an ALTER TABLE that the catalog shows the outcome of.
   */
  async #reshape(captured: CapturedTable, relation: Relation): Promise<CapturedTable> {
    const now = await describeTable(this.#prepared.session, relation.oid, this.#options.publication);
    const table = now === null ? null : inShapeOf(relation, now);
    if (now === null || table === null) {
      const difference = `its rows have columns ${relation.columns.map(({ name }) => name).join(", ")}, the catalog says ${now?.columns.map(({ name }) => name).join(", ") ?? "that it is gone"}`;
      throw new TailraceError("SCHEMA_CHANGED", { table: captured.label, difference });
    }
    if (this.#prepared.binary && needsText(now.columns)) {
      this.#memory.text = true;
      const column = now.columns.find(({ type }) => type.kind === "other");
      throw new TailraceError("STREAM_LOST", {
        reason: `column ${captured.label}.${column?.name ?? "?"} has a type that is read as text: the stream starts anew`,
      });
    }
    const topic = captured.buffers[0]?.topic ?? "";
    const reshaped: CapturedTable = { ...captured, ...(await this.#compile(table, topic)) };
    this.#captured[this.#captured.indexOf(captured)] = reshaped;
    this.#parts.logger.warn(
      { table: captured.label, columns: table.columns.map(({ name }) => name) },
      "the table's columns changed; rows that were there before an ADD COLUMN keep null in the targets",
    );
    return reshaped;
  }

  #setAside(letter: SourceDeadLetter, buffer: PartitionBuffer): void {
    const value = encodeDeadLetter(letter);
    this.#publisher.reserve(buffer, value.length);
    buffer.batch.append(letter.key, 0, letter.key?.length ?? 0, value, 0, value.length);
    this.#publisher.appended(buffer, value.length, this.#counters.length);
    this.#parts.observer.deadLetter(letter.error.code);
    this.#parts.logger.warn({ ...letter.error.toJSON(), sequence: letter.sequence, op: letter.op }, "dead letter");
  }

  #hold(reason: "log" | "relation" | "stop", hold: boolean): void {
    if (hold) this.#pausedBy.add(reason);
    else this.#pausedBy.delete(reason);
    if (hold) this.#stream?.pause();
    else if (this.#pausedBy.size === 0) this.#stream?.resume();
  }

  #published(round: PublishedRound): void {
    const tables = this.#counters.flatMap((counter, index) => {
      const events = round.counts[index] ?? 0;
      return events > 0 ? [{ ...counter, events }] : [];
    });
    this.#parts.observer.published({ tables, durationMs: round.durationMs, newestCommitMicros: round.newestCommitMicros });
    this.#parts.observer.bytesInFlight(this.#publisher.bytesInFlight);
  }

  #requestAck(): void {
    if (this.#ackTimer !== null || this.#stream === null || this.#publisher.ackable() <= this.#state.acknowledged) return;
    const wait = Math.max(0, this.#ackedAt + ACK_EVERY_MS - performance.now());
    this.#ackTimer = setTimeout(() => {
      this.#acking = this.#ack()
        .catch((cause: unknown) => this.#fail(TailraceError.from(cause)))
        .finally(() => {
          this.#ackTimer = null;
          this.#requestAck();
        });
    }, wait);
  }

  /** R-ack: the state says so first, then PostgreSQL is told. */
  async #ack(): Promise<void> {
    const lsn: Lsn = this.#publisher.ackable();
    this.#ackedAt = performance.now();
    if (lsn <= this.#state.acknowledged) return;
    const state = { ...this.#state, number: this.#state.number + 1, acknowledged: lsn, published: this.#publisher.published };
    await writeState(this.#prepared.writer, this.#options.topics.prefix, state, this.#signal);
    reach("source.after_state");
    this.#state = state;
    this.#stream?.acknowledge(lsn);
    this.#parts.observer.acknowledged(lsn);
  }

  /** Looks at what the stream itself does not tell: WAL that is kept for us, and a publication changed by hand. */
  async #watch(signal: AbortSignal): Promise<void> {
    const { session } = this.#prepared;
    const { slot: name, publication } = this.#options;
    while (!signal.aborted) {
      const slot = await readSlot(session, name);
      const end = (await session.query("SELECT pg_current_wal_lsn()::text AS lsn"))[0]?.lsn ?? "0/0";
      const lag = parseLsn(end) - this.#state.acknowledged;
      if (slot !== null) this.#parts.observer.wal(Number(lag > 0n ? lag : 0n), slot.retainedWalBytes ?? 0, slot.safeWalBytes);
      judgePublication(publication, this.#state, await readPublication(session, publication, this.#prepared.tables), this.#prepared.tables);
      await pause(WATCH_EVERY_MS, signal);
    }
  }
}

/** Resolves when the signal aborts, or when `over` does: listeners must not outlive the session. */
async function aborted(signal: AbortSignal, over: AbortSignal): Promise<void> {
  const either = AbortSignal.any([signal, over]);
  if (either.aborted) return;
  await new Promise<void>((resolve) => {
    either.addEventListener("abort", () => resolve(), { once: true });
  });
}
