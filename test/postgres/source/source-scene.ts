// One source over a real database and an embedded log with its registry: started and stopped as a supervisor would, its
// events read back, its words kept.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { EventDecoder, schemaIdOf } from "../../../src/avro/decoder.ts";
import { lastBarrier, type Barrier } from "../../../src/core/barrier.ts";
import type { EventLog } from "../../../src/core/event-log.ts";
import type { Log } from "../../../src/core/log.ts";
import type { SchemaRegistry } from "../../../src/core/schema-registry.ts";
import { topicName } from "../../../src/core/naming.ts";
import { TailraceError } from "../../../src/core/errors.ts";
import { openEmbeddedLog } from "../../../src/log/embedded/embedded-log.ts";
import { EmbeddedRegistry } from "../../../src/registry/embedded.ts";
import { openRegistryStore } from "../../../src/registry/store.ts";
import { RecordBatchWriter } from "../../../src/core/record-batch.ts";
import { formatSequence } from "../../../src/core/sequence.ts";
import { readState, stateTopic, stateTopicSpec, writeState, type SourceState } from "../../../src/core/source-state.ts";
import { tableLabel } from "../../../src/core/table.ts";
import { toLsn } from "../../../src/core/lsn.ts";
import type { SourceControl } from "../../../src/source/control.ts";
import { newMemory, type SourceMemory, type SourceObserver, type SourceOptions } from "../../../src/source/parts.ts";
import type { SnapshotStatus } from "../../../src/source/snapshot-status.ts";
import { runSource } from "../../../src/source/source.ts";
import { eventually } from "../../support/eventually.ts";
import { readEvent, type Value } from "../../support/row-values.ts";
import { uniqueName, type TestDatabase } from "../../support/servers.ts";

export type SeenEvent = {
  readonly op: string;
  readonly key: string;
  /** Text form. */
  readonly sequence: string;
  readonly values: readonly Value[];
  readonly before: readonly Value[] | null;
  readonly unchanged: readonly number[];
  /** It names the key that it replaces. */
  readonly moved: boolean;
  readonly columns: readonly string[];
};

const PATIENCE_MS = 60_000;
const { signal } = new AbortController();

export class SourceScene implements AsyncDisposable {
  readonly log: EventLog;
  options: SourceOptions;
  /** Of the session that streams. */
  control: SourceControl | null = null;
  /** The unfinished ones, as last told. */
  snapshots: readonly SnapshotStatus[] = [];
  /** Looks at what the stream does not tell that have begun. */
  looks = 0;
  /** Sessions that came to stream. */
  sessions = 0;
  /** Touched keys that the window keeps, as last told. */
  touches = 0;
  /** Rows of chunks that became durable. */
  snapshotRows = 0;
  /** Chunks that became durable, by table. */
  readonly chunks = new Map<string, number>();
  /** Labels of the tables that are parked, as last told. */
  parked: readonly string[] = [];
  /** What was said at `warn`. */
  readonly warnings: { readonly message: string; readonly table?: string }[] = [];
  /** Labels of tables whose snapshot an operator holds. */
  readonly paused = new Set<string>();
  /** How long registering a schema takes, ms: as a registry far away. */
  registerMs = 0;
  readonly registry: EmbeddedRegistry;
  readonly #close: () => Promise<void>;
  #memory: SourceMemory = newMemory();

  private constructor(log: EventLog, registry: EmbeddedRegistry, options: SourceOptions, close: () => Promise<void>) {
    this.log = log;
    this.options = options;
    this.registry = registry;
    this.#close = close;
  }

