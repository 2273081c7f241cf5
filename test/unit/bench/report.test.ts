import { expect, test } from "vitest";
import { pgbenchTable, raceTable, visibleTable } from "../../../bench/report.ts";
import { readPgbench } from "../../../bench/pgbench.ts";
import { percentilesOf } from "../../../bench/percentiles.ts";

const run = { rowsPerSecond: 120_000, cpuSecondsPerMillion: 3.25, serverSecondsPerMillion: 2.5, peakRssAnonBytes: 100 * 1024 * 1024 };

test("a race's table has the broker's column only where there is a broker, and says the noise of its pair", () => {
  const race = { about: "a slot drained", server: "walsender s per 1M", rows: 1_000_000 };
  const alone = [{ name: "a", title: "A", ...run, runs: [] }];
  expect(raceTable(race, alone)).toBe(
    "a slot drained, 1,000,000 rows    rows/s   CPU s per 1M   walsender s per 1M   peak RssAnon\n" +
      "A                                120,000           3.25                 2.50        100 MiB\n\n",
  );
  const pair = [...alone, { name: "a_again", title: "A, again", ...run, brokerSecondsPerMillion: 4, rowsPerSecond: 132_000, runs: [] }];
  const text = raceTable(race, pair);
  expect(text).toContain("broker s per 1M");
  expect(text).not.toContain("first row");
  expect(raceTable(race, [...pair, { name: "b", title: "B", ...run, startMs: 512.3, runs: [] }])).toMatch(
    /start → first row\n(?:.*\n)*B .* 512\.3 ms\n/,
  );
  expect(text).toContain("noise: the same twice differs by 10.0% in rows/s and 0.0% in CPU\n");
});

test("times to visible stand in a table for each rate, with what was never seen", () => {
  const times = { p50Ms: 1, p95Ms: 2, p99Ms: 3, maxMs: 4 };
  const one = { name: "a", title: "A", reachedPerSecond: 1_990, missing: 7, ...times };
  const text = visibleTable([
    { ...one, changesPerSecond: 2_000, rowsPerTransaction: 1 },
    { ...one, changesPerSecond: 20_000, rowsPerTransaction: 10 },
  ]);
  expect(text.match(/commit → visible/g)).toHaveLength(2);
  expect(text).toContain("20,000 changes/s in transactions of 10 rows");
  expect(text).toMatch(/A +1,990 +7 +1\.0 ms +2\.0 ms +3\.0 ms +4\.0 ms/);
  expect(text).not.toContain("noise");
  expect(visibleTable([])).toBe("");
});

test("an equal pair says the noise of the times, in each table of its own", () => {
  const one = { name: "a", title: "A", reachedPerSecond: 1, missing: 0, p50Ms: 10, p95Ms: 20, p99Ms: 30, maxMs: 40 };
  const rate = { changesPerSecond: 2_000, rowsPerTransaction: 1 };
  const text = visibleTable([
    { ...one, ...rate },
    { ...one, ...rate, name: "a_again", p50Ms: 11, p99Ms: 60 },
  ]);
  expect(text).toContain("noise: the same twice differs by 10.0% in p50 and 100.0% in p99\n");
});

test("what a capture takes from pgbench is a share of what it does alone", () => {
  const text = pgbenchTable([
    { name: "none", title: "not captured", tps: 2_000, latencyMs: 2, behindMs: null, cpuSecondsPerMillion: null },
    { name: "a", title: "A", tps: 1_500, latencyMs: 2.7, behindMs: 1_250, cpuSecondsPerMillion: 9 },
    { name: "none_again", title: "not captured, again", tps: 2_100, latencyMs: 2, behindMs: null, cpuSecondsPerMillion: null },
  ]);
  expect(text).toMatch(/A +1,500 +75\.0% +2\.7 ms +1\.3 s +9\.00/);
  expect(text).toContain("noise: the same twice differs by 5.0% in transactions/s\n");
  expect(pgbenchTable([])).toBe("");
});

test("percentiles of nothing are 0, and of one value are that value", () => {
  expect(percentilesOf([])).toEqual({ p50Ms: 0, p95Ms: 0, p99Ms: 0, maxMs: 0 });
  expect(percentilesOf([5])).toEqual({ p50Ms: 5, p95Ms: 5, p99Ms: 5, maxMs: 5 });
  expect(percentilesOf(Array.from({ length: 100 }, (_, at) => 100 - at))).toEqual({ p50Ms: 51, p95Ms: 96, p99Ms: 100, maxMs: 100 });
});

test("pgbench's figures are read from what it says at its end, and anything else is an error", () => {
  const text = `transaction type: <builtin: TPC-B (sort of)>
number of transactions actually processed: 25880
number of failed transactions: 0 (0.000%)
latency average = 3.091 ms
initial connection time = 17.480 ms
tps = 1294.120312 (without initial connection time)
`;
  expect(readPgbench(text)).toEqual({ tps: 1294.120312, latencyMs: 3.091, transactions: 25_880 });
  expect(() => readPgbench("pgbench: error")).toThrow("pgbench says something else");
});
