// The embedded log's file: an LMDB environment with four tables, opened as the only writer. LMDB commits by copy-on-write
// and fsync, so a process or a machine may die at any moment; the file grows with its contents, there is no size to set.
import { constants } from "node:os";
import { open, type Database, type RootDatabase } from "lmdb";
import { reasonOf, TailraceError } from "../../core/errors.ts";

/* Keys are compared byte by byte, integers are big-endian.
 *   owner    "owner" → PID as text. Its LMDB version is the fence: a process that opens the log raises it by one, and each
 *            commit is conditional on it, so that a process which lost the folder can't write any more.
 *   topics   name (UTF-8) → JSON { id: hex, partitions, configs }
 *   batches  BatchKey → one record batch (core/record-batch) with its base offset in place
 *   groups   group \0 topic \0 partition → next offset as text
 * BatchKey ::= topic id Byte × 16  partition Uint32  base offset Uint64
 */
export const TOPIC_ID_BYTES = 16;
const PARTITION_AT = TOPIC_ID_BYTES;
const OFFSET_AT = PARTITION_AT + 4;
const BATCH_KEY_BYTES = OFFSET_AT + 8;
const { EIO } = constants.errno;
const OWNER = Buffer.from("owner");

export function batchKey(topicId: Buffer, partition: number, baseOffset: number): Buffer {
  const key = Buffer.allocUnsafe(BATCH_KEY_BYTES);
  topicId.copy(key);
  key.writeUInt32BE(partition, PARTITION_AT);
  key.writeUInt32BE(Math.floor(baseOffset / 0x1_0000_0000), OFFSET_AT);
  key.writeUInt32BE(baseOffset >>> 0, OFFSET_AT + 4);
  return key;
}

export function baseOffsetOf(key: Buffer): number {
  return key.readUInt32BE(OFFSET_AT) * 0x1_0000_0000 + key.readUInt32BE(OFFSET_AT + 4);
}

/** Whether a stored batch says the base offset of its key. */
export function agrees(key: Buffer, batch: Buffer): boolean {
  return batch.compare(key, OFFSET_AT, BATCH_KEY_BYTES, 0, BATCH_KEY_BYTES - OFFSET_AT) === 0;
}

export function topicIdOf(key: Buffer): Buffer {
  return key.subarray(0, TOPIC_ID_BYTES);
}

export type Table = Database<Buffer, Buffer>;

/** One change of a commit; `value` null removes the key. The value stays the store's until the commit has settled. */
export type Change = { readonly table: Table; readonly key: Buffer; readonly value: Buffer | null };

export class Store {
  readonly topics: Table;
  readonly batches: Table;
  readonly groups: Table;
  readonly #environment: RootDatabase<Buffer, Buffer>;
  readonly #owner: Table;
  readonly #path: string;
  readonly #fence: number;

  private constructor(path: string, environment: RootDatabase<Buffer, Buffer>, owner: Table, fence: number) {
    this.#path = path;
    this.#environment = environment;
    this.#owner = owner;
    this.#fence = fence;
    this.topics = table(environment, "topics");
    this.batches = table(environment, "batches");
    this.groups = table(environment, "groups");
  }

  /** Opens or makes the file in the folder `path` and shuts former owners out. Throws LOG_UNREACHABLE, LOG_LOCKED. */
  static async open(path: string): Promise<Store> {
    let environment: RootDatabase<Buffer, Buffer> | undefined;
    try {
      environment = open<Buffer, Buffer>({
        path,
        noSubdir: false, // else a folder called x.log would be taken for a file
        maxDbs: 8,
        encoding: "binary",
        keyEncoding: "binary",
        overlappingSync: false, // a commit is acknowledged after its fsync, not before
        eventTurnBatching: false, // the committer decides what shares a commit
      });
      const owner = environment.openDB<Buffer, Buffer>({ name: "owner", encoding: "binary", keyEncoding: "binary", useVersions: true });
      const before = owner.getEntry(OWNER)?.version;
      const fence = (before ?? 0) + 1;
      const pid = Buffer.from(String(process.pid));
      const taken =
        before === undefined ? owner.ifNoExists(OWNER, () => owner.put(OWNER, pid, fence)) : owner.put(OWNER, pid, fence, before);
      if (!(await taken)) throw lost(path, owner);
      return new Store(path, environment, owner, fence);
    } catch (cause) {
      await environment?.close();
      throw cause instanceof TailraceError ? cause : unreachable(path, await causeOfCommit(cause));
    }
  }

  /**
   * All of the changes or none, durable when it resolves. Throws LOG_UNREACHABLE (a full disk among the reasons), after which
   * the store must be opened again: LMDB may refuse further work. Throws LOG_LOCKED when another process has taken the folder.
   */
  async commit(changes: readonly Change[]): Promise<void> {
    let owned: boolean;
    try {
      owned = await this.#owner.ifVersion(OWNER, this.#fence, () => {
        for (const { table: into, key, value } of changes) void (value === null ? into.remove(key) : into.put(key, value));
      });
    } catch (cause) {
      throw unreachable(this.#path, await causeOfCommit(cause));
    }
    if (!owned) throw lost(this.#path, this.#owner);
  }

  close(): Promise<void> {
    return this.#environment.close();
  }
}

function table(environment: RootDatabase<Buffer, Buffer>, name: string): Table {
  return environment.openDB<Buffer, Buffer>({ name, encoding: "binary", keyEncoding: "binary" });
}

function lost(path: string, owner: Table): TailraceError {
  return new TailraceError("LOG_LOCKED", { path, pid: owner.get(OWNER)?.toString() ?? "unknown" });
}

function unreachable(path: string, cause: unknown): TailraceError {
  // LMDB gives EIO for a write that was cut short, which is how a disk fills up.
  const hint = (cause as { code?: unknown }).code === EIO ? ", the disk may be full" : "";
  return new TailraceError("LOG_UNREACHABLE", { reason: `${path}: ${reasonOf(cause)}${hint}` }, { cause });
}

/** lmdb rejects a write with an error that only says that the commit failed, and keeps why in a promise beside it. */
async function causeOfCommit(thrown: unknown): Promise<unknown> {
  const { commitError } = thrown as { commitError?: unknown };
  if (!(commitError instanceof Promise)) return thrown;
  return commitError.then(
    () => thrown,
    (cause: unknown) => cause,
  );
}
