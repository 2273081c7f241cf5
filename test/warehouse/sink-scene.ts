// A sink between a log that a test fills with events of one table and a real warehouse.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { setImmediate as nextTurn } from "node:timers/promises";
import { expect } from "vitest";
import { TableEncoder, type Operation } from "../../src/avro/encoder.ts";
import { tableSchemas } from "../../src/avro/schema.ts";
import { barrierTopicSpec, encodeBarrier } from "../../src/core/barrier.ts";
import { ByteWriter } from "../../src/core/byte-writer.ts";
import { TailraceError } from "../../src/core/errors.ts";
import type { EventLog, LogWriter, Topic } from "../../src/core/event-log.ts";
import type { Log } from "../../src/core/log.ts";
import { toLsn, ZERO_LSN } from "../../src/core/lsn.ts";
import { RecordBatchWriter } from "../../src/core/record-batch.ts";
import { formatSequence } from "../../src/core/sequence.ts";
import { stateTopicSpec, writeState } from "../../src/core/source-state.ts";
import type { Tuple } from "../../src/core/tuple.ts";
import type { Warehouse } from "../../src/core/warehouse.ts";
import { openEmbeddedLog } from "../../src/log/embedded/embedded-log.ts";
import { EmbeddedRegistry } from "../../src/registry/embedded.ts";
import { openRegistryStore } from "../../src/registry/store.ts";
import { SinkLag } from "../../src/sink/lag.ts";
import type { FlushReport } from "../../src/sink/parts.ts";
import { runSink } from "../../src/sink/sink.ts";
import { eventually } from "../support/eventually.ts";
import { column, int8, NULL, table, text, tuple, UNCHANGED, binary, type Cell } from "../unit/avro/rows.ts";

const { signal } = new AbortController();
const PREFIX = "shop";
const PARTITIONS = 2;
const TABLE = { schema: "public", name: "orders" };
const orders = table([column("id", "int8", 1), column("name", "text"), column("note", "text")]);
const quiet: Log = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined, child: () => quiet };