  /** A source of every table of schema public. `url`: of another user. `log`: another than an embedded one; it stays the caller's. */
  static async open(
    database: TestDatabase,
    { url = database.url, log: given, snapshot = {} }: { url?: string; log?: EventLog; snapshot?: Partial<SourceOptions["snapshot"]> } = {},
  ): Promise<SourceScene> {
    const folder = await mkdtemp(path.join(tmpdir(), "tailrace-source-"));
    const log = given ?? (await openEmbeddedLog({ path: folder }));
    const store = openRegistryStore(path.join(folder, "registry"));
    const name = uniqueName("source");
    const options: SourceOptions = {
      name,
      url: () => url,
      slot: name,
      publication: name,
      create: true,
      systemId: null,
      selection: { matches: (schema) => schema === "public", named: [], asked: () => null, overlooked: () => [] },
      topics: { prefix: name, partitions: 1, replication: -1, create: true, tombstones: true },
      snapshot: {
        mode: "no_data",
        parallel: 2,
        chunkRows: 500,
        maxRowsPerSecond: null,
        maxLagBytes: 1 << 30,
        maxRetainedBytes: 10 * 2 ** 30,
        ...snapshot,
      },
      incompatible: () => "park",
    };
    return new SourceScene(log, new EmbeddedRegistry({ store, address: folder }), options, async () => {
      await store[Symbol.asyncDispose]();
      if (given === undefined) await log[Symbol.asyncDispose]();
      await rm(folder, { recursive: true, force: true });
    });
  }

  /** As another process would begin: nothing is remembered. */
  forget(): void {
    this.#memory = newMemory();
  }

  async state(): Promise<SourceState | null> {
    return readState(this.log, this.options.topics.prefix, signal);
  }

  /** Every record of the topic of states, the oldest first. */
  async states(): Promise<readonly SourceState[]> {
    const topic = stateTopic(this.options.topics.prefix);
    const states: SourceState[] = [];
    for (const { start, end } of await this.log.offsets(topic, signal)) {
      for (let offset = start; offset < end;) {
        const { records, next } = await this.log.read({ topic, partition: 0, offset }, 1 << 24, signal);
        states.push(...records.flatMap(({ value }) => (value === null ? [] : [JSON.parse(value.toString()) as SourceState])));
        if (next <= offset) break;
        offset = next;
      }
    }
    return states;
  }

  /** Makes the topic of states, with this one in it. */
  async write(state: SourceState): Promise<void> {
    await this.log.createTopic(stateTopicSpec(this.options.topics.prefix, -1), signal);
    await using writer = await this.log.openWriter({ name: "scene" }, signal);
    await writeState(writer, this.options.topics.prefix, state, signal);
  }

  /** So many deletes of an epoch, as a process writes them that is dead by now. */
  async appendLate(table: string, count: number, epoch: number, commitLsn = 1n): Promise<void> {
    await using writer = await this.log.openWriter({ name: "late" }, signal);
    const batch = new RecordBatchWriter();
    const sequence = Buffer.from(formatSequence({ epoch, commitLsn: toLsn(commitLsn), ordinal: 0 }));
    for (let i = 0; i < count; i++) batch.appendTombstone(Buffer.from("key"), 0, 3, sequence);
    await writer.append([{ topic: this.topic(table), partition: 0, bytes: batch.finish(Date.now()), count }], signal);
  }

  /** Until something was said at `warn` with these words, or with this code. */
  async untilWarned(words: string): Promise<void> {
    await eventually(`a warning ${words}`, () => this.warnings.some((warning) => JSON.stringify(warning).includes(words)), PATIENCE_MS);
  }

  /** Until every snapshot is complete, and has been said to be. */
  async untilRead(): Promise<void> {
    await eventually("every snapshot complete", async () => (await this.state())?.snapshots?.length === 0, 60_000);
  }

  /** Until a change that is made now has come to the log. */
  async untilLevel(database: TestDatabase): Promise<void> {
    const [row] = await database.sql<{ lsn: string }>("SELECT pg_current_wal_lsn()::text AS lsn");
    const [high = "0", low = "0"] = (row?.lsn ?? "0/0").split("/");
    const end = (BigInt(`0x${high}`) << 32n) | BigInt(`0x${low}`);
    await eventually("everything acknowledged", async () => ((await this.state())?.acknowledged ?? 0n) >= end, 60_000);
  }

