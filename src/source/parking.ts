// R-park: tables whose new schema is refused. Their events go, in order and complete, to a topic of their own, whose subject takes
// anything, until an operator unparks them. What is parked stands in the state, and changes there only: everything of the table for
// one topic is durable before the record that names the other, and that record is before the first event goes there.
import { TailraceError } from "../core/errors.ts";
import type { Topic } from "../core/event-log.ts";
import { reach } from "../core/failpoint.ts";
import type { ParkedTable, SourceState } from "../core/source-state.ts";
import { tableLabel, type Table, type TableName } from "../core/table.ts";
import type { CapturedTable } from "./captured-table.ts";
import type { SourceOptions, SourceParts } from "./parts.ts";
import type { PartitionBuffer } from "./partition-buffers.ts";
import type { Publisher } from "./publisher.ts";
import { policyFor, registerSchemas, type SchemaIds, type SchemasRefused } from "./table-schemas.ts";
import { ensureParkedTopic, mayHaveParkedTopic } from "./topics.ts";

export type ParkingOptions = {
  readonly options: SourceOptions;
  readonly parts: Pick<SourceParts, "log" | "registry" | "logger" | "observer">;
  /** As the state has them when the session begins. */
  readonly parked: readonly ParkedTable[];
  /** All data topics of the session. */
  readonly topics: readonly string[];
  readonly publisher: Publisher;
  /** Makes it durable. */
  readonly save: (change: Pick<SourceState, "parked">) => Promise<void>;
  readonly signal: AbortSignal;
};

/** Where the events of a parked table go. */
export type ParkedPlace = { readonly buffers: readonly PartitionBuffer[]; readonly ids: SchemaIds };

export class Parking {
  readonly #options: ParkingOptions;
  #parked: readonly ParkedTable[];

  constructor(options: ParkingOptions) {
    this.#options = options;
    this.#parked = options.parked;
    this.#tell();
  }

  get all(): readonly ParkedTable[] {
    return this.#parked;
  }

  /** null: it is not parked. */
  find(table: TableName): ParkedTable | null {
    return this.#parked.find((each) => tableLabel(each.table) === tableLabel(table)) ?? null;
  }

  /** Whether a table is to be parked whose schema is refused. */
  isFor(table: Table, topic: string): boolean {
    const { options, topics } = this.#options;
    return policyFor(options, table) === "park" && mayHaveParkedTopic(topic, topics);
  }

  /**
   * Parks the table, nothing of which may come meanwhile. `shape`: of its next events.
   * Throws what the log and the registry throw, TOPIC_MISSING, STREAM_LOST.
   */
  async park(captured: Pick<CapturedTable, "topic" | "own">, shape: Table, refusal: SchemasRefused): Promise<ParkedPlace> {
    const { options, parts, publisher, signal } = this.#options;
    const { log, logger } = parts;
    const { difference, words, commands } = refusal;
    await publisher.flushed();
    reach("source.before_parked");
    const { topic, maxBytes } = await ensureParkedTopic(log, options.topics, captured.topic, signal);
    const ends = await endsOf(topic, this.#options);
    const ids = await this.#register(shape, captured.topic, topic.name);
    const table = { schema: shape.schema, name: shape.name };
    const ownFrom = captured.own.map(({ begin }) => begin);
    const parked: ParkedTable = { table, topic, ownFrom, from: ends, schemas: [ids], difference, words, commands };
    await this.#become([...this.#parked, parked]);
    reach("source.after_parked");
    const fix = `${commands}; then tailrace unpark DIR ${options.name} ${tableLabel(table)}`;
    logger.warn({ table: tableLabel(table), topic: topic.name, difference, words, fix }, "the table is parked: its new schema is refused");
    return { buffers: publisher.addTopic(topic, ends, smaller(maxBytes, captured.own)), ids };
  }

  /** Where the events go of a table that was parked before this session. `ends`: of the parked topic now. */
  async open(
    { topic }: Pick<CapturedTable, "topic">,
    own: readonly PartitionBuffer[],
    ends: readonly number[],
  ): Promise<readonly PartitionBuffer[]> {
    const { options, parts, publisher, signal } = this.#options;
    const { topic: parked, maxBytes } = await ensureParkedTopic(parts.log, options.topics, topic, signal);
    return publisher.addTopic(parked, ends, smaller(maxBytes, own));
  }

  /** The ids of a parked table's shape; they stand in the state before an event is written with them. */
  async register(shape: Table, topic: string): Promise<SchemaIds> {
    const parked = this.find(shape);
    if (parked === null) throw new TailraceError("UNEXPECTED", { reason: `${tableLabel(shape)} is not parked` });
    const ids = await this.#register(shape, topic, parked.topic.name);
    if (!parked.schemas.some(({ key, value }) => key === ids.key && value === ids.value)) {
      const now = this.find(shape) ?? parked;
      await this.#become(this.#parked.map((each) => (each === now ? { ...now, schemas: [...now.schemas, ids] } : each)));
    }
    return ids;
  }

  /** The tables that are parked but for this one. */
  without(table: TableName): readonly ParkedTable[] {
    const parked = this.find(table);
    return this.#parked.filter((each) => each !== parked);
  }

  /** It is parked no longer: everything of it is durable in its own topic. */
  async forget(table: TableName): Promise<void> {
    const parked = this.find(table);
    await this.#become(this.without(table));
    if (parked !== null) this.#options.publisher.removeTopic(parked.topic.name);
  }

  async #become(parked: readonly ParkedTable[]): Promise<void> {
    await this.#options.save({ parked });
    this.#parked = parked;
    this.#tell();
  }

  #tell(): void {
    const { publisher, parts } = this.#options;
    publisher.parked = this.#parked.map(({ table }) => table);
    parts.observer.parked(this.#parked);
  }

  async #register(shape: Table, topic: string, subjects: string): Promise<SchemaIds> {
    const { parts, signal } = this.#options;
    return registerSchemas(parts.registry, shape, topic, { what: "anything", subjects }, signal);
  }
}

/** What is parked must fit into the table's own topic later. */
function smaller(maxBytes: number, own: readonly PartitionBuffer[]): number {
  return Math.min(maxBytes, ...own.map((buffer) => buffer.maxBytes));
}

async function endsOf({ name }: Topic, { parts, signal }: ParkingOptions): Promise<readonly number[]> {
  return (await parts.log.offsets(name, signal)).map(({ end }) => end);
}
