// R-slot: whether what was published is in the server's past.
import { expect, test } from "vitest";
import { parseLsn, ZERO_LSN } from "../../../src/core/lsn.ts";
import { clusterProblem, parseTimelineHistory, switchPoint, type KnownCluster, type SeenCluster } from "../../../src/postgres/timeline.ts";

const HISTORY = "1\t0/3000148\tno recovery target specified\n\n2\t16/B374D848\tbefore 2026-01-01 00:00:00+00\n";
const known: KnownCluster = { systemIdentifier: "77", timeline: 1, published: parseLsn("0/3000100") };
const seen: SeenCluster = { systemIdentifier: "77", timeline: 1, walEnd: parseLsn("0/4000000"), history: [] };

test("a history file gives the switch points of its ancestors; comments and empty lines are none", () => {
  const history = parseTimelineHistory(`# comment\n${HISTORY}`);
  expect(history).toEqual([
    { timeline: 1, at: parseLsn("0/3000148") },
    { timeline: 2, at: parseLsn("16/B374D848") },
  ]);
  expect(switchPoint(history, 2)).toBe(parseLsn("16/B374D848"));
  expect(switchPoint(history, 3)).toBeNull();
});

test("a line that is none of these is STREAM_PROTOCOL", () => {
  expect(() => parseTimelineHistory("one\t0/1\n")).toThrow(expect.objectContaining({ code: "STREAM_PROTOCOL" }));
});

test("R-slot: the same cluster that has gone on is no problem", () => expect(clusterProblem(known, seen)).toBeNull());

test("R-slot: a new timeline alone is no gap", () => {
  const promoted = { ...seen, timeline: 3, walEnd: parseLsn("16/C0000000"), history: parseTimelineHistory(HISTORY) };
  expect(clusterProblem(known, promoted)).toBeNull();
  expect(clusterProblem({ ...known, published: parseLsn("0/3000147") }, promoted)).toBeNull();
});

test("R-slot: a commit record that begins at the switch point, or after it, never happened on the new timeline", () => {
  const promoted = { ...seen, timeline: 3, walEnd: parseLsn("16/C0000000"), history: parseTimelineHistory(HISTORY) };
  for (const published of ["0/3000148", "0/3000149"])
    expect(clusterProblem({ ...known, published: parseLsn(published) }, promoted), published).toMatchObject({ code: "WAL_REWOUND" });
});

test("R-slot: WAL that ends where the last published commit record begins, or before it, was rewound", () => {
  for (const published of ["0/4000000", "0/4000001"])
    expect(clusterProblem({ ...known, published: parseLsn(published) }, seen), published).toMatchObject({ code: "WAL_REWOUND" });
  expect(clusterProblem({ ...known, published: parseLsn("0/3FFFFFF") }, seen)).toBeNull();
});

test("R-slot: where nothing was published nothing can be lost, wherever the WAL ends", () => {
  expect(clusterProblem({ ...known, published: ZERO_LSN }, { ...seen, walEnd: ZERO_LSN })).toBeNull();
});

test("R-slot: another system id is another database, unless it is said to be meant by its id", () => {
  const other = { ...seen, systemIdentifier: "78" };
  expect(clusterProblem(known, other)).toMatchObject({ code: "ANOTHER_DATABASE" });
  expect(clusterProblem(known, other, "77")).toMatchObject({ code: "ANOTHER_DATABASE" });
  expect(clusterProblem(known, other, "78")).toMatchObject({ code: "ANOTHER_HISTORY" });
  expect(clusterProblem(known, seen, "78")).toBeNull();
});

test("R-slot: an unrelated timeline and an older one are another history", () => {
  for (const [before, now] of [
    [
      { ...known, timeline: 5 },
      { ...seen, timeline: 6, history: parseTimelineHistory(HISTORY) },
    ],
    [{ ...known, timeline: 2 }, seen],
  ] as const)
    expect(clusterProblem(before, now)).toMatchObject({ code: "ANOTHER_HISTORY" });
});
