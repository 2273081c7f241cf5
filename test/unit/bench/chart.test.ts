import { expect, test } from "vitest";
import { chartData, type About } from "../../../bench/about.ts";
import { chartOf, type ChartBar, type ChartData, type ChartTime } from "../../../bench/chart.ts";

const bar = (title: string, rowsPerSecond: number): ChartBar => ({
  title,
  rowsPerSecond,
  cpuSecondsPerMillion: 5,
  peakRssAnonBytes: 100 * 1024 * 1024,
});
const time = (title: string, p50Ms: number, p99Ms: number): ChartTime => ({
  title,
  changesPerSecond: 2_000,
  p50Ms,
  p95Ms: (p50Ms + p99Ms) / 2,
  p99Ms,
});
const data = (parts: Partial<ChartData>): ChartData => ({ title: "T", about: [], barsAbout: "", bars: [], times: [], ...parts });

/** Every number in an attribute of this name. */
const numbers = (svg: string, attribute: string): number[] =>
  [...svg.matchAll(new RegExp(` ${attribute}="([^"]+)"`, "g"))].map((found) => Number(found[1]));

test("the picture has its title, date and versions, and names and figures of all bars and times", () => {
  const svg = chartOf(
    data({
      about: ["2026-01-02 · 2 cores", "Tailrace 1 · Kafka 4"],
      bars: [bar("Tailrace → Kafka", 171_234), bar("Other", 950)],
      times: [time("Tailrace → Kafka", 1.26, 9.8), time("Other", 12, 1_500)],
    }),
  );
  for (const said of [
    "2026-01-02 · 2 cores",
    "Tailrace 1 · Kafka 4",
    "171k",
    "950",
    "5.0",
    "100 MiB",
    "1.3 · 5.5 · 9.8",
    "12 · 756 · 1,500",
  ])
    expect(svg).toContain(`>${said}<`);
  expect(svg).toContain("prefers-color-scheme: dark");
});

test("the longest bar is the largest figure's, and the others are in proportion", () => {
  const svg = chartOf(data({ bars: [bar("a", 1_000), bar("b", 4_000)] }));
  const [a = 0, b = 0] = [...svg.matchAll(/<rect class="theirs"[^>]* width="([^"]+)"/g)].map((found) => Number(found[1]));
  expect(b / a).toBeCloseTo(4, 1);
});

test("ours have a colour of their own", () => {
  const svg = chartOf(data({ bars: [bar("Tailrace", 1), bar("Other", 1)] }));
  expect(svg.match(/<rect class="ours"/g)).toHaveLength(3);
  expect(svg.match(/<rect class="theirs"/g)).toHaveLength(3);
});

test.each([
  ["nothing", data({})],
  ["bars of nothing", data({ bars: [{ title: "a", rowsPerSecond: 0, cpuSecondsPerMillion: 0, peakRssAnonBytes: 0 }] })],
  ["times of nothing", data({ times: [time("a", 0, 0)] })],
  ["very long times", data({ times: [time("a", 0.05, 600_000)] })],
])("%s is drawn inside of the picture", (_, drawn) => {
  const svg = chartOf(drawn);
  expect(svg).not.toMatch(/NaN|Infinity|undefined/);
  const [, width = 0, height = 0] = /width="(\d+)" height="(\d+)"/.exec(svg)?.map(Number) ?? [];
  for (const x of ["x", "x1", "x2", "cx"].flatMap((name) => numbers(svg, name))) expect(x >= 0 && x <= width).toBe(true);
  for (const y of ["y", "y1", "y2", "cy"].flatMap((name) => numbers(svg, name))) expect(y >= 0 && y <= height).toBe(true);
});

test("what stands in a title is text, not markup", () => {
  expect(chartOf(data({ title: `a < b & "c"`, bars: [bar("<script>", 1)] }))).not.toMatch(/<script>|a < b/);
});

test("the second of an equal pair is not drawn, and the lines say date, rows and versions", () => {
  const about: About = { at: "2026-01-02T03:04:05.000Z", rows: 10, repeats: 3, cores: 2, versions: { Tailrace: "1", Kafka: "4" } };
  const ranked = (name: string) => ({ ...bar(name, 1), name, serverSecondsPerMillion: 1, runs: [] });
  const drawn = chartData(about, { about: "a slot drained", rows: 5, results: [ranked("a"), ranked("a_again")] }, []);
  expect(drawn.bars.map(({ title }) => title)).toEqual(["a"]);
  expect(drawn.about).toEqual(["2026-01-02 · 2 cores for all of them · 5 rows · medians of 3 interleaved repeats", "Tailrace 1 · Kafka 4"]);
});
