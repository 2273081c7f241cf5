// A sink between a log that a test fills with events of one table and a real warehouse.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { TableEncoder, type Operation } from "../../src/avro/encoder.ts";
import { tableSchemas } from "../../src/avro/schema.ts";
import { ByteWriter } from "../../src/core/byte-writer.ts";
import type { EventLog, LogWriter, Topic } from "../../src/core/event-log.ts";
import type { Log } from "../../src/core/log.ts";
import { ZERO_LSN } from "../../src/core/lsn.ts";
import { RecordBatchWriter } from "../../src/core/record-batch.ts";
import { stateTopicSpec, writeState } from "../../src/core/source-state.ts";
import type { Tuple } from "../../src/core/tuple.ts";
import type { Warehouse } from "../../src/core/warehouse.ts";
import { openEmbeddedLog } from "../../src/log/embedded/embedded-log.ts";
import { EmbeddedRegistry } from "../../src/registry/embedded.ts";
import { openRegistryStore } from "../../src/registry/store.ts";
import { SinkLag } from "../../src/sink/lag.ts";
import { runSink, type FlushReport } from "../../src/sink/sink.ts";
import { column, int8, NULL, table, text, tuple, UNCHANGED, binary, type Cell } from "../unit/avro/rows.ts";

const { signal } = new AbortController();
const PREFIX = "shop";
const PARTITIONS = 2;
const orders = table([column("id", "int8", 1), column("name", "text"), column("note", "text")]);
const quiet: Log = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined, child: () => quiet };

/** One event of orders. `at`: its commit; a transaction has one event here. */
export type OrderEvent = { readonly at: number; readonly op: Operation; readonly row: Tuple | null };

/** `note` undefined: it was not sent. */
function order(id: bigint, name: string, note: string | null | undefined): Tuple {
  const noteCell: Cell = note === undefined ? UNCHANGED : note === null ? NULL : text(note);
  return tuple(binary(int8(id)), text(name), noteCell);
}

export const insert = (at: number, id: bigint, name: string, note: string | null): OrderEvent => ({
  at,
  op: "c",
  row: order(id, name, note),
});
export const update = (at: number, id: bigint, name: string, note?: string | null): OrderEvent => ({
  at,
  op: "u",
  row: order(id, name, note),
});
export const remove = (at: number, id: bigint): OrderEvent => ({ at, op: "d", row: tuple(binary(int8(id)), NULL, NULL) });
export const truncate = (at: number): OrderEvent => ({ at, op: "t", row: null });

/** A run of the sink. */
export type Run = {
  /** Rejects with what ends it; resolves when `stop` was called. */
  readonly ended: Promise<void>;
  stop(): Promise<void>;
};

export class SinkScene implements AsyncDisposable {
  /** What observers were told, in all runs. */
  readonly lags: number[] = [];
  readonly flushes: FlushReport[] = [];
  readonly #folder: string;
  readonly #log: EventLog;
  readonly #writer: LogWriter;
  readonly #registry: EmbeddedRegistry;
  readonly #closeRegistry: () => Promise<void>;
  readonly #topic: Topic;
  readonly #encoder: TableEncoder;
  readonly #lag = new SinkLag();

  private constructor(
    folder: string,
    log: EventLog,
    writer: LogWriter,
    registry: EmbeddedRegistry,
    closeRegistry: () => Promise<void>,
    topic: Topic,
    encoder: TableEncoder,
  ) {
    this.#folder = folder;
    this.#log = log;
    this.#writer = writer;
    this.#registry = registry;
    this.#closeRegistry = closeRegistry;
    this.#topic = topic;
    this.#encoder = encoder;
  }

  static async open(): Promise<SinkScene> {
    const folder = await mkdtemp(path.join(tmpdir(), "tailrace-sink-"));
    const log = await openEmbeddedLog({ path: path.join(folder, "log") });
    const store = openRegistryStore(path.join(folder, "registry"));
    const registry = new EmbeddedRegistry({ store, address: folder });
    const topic = await log.createTopic({ name: `${PREFIX}.public.orders`, partitions: PARTITIONS, replication: 1, configs: {} }, signal);
    const schemas = tableSchemas(orders, topic.name);
    const encoder = new TableEncoder({
      table: orders,
      keySchemaId: await registry.register(`${topic.name}-key`, schemas.key ?? "", signal),
      valueSchemaId: await registry.register(`${topic.name}-value`, schemas.value, signal),
      constants: { version: "0.1.0", connector: PREFIX, database: "store" },
    });
    const writer = await log.openWriter({ name: PREFIX }, signal);
    await log.createTopic(stateTopicSpec(PREFIX, 1), signal);
    const unused = { systemId: "1", timeline: 1, slot: "s", options: "", publication: "", barriers: null };
    const counters = { generation: 1, number: 1, epoch: 1, acknowledged: ZERO_LSN, published: ZERO_LSN };
    const topics = [{ name: topic.name, id: topic.id, partitions: PARTITIONS, table: { schema: "public", name: "orders" } }];
    await writeState(writer, PREFIX, { ...unused, ...counters, phase: "streaming", topics }, signal);
    return new SinkScene(folder, log, writer, registry, async () => store[Symbol.asyncDispose](), topic, encoder);
  }

  /** Makes events durable in one partition, as one batch. */
  async publish(partition: number, ...events: readonly OrderEvent[]): Promise<void> {
    const batch = new RecordBatchWriter();
    for (const { at, op, row } of events) {
      const [commitLsn, commitMicros] = [BigInt(at), BigInt(at) * 1_000_000n];
      this.#encoder.beginTransaction({ epoch: 1, commitLsn, commitMicros, xid: at, processedMs: 0 });
      const value = new ByteWriter();
      this.#encoder.writeEvent(op, op === "d" ? row : null, op === "d" ? null : row, 0, 0, at, null, value);
      const key = new ByteWriter();
      if (row !== null) this.#encoder.writeKey(row, null, key);
      batch.append(row === null ? null : key.bytes, 0, key.position, value.bytes, 0, value.position);
    }
    await this.#writer.append([{ topic: this.#topic.name, partition, bytes: batch.finish(0), count: events.length }], signal);
  }

  /** What somebody else's producer writes: a record with a value that is no event. */
  async publishForeign(partition: number, value: Buffer): Promise<void> {
    const batch = new RecordBatchWriter();
    batch.append(null, 0, 0, value, 0, value.length);
    await this.#writer.append([{ topic: this.#topic.name, partition, bytes: batch.finish(0), count: 1 }], signal);
  }

  /** Begins a run, as the supervisor does after each failure. `everyMs`: flush.every. */
  run(warehouse: Warehouse, deletes: "hard" | "soft", everyMs = 20): Run {
    const stop = new AbortController();
    const ended = runSink(
      {
        name: "lake",
        prefix: PREFIX,
        rule: ({ name }) => ({ target: { schema: "analytics", name }, deletes }),
        flush: { everyMs, rows: 100_000 },
      },
      {
        log: this.#log,
        registry: this.#registry,
        warehouse,
        logger: quiet,
        lag: this.#lag,
        observer: {
          state: () => undefined,
          lag: (records) => this.lags.push(records),
          flushed: (report) => this.flushes.push(report),
        },
      },
      stop.signal,
      signal,
    );
    ended.catch(() => undefined); // a test may look at it later
    return {
      ended,
      stop: async () => {
        stop.abort();
        await ended;
      },
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#writer[Symbol.asyncDispose]();
    await this.#log[Symbol.asyncDispose]();
    await this.#closeRegistry();
    await rm(this.#folder, { recursive: true, force: true });
  }
}
