// The whole way: database → source → embedded log → sink → DuckDB file, all in one `tailrace run`.
import { rm } from "node:fs/promises";
import path from "node:path";
import { DuckDBInstance } from "@duckdb/node-api";
import { openEmbeddedLog } from "../src/log/embedded/embedded-log.ts";
import { perMillion, perSecond, type Contestant, type Surroundings } from "./contestant.ts";
import type { Load } from "./loads.ts";
import { ProcessMeter } from "./process-meter.ts";
import { configure, pidOf, startService, stopService, untilMerged, untilReady, whatArrived } from "./service-process.ts";
import { dropSource } from "./streams.ts";
import { WalsenderMeter } from "./walsender.ts";

/** From the first batch in the log until all rows are merged; then the rows in the file are counted. */
export function wholeWay(name: string, { client, url, folder }: Surroundings, load: Load): Contestant {
  const dir = path.join(folder, name);
  const file = path.join(dir, "bench.duckdb");
  let http = "";
  return {
    prepare: async () => {
      const duckdb = { path: file, flushEvery: "1s" };
      http = await configure({ name, url, dir, tables: load.tables, snapshot: "{ mode: no_data }", kafka: null, duckdb });
      const service = startService(dir);
      await untilReady(service, http);
      await stopService(service);
    },
    run: async (rows) => {
      const walsender = await WalsenderMeter.open(url, `tailrace_${name}`);
      const service = startService(dir);
      const meter = new ProcessMeter(pidOf(service));
      await untilMerged(service, http, rows);
      const mergedMs = Date.now();
      meter.stop();
      walsender.stop();
      await stopService(service);
      await using log = await openEmbeddedLog({ path: path.join(dir, "log") });
      const { firstMs } = await whatArrived(
        log,
        load.tables.map((table) => `${name}.${table}`),
      );
      const counted = await rowsIn(file, load.tables);
      if (counted !== rows) throw new Error(`${counted} rows stand in the DuckDB file, ${rows} rows were written`);
      return {
        rowsPerSecond: perSecond(rows, mergedMs - firstMs),
        cpuSecondsPerMillion: perMillion(meter.cpuSeconds(firstMs, mergedMs), rows),
        serverSecondsPerMillion: perMillion(walsender.totalCpuSeconds, rows),
        peakRssAnonBytes: meter.peakRssAnonBytes,
      };
    },
    tidy: async () => {
      await dropSource(client, name);
      await rm(dir, { recursive: true, force: true });
    },
  };
}

async function rowsIn(file: string, tables: readonly string[]): Promise<number> {
  const instance = await DuckDBInstance.create(file, { access_mode: "READ_ONLY" });
  const connection = await instance.connect();
  try {
    let rows = 0;
    for (const table of tables) {
      const reader = await connection.runAndReadAll(`SELECT count(*) FROM ${table}`);
      rows += Number(reader.getRows()[0]?.[0] ?? 0);
    }
    return rows;
  } finally {
    connection.closeSync();
    instance.closeSync();
  }
}
