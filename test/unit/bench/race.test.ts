import { expect, test } from "vitest";
import { median, type Contestant } from "../../../bench/contestant.ts";
import { inTurn, noiseOf, withPair, type Entry } from "../../../bench/race.ts";

const entry = (name: string): Entry => ({
  name,
  title: name.toUpperCase(),
  contestant: (): Contestant => ({
    prepare: async () => undefined,
    run: async () => measured(1),
    tidy: async () => undefined,
  }),
});

const measured = (rowsPerSecond: number, cpuSecondsPerMillion = 1) => ({
  rowsPerSecond,
  cpuSecondsPerMillion,
  serverSecondsPerMillion: 1,
  peakRssAnonBytes: 1,
});

test("the pair is of the first one that takes part, under a name of its own", () => {
  expect(withPair([entry("a"), entry("b")], ["c", "b", "a"]).map(({ name }) => name)).toEqual(["a", "b", "b_again"]);
  expect(withPair([entry("a")], ["c"]).map(({ name }) => name)).toEqual(["a"]);
});

test("noise is what the pair differs by, as a share of the lesser", () => {
  const ranked = [
    { name: "a", title: "A", ...measured(100, 2) },
    { name: "b", title: "B", ...measured(7) },
    { name: "a_again", title: "A, again", ...measured(125, 2.5) },
  ];
  expect(noiseOf(ranked)).toEqual({ of: "A", rowsPerSecond: 0.25, cpuSecondsPerMillion: 0.25 });
  expect(noiseOf(ranked.slice(0, 2))).toBeNull();
});

test("a pair without any CPU of its own has no noise", () => {
  const ranked = [
    { name: "a", title: "A", ...measured(100, 0) },
    { name: "a_again", title: "A, again", ...measured(100, 0) },
  ];
  expect(noiseOf(ranked)).toMatchObject({ rowsPerSecond: 0, cpuSecondsPerMillion: 0 });
});

test("each repeat begins with another one, and leaves nobody out", () => {
  expect([1, 2, 3, 4].map((repeat) => inTurn(["a", "b", "c"], repeat).join(""))).toEqual(["abc", "bca", "cab", "abc"]);
  expect(inTurn([], 2)).toEqual([]);
});

test("the median is of each figure by itself, and of the broker only where there was one", () => {
  const runs = [measured(3, 30), measured(1, 10), measured(2, 20)];
  expect(median(runs)).toEqual(measured(2, 20));
  expect(median(runs.map((run, at) => ({ ...run, brokerSecondsPerMillion: at })))).toEqual({
    ...measured(2, 20),
    brokerSecondsPerMillion: 1,
  });
});