  /** Runs the source, with sessions that end by themselves (auto) started again, while `work` lasts, and stops it gracefully. */
  async while(work: () => Promise<void>): Promise<void> {
    const stop = new AbortController();
    let isStreaming = (): void => undefined;
    const streaming = new Promise<void>((resolve) => (isStreaming = resolve));
    const running = (async () => {
      while (!stop.signal.aborted) {
        const error = await this.#session(stop.signal, isStreaming);
        if (error !== null && error.retry !== "auto") throw error;
      }
    })();
    running.catch(() => undefined); // awaited below, or in the race
    try {
      await Promise.race([streaming, running]);
      await Promise.race([work(), running]);
    } finally {
      stop.abort();
    }
    await running;
  }

  /** Until the source ends by itself. */
  async toItsEnd(): Promise<void> {
    const error = await this.#session(AbortSignal.timeout(60_000), () => undefined);
    if (error !== null) throw error;
  }

  /** The error that a session ends with before it streams, or by what it then receives. */
  async refusal(): Promise<TailraceError> {
    const error = await this.#session(AbortSignal.timeout(PATIENCE_MS), () => undefined);
    if (error === null) throw new Error("the source ran");
    return error;
  }

  /** The name that rows() and its like take for the parked topic of a table. */
  parkedOf(table: string): string {
    return `${table}.parked`;
  }

  /** Deletes the subjects of a table: readers may have whatever comes next. */
  async accept(table: string): Promise<void> {
    for (const end of ["key", "value"]) await this.registry.deleteSubject(`${this.topic(table)}-${end}`, false);
  }

  async unpark(table: string): Promise<number | "versioned"> {
    if (this.control === null) throw new Error("the source does not stream");
    return this.control.unpark({ schema: "public", name: table });
  }

  topic(table: string): string {
    return topicName(this.options.topics.prefix, { schema: "public", name: table });
  }

  /** The values after each create and update of a table that the log still holds, by column, in order. */
  async rows(table: string): Promise<readonly Readonly<Record<string, Value>>[]> {
    const topic = this.topic(table);
    const [range] = await this.log.offsets(topic, signal);
    const { records } = await this.log.read({ topic, partition: 0, offset: range?.start ?? 0 }, 1 << 24, signal);
    const rows: Record<string, Value>[] = [];
    for (const { value } of records) {
      if (value === null) continue;
      const decoder = new EventDecoder(await this.registry.schema(schemaIdOf(value), signal));
      const { after } = readEvent(decoder, value);
      if (after !== null) rows.push(Object.fromEntries(decoder.shape.columns.map(({ name }, index) => [name, after[index] ?? null])));
    }
    return rows;
  }

  /** Every event of a table in order, from all its partitions one after the other. */
  async events(table: string): Promise<readonly SeenEvent[]> {
    const topic = this.topic(table);
    const events: SeenEvent[] = [];
    for (const { partition, start, end } of await this.log.offsets(topic, signal)) {
      for (let offset = start; offset < end;) {
        const { records, next } = await this.log.read({ topic, partition, offset }, 1 << 24, signal);
        for (const { key, value } of records) {
          if (value === null) continue;
          const decoder = new EventDecoder(await this.registry.schema(schemaIdOf(value), signal));
          const { op, before, after, unchanged, epoch, commitLsn, ordinal, movedFrom } = readEvent(decoder, value);
          events.push({
            op,
            key: key?.toString("latin1") ?? "",
            sequence: formatSequence({ epoch, commitLsn, ordinal }),
            values: after ?? before ?? [],
            before,
            unchanged,
            moved: movedFrom !== null,
            columns: decoder.shape.columns.map(({ name }) => name),
          });
        }
        if (next <= offset) break;
        offset = next;
      }
    }
    return events;
  }

