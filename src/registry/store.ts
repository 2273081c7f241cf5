// Where the embedded registry keeps its schemas: durable key–value pairs in order, in an LMDB environment of its own.
import { mkdirSync } from "node:fs";
import { open } from "lmdb";

/** Parts compare in order: numbers before strings, numbers by value. A key takes up to about 1900 bytes. */
export type StoreKey = readonly (string | number)[];

/** Reads see what was written before them. Reads and writes are about microseconds; only commits wait. */
export interface RegistryStore extends AsyncDisposable {
  /** A JSON value, or undefined. */
  get(key: StoreKey): unknown;
  /** Inside `transaction` only. */
  put(key: StoreKey, value: unknown): void;
  /** Inside `transaction` only; nothing when there is no such key. */
  remove(key: StoreKey): void;
  /** The pairs whose key is `prefix` and one part more, in key order. */
  list(prefix: StoreKey): readonly { readonly last: string | number; readonly value: unknown }[];
  /** Runs `body` alone, also among processes. Resolves with its result when what it put is on disk. `body` must not throw after a put or a removal. */
  transaction<T>(body: () => T): Promise<T>;
}

/** Opens, and makes if need be, the environment in folder `path`. */
export function openRegistryStore(path: string): RegistryStore {
  mkdirSync(path, { recursive: true });
  // With overlapping sync a commit resolves before it is on disk, and an id given out could mean another schema after a power cut.
  const database = open<unknown, (string | number)[]>({ path, encoding: "json", overlappingSync: false, noSubdir: false });
  return {
    get: (key) => database.get([...key]),
    put: (key, value) => void database.put([...key], value),
    remove: (key) => void database.remove([...key]),
    list: (prefix) => {
      const pairs: { last: string | number; value: unknown }[] = [];
      for (const { key, value } of database.getRange({ start: [...prefix] })) {
        if (!prefix.every((part, index) => key[index] === part)) break;
        const last = key[prefix.length];
        if (last !== undefined && key.length === prefix.length + 1) pairs.push({ last, value });
      }
      return pairs;
    },
    transaction: (body) => database.transaction(body),
    [Symbol.asyncDispose]: () => database.close(),
  };
}
