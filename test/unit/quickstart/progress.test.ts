import { expect, test } from "vitest";
import { Progress, type Figures } from "../../../src/quickstart/progress.ts";

const FIGURES: Figures = {
  phase: "running",
  transactions: 1_234,
  reading: null,
  events: 5_678,
  merged: 5_000,
  perSecond: 310.4,
  lag: 12,
  deadLetters: 0,
  p50Ms: 420,
  p99Ms: 1_520,
};

function screen(isTTY: boolean, columns = 100): { isTTY: boolean; columns: number; text: string; write: (text: string) => void } {
  const out = { isTTY, columns, text: "", write: (text: string) => void (out.text += text) };
  return out;
}

test("without a terminal it is a plain line now and then, and one at each change of phase", () => {
  const out = screen(false);
  const progress = new Progress(out, {});
  progress.show(FIGURES, 0);
  progress.show(FIGURES, 500);
  progress.show(FIGURES, 4_999);
  expect(out.text.split("\n")).toEqual([
    "running: 1,234 transactions, 5,678 events, 12 not merged yet, 5,000 rows merged (310 events/s), 0 dead letters, p50 420 ms, p99 1.5 s",
    "",
  ]);
  progress.show(FIGURES, 5_000);
  progress.show({ ...FIGURES, phase: "draining" }, 5_001);
  progress.note("done", true);
  expect(out.text.split("\n")).toHaveLength(5);
  expect(out.text).not.toContain("\x1b");
});

test("on a terminal one block is drawn again in place, and notes stand above it", () => {
  const out = screen(true);
  const progress = new Progress(out, { TERM: "xterm" });
  progress.show(FIGURES, 0);
  const lines = out.text.split("\n").length - 1;
  out.text = "";
  progress.show(FIGURES, 500);
  expect(out.text.startsWith(`\r\x1b[${lines}A\x1b[0J`)).toBe(true);
  out.text = "";
  progress.note("look");
  progress.show(FIGURES, 1_000);
  expect(out.text.startsWith(`\r\x1b[${lines}A\x1b[0Jlook\n`)).toBe(true);
  expect(out.text.split("\x1b[0J")).toHaveLength(2);
});

test("no line of the block is as wide as the terminal: a wrapped one would be left behind", () => {
  for (const columns of [10, 40, 80]) {
    const out = screen(true, columns);
    new Progress(out, { NO_COLOR: "1" }).show(FIGURES, 0);
    for (const line of out.text.split("\n")) expect(line.length).toBeLessThan(columns);
  }
});

test("NO_COLOR and a dumb terminal get no colours, the dumb one no cursor movements either", () => {
  const plain = screen(true);
  new Progress(plain, { NO_COLOR: "1" }).show(FIGURES, 0);
  expect(plain.text).not.toContain("\x1b");
  const dumb = screen(true);
  const progress = new Progress(dumb, { TERM: "dumb" });
  progress.show(FIGURES, 0);
  progress.show(FIGURES, 9_000);
  expect(dumb.text).not.toContain("\x1b");
});

test("while existing rows are read it says how many of how many, how fast, and who keeps them waiting", () => {
  const reading = { rows: 12_000, estimatedRows: 20_000, rowsPerSecond: 34_000, tables: 2, waitingFor: null };
  const out = screen(false);
  const progress = new Progress(out, {});
  progress.show({ ...FIGURES, phase: "reading existing rows", reading }, 0);
  progress.show(
    {
      ...FIGURES,
      phase: "waiting",
      transactions: null,
      reading: { ...reading, rows: 0, tables: 1, estimatedRows: 0, waitingFor: "PID 7" },
    },
    1,
  );
  const [first, second] = out.text.split("\n");
  expect(first).toContain("1,234 transactions, read 12,000 of about 20,000 rows (60%), 34,000 rows/s, 2 tables left; 5,678 events");
  expect(second).toContain("waiting: read 0 rows, waits for PID 7, 1 table left; 5,678 events");
});
