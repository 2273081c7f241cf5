// The quickstart on a database of the reader's, from start to stop. What it makes there it takes away again, and a guardian
// does that where it can't itself any more: the database is afterwards as it was before.
import { existsSync } from "node:fs";
import { readFile, writeFile } from "node:fs/promises";
import path from "node:path";
import { quoteTable } from "../config/table-pattern.ts";
import { reasonOf, TailraceError } from "../core/errors.ts";
import { parseLsn } from "../core/lsn.ts";
import { tableLabel, type TableName } from "../core/table.ts";
import { Session } from "../postgres/session.ts";
import { files, writeOwnConfig } from "./config.ts";
import { Guardian } from "./guardian.ts";
import { failure, LiveCopy } from "./live-copy.ts";
import { isOurName, newName, removeMade, type Made } from "./made.ts";
import { lookAt, type SeenOwn } from "./own-tables.ts";
import type { Progress } from "./progress.ts";

export type OwnDatabaseOptions = {
  /** A folder that exists. */
  readonly dir: string;
  /** Of the database. Holds a secret. */
  readonly url: string;
  /** Patterns as in a configuration; at least one. */
  readonly patterns: readonly string[];
  readonly progress: Progress;
};

/** How long the source may take to stream: its slot waits for every older transaction, which it names. */
const STREAMING_MS = 10 * 60_000;
const DRAIN_MS = 60_000;
/** What is left of the ten seconds that a stop may take, when the service has stopped. */
const REMOVE_MS = 3_000;

export class OwnDatabase implements AsyncDisposable {
  readonly copy: LiveCopy;
  readonly url: string;
  readonly tables: readonly TableName[];
  readonly #made: Made;
  readonly #address: string;
  readonly #guardian: Guardian;
  readonly #progress: Progress;
  #stopped: Promise<void> | null = null;
  /** The next id of a writing transaction of the cluster when everything was merged; null: it never was. */
  #nextXid: string | null = null;

  private constructor(made: Made, seen: SeenOwn, guardian: Guardian, copy: LiveCopy, progress: Progress) {
    this.copy = copy;
    this.url = made.url;
    this.tables = seen.tables;
    this.#made = made;
    this.#address = seen.address;
    this.#guardian = guardian;
    this.#progress = progress;
  }

  /**
   * Looks at the database, says what it will make there, makes it, and waits until the source streams. What was made is
   * gone again when it throws: QUICKSTART_FAILED, and what keeps the database from being captured.
   */
  static async start(options: OwnDatabaseOptions, signal: AbortSignal): Promise<OwnDatabase> {
    const { dir, url, patterns, progress } = options;
    const before = await readFolder(dir);
    const name = newName();
    const draft = await writeOwnConfig(dir, { url, tables: patterns, name, httpPort: 0 });
    const problem = ({ message, remedy }: TailraceError): void => progress.note(`${message}\nfix: ${remedy}`);
    const seen = await lookAt(draft.sources[0]!, problem, signal);
    if (before !== null && (before.system !== seen.systemIdentifier || before.database !== seen.database))
      throw foreignFolder(dir, "the copy of another database");
    if (isOurName(before?.made)) await takeAway({ url, name: before.made }, progress, signal);
    announce(seen, name, progress);

    const made = { url, name };
    await writeFile(path.join(dir, files.database), JSON.stringify({ system: seen.systemIdentifier, database: seen.database, made: name }));
    const guardian = await Guardian.start(made, path.join(dir, files.messages), () =>
      progress.note(`the guardian process was ended: should this one be killed, DROP PUBLICATION ${name};`),
    ).catch((cause: unknown) => {
      throw failure(reasonOf(cause));
    });
    let own: OwnDatabase | null = null;
    try {
      const copy = await LiveCopy.start({
        dir,
        progress,
        writeConfig: async (httpPort) => writeOwnConfig(dir, { url, tables: seen.tables.map(quoteTable), name, httpPort }),
        transactions: null,
      });
      own = new OwnDatabase(made, seen, guardian, copy, progress);
      await copy.untilStreaming(STREAMING_MS, signal);
      return own;
    } catch (cause) {
      if (own === null) guardian.dismiss();
      else await own.stop();
      throw cause;
    }
  }

