// Group commit: one commit runs at a time, and everything that was asked for meanwhile shares the next one. So offsets are
// given in the order of the calls, an fsync is paid for once, and a commit that fails leaves no hole before a later one.
import { TailraceError } from "../../core/errors.ts";
import { Bell } from "../../core/bell.ts";
import { Catalog } from "./catalog.ts";
import { Store, type Change } from "./store.ts";

/** Bytes that share one commit. More: a better rate by little; the first of them waits longer. */
const COMMIT_BYTES = 4 * 1024 * 1024;

/** Something to commit. Exactly one of committed() and failed() is called, once, after its turn. */
export interface Work {
  /** About what it writes. */
  readonly bytes: number;
  /** Shares its commit with nothing: it changes what others are prepared by. */
  readonly alone: boolean;
  /** Its turn has come: what to write. Throws to be refused alone; the others of the commit go on. */
  prepare(catalog: Catalog): readonly Change[];
  committed(catalog: Catalog): void;
  failed(cause: TailraceError): void;
}

export class Committer implements AsyncDisposable {
  readonly #path: string;
  readonly #waiting: Work[] = [];
  /** null: the store failed and is not open again yet. */
  #catalog: Catalog | null;
  /** Why nothing is written any more. */
  #ended: TailraceError | null = null;
  #running: Promise<void> | null = null;
  /** Rung after each commit, and when the log ends. */
  readonly bell = new Bell();

  private constructor(path: string, catalog: Catalog) {
    this.#path = path;
    this.#catalog = catalog;
  }

  static async open(path: string): Promise<Committer> {
    return new Committer(path, new Catalog(await Store.open(path)));
  }

  /** For reading. Throws why the log can't be read now. */
  get catalog(): Catalog {
    if (this.#ended !== null) throw this.#ended;
    if (this.#catalog !== null) return this.#catalog;
    this.#start(); // tries to open it again
    throw new TailraceError("LOG_UNREACHABLE", { reason: `${this.#path}: a commit failed, the log is being opened again` });
  }

  submit(work: Work): void {
    if (this.#ended !== null) return work.failed(this.#ended);
    this.#waiting.push(work);
    this.#start();
  }

  /** Takes back what has not had its turn; false when it is being committed, or is done. */
  withdraw(work: Work): boolean {
    const at = this.#waiting.indexOf(work);
    if (at >= 0) this.#waiting.splice(at, 1);
    return at >= 0;
  }

  /** Refuses what is not committed yet, waits for the commit that runs, and closes the store. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#ended ??= new TailraceError("LOG_UNREACHABLE", { reason: `${this.#path}: the log was closed` });
    for (const work of this.#waiting.splice(0)) work.failed(this.#ended);
    await this.#running;
    await this.#catalog?.store.close();
    this.#catalog = null;
    this.bell.ring();
  }

  #start(): void {
    // Not at once: calls that follow in the same turn share the commit.
    this.#running ??= Promise.resolve().then(() => this.#run());
  }

  async #run(): Promise<void> {
    if (this.#ended === null) this.#catalog ??= await this.#reopen().catch(() => null);
    while (this.#waiting.length > 0) {
      const works = this.#take();
      try {
        await this.#commit(works);
      } catch (cause) {
        const error = TailraceError.from(cause);
        for (const work of works) work.failed(error);
      }
    }
    this.#running = null;
  }

  #take(): Work[] {
    let bytes = 0;
    let count = 0;
    for (const work of this.#waiting) {
      if (count > 0 && (work.alone || bytes + work.bytes > COMMIT_BYTES)) break;
      bytes += work.bytes;
      count++;
      if (work.alone) break;
    }
    return this.#waiting.splice(0, count);
  }

  async #commit(works: Work[]): Promise<void> {
    const catalog = (this.#catalog ??= await this.#reopen());
    const changes: Change[] = [];
    for (let at = 0; at < works.length;) {
      const work = works[at]!;
      try {
        changes.push(...work.prepare(catalog));
        at++;
      } catch (cause) {
        works.splice(at, 1);
        work.failed(TailraceError.from(cause));
      }
    }
    try {
      if (changes.length > 0) await catalog.store.commit(changes);
    } catch (cause) {
      const error = TailraceError.from(cause);
      this.#catalog = null;
      await catalog.store.close().catch(() => undefined);
      // Whoever shut us out owns the folder now: to open it again would shut them out in turn.
      if (error.code === "LOG_LOCKED") this.#ended = error;
      else this.#catalog = await this.#reopen().catch(() => null);
      throw error;
    }
    for (const work of works.splice(0)) work.committed(catalog);
    this.bell.ring();
  }

  async #reopen(): Promise<Catalog> {
    return new Catalog(await Store.open(this.#path));
  }
}
