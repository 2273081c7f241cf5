// How many rows the next chunk of a table has, as many as take about the target times and no more bytes than are kept, and
// how long its reader rests before it. Pure but for the clock of its caller.

/** What a chunk should take from its first statement to its mark, ms. Longer: more touched keys. */
const TARGET_MS = 500;
/**
 * What handing a chunk's rows on at its mark should take, ms. The stream stands still meanwhile: with chunks of 8 MiB the
 * median time until a commit is durable went from 14 to 590 ms. Shorter: more chunks, each 3 ms of the database's time.
 */
const TARGET_HOLD_MS = { busy: 5, quiet: 30 };
/** Longest rest after a chunk, ms: one that was slow for want of a lock or of the disk says nothing of the stream. */
const MOST_REST_MS = 100;
const LEAST_ROWS = 100;
const MOST_ROWS = 200_000;

/** How long a chunk's rows held the stream, and how many other transactions with rows have come by since the chunk before. */
export type Hold = { readonly ms: number; readonly others: number };

export type ChunkTaken = {
  readonly rows: number;
  /** From the first statement until the rows were handed on. */
  readonly ms: number;
  readonly hold: Hold;
  readonly bytes: number;
  /** What is kept of a chunk at most. */
  readonly maxBytes: number;
};

export class ChunkPace {
  readonly #firstRows: number;
  readonly #rows = new Map<string, number>();

  /** `firstRows`: snapshot.chunk_rows, what a table's first chunk has. */
  constructor(firstRows: number) {
    this.#firstRows = firstRows;
  }

  rows(table: string): number {
    return this.#rows.get(table) ?? this.#firstRows;
  }

  /** A whole chunk of `rows` rows and `bytes` bytes took `ms`, `hold` of them at its mark. */
  took(table: string, { rows, ms, hold, bytes, maxBytes }: ChunkTaken): void {
    if (rows < this.rows(table) / 2) return; // the range's end
    const holdMs = hold.others > 0 ? TARGET_HOLD_MS.busy : TARGET_HOLD_MS.quiet;
    const byTime = rows * Math.min(TARGET_MS / Math.max(ms, 1), holdMs / Math.max(hold.ms, 1));
    const byBytes = bytes === 0 ? MOST_ROWS : (rows * maxBytes * 0.5) / bytes;
    const wanted = Math.min(Math.max(LEAST_ROWS, Math.min(byTime, rows * 2)), byBytes, MOST_ROWS);
    this.#rows.set(table, Math.max(1, Math.floor(wanted)));
  }

  /** The chunk had more bytes than are kept. */
  tooLarge(table: string, rows: number): void {
    this.#rows.set(table, Math.max(1, Math.floor(Math.min(rows, this.rows(table)) / 2)));
  }
}

/**
 * How long a reader rests after a chunk that took `ms`: as long again while other transactions come by. They share a core with
 * its rows, which without a rest fill it: the p99 of 2,000 commits a second then went from 25 to 280 ms, with it to 100 ms.
 */
export function restAfter(ms: number, hold: Hold): number {
  return hold.others > 0 ? Math.min(ms, MOST_REST_MS) : 0;
}

/** snapshot.max_rows_per_second: how long to wait after each chunk. */
export class RowLimit {
  readonly #perSecond: number | null;
  #free = 0;

  constructor(perSecond: number | null) {
    this.#perSecond = perSecond;
  }

  /** `rows` were read at `now` (ms): the wait before the next read, ms. */
  waitAfter(rows: number, now: number): number {
    if (this.#perSecond === null) return 0;
    this.#free = Math.max(this.#free, now) + (rows * 1_000) / this.#perSecond;
    return this.#free - now;
  }
}
