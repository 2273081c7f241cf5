// However the log is cut into flushes, however often parts of it come again and whatever it has lost before a snapshot, a target
// ends as the source's table is, its softly deleted rows with the values that they had last. Fold, guard, tombstones, floors and unchanged columns have to work
// together for that, which examples don't show.
import fc from "fast-check";
import { afterAll, describe, expect, test } from "vitest";
import type { TargetSpec, WarehouseSession } from "../../src/core/warehouse.ts";
import { flushOf, histories, historySpec, keyHex, targetAfter, targetQuery, type History } from "./history.ts";
import { dropDatabases, duckdbKind, postgresKind, type Place, type WarehouseKind } from "./places.ts";
import { Worker } from "./staged.ts";

const { signal } = new AbortController();
/** Enough to find each rule taken out (tried by hand) in a few seconds; raise it when a rule changes. */
const RUNS = Number(process.env.TEST_HISTORIES ?? 12);
const LIMIT_MS = Math.max(45_000, RUNS * 4_000);

afterAll(dropDatabases);

for (const kind of [duckdbKind, postgresKind]) {
  describe(kind.title, () => {
    for (const deletes of ["hard", "soft"] as const) {
      test(
        `a target with ${deletes} deletes equals the table after overlapping and replayed flushes, gaps and snapshots (R-checkpoint, R-tombstone, R-sweep)`,
        async () => {
          await expectHistoriesHold(kind, deletes);
        },
        LIMIT_MS + 45_000,
      );
    }
  });
}

async function expectHistoriesHold(kind: WarehouseKind, deletes: "hard" | "soft"): Promise<void> {
  await using place = await kind.make();
  let runs = 0;
  await fc.assert(
    fc.asyncProperty(histories({ min: 5, max: 60 }), async (history) => {
      const spec = historySpec(`t${++runs}`, deletes);
      const worker = new Worker(`sink ${runs}`);
      {
        await using session = await place.warehouse.open(signal);
        await session.prepare();
        await worker.acquire(session);
        await session.ensureTarget(spec);
        await flushAll(session, worker, spec, history);
      }
      const target = targetAfter(history.events, deletes);
      const live = target.filter(([, , , deleted]) => deleted !== "true").map((row) => row.slice(0, 3));
      expect(live).toEqual(history.table); // the model itself
      expect(await place.sql(targetQuery(spec))).toEqual(target);
      expect(await liveTombstones(place, kind, spec)).toEqual([]);
    }),
    // A failure is made smaller for as long as there is time for it; a slow machine tries fewer histories.
    { numRuns: RUNS, interruptAfterTimeLimit: LIMIT_MS, markInterruptAsFailure: false },
  );
}

async function flushAll(session: WarehouseSession, worker: Worker, spec: TargetSpec, history: History): Promise<void> {
  for (const [from, to] of history.flushes) {
    const { table, sweeps } = flushOf(spec, history.events, from, to);
    const { deadLetters } = await worker.merge(session, [table], { sweeps });
    expect(deadLetters).toEqual([]);
  }
}

/** Keys that are in the target and have a tombstone nevertheless; soft deletes leave none at all. */
async function liveTombstones(place: Place, kind: WarehouseKind, spec: TargetSpec): Promise<string[]> {
  const text = kind.name === "postgres" ? "upper(encode(key, 'hex'))" : "hex(key)";
  const tombstones = await place.sql(`SELECT ${text} FROM _tailrace.tombstones WHERE target_name = '${spec.target.name}'`);
  const live = new Set((await place.sql(targetQuery(spec))).map(([id]) => keyHex(Number(id))));
  return tombstones.map(([key]) => key ?? "").filter((key) => live.has(key));
}
