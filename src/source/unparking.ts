// R-park, the way back: what a table's parked topic holds is drained into its own, then, with both idle, one record of the state
// switches. Until then it is parked, however much is drained: whatever ends this halfway loses and doubles nothing. What is refused
// still may go on as a version, when the table's policy is that by now: then one record ends the parking and begins the version.
import { schemaIdOf } from "../avro/decoder.ts";
import { TailraceError } from "../core/errors.ts";
import type { LogRecord } from "../core/event-log.ts";
import { reach } from "../core/failpoint.ts";
import { RECORD_OVERHEAD_BYTES } from "../core/record-batch.ts";
import { compareSequence, type Sequence } from "../core/sequence.ts";
import type { ParkedTable } from "../core/source-state.ts";
import { tableLabel, type TableName } from "../core/table.ts";
import { describeTable } from "../postgres/catalog.ts";
import type { Session } from "../postgres/session.ts";
import { inWiderTypes, type CapturedTable } from "./captured-table.ts";
import type { CapturedTables } from "./captured-tables.ts";
import type { Parking } from "./parking.ts";
import type { SourceOptions, SourceParts } from "./parts.ts";
import type { Publisher } from "./publisher.ts";
import type { Snapshots } from "./snapshots.ts";
import { registerIds, registerSchemas, SchemasRefused, type SchemaIds } from "./table-schemas.ts";
import { Sequences } from "./tails.ts";

/** Bytes that are read, and then made durable, at a time. */
const PAGE_BYTES = 1 << 20;
/** Records left to drain that are few enough for the stream to wait meanwhile. */
const FEW_RECORDS = 2_000;
/** Largest headers of a record of ours, bytes: a tombstone's sequence. */
const HEADER_BYTES = 128;

export type DrainOptions = {
  readonly options: SourceOptions;
  readonly parts: Pick<SourceParts, "log" | "registry" | "logger">;
  readonly publisher: Publisher;
  readonly captured: CapturedTable;
  readonly signal: AbortSignal;
};

/** From the parked topic into the table's own, partition by partition, each record once. */
export class Drain {
  readonly #options: DrainOptions;
  readonly #sequences: Sequences;
  /** Next offset of the parked topic, by partition. */
  readonly #next: number[];
  /** Highest sequence that the table's own topic has of what was parked, by partition; null: none. */
  readonly #highest: (Sequence | null)[] = [];
  /** The ids that the table's own subjects give to the schemas of parked events. */
  readonly #ids = new Map<number, number>();
  records = 0;

  private constructor(options: DrainOptions, parked: ParkedTable) {
    this.#options = options;
    this.#sequences = new Sequences(options.parts.log, options.parts.registry, options.signal);
    this.#next = [...parked.from];
  }

  /** `parked`: as the state has it. Reads what was drained before. */
  static async begin(options: DrainOptions, parked: ParkedTable): Promise<Drain> {
    const drain = new Drain(options, parked);
    const ranges = await options.parts.log.offsets(options.captured.topic, options.signal);
    for (const range of ranges) drain.#highest.push(await drain.#sequences.highest(range, parked.ownFrom[range.partition] ?? 0, null));
    return drain;
  }