  /** What a sink of consistency partition makes of a table's events: by key, rows below the last sweep gone. */
  async target(table: string): Promise<readonly Readonly<Record<string, Value>>[]> {
    const opening = await this.sweptBelow(table);
    const rows = new Map<string, { event: SeenEvent; values: readonly Value[]; missing: readonly number[] }>();
    for (const event of await this.events(table)) {
      const row = rows.get(event.key);
      if (event.op === "t") rows.clear();
      else if (event.op === "d") rows.delete(event.key);
      else {
        const inherits = row !== undefined && !event.moved;
        const missing = event.unchanged.filter((column) => !inherits || row.missing.includes(column));
        const values = event.values.map((value, column) =>
          event.unchanged.includes(column) && inherits ? (row.values[column] ?? null) : value,
        );
        rows.set(event.key, { event, values, missing });
      }
    }
    return [...rows.values()]
      .filter(({ event }) => event.sequence >= opening)
      .map(({ event, values, missing }) => {
        if (missing.length > 0) throw new Error(`a row of ${table} lacks ${missing.map((column) => event.columns[column]).join()}`);
        return Object.fromEntries(event.columns.map((name, index) => [name, values[index] ?? null]));
      });
  }

  /** The opening mark of the last snapshot of a table that a barrier calls complete; "" without one. */
  async sweptBelow(table: string): Promise<string> {
    const topic = `${this.options.topics.prefix}.barriers`;
    let opening = "";
    for (const { start, end } of await this.log.offsets(topic, signal)) {
      for (let offset = start; offset < end;) {
        const { records, next } = await this.log.read({ topic, partition: 0, offset }, 1 << 24, signal);
        for (const { value } of records) {
          if (value === null) continue;
          const { snapshots } = JSON.parse(value.toString()) as { snapshots: readonly { topic: string; opening: string }[] };
          for (const each of snapshots) if (each.topic === this.topic(table)) opening = each.opening;
        }
        if (next <= offset) break;
        offset = next;
      }
    }
    return opening;
  }

  /** What stands last in the topic of barriers. */
  async lastBarrier(): Promise<Barrier | null> {
    return lastBarrier(this.log, this.options.topics.prefix, signal);
  }

  async untilRows(table: string, count: number): Promise<void> {
    await eventually(`${count} rows of ${table}`, async () => (await this.rows(table)).length >= count, PATIENCE_MS);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#close();
  }

  async #session(stop: AbortSignal, isStreaming: () => void): Promise<TailraceError | null> {
    const quiet = (): void => undefined;
    const observer: SourceObserver = {
      state: (state) => {
        if (state !== "streaming") return;
        this.sessions += 1;
        isStreaming();
      },
      published: quiet,
      deadLetter: quiet,
      acknowledged: quiet,
      wal: () => (this.looks += 1),
      bytesInFlight: quiet,
      parked: (list) => (this.parked = list.map(({ table }) => tableLabel(table))),
      versions: quiet,
      snapshots: (list) => (this.snapshots = list),
      snapshotRows: (table, rows) => {
        this.snapshotRows += rows;
        this.chunks.set(table, (this.chunks.get(table) ?? 0) + 1);
      },
      snapshotMemory: (_, touches) => (this.touches = touches),
    };
    const logger: Log = {
      debug: quiet,
      info: quiet,
      warn: (fields, message) => void this.warnings.push({ ...fields, message }),
      error: quiet,
      child: () => logger,
    };
    const control = (given: SourceControl | null): void => void (this.control = given);
    const registry: SchemaRegistry = {
      address: this.registry.address,
      url: this.registry.url,
      latest: async (...args) => this.registry.latest(...args),
      schema: async (...args) => this.registry.schema(...args),
      register: async (...args) => {
        await sleep(this.registerMs);
        return this.registry.register(...args);
      },
    };
    const parts = { log: this.log, registry, logger, observer, control, pausedTables: () => this.paused };
    try {
      await runSource(this.options, parts, this.#memory, stop, signal);
      return null;
    } catch (cause) {
      return TailraceError.from(cause);
    }
  }
}
