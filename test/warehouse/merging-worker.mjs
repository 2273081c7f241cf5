// A process that flushes to a warehouse until it is killed. Runs what `npm test` built.
//
//   node merging-worker.mjs duckdb FILE | postgres URL
//
// Each flush writes its own number into every row of a table and moves the checkpoint to it; it says the number afterwards.
import { writeSync } from "node:fs";
import { openDuckdb } from "../../dist/warehouses/duckdb/warehouse.js";
import { openPostgresWarehouse } from "../../dist/warehouses/postgres/warehouse.js";

const ROWS = 3_000;
const [kind, place] = process.argv.slice(2);
const { signal } = new AbortController();
const warehouse = kind === "duckdb" ? openDuckdb({ path: place }) : openPostgresWarehouse({ url: () => place });
const int8 = { kind: "int8" };
const spec = {
  target: { schema: "crash", name: "rows" },
  key: ["id"],
  deletes: "hard",
  columns: [
    { name: "id", type: int8 },
    { name: "n", type: int8 },
  ],
};
const plan = { ...spec, columns: spec.columns.map((column) => ({ ...column, unchanged: "impossible" })) };
const ids = Array.from({ length: ROWS }, (_, id) => id);

function flushOf(fence, offset) {
  const next = (offset ?? 0) + 1;
  const expected = offset === null ? null : { topicId: "id", nextOffset: offset };
  const sequence = `0001-${next.toString(16).padStart(16, "0")}-000000000000`;
  const staged = {
    rows: ROWS,
    unchanged: [null, null],
    // The first row comes and goes: every second flush leaves a tombstone.
    deleted: Uint8Array.from(ids, (id) => (id === 0 ? next % 2 : 0)),
    writeValues: (row, into) => {
      into[0].long(0, row);
      into[1].long(0, next);
    },
    writeSequence: (row, into) => into.text(Buffer.from(sequence), 0, sequence.length),
    writeCommitTime: (row, into) => into.long(0, 0),
    writeKey: (row, into) => into.bytes(Buffer.from(String(row)), 0, String(row).length),
  };
  return {
    sink: "crash",
    fence,
    tables: [{ plan, truncate: null, staged }],
    checkpoints: [{ topic: "t", partition: 0, topicId: "id", nextOffset: next, sequence, expected }],
    deadLetters: [],
    closedDeadLetters: [],
    letterFloors: [],
    sweeps: [],
    expiries: [],
    orphaned: () => [],
    run: { startedMs: Date.now(), events: ROWS, firstSequence: sequence, lastSequence: sequence },
  };
}

async function inSession(work) {
  const session = await warehouse.open(signal);
  try {
    return await work(session);
  } finally {
    await session[Symbol.asyncDispose]();
  }
}

const { fence, checkpoints } = await inSession(async (session) => {
  await session.prepare();
  await session.ensureTarget(spec);
  return session.acquire("crash");
});
let offset = checkpoints[0]?.nextOffset ?? null;
for (;;) {
  const flush = flushOf(fence, offset);
  await inSession((session) => session.flush(flush, signal));
  offset = flush.checkpoints[0].nextOffset;
  writeSync(1, `${offset}\n`);
}
