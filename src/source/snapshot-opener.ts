// R-window-start: lets tables be read, once everything that their chunks may not see is in the window, and sees that the window keeps
// no more than it has to.
import type { Log } from "../core/log.ts";
import { pause } from "../core/pause.ts";
import { tableLabel } from "../core/table.ts";
import { describeHolder, type Holder } from "../postgres/snapshot-holders.ts";
import { writeMark } from "../postgres/snapshot-mark.ts";
import { currentVisibility, freshXid, waitForXmin } from "../postgres/snapshot-waits.ts";
import { parseVisibility } from "../postgres/visibility.ts";
import type { CapturedTable } from "./captured-table.ts";
import { GATHER_MS } from "./chunk-order.ts";
import type { SessionKeeper } from "./session-keeper.ts";
import type { TableSnapshot } from "./snapshot-progress.ts";
import type { Snapshots } from "./snapshots.ts";

/** A wait shorter than this is not worth a word, ms. */
const PATIENCE_MS = 1_000;
/** How often a snapshot is taken for the window alone, ms. */
const LOOK_MS = 500;

export type SnapshotOpenerOptions = {
  readonly snapshots: Snapshots;
  readonly logger: Log;
  readonly tables: {
    /** null: not captured any more. */
    find(label: string): CapturedTable | null;
  };
  /** Those that are to be read now. */
  readonly due: () => readonly TableSnapshot[];
  /** Whom or what a table's snapshot waits for; null: nothing. */
  readonly waiting: (label: string, reason: string | null) => void;
  /** Nothing more is read of the table. */
  readonly closed: (label: string) => void;
};

export class SnapshotOpener {
  readonly #options: SnapshotOpenerOptions;
  /** Those that may be read, as long as the window's generation is this one. */
  readonly #open = new Map<TableSnapshot, number>();
  /** Those that were opened in this session. */
  readonly #opened = new WeakSet<TableSnapshot>();
  #generation: number;
  /** performance.now() of the last snapshot that was taken for the window alone. */
  #lookedAt = -Infinity;

  constructor(options: SnapshotOpenerOptions) {
    this.#options = options;
    this.#generation = options.snapshots.window.generation;
  }

  /** Those that were opened and are not done. */
  get open(): readonly TableSnapshot[] {
    return [...this.#open.keys()];
  }

  /** The window's generation in which the table was opened; −1: it was not. */
  generationOf(snapshot: TableSnapshot): number {
    return this.#open.get(snapshot) ?? -1;
  }

  /**
   * R-window-start. From here on the window is told of the tables' keys; every transaction that may have written before
   * that has ended before a chunk is read. Both waits are needed: a transaction may be published by half when its table
   * enters the publication, and one may have taken its id after the mark and stand before it in the WAL. false: nothing was to be opened.
   */
  async openNext(keeper: SessionKeeper, signal: AbortSignal): Promise<boolean> {
    this.#closeDone();
    // One that was opened and is complete has been said to be, and waits for the barrier alone.
    const due = this.#options.due().filter((snapshot) => !this.isOpen(snapshot) && !(snapshot.complete && this.#opened.has(snapshot)));
    if (due.length === 0) {
      await this.#keepLittle(keeper);
      return false;
    }
    const { logger, snapshots, waiting } = this.#options;
    const { window } = snapshots;
    const labels = due.map(({ table }) => tableLabel(table));
    if (due.every(({ kind }) => kind === "rereads")) await pause(GATHER_MS, signal);
    else logger.info({ tables: labels }, "snapshot: begins, or goes on");
    const session = await keeper.session();
    const patience = new Patience((holders) => {
      if (holders !== null) logger.warn({ tables: labels, holders }, "snapshot: waits until open transactions end");
      for (const label of labels) waiting(label, holders === null ? null : `open transactions: ${holders}`);
    });
    const ended = async (): Promise<void> =>
      waitForXmin(
        session,
        await freshXid(session),
        (snapshot) => window.advance(parseVisibility(snapshot)), // so that a wait of hours keeps no more than a moment's keys
        (holders) => patience.look(holders),
        signal,
      );
    await ended();
    for (const label of labels) this.#watch(label, true);
    const { generation } = window;
    await writeMark(session, snapshots.openingMark(due));
    await ended();
    patience.over();
    if (window.generation !== generation) return true; // what had been touched since is forgotten: begin anew
    for (const snapshot of due) {
      this.#open.set(snapshot, generation);
      this.#opened.add(snapshot);
      snapshots.endIfComplete(snapshot); // said again, should the last process have ended before it was
    }
    snapshots.bell.ring();
    return true;
  }

  /** Chunks tell the window what may go. While none is read, for want of a mark or since its table is held, this does. */
  async #keepLittle(keeper: SessionKeeper): Promise<void> {
    const { window } = this.#options.snapshots;
    if (window.touches === 0 || performance.now() < this.#lookedAt + LOOK_MS) return;
    this.#lookedAt = performance.now();
    window.advance(await currentVisibility(await keeper.session()));
  }

  /** Its chunks may be read. */
  isOpen(snapshot: TableSnapshot): boolean {
    return this.#open.get(snapshot) === this.#options.snapshots.window.generation;
  }

  /** What is complete, or given up, is not watched any longer. */
  #closeDone(): void {
    const { logger, snapshots } = this.#options;
    const { generation } = snapshots.window;
    if (generation !== this.#generation) {
      this.#generation = generation;
      logger.warn({}, "snapshot: too many changed rows to keep; the chunks that are open are read again");
    }
    for (const snapshot of this.#open.keys()) {
      if (snapshots.isCurrent(snapshot) && !snapshot.complete) continue;
      this.#open.delete(snapshot);
      const label = tableLabel(snapshot.table);
      this.#options.closed(label);
      if (!snapshots.all.some((other) => other !== snapshot && tableLabel(other.table) === label)) this.#watch(label, false);
    }
  }

  #watch(label: string, on: boolean): void {
    const { snapshots, tables } = this.#options;
    const captured = tables.find(label);
    if (captured === null) return;
    captured.reading.watched = on;
    if (on) snapshots.window.watch(captured.table.oid);
    else snapshots.window.unwatch(captured.table.oid);
  }
}

/** Tells who is waited for once it has lasted, whenever that changes, and (null) when it is over. */
class Patience {
  readonly #tell: (holders: string | null) => void;
  readonly #begun = performance.now();
  #said: string | null = null;

  constructor(tell: (holders: string | null) => void) {
    this.#tell = tell;
  }

  look(holders: readonly Holder[]): void {
    if (performance.now() - this.#begun < PATIENCE_MS || holders.length === 0) return;
    const described = holders.slice(0, 3).map(describeHolder).join("; ");
    if (described === this.#said) return;
    this.#said = described;
    this.#tell(described);
  }

  over(): void {
    if (this.#said !== null) this.#tell(null);
    this.#said = null;
  }
}
