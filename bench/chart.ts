// The picture for the README: bars of a slot drained, and times from commit to visible. SVG by hand, for light and dark. Pure.

export type ChartBar = {
  readonly title: string;
  readonly rowsPerSecond: number;
  readonly cpuSecondsPerMillion: number;
  readonly peakRssAnonBytes: number;
};

export type ChartTime = {
  readonly title: string;
  readonly changesPerSecond: number;
  readonly p50Ms: number;
  readonly p95Ms: number;
  readonly p99Ms: number;
};

export type ChartData = {
  readonly title: string;
  /** Date, machine and versions, a line each. */
  readonly about: readonly string[];
  /** What the bars are of. */
  readonly barsAbout: string;
  readonly bars: readonly ChartBar[];
  readonly times: readonly ChartTime[];
};

const WIDTH = 880;
const MARGIN = 24;
const LABELS = 244;
const LEFT = MARGIN + LABELS;
const ROW = 26;
const BAR = 14;
const COLUMN_GAP = 20;
/** Beside a bar, for its figure. */
const FIGURE = 58;
/** Beside the times, for theirs. */
const TIMES_FIGURE = 184;
/** Room for the half of the axis' last figure. */
const AXIS_END = 44;

/** GitHub shows an SVG in the colours that the reader's system prefers; who knows no media queries gets the light ones. */
const STYLE = `
  .ground { fill: #ffffff; stroke: #d0d7de }
  text { font-family: system-ui, -apple-system, "Segoe UI", Helvetica, Arial, sans-serif; font-size: 12px; fill: #1f2328 }
  .title { font-size: 17px; font-weight: 600 }
  .head { font-weight: 600 }
  .muted { fill: #59636e }
  .grid { stroke: #d8dee4 }
  .ours { fill: #0969da } .theirs { fill: #9aa4af }
  .ours-line { stroke: #0969da } .theirs-line { stroke: #9aa4af }
  @media (prefers-color-scheme: dark) {
    .ground { fill: #0d1117; stroke: #3d444d }
    text { fill: #e6edf3 }
    .muted { fill: #9198a1 }
    .grid { stroke: #2f363e }
    .ours { fill: #4493f8 } .theirs { fill: #6e7681 }
    .ours-line { stroke: #4493f8 } .theirs-line { stroke: #6e7681 }
  }
`;

const columns: readonly { readonly head: string; readonly of: (bar: ChartBar) => number; readonly say: (value: number) => string }[] = [
  { head: "rows a second", of: (bar) => bar.rowsPerSecond, say: thousands },
  { head: "CPU s per million, its own", of: (bar) => bar.cpuSecondsPerMillion, say: (value) => value.toFixed(1) },
  { head: "memory at its peak (RssAnon)", of: (bar) => bar.peakRssAnonBytes, say: mebibytes },
];

