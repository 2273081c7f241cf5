// Who has a DuckDB file: one process may write it, or several read it. Taken for a moment and let go completely.
import { mkdir, realpath } from "node:fs/promises";
import path from "node:path";
import { DuckDBInstance, type DuckDBConnection } from "@duckdb/node-api";
import { reasonOf, TailraceError } from "../../core/errors.ts";
import { backoffMs, pause, type BackoffLimits } from "../../core/pause.ts";
import { quoteText } from "../sql-text.ts";
import { WAREHOUSE } from "./dialect.ts";

export type DuckdbOptions = {
  /** The database file; its folder is made when it is missing. */
  readonly path: string;
  /** How long open() waits for a file that others hold, ms; then it throws WAREHOUSE_LOCKED. */
  readonly lockWaitMs?: number;
  readonly threads?: number;
  /** DuckDB's own limit; beyond it sorts and joins go to disk. */
  readonly memoryBytes?: number;
  /** Told once each time open() finds the file held. `holder`: `PID 123, /usr/bin/python3` or what else is known. */
  readonly onLocked?: (holder: string) => void;
};

const LOCK_WAIT_MS = 10_000;
/** A reader's query is short or long; asking costs a millisecond. */
const BACKOFF: BackoffLimits = { firstMs: 10, maxMs: 500 };
/**
 * What keeps a service beside others on a small machine. Flushes take a tenth of it whatever it is; an UPDATE of all rows of
 * a target (R-sweep, soft deletes) takes about 140 bytes a row, of which DuckDB can put only a part to disk.
 */
const MEMORY_BYTES = 2 * 1024 ** 3;
/** Two are no faster at flushes of 1,500 to 100,000 rows, and take 1.3 to 1.5 times the CPU. */
const THREADS = 1;

/** An open file. After release() or close(), which wait for what still runs, other processes can open it. */
export type DuckdbFile = {
  readonly connection: DuckDBConnection;
  /** Lets the file go and keeps the engine for the next opening. Only when nothing has failed: what is left of a failure goes with close(). */
  release(): Promise<void>;
  /** Lets the file go with its engine. */
  close(): void;
};

/**
 * A DuckDB without a file of its own, to which one is attached while it is open. It outlives the openings, because a new
 * one costs 25 to 45 ms: 15 to make it, 10 for its first look at a catalogue, 10 to close it.
 */
export class Engine {
  readonly #options: DuckdbOptions;
  #instance: DuckDBInstance | null = null;

  constructor(options: DuckdbOptions) {
    this.#options = options;
  }

  /** `file`: the real name, beside which DuckDB puts what does not fit into memory. */
  async connect(file: string): Promise<DuckDBConnection> {
    this.#instance ??= await DuckDBInstance.create(":memory:", {
      threads: String(this.#options.threads ?? THREADS),
      memory_limit: `${this.#options.memoryBytes ?? MEMORY_BYTES}B`,
      // The file is let go after each flush, which takes a checkpoint: COMMIT makes it at once, and writes no WAL before it
      // that nobody would read. Where it fails the transaction has not happened.
      checkpoint_threshold: "1KB",
      auto_checkpoint_skip_wal_threshold: "0",
      temp_directory: `${file}.tmp`,
      preserve_insertion_order: "false", // results are sorted where it matters; staging needs less memory without
    });
    return this.#instance.connect();
  }

  close(): void {
    this.#instance?.closeSync();
    this.#instance = null;
  }
}

/**
 * Files held by this process. DuckDB's lock is POSIX's: it does not keep the own process out, so that a second instance
 * would open the same file, not see the first one's changes, and drop the first one's lock when it closes.
 */
const held = new Set<string>();

/**
 * Opens the file, waiting while another process (or another sink of this one) holds it. One opening at a time per engine.
 * Throws WAREHOUSE_LOCKED after `lockWaitMs`, WAREHOUSE_UNREACHABLE when it can't be opened for another reason, and the
 * signal's reason when that aborts first.
 */
export async function openFile(options: DuckdbOptions, signal: AbortSignal, engine = new Engine(options)): Promise<DuckdbFile> {
  const file = await realFile(options.path).catch((cause: unknown) => {
    throw cannotOpen(options, cause);
  });
  const deadline = performance.now() + (options.lockWaitMs ?? LOCK_WAIT_MS);
  for (let failures = 0; ; failures++) {
    signal.throwIfAborted();
    const found = await tryOpen(file, options, engine);
    if (typeof found !== "string") return found;
    if (failures === 0) options.onLocked?.(found);
    if (performance.now() >= deadline) throw new TailraceError("WAREHOUSE_LOCKED", { path: options.path, holder: ` (${found})` });
    await pause(backoffMs(failures, BACKOFF, Math.random()), signal);
  }
}

/** The open file, or who holds it. */
async function tryOpen(file: string, options: DuckdbOptions, engine: Engine): Promise<DuckdbFile | string> {
  if (held.has(file)) return `this one, PID ${process.pid}`;
  held.add(file);
  try {
    return await attach(file, engine);
  } catch (cause) {
    engine.close();
    held.delete(file);
    const holder = lockHolder(reasonOf(cause));
    if (holder !== null) return holder;
    throw cannotOpen(options, cause);
  }
}

function cannotOpen(options: DuckdbOptions, cause: unknown): TailraceError {
  return new TailraceError("WAREHOUSE_UNREACHABLE", { warehouse: `duckdb ${options.path}`, reason: reasonOf(cause) }, { cause });
}

async function attach(file: string, engine: Engine): Promise<DuckdbFile> {
  const connection = await engine.connect(file);
  const close = (): void => {
    connection.closeSync();
    engine.close();
    held.delete(file);
  };
  try {
    await connection.run(`ATTACH ${quoteText(file)} AS ${WAREHOUSE}`);
  } catch (cause) {
    connection.closeSync();
    throw cause;
  }
  return {
    connection,
    close,
    release: async () => {
      try {
        await connection.run(`DETACH ${WAREHOUSE}`);
      } catch {
        return close();
      }
      connection.closeSync();
      held.delete(file);
    },
  };
}

/** Who holds the file, by DuckDB's message; null when the message is about something else. */
export function lockHolder(message: string): string | null {
  if (!message.includes("Could not set lock on file")) return null;
  const [, program, pid] = /held in (.+) \((PID \d+)\)/.exec(message) ?? [];
  return pid === undefined || program === undefined ? "unknown" : `${pid}, ${program}`;
}

/** One name for one file, however it was spelled; the file need not exist yet. */
async function realFile(given: string): Promise<string> {
  const folder = path.dirname(path.resolve(given));
  await mkdir(folder, { recursive: true });
  const inFolder = path.join(await realpath(folder), path.basename(given));
  return realpath(inFolder).catch(() => inFolder);
}
