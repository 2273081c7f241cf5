// The event log in a folder: what Kafka would store, in an LMDB file, for one process.
import path from "node:path";
import { TailraceError } from "../../core/errors.ts";
import type {
  EventLog,
  FetchedRecords,
  LogReader,
  LogWriter,
  OffsetRange,
  Position,
  Topic,
  TopicSpec,
  WriterOptions,
} from "../../core/event-log.ts";
import { newTopic, topicRow, type Catalog, type StoredTopic } from "./catalog.ts";
import { Committer, type Work } from "./committer.ts";
import { FolderLock } from "./folder-lock.ts";
import { EmbeddedReader, fetch, topicOf } from "./reader.ts";
import type { Change } from "./store.ts";
import { EmbeddedWriter } from "./writer.ts";

/** Batches of a deleted topic that are removed in one commit, so that appends wait little. */
const REMOVED_AT_ONCE = 1_000;

export type EmbeddedLogOptions = {
  /** The folder; made when it is missing. */
  readonly path: string;
};

/**
 * Opens the log for this process alone. Throws LOG_LOCKED with the PID of the process that has it open; LOG_UNREACHABLE when
 * the folder can't be used.
 */
export async function openEmbeddedLog(options: EmbeddedLogOptions): Promise<EventLog> {
  const folder = path.resolve(options.path);
  const lock = await FolderLock.acquire(folder);
  try {
    const committer = await Committer.open(folder);
    const log = new EmbeddedLog(folder, lock, committer);
    log.removeOrphans(); // of a topic whose deletion was cut short
    return log;
  } catch (cause) {
    await lock[Symbol.asyncDispose]();
    throw cause;
  }
}

class EmbeddedLog implements EventLog {
  readonly kind = "embedded";
  readonly address: string;
  readonly #lock: FolderLock;
  readonly #committer: Committer;
  readonly #groups = new Set<string>();

  constructor(address: string, lock: FolderLock, committer: Committer) {
    this.address = address;
    this.#lock = lock;
    this.#committer = committer;
  }

  async topics(names: readonly string[], signal: AbortSignal): Promise<readonly Topic[]> {
    signal.throwIfAborted();
    const { catalog } = this.#committer;
    return names
      .map((name) => catalog.get(name))
      .filter((topic) => topic !== undefined)
      .map(described);
  }

  async createTopic(spec: TopicSpec, signal: AbortSignal): Promise<Topic> {
    signal.throwIfAborted();
    let topic: StoredTopic | undefined;
    await this.#commit(
      (catalog) => {
        topic = catalog.get(spec.name);
        if (topic !== undefined) return [];
        topic = newTopic(spec);
        return [topicRow(catalog.store, topic)];
      },
      (catalog) => topic !== undefined && catalog.add(topic),
    );
    return described(this.#committer.catalog.require(spec.name));
  }

  async topicConfigs(name: string, names: readonly string[], signal: AbortSignal): Promise<Readonly<Record<string, string>>> {
    signal.throwIfAborted();
    const { configs } = this.#committer.catalog.require(name);
    return Object.fromEntries(Object.entries(configs).filter(([config]) => names.includes(config)));
  }

  async deleteTopic(name: string, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    await this.#commit(
      (catalog) => (catalog.get(name) === undefined ? [] : [{ table: catalog.store.topics, key: Buffer.from(name), value: null }]),
      (catalog) => catalog.remove(name),
    );
    this.removeOrphans();
  }

  async offsets(name: string, signal: AbortSignal): Promise<readonly OffsetRange[]> {
    signal.throwIfAborted();
    const { catalog } = this.#committer;
    const topic = catalog.require(name);
    return Array.from({ length: topic.partitions }, (_, partition) => catalog.range(topic, partition));
  }

  async read(from: Position, maxBytes: number, signal: AbortSignal): Promise<FetchedRecords> {
    signal.throwIfAborted();
    const { catalog } = this.#committer;
    const { bytes: _bytes, ...fetched } = fetch(catalog, topicOf(catalog, from), from, maxBytes);
    return fetched;
  }

  async openWriter(_options: WriterOptions, signal: AbortSignal): Promise<LogWriter> {
    signal.throwIfAborted();
    return new EmbeddedWriter(this.#committer);
  }

  async openReader(group: string, positions: readonly Position[], signal: AbortSignal): Promise<LogReader> {
    signal.throwIfAborted();
    if (this.#groups.has(group)) throw new TailraceError("GROUP_TAKEN", { sink: group });
    const reader = new EmbeddedReader(this.#committer, group, positions, () => this.#groups.delete(group));
    this.#groups.add(group);
    return reader;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#committer[Symbol.asyncDispose]();
    await this.#lock[Symbol.asyncDispose]();
  }

  /** Removes what belongs to no topic, a slice a commit. Nobody waits for it; what fails is left for the next time. */
  removeOrphans(): void {
    let left = 0;
    const slice = this.#commit(
      (catalog) => {
        const keys = catalog.orphans(REMOVED_AT_ONCE);
        left = keys.length;
        return keys.map((key) => ({ table: catalog.store.batches, key, value: null }));
      },
      () => left > 0 && this.removeOrphans(),
    );
    slice.catch(() => undefined);
  }

  /** Resolves when it is durable. */
  #commit(prepare: (catalog: Catalog) => readonly Change[], committed: (catalog: Catalog) => unknown): Promise<void> {
    return new Promise((resolve, reject) => {
      const work: Work = {
        bytes: 0,
        alone: true,
        prepare,
        committed: (catalog) => {
          committed(catalog);
          resolve();
        },
        failed: reject,
      };
      this.#committer.submit(work);
    });
  }
}

function described({ name, id, partitions }: StoredTopic): Topic {
  return { name, id, partitions };
}
