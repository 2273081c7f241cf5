// A sink in a process of its own: merges a folder's log until so many events are merged, and says what that took.
import { openDuckdb } from "../src/warehouses/duckdb/warehouse.ts";
import { openPostgresWarehouse } from "../src/warehouses/postgres/warehouse.ts";
import { SinkLag } from "../src/sink/lag.ts";
import { runSink } from "../src/sink/sink.ts";
import { openLog } from "../src/telemetry/log.ts";
import { openParts, prefixOf, type LogPlace } from "./sink-log.ts";

const [logPlace = "", kind = "", place = "", wanted = ""] = process.argv.slice(2);
const of = JSON.parse(logPlace) as LogPlace;
const parts = await openParts(of);
const warehouse = kind === "duckdb" ? openDuckdb({ path: place }) : openPostgresWarehouse({ url: () => place });
const stop = new AbortController();
let events = 0;
const before = process.cpuUsage();
const started = performance.now();
let result = "";
await runSink(
  {
    name: "bench",
    prefix: prefixOf(of),
    rule: ({ name }) => ({ target: { schema: "bench", name }, deletes: "hard" }),
    flush: { everyMs: 200, rows: 100_000 }, // what is left in the end waits for this long
  },
  {
    log: parts.log,
    registry: parts.registry,
    warehouse,
    logger: openLog({ level: "warn" }),
    lag: new SinkLag(),
    pausedTables: () => new Set(),
    requestSnapshot: () => Promise.resolve(false),
    observer: {
      state: () => undefined,
      lag: () => undefined,
      barriersSkipped: () => undefined,
      gaps: () => undefined,
      flushed: (report) => {
        if (process.env.BENCH_FLUSHES !== undefined)
          process.stderr.write(
            `${report.events} events, ${report.durationMs.toFixed(0)} ms of ${(performance.now() - started).toFixed(0)}\n`,
          );
        events += report.events;
        if (events < Number(wanted) || result !== "") return;
        const { user, system } = process.cpuUsage(before);
        result = JSON.stringify({ ms: performance.now() - started, cpuSeconds: (user + system) / 1e6 });
        stop.abort();
      },
    },
  },
  stop.signal,
  new AbortController().signal,
);
await warehouse[Symbol.asyncDispose]();
await parts.close();
process.stdout.write(result);
