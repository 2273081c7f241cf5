// How many rows the next chunk of a table has: as many as take about the target times, and no more bytes than are kept.
// Pure but for the clock of its caller.

/** What a chunk should take from its first statement to its mark, ms. Longer: more touched keys. */
const TARGET_MS = 500;
/**
 * What handing a chunk's rows on at its mark should take, ms. Every transaction behind the mark waits so long, with
 * `parallel` chunks in a row that many times: chunks of 8 MiB made the 14 ms until a commit is durable 590 ms. Shorter: more
 * transactions, about 3 ms each of the database's time.
 */
const TARGET_HOLD_MS = 15;
const LEAST_ROWS = 100;
const MOST_ROWS = 200_000;

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

  /** Before the first chunk: `fit` rows fit into what is kept, by the table's statistics. */
  expect(table: string, fit: number): void {
    if (!this.#rows.has(table)) this.#set(table, Math.min(this.#firstRows, Math.floor(fit / 2)));
  }

  /** A whole chunk of `rows` rows and `bytes` bytes took `ms`, and held the stream for `heldMs` of them. */
  took(table: string, rows: number, { ms, heldMs }: { readonly ms: number; readonly heldMs: number }, bytes: number, maxBytes: number): void {
    if (rows < this.rows(table) / 2) return; // the range's end
    const byTime = Math.min((rows * TARGET_MS) / Math.max(ms, 1), (rows * TARGET_HOLD_MS) / Math.max(heldMs, 1));
    const byBytes = bytes === 0 ? MOST_ROWS : (rows * maxBytes * 0.5) / bytes;
    this.#set(table, Math.min(byTime, byBytes, rows * 2));
  }

  /** The chunk had more bytes than are kept. */
  tooLarge(table: string, rows: number): void {
    this.#rows.set(table, Math.max(1, Math.floor(Math.min(rows, this.rows(table)) / 2)));
  }

  #set(table: string, rows: number): void {
    this.#rows.set(table, Math.max(LEAST_ROWS, Math.min(MOST_ROWS, Math.floor(rows))));
  }
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