  /** Waits until all that was committed until now is merged and nothing more comes; says so when something keeps coming. */
  async drain(signal: AbortSignal): Promise<void> {
    const end = parseLsn((await this.#ask("SELECT pg_current_wal_lsn()::text AS answer", signal)) ?? "0/0");
    if (await this.copy.drain(end, DRAIN_MS, signal)) this.#nextXid = await this.#ask(NEXT_XID, signal);
    else this.#progress.note("the database is being written to: rows that change from now on may count as differences");
  }

  async stopService(): Promise<void> {
    await this.copy.stop();
  }

  /** Whether somebody may have written since drain(): then a difference says nothing. */
  async isWritten(signal: AbortSignal): Promise<boolean> {
    return this.#nextXid === null || (await this.#ask(NEXT_XID, signal)) !== this.#nextXid;
  }

  /** Stops the service and takes away what was made. */
  async stop(): Promise<void> {
    this.#stopped ??= this.#stop();
    return this.#stopped;
  }

  async #stop(): Promise<void> {
    await this.stopService();
    const { name } = this.#made;
    try {
      const isGone = await removeMade(this.#made, AbortSignal.timeout(REMOVE_MS));
      if (!isGone) throw failure(`slot ${name} is still in use`);
      this.#guardian.dismiss();
      this.#progress.note(`${this.#address} is as it was: publication ${name} is dropped, the slot is gone`);
    } catch (cause) {
      this.#guardian.leaveTo();
      this.#progress.note(
        `publication ${name} is not dropped yet (${reasonOf(cause)}): process ${this.#guardian.pid} goes on trying for a quarter of an hour; by hand: DROP PUBLICATION IF EXISTS ${name};`,
      );
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  async #ask(sql: string, signal: AbortSignal): Promise<string | null> {
    await using session = await Session.open({ url: this.url, applicationName: "tailrace quickstart" }, signal);
    return (await session.query(sql))[0]?.answer ?? null;
  }
}

const NEXT_XID = "SELECT pg_snapshot_xmax(pg_current_snapshot())::text AS answer";

type Folder = { readonly system?: unknown; readonly database?: unknown; readonly made?: unknown };

/** What an earlier start has written down of its database; null: there was none. Throws USAGE for a folder of the sample shop. */
async function readFolder(dir: string): Promise<Folder | null> {
  const text = await readFile(path.join(dir, files.database), "utf8").catch(() => null);
  if (text !== null) return JSON.parse(text) as Folder;
  if (existsSync(path.join(dir, files.log))) throw foreignFolder(dir, "the quickstart of the sample shop");
  return null;
}

function foreignFolder(dir: string, what: string): TailraceError {
  return new TailraceError("USAGE", { problem: `${dir} holds ${what}: delete it, or give another folder with --dir` });
}

/** What a start that was killed together with its guardian has left. */
async function takeAway(left: Made, progress: Progress, signal: AbortSignal): Promise<void> {
  await using session = await Session.open({ url: left.url, applicationName: "tailrace quickstart" }, signal);
  const found = await session.query("SELECT FROM pg_publication WHERE pubname = $1", [left.name]);
  if (found.length === 0) return;
  const readers = await session.query("SELECT active_pid FROM pg_replication_slots WHERE slot_name = $1", [left.name]);
  if (readers.length > 0)
    throw failure(`the quickstart runs in this folder already (PID ${readers[0]?.active_pid} of the server is its reader)`);
  await removeMade(left, signal);
  progress.note(`dropped publication ${left.name}, which an earlier start had left`);
}

function announce({ address, tables, skipped }: SeenOwn, name: string, progress: Progress): void {
  for (const { table, reason } of skipped) progress.note(`not captured: ${tableLabel(table)}: ${reason}`);
  progress.note(
    [
      `In ${address} this makes, and nothing else:`,
      `  publication ${name} of ${tables.length} ${tables.length === 1 ? "table" : "tables"}, dropped at the end`,
      `  replication slot ${name}, a temporary one, which goes with its connection`,
      "Should this process be killed, another one that it starts drops the publication.",
    ].join("\n"),
  );
}
