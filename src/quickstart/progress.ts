// What a person sees while the quickstart runs, on stderr: one block that is drawn again in place on a terminal, a line now
// and then elsewhere.
import type { ReadingFigures } from "./reading.ts";

export type Figures = {
  readonly phase: string;
  /** Of the shop, since this start, as are all counts; null: the database is another one. */
  readonly transactions: number | null;
  /** Of the rows that were there before; null when they are read. */
  readonly reading: ReadingFigures | null;
  /** Durable in the log. */
  readonly events: number;
  /** Rows of the copy that changed. */
  readonly merged: number;
  /** Events merged a second, lately. */
  readonly perSecond: number;
  /** Records in the log that are not merged yet; null before that is known. */
  readonly lag: number | null;
  readonly deadLetters: number;
  readonly p50Ms: number | null;
  readonly p99Ms: number | null;
};

export type ProgressTarget = {
  readonly isTTY?: boolean;
  readonly columns?: number;
  write(text: string): unknown;
};

/** How often a line is written where there is no terminal, ms. */
const LINE_EVERY_MS = 5_000;

export class Progress {
  readonly #out: ProgressTarget;
  readonly #terminal: boolean;
  readonly #colours: boolean;
  /** Lines of the block on the screen. */
  #drawn = 0;
  #lineDue = 0;
  #phase = "";

  constructor(out: ProgressTarget, environment: Readonly<Record<string, string | undefined>>) {
    this.#out = out;
    this.#terminal = out.isTTY === true && environment.TERM !== "dumb";
    this.#colours = this.#terminal && (environment.NO_COLOR ?? "") === "";
  }

  /** Shows the figures as of `nowMs` (monotonic). */
  show(figures: Figures, nowMs: number): void {
    if (this.#terminal) {
      this.#draw(blockOf(figures));
      return;
    }
    if (figures.phase === this.#phase && nowMs < this.#lineDue) return;
    this.#phase = figures.phase;
    this.#lineDue = nowMs + LINE_EVERY_MS;
    this.#out.write(`${lineOf(figures)}\n`);
  }

  /** A text that stays, above the block. `strong`: what the reader looks for. */
  note(text: string, strong = false): void {
    this.#erase();
    this.#out.write(`${strong && this.#colours ? bold(text) : text}\n`);
  }

  /** Leaves the last block on the screen; the next one is drawn below it. */
  keep(): void {
    this.#drawn = 0;
  }

  #draw(lines: readonly string[]): void {
    this.#erase();
    const { columns = 0 } = this.#out; // 0: a terminal that does not say
    const width = columns > 0 ? columns : 80;
    // A line that wraps would make the block taller than we count.
    const cut = lines.map((line) => (line.length < width ? line : line.slice(0, width - 1)));
    this.#out.write(cut.map((line, at) => `${at === 0 && this.#colours ? bold(line) : line}\n`).join(""));
    this.#drawn = cut.length;
  }

  /** ECMA-48: to the line's start, where a terminal that echoes ^C has left it, cursor up, then erase to the end of the screen. */
  #erase(): void {
    if (this.#drawn > 0) this.#out.write(`\r\x1b[${this.#drawn}A\x1b[0J`);
    this.#drawn = 0;
  }
}

function blockOf(figures: Figures): readonly string[] {
  const { phase, transactions, reading, events, merged, perSecond, lag, deadLetters } = figures;
  return [
    `── ${phase} `.padEnd(60, "─"),
    ...(transactions === null ? [] : [`  shop   ${count(transactions)} transactions`]),
    ...(reading === null ? [] : [`  read   ${readingOf(reading)}`]),
    `  log    ${count(events)} events, ${lag === null ? "?" : count(lag)} not merged yet`,
    `  copy   ${count(merged)} rows merged, ${count(Math.round(perSecond))} events/s, ${count(deadLetters)} dead letters`,
    `  commit at the source to commit in the copy: p50 ${duration(figures.p50Ms)}, p99 ${duration(figures.p99Ms)}`,
  ];
}

function lineOf(figures: Figures): string {
  const { phase, transactions, reading, events, merged, perSecond, lag, deadLetters, p50Ms, p99Ms } = figures;
  return (
    `${phase}: ${transactions === null ? "" : `${count(transactions)} transactions, `}${reading === null ? "" : `read ${readingOf(reading)}; `}${count(events)} events, ${lag === null ? "?" : count(lag)} not merged yet, ` +
    `${count(merged)} rows merged (${count(Math.round(perSecond))} events/s), ${count(deadLetters)} dead letters, ` +
    `p50 ${duration(p50Ms)}, p99 ${duration(p99Ms)}`
  );
}

/** `12,000 of about 20,000 rows (60%), 34,000 rows/s, 2 tables left`, and what it waits for. */
function readingOf({ rows, estimatedRows, rowsPerSecond, tables, waitingFor }: ReadingFigures): string {
  const whole = estimatedRows === 0 ? "rows" : `of about ${count(estimatedRows)} rows (${Math.floor((rows / estimatedRows) * 100)}%)`;
  const pace = waitingFor === null ? `${count(rowsPerSecond)} rows/s` : `waits for ${waitingFor}`;
  return `${count(rows)} ${whole}, ${pace}, ${tables} ${tables === 1 ? "table" : "tables"} left`;
}

/** `1,234,567`. */
export function count(value: number): string {
  return value.toLocaleString("en-US");
}

function duration(ms: number | null): string {
  if (ms === null) return "–";
  return ms < 1_000 ? `${Math.round(ms)} ms` : `${(ms / 1_000).toFixed(1)} s`;
}

function bold(text: string): string {
  return `\x1b[1m${text}\x1b[22m`;
}