/** One event of orders. `at`: its commit; a transaction has one event here. */
export type OrderEvent = { readonly at: number; readonly op: Operation; readonly row: Tuple | null; readonly movedFrom?: Tuple };

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
/** A row that a snapshot read. */
export const read = (at: number, id: bigint, name: string, note: string | null): OrderEvent => ({
  at,
  op: "r",
  row: order(id, name, note),
});
/** The create of a changed key; `note` undefined: it was not sent. */
export const move = (at: number, from: bigint, id: bigint, name: string, note?: string): OrderEvent => ({
  at,
  op: "c",
  row: order(id, name, note),
  movedFrom: order(from, name, undefined),
});
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
  readonly states: string[] = [];
  barriersSkipped = 0;
  gaps = 0;
  /** Records that the sink was given, in all runs. */
  polled = 0;
  /** How long each of its polls was to wait for records, ms. */
  readonly waits: number[] = [];
  /** What the sink asked for. */
  readonly requests: string[] = [];
  /** What the source answers. */
  makesSnapshots = true;
  /** Of what is published from now on; what the source's state says is told by state(). */
  epoch = 1;
  readonly #folder: string;
  readonly #log: EventLog;
  #writer: LogWriter;
  readonly #registry: EmbeddedRegistry;
  readonly #closeRegistry: () => Promise<void>;
  #topic: Topic;
  #barriers!: Topic;
  #states = 0;
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
    const scene = new SinkScene(folder, log, writer, registry, async () => store[Symbol.asyncDispose](), topic, encoder);
    scene.#barriers = await log.createTopic(barrierTopicSpec(PREFIX, 1), signal);
    await scene.state({});
    return scene;
  }

  /** Writes the source's state. `snapshotting`: a snapshot of the table is unfinished. */
  async state({ epoch = this.epoch, snapshotting = false }): Promise<void> {
    this.epoch = epoch;
    const { name, id } = this.#topic;
    const unused = {
      systemId: "1",
      timeline: 1,
      slot: "s",
      options: "",
      publication: "",
      barriers: this.#barriers.id,
      layouts: [],
      parked: [],
      versions: [],
      retired: [],
    };
    const counters = { generation: 1, number: ++this.#states, epoch, acknowledged: ZERO_LSN, published: ZERO_LSN };
    const record = { kind: "table", reason: "", where: null, opening: null, todo: [], rereads: [], rows: 0, chunks: 0 } as const;
    const snapshots = this.makesSnapshots ? (snapshotting ? [{ ...record, table: TABLE, estimatedRows: null }] : []) : null;
    const topics = [{ name, id, partitions: PARTITIONS, table: TABLE }];
    await writeState(this.#writer, PREFIX, { ...unused, ...counters, snapshots, phase: "streaming", topics }, signal);
  }

  /** A barrier up to these offsets. `opening`: its snapshot is complete, with the mark of that commit. */
  async barrier(next: readonly number[], opening?: number, of: { epoch?: number; topicId?: string; table?: string } = {}): Promise<void> {
    const { epoch = this.epoch, topicId = this.#topic.id, table: named = TABLE.name } = of;
    const { name } = this.#topic;
    const sequence = formatSequence({ epoch, commitLsn: toLsn(BigInt(opening ?? 0)), ordinal: 0 });
    const snapshots = opening === undefined ? [] : [{ table: { ...TABLE, name: named }, topic: name, opening: sequence }];
    const topics = [{ name, id: topicId, next }];
    const value = encodeBarrier({ epoch, commitLsn: toLsn(1n), commitMicros: 0n, topics, parked: [], snapshots });
    await this.#append(this.#barriers.name, 0, [value]);
  }

  /** Barriers of commits that touched other tables. */
  async quietBarriers(count: number): Promise<void> {
    const value = encodeBarrier({ epoch: this.epoch, commitLsn: toLsn(1n), commitMicros: 0n, topics: [], parked: [], snapshots: [] });
    for (let left = count; left > 0; left -= 5_000) {
      await this.#append(
        this.#barriers.name,
        0,
        Array.from({ length: Math.min(left, 5_000) }, () => value),
      );
    }
  }

  /** The topic of the table, or that of the barriers, is deleted and made again; the source's state says so. */
  async remake(which: "data" | "barriers", epoch: number): Promise<void> {
    const { name } = which === "data" ? this.#topic : this.#barriers;
    await this.#log.deleteTopic(name, signal);
    const partitions = which === "data" ? PARTITIONS : 1;
    const made = await this.#log.createTopic({ name, partitions, replication: 1, configs: {} }, signal);
    if (which === "data") this.#topic = made;
    else this.#barriers = made;
    await this.#writer[Symbol.asyncDispose]();
    this.#writer = await this.#log.openWriter({ name: PREFIX }, signal);
    await this.state({ epoch });
  }

  /** Makes events durable in one partition, as one batch. */
  async publish(partition: number, ...events: readonly OrderEvent[]): Promise<void> {
    const batch = new RecordBatchWriter();
    for (const { at, op, row, movedFrom = null } of events) {
      const [commitLsn, commitMicros] = [BigInt(at), BigInt(at) * 1_000_000n];
      this.#encoder.beginTransaction({ epoch: this.epoch, commitLsn, commitMicros, xid: at, processedMs: 0, snapshot: op === "r" });
      const value = new ByteWriter();
      this.#encoder.writeEvent(op, op === "d" ? row : null, op === "d" ? null : row, 0, 0, at, movedFrom, value);
      const key = new ByteWriter();
      if (row !== null) this.#encoder.writeKey(row, null, key);
      batch.append(row === null ? null : key.bytes, 0, key.position, value.bytes, 0, value.position);
    }
    await this.#writer.append([{ topic: this.#topic.name, partition, bytes: batch.finish(0), count: events.length }], signal);
  }

  /** What somebody else's producer writes: a record with a value that is no event. */
  async publishForeign(partition: number, value: Buffer): Promise<void> {
    await this.#append(this.#topic.name, partition, [value]);
  }

  async #append(topic: string, partition: number, values: readonly Buffer[]): Promise<void> {
    const batch = new RecordBatchWriter();
    for (const value of values) batch.append(null, 0, 0, value, 0, value.length);
    await this.#writer.append([{ topic, partition, bytes: batch.finish(0), count: values.length }], signal);
  }

  /** Begins a run, as the supervisor does after each failure. `everyMs`: flush.every. */
  run(warehouse: Warehouse, deletes: "hard" | "soft", everyMs = 20, log = this.#log): Run {
    const stop = new AbortController();
    const ended = runSink(
      {
        name: "lake",
        prefix: PREFIX,
        rule: ({ name }) => (name === "unrouted" ? null : { target: { schema: "analytics", name }, deletes }),
        flush: { everyMs, rows: 100_000 },
      },
      {
        log: this.#counted(log),
        registry: this.#registry,
        warehouse,
        logger: quiet,
        lag: this.#lag,
        pausedTables: () => new Set(),
        observer: {
          state: (state) => this.states.push(state),
          lag: (records) => this.lags.push(records),
          flushed: (report) => this.flushes.push(report),
          barriersSkipped: (count) => (this.barriersSkipped += count),
          gaps: (count) => (this.gaps += count),
        },
        requestSnapshot: (tables, reason) => {
          this.requests.push(`${tables.map(({ name }) => name).join()}: ${reason}`);
          return Promise.resolve(this.makesSnapshots);
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

  /** One flush of all these events, by partition: the sink flushes when it stops, and that is when it has been given everything. */
  async flushOnce(warehouse: Warehouse, deletes: "hard" | "soft", events: Readonly<Record<number, readonly OrderEvent[]>>): Promise<void> {
    const [flushes, polled] = [this.flushes.length, this.polled];
    let count = 0;
    for (const [partition, some] of Object.entries(events)) {
      await this.publish(Number(partition), ...some);
      count += some.length;
    }
    const run = this.run(warehouse, deletes, 3_600_000);
    await Promise.race([eventually("all of it is read", () => this.polled === polled + count), run.ended]);
    await run.stop();
    expect(this.flushes.slice(flushes).map(({ events: flushed }) => flushed)).toEqual([count]);
  }

  /** The same log, where partition 0 of the topic begins at `start`: retention has cut it. */
  cutLog(which: "data" | "barriers", start: number): EventLog {
    const { name } = which === "data" ? this.#topic : this.#barriers;
    return cutBefore(this.#log, name, start);
  }

  #counted(log: EventLog): EventLog {
    return {
      ...bound(log),
      openReader: async (...args) => {
        const reader = await log.openReader(...args);
        return {
          poll: async (options, ended) => {
            this.waits.push(options.waitMs);
            await nextTurn(); // a sink that never waits must fail its test, not hang it
            const polled = await reader.poll(options, ended);
            this.polled += polled.reduce((sum, { records }) => sum + records.length, 0);
            return polled;
          },
          commit: (committed) => reader.commit(committed),
          [Symbol.asyncDispose]: () => reader[Symbol.asyncDispose](),
        };
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

/** `log` as if the records of a topic's partition 0 before `start` were gone: what the embedded log, which keeps everything, can't show. */
function cutBefore(log: EventLog, topic: string, start: number): EventLog {
  return {
    ...bound(log),
    offsets: async (name, aborted) => {
      const ranges = await log.offsets(name, aborted);
      return name === topic ? ranges.map((range) => (range.partition === 0 ? { ...range, start } : range)) : ranges;
    },
    openReader: async (group, positions, aborted) => {
      const reader = await log.openReader(group, positions, aborted);
      const below = positions.find((position) => position.topic === topic && position.partition === 0 && position.offset < start);
      const gap = new TailraceError("LOG_GAP", { topic, partition: below?.partition ?? 0, start, needed: below?.offset ?? 0 });
      return {
        poll: (options, ended) => (below === undefined ? reader.poll(options, ended) : Promise.reject(gap)),
        commit: (committed) => reader.commit(committed),
        [Symbol.asyncDispose]: () => reader[Symbol.asyncDispose](),
      };
    },
  };
}

function bound(log: EventLog): EventLog {
  return {
    kind: log.kind,
    address: log.address,
    topics: (...args) => log.topics(...args),
    createTopic: (...args) => log.createTopic(...args),
    topicConfigs: (...args) => log.topicConfigs(...args),
    deleteTopic: (...args) => log.deleteTopic(...args),
    offsets: (...args) => log.offsets(...args),
    read: (...args) => log.read(...args),
    openWriter: (...args) => log.openWriter(...args),
    openReader: (...args) => log.openReader(...args),
    [Symbol.asyncDispose]: () => log[Symbol.asyncDispose](),
  };
}
