// R-keyless: rows have no key by which a change could be told from what was read. So all of them are read as one snapshot saw
// them, which also says at which commit: the table's transactions before it are not published. Whatever fails begins the table again.
import { randomUUID } from "node:crypto";
import { TailraceError } from "../core/errors.ts";
import { formatSequence } from "../core/sequence.ts";
import { tableLabel } from "../core/table.ts";
import type { ConnectionSettings } from "../postgres/session.ts";
import type { ChunkOutcome, ChunkPart } from "../postgres/snapshot-chunk.ts";
import { exportSnapshot, type ExportedSnapshot } from "../postgres/snapshot-export.ts";
import { blockCount, estimateRows } from "../postgres/snapshot-plan.ts";
import type { SnapshotTable } from "../postgres/snapshot-table.ts";
import { ChunkPace, restAfter, type Hold } from "./chunk-pace.ts";
import { SNAPSHOT_LIMITS, type SessionKeeper } from "./session-keeper.ts";
import type { ChunkJob, RangeJob } from "./snapshots.ts";

/** Blocks of the first chunk. */
const BLOCKS = 200;
/** How long the snapshot may wait for each older transaction, ms: the stream is held meanwhile. */
const WAIT_MS = 2_000;
/** Above every LSN: what the snapshot will hold is passed over until its place is known. */
export const FOREVER = 0xffff_ffff_ffff_ffffn;

export type KeylessReading = {
  readonly settings: ConnectionSettings;
  readonly epoch: number;
  /** The table's transactions with a commit LSN below are passed over from now on. */
  readonly pass: (below: bigint) => void;
  /** Stops the stream for a moment, or lets it go on. */
  readonly hold: (on: boolean) => void;
  readonly see: () => Promise<SnapshotTable>;
  readonly chunk: (
    job: ChunkJob,
    table: SnapshotTable,
    part: ChunkPart,
    under: string,
  ) => Promise<{ readonly outcome: ChunkOutcome; readonly hold: Hold }>;
  /** A chunk of so many rows has been read, or the whole of it. */
  readonly read: () => void;
  readonly rest: (rows: number, ms: number) => Promise<void>;
  /** Waits until the next chunk may be read; false: this snapshot is to be given up. */
  readonly mayGoOn: () => Promise<boolean>;
  readonly maxBytes: number;
};

/** One at a time: who holds the stream must not have it let go by another. */
export class Turns {
  #last: Promise<void> = Promise.resolve();

  /** Runs the work when all before it has ended. */
  async take<T>(work: () => Promise<T>): Promise<T> {
    const before = this.#last;
    let end = (): void => undefined;
    this.#last = new Promise<void>((resolve) => (end = resolve));
    await before;
    try {
      return await work();
    } finally {
      end();
    }
  }
}

/** Reads the table to its end; false when reading.mayGoOn() says that it is given up. */
export async function readKeyless(
  reading: KeylessReading,
  keeper: SessionKeeper,
  { snapshot, range }: RangeJob,
  turns: Turns,
  signal: AbortSignal,
): Promise<boolean> {
  const { settings, epoch, pass, hold, maxBytes } = reading;
  const label = tableLabel(snapshot.table);
  const attempt = snapshot.beginAnew();
  const options = { slot: `tailrace_${randomUUID().replaceAll("-", "_")}`, waitMs: WAIT_MS, limits: SNAPSHOT_LIMITS };
  await using exported: ExportedSnapshot = await turns.take(async () => {
    try {
      const taken = await exportSnapshot(settings, options, signal, () => {
        // What has come by so far was committed before the snapshot is taken; what comes meanwhile waits for its word.
        pass(FOREVER);
        hold(true);
      });
      pass(taken.consistentPoint);
      return taken;
    } finally {
      hold(false);
    }
  });
  const table = await reading.see();
  snapshot.estimatedRows ??= await estimateRows(await keeper.session(), table, null);
  const opening = formatSequence({ epoch, commitLsn: exported.consistentPoint, ordinal: 0 });
  const blocks = await blockCount(await keeper.session(), table);
  const pace = new ChunkPace(BLOCKS); // in blocks
  for (let from = 0; await reading.mayGoOn();) {
    const step = pace.rows(label);
    const begun = performance.now();
    const to = from + step < blocks ? from + step : null;
    const job: ChunkJob = { kind: "blocks", snapshot, range, isLast: to === null, opening, attempt };
    const { outcome, hold: held } = await reading.chunk(job, table, { kind: "blocks", from, to }, exported.name);
    if (outcome.kind === "changed") throw new TailraceError("SNAPSHOT_LOST", { table: label, reason: "the table has changed" });
    if (outcome.kind === "tooLarge") {
      if (step === 1)
        throw new TailraceError("SNAPSHOT_ROW_WIDE", { table: label, reason: `a block's rows have more than ${maxBytes} bytes` });
      pace.tooLarge(label, step);
      continue;
    }
    reading.read();
    if (to === null) return true;
    from = to;
    const { count, length } = outcome.rows;
    const ms = performance.now() - begun;
    pace.took(label, { rows: step, ms, hold: held, bytes: length, maxBytes });
    await reading.rest(count, restAfter(ms, held));
  }
  return false;
}
