// One source over a real database and an embedded log with its registry: started and stopped as a supervisor would, its
// events read back, its words kept.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { EventDecoder, schemaIdOf } from "../../../src/avro/decoder.ts";
import type { EventLog } from "../../../src/core/event-log.ts";
import type { Log } from "../../../src/core/log.ts";
import { topicName } from "../../../src/core/naming.ts";
import { TailraceError } from "../../../src/core/errors.ts";
import type { Value } from "../../../src/core/table.ts";
import { openEmbeddedLog } from "../../../src/log/embedded/embedded-log.ts";
import { EmbeddedRegistry } from "../../../src/registry/embedded.ts";
import { openRegistryStore } from "../../../src/registry/store.ts";
import type { SourceMemory, SourceObserver, SourceOptions } from "../../../src/source/parts.ts";
import { runSource } from "../../../src/source/source.ts";
import { eventually } from "../../support/eventually.ts";
import { uniqueName, type TestDatabase } from "../../support/servers.ts";

const PATIENCE_MS = 20_000;
const { signal } = new AbortController();

export class SourceScene implements AsyncDisposable {
  readonly log: EventLog;
  readonly options: SourceOptions;
  /** What was said at `warn`. */
  readonly warnings: { readonly message: string; readonly table?: string }[] = [];
  readonly #registry: EmbeddedRegistry;
  readonly #close: () => Promise<void>;
  readonly #memory: SourceMemory = { text: false, said: new Set() };

  private constructor(log: EventLog, registry: EmbeddedRegistry, options: SourceOptions, close: () => Promise<void>) {
    this.log = log;
    this.options = options;
    this.#registry = registry;
    this.#close = close;
  }

  /** A source of every table of schema public. `url`: of another user. `log`: another than an embedded one; it stays the caller's. */
  static async open(
    database: TestDatabase,
    { url = database.url, log: given }: { url?: string; log?: EventLog } = {},
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
      selection: { matches: (schema) => schema === "public", named: [] },
      topics: { prefix: name, partitions: 1, replication: -1, create: true, tombstones: true },
    };
    return new SourceScene(log, new EmbeddedRegistry({ store, address: folder }), options, async () => {
      await store[Symbol.asyncDispose]();
      if (given === undefined) await log[Symbol.asyncDispose]();
      await rm(folder, { recursive: true, force: true });
    });
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

  /** The error that a session ends with before it streams, or by what it then receives. */
  async refusal(): Promise<TailraceError> {
    const error = await this.#session(AbortSignal.timeout(PATIENCE_MS), () => undefined);
    if (error === null) throw new Error("the source ran");
    return error;
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
      const decoder = new EventDecoder(await this.#registry.schema(schemaIdOf(value), signal));
      decoder.decode(value);
      const { after } = decoder;
      if (after !== null) rows.push(Object.fromEntries(decoder.shape.columns.map(({ name }, index) => [name, after[index] ?? null])));
    }
    return rows;
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
        if (state === "streaming") isStreaming();
      },
      published: quiet,
      deadLetter: quiet,
      acknowledged: quiet,
      wal: quiet,
      bytesInFlight: quiet,
    };
    const logger: Log = {
      debug: quiet,
      info: quiet,
      warn: (fields, message) => void this.warnings.push({ ...fields, message }),
      error: quiet,
      child: () => logger,
    };
    const parts = { log: this.log, registry: this.#registry, logger, observer };
    try {
      await runSource(this.options, parts, this.#memory, stop, signal);
      return null;
    } catch (cause) {
      return TailraceError.from(cause);
    }
  }
}