/** A part without data is left out. */
export function chartOf(data: ChartData): string {
  const parts: string[] = [];
  let y = MARGIN + 14;
  parts.push(text(MARGIN, y, data.title, "title"));
  for (const line of data.about) parts.push(text(MARGIN, (y += 18), line, "muted"));
  if (data.bars.length > 0) y = bars(parts, y + 34, data);
  if (data.times.length > 0) y = times(parts, y + 34, data.times);
  const height = Math.round(y + MARGIN - 4);
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${height}" viewBox="0 0 ${WIDTH} ${height}" role="img" aria-label="${escaped(data.title)}">
<style>${STYLE}</style>
<rect class="ground" x="0.5" y="0.5" width="${WIDTH - 1}" height="${height - 1}" rx="8"/>
${parts.join("\n")}
</svg>
`;
}

/** Returns where it ends. */
function bars(parts: string[], begin: number, { barsAbout, bars: all }: ChartData): number {
  const top = begin + 22;
  parts.push(text(MARGIN, begin, barsAbout, "head"));
  const width = (WIDTH - MARGIN - LEFT - COLUMN_GAP * (columns.length - 1)) / columns.length;
  for (const [at, { head, of, say }] of columns.entries()) {
    const x = LEFT + at * (width + COLUMN_GAP);
    const largest = Math.max(...all.map(of), Number.MIN_VALUE);
    parts.push(text(x, top, head, "muted"), line(x, top + 10, x, top + 10 + all.length * ROW, "grid"));
    for (const [row, bar] of all.entries()) {
      const y = top + 10 + row * ROW + (ROW - BAR) / 2;
      const length = Math.max(1, (of(bar) / largest) * (width - FIGURE));
      parts.push(`<rect class="${kindOf(bar)}" x="${x}" y="${y}" width="${round(length)}" height="${BAR}" rx="2"/>`);
      parts.push(text(x + length + 6, y + BAR - 3, say(of(bar))));
    }
  }
  for (const [row, bar] of all.entries()) parts.push(text(MARGIN, top + 10 + row * ROW + ROW / 2 + 4, bar.title));
  return top + 10 + all.length * ROW;
}

/** A line from p50 to p99 on a logarithmic axis. Returns where it ends. */
function times(parts: string[], top: number, all: readonly ChartTime[]): number {
  const right = WIDTH - MARGIN - TIMES_FIGURE;
  const lowest = 10 ** Math.floor(Math.log10(Math.max(0.1, Math.min(...all.map(({ p50Ms }) => p50Ms)))));
  const highest = Math.max(lowest * 10, 10 ** Math.ceil(Math.log10(Math.max(0.1, ...all.map(({ p99Ms }) => p99Ms)))));
  const at = (ms: number): number => LEFT + (Math.log10(Math.max(lowest, ms) / lowest) / Math.log10(highest / lowest)) * (right - LEFT);
  parts.push(text(MARGIN, top, "Commit → visible", "head"));
  parts.push(text(right + AXIS_END, top, "p50 · p95 · p99, ms", "muted"));
  const rates = [...new Set(all.map(({ changesPerSecond }) => changesPerSecond))];
  const bottom = top + 10 + (all.length + rates.length) * ROW;
  for (let ms = lowest; ms <= highest * 1.001; ms *= 10) {
    parts.push(line(at(ms), top + 10, at(ms), bottom, "grid"));
    parts.push(text(at(ms), top, `${Number(ms.toPrecision(1)).toLocaleString("en-US")} ms`, "muted", "middle"));
  }
  let y = top + 10 + ROW / 2;
  for (const rate of rates) {
    parts.push(text(MARGIN, y + 4, `at ${rate.toLocaleString("en-US")} changes a second`, "muted"));
    y += ROW;
    for (const time of all.filter(({ changesPerSecond }) => changesPerSecond === rate)) {
      const kind = kindOf(time);
      const [p50, p95, p99] = [at(time.p50Ms), at(time.p95Ms), at(time.p99Ms)];
      parts.push(text(MARGIN, y + 4, time.title));
      parts.push(line(p50, y, p99, y, `${kind}-line`, 3), line(p99, y - 5, p99, y + 5, `${kind}-line`, 3));
      parts.push(line(p95, y - 3, p95, y + 3, `${kind}-line`, 2), `<circle class="${kind}" cx="${round(p50)}" cy="${y}" r="5"/>`);
      parts.push(text(right + AXIS_END, y + 4, [time.p50Ms, time.p95Ms, time.p99Ms].map(short).join(" · ")));
      y += ROW;
    }
  }
  return bottom;
}

function kindOf({ title }: { readonly title: string }): "ours" | "theirs" {
  return title.startsWith("Tailrace") ? "ours" : "theirs";
}

function text(x: number, y: number, said: string, kind?: string, anchor?: "middle"): string {
  const attributes = `${kind === undefined ? "" : ` class="${kind}"`}${anchor === undefined ? "" : ` text-anchor="${anchor}"`}`;
  return `<text x="${round(x)}" y="${round(y)}"${attributes}>${escaped(said)}</text>`;
}

function line(x1: number, y1: number, x2: number, y2: number, kind: string, width = 1): string {
  return `<line class="${kind}" x1="${round(x1)}" y1="${round(y1)}" x2="${round(x2)}" y2="${round(y2)}" stroke-width="${width}"/>`;
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}

function thousands(value: number): string {
  return value >= 10_000 ? `${Math.round(value / 1_000)}k` : value >= 1_000 ? `${(value / 1_000).toFixed(1)}k` : String(Math.round(value));
}

function mebibytes(bytes: number): string {
  return `${Math.round(bytes / 1024 / 1024).toLocaleString("en-US")} MiB`;
}

function short(ms: number): string {
  return ms >= 10 ? Math.round(ms).toLocaleString("en-US") : ms.toFixed(1);
}

function escaped(said: string): string {
  return said.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;");
}