  /** Registers the schemas that parked events have, in the order of their use. Throws STILL_REFUSED. */
  async admit({ table, schemas }: ParkedTable): Promise<void> {
    const { options, parts, captured, signal } = this.#options;
    try {
      for (const ids of schemas) {
        if (this.#ids.has(ids.value)) continue;
        const admitted = await registerIds(parts.registry, ids, captured.topic, signal);
        this.#ids.set(ids.value, admitted.value);
        if (ids.key !== null && admitted.key !== null) this.#ids.set(ids.key, admitted.key);
      }
    } catch (cause) {
      throw cause instanceof SchemasRefused ? stillRefused(options.name, tableLabel(table), cause) : cause;
    }
  }

  /** Drains until few records are left: the stream goes on meanwhile. */
  async chase(parked: ParkedTable): Promise<void> {
    for (;;) {
      const left = await this.#left(parked);
      if (left <= FEW_RECORDS) return;
      await this.#pass(parked);
      this.#options.parts.logger.info({ table: tableLabel(parked.table), records: this.records, left }, "unpark: draining");
    }
  }

  /** Drains what is there, and makes it durable. Nothing may come to the parked topic meanwhile. */
  async rest(parked: ParkedTable): Promise<void> {
    while ((await this.#left(parked)) > 0) await this.#pass(parked);
    await this.#options.publisher.flushed();
  }

  async #left({ topic }: ParkedTable): Promise<number> {
    const { parts, signal } = this.#options;
    const ranges = await parts.log.offsets(topic.name, signal);
    return ranges.reduce((sum, { partition, end }) => sum + Math.max(0, end - (this.#next[partition] ?? 0)), 0);
  }

  /** A page of each partition. */
  async #pass({ topic }: ParkedTable): Promise<void> {
    const { parts, publisher, signal } = this.#options;
    for (const { partition, start, end } of await parts.log.offsets(topic.name, signal)) {
      const from = Math.max(start, this.#next[partition] ?? 0);
      if (from >= end) continue;
      const fetched = await parts.log.read({ topic: topic.name, partition, offset: from }, PAGE_BYTES, signal);
      const upTo = fetched.next >= end ? fetched.records.length : wholeGroups(fetched.records);
      const records = fetched.records.slice(0, upTo);
      for (let at = 0; at < records.length; at++) {
        const group = [records[at]!];
        while (records[at + 1]?.value === null) group.push(records[++at]!);
        await this.#append(partition, group);
      }
      this.#next[partition] = upTo === fetched.records.length ? fetched.next : (fetched.records[upTo]?.offset ?? fetched.next);
    }
    await publisher.flushed();
    reach("source.while_drained");
  }

  /** A delete and its tombstone share a sequence: they go together or not at all. */
  async #append(partition: number, group: readonly LogRecord[]): Promise<void> {
    const { captured, publisher } = this.#options;
    const sequence = await this.#sequences.of(group[0]!, { topic: captured.topic, partition });
    const highest = this.#highest[partition] ?? null;
    if (sequence === null || (highest !== null && compareSequence(sequence, highest) <= 0)) return;
    this.#highest[partition] = sequence;
    const buffer = captured.own[partition]!;
    const size = ({ key, value }: LogRecord): number => (key?.length ?? 0) + (value?.length ?? 0) + RECORD_OVERHEAD_BYTES + HEADER_BYTES;
    const bytes = group.reduce((sum, record) => sum + size(record), 0);
    publisher.reserve(buffer, bytes);
    for (const { key, value, headers } of group) buffer.batch.appendWithHeaders(this.#reframed(key), this.#reframed(value), headers);
    publisher.appendedAside(bytes);
    this.records += group.length;
  }

  /** The same bytes under the id that the own subject gives to the schema; most registries give one schema one id everywhere. */
  #reframed(bytes: Buffer | null): Buffer | null {
    if (bytes === null) return null;
    const id = schemaIdOf(bytes);
    const admitted = this.#ids.get(id);
    if (admitted === undefined) throw new TailraceError("UNEXPECTED", { reason: `a parked event of schema ${id}, which was not admitted` });
    if (admitted === id) return bytes;
    const copy = Buffer.from(bytes);
    copy.writeInt32BE(admitted, 1);
    return copy;
  }
}

/** How many of the records are surely complete with their tombstones: the next page may begin with one. */
function wholeGroups(records: readonly LogRecord[]): number {
  let last = records.length - 1;
  while (last > 0 && records[last]?.value === null) last -= 1;
  return last > 0 ? last : records.length;
}

export type UnparkingParts = Omit<DrainOptions, "captured"> & {
  readonly tables: CapturedTables;
  readonly parking: Parking;
  /** The source database. */
  readonly session: Session;
  /** null: none are made. */
  readonly snapshots: Snapshots | null;
};

export class Unparking {
  readonly #parts: UnparkingParts;
  readonly #underWay = new Set<string>();
  /** Labels of the table that has begun a version, with which the session ends. */
  readonly #versioned = new Set<string>();

  constructor(parts: UnparkingParts) {
    this.#parts = parts;
  }

  /** Whether unpark() has ended the session, since the table goes on as its next version. */
  hasVersioned(table: TableName): boolean {
    return this.#versioned.has(tableLabel(table));
  }

  /** Resolves with how many records were drained. Throws STILL_REFUSED, USAGE, TABLE_VERSIONED, and what the log and the registry throw. */
  async unpark(table: TableName): Promise<number> {
    const label = tableLabel(table);
    const usage = (problem: string): TailraceError => new TailraceError("USAGE", { problem });
    if (this.#parts.parking.find(table) === null) throw usage(`table ${label} of source ${this.#parts.options.name} is not parked`);
    if (this.#underWay.has(label)) throw usage(`table ${label} is being unparked already`);
    this.#underWay.add(label);
    try {
      return await this.#unpark(table);
    } finally {
      this.#underWay.delete(label);
    }
  }

  async #unpark(table: TableName): Promise<number> {
    const { tables, parking, publisher, parts, snapshots } = this.#parts;
    const label = tableLabel(table);
    const now = (): { readonly captured: CapturedTable; readonly parked: ParkedTable } => {
      const [captured, parked] = [tables.find(label), parking.find(table)];
      if (captured === null || parked === null) throw new TailraceError("TABLE_MISSING", { table: label });
      return { captured, parked };
    };
    const { captured, parked } = now();
    const drain = await Drain.begin({ ...this.#parts, captured }, parked);
    try {
      await drain.admit(parked);
      await this.#present(captured);
    } catch (cause) {
      const refusal = cause instanceof TailraceError ? cause.cause : null;
      if (!(refusal instanceof SchemasRefused) || !tables.mayVersion(captured.table, refusal)) throw cause;
      await this.#version(captured, refusal);
    }
    await drain.chase(parked);
    /** Another shape has come meanwhile, and is refused: the table stays parked, and the stream goes on. */
    const found: { refusal: TailraceError | null } = { refusal: null };
    await tables.whileIdle(async () => {
      try {
        await publisher.flushed();
        const { captured: idle, parked: last } = now();
        await drain.admit(last);
        const ids = await this.#present(idle);
        await drain.rest(last);
        reach("source.after_drained");
        publisher.settle(captured.own);
        await parking.forget(table);
        reach("source.after_unparked");
        tables.unparked(idle, ids);
      } catch (cause) {
        if (!(cause instanceof TailraceError) || cause.code !== "STILL_REFUSED") throw cause;
        found.refusal = cause;
      }
    });
    if (found.refusal !== null) throw found.refusal;
    parts.logger.info({ table: label, records: drain.records }, "the table is unparked: its events go to its own topic again");
    // An end that was not said since the snapshot's rows stood elsewhere.
    for (const snapshot of snapshots?.all ?? []) if (tableLabel(snapshot.table) === label) snapshots?.endIfComplete(snapshot);
    return drain.records;
  }

  /** What is parked stays where it is: the table is read into the version, and what is parked was committed before. */
  async #version(captured: CapturedTable, refusal: SchemasRefused): Promise<void> {
    try {
      await this.#parts.tables.beginVersion(captured, refusal, this.#parts.signal);
    } catch (cause) {
      if (cause instanceof TailraceError && cause.code === "TABLE_VERSIONED") this.#versioned.add(captured.label);
      throw cause;
    }
  }

  /** The ids that the shape to which the stream has come has in the table's own subjects; what the table is by now is admitted too. Throws STILL_REFUSED. */
  async #present({ table, topic, label }: CapturedTable): Promise<SchemaIds> {
    const { options, parts, session, signal } = this.#parts;
    const now = await describeTable(session, table.oid, options.publication, options.selection.asked);
    const isNow = now !== null && JSON.stringify(now.columns) === JSON.stringify(table.columns);
    try {
      if (now !== null && !isNow) await registerSchemas(parts.registry, now, topic, { what: "present" }, signal);
      return await registerSchemas(
        parts.registry,
        now === null ? table : inWiderTypes(table, now),
        topic,
        { what: isNow ? "present" : "past" },
        signal,
      );
    } catch (cause) {
      throw cause instanceof SchemasRefused ? stillRefused(options.name, label, cause) : cause;
    }
  }
}

function stillRefused(source: string, table: string, refusal: SchemasRefused): TailraceError {
  const { difference, words, commands } = refusal;
  return new TailraceError("STILL_REFUSED", { source, table, difference, words, commands }, { cause: refusal });
}
