// npm run bench: the same million rows through one contestant after the other, on servers of its own. Compare only what one run
// measured: figures move from machine to machine and from run to run. The tables go to stdout, everything else to stderr.
import { rm, writeFile } from "node:fs/promises";
import path from "node:path";
import pg from "pg";
import { startPostgres } from "../src/quickstart/postgres-server.ts";
import { sweepLeftovers, temporaryFolder } from "../test/support/temporary-folder.ts";
import { aboutRun, chartData } from "./about.ts";
import { chartOf } from "./chart.ts";
import type { Surroundings } from "./contestant.ts";
import { measureLatency } from "./latency.ts";
import { isWanted, parseOptions, USAGE, type Options } from "./options.ts";
import { noiseOf, runRace, type Noise, type Race, type Ranked } from "./race.ts";
import { logMerged, slotDrained, tableRead } from "./races.ts";
import { measurePgbench } from "./pgbench.ts";
import { latencyTable, pgbenchTable, raceTable, targetsTable, visibleTable } from "./report.ts";
import { Closing, startServers } from "./servers.ts";
import { measureTargets } from "./target-sizes.ts";
import { measureVisible } from "./visible.ts";

type RaceResult = Pick<Race, "name" | "about" | "rows"> & { readonly noise: Noise | null; readonly results: readonly Ranked[] };

async function main(options: Options): Promise<void> {
  await using closing = new Closing();
  await sweepLeftovers(); // of a run that was ended early
  const folder = await temporaryFolder("bench");
  closing.defer(() => rm(folder, { recursive: true, force: true }));
  say("starting PostgreSQL");
  // Room for the WAL of all rows: a checkpoint in the middle would be measured as well.
  const settings = {
    max_wal_size: "8GB",
    shared_buffers: "512MB",
    checkpoint_timeout: "1h",
    max_replication_slots: 30,
    max_wal_senders: 30,
  };
  const server = closing.use(await startPostgres({ dataDir: path.join(folder, "postgres"), settings }));
  const client = new pg.Client({ connectionString: server.url });
  await client.connect();
  closing.defer(() => client.end());
  const surroundings: Surroundings = { client, url: server.url, postmaster: server.pid ?? 0, folder };
  const servers = await startServers(options, surroundings, closing, say);

  const races: RaceResult[] = [];
  const drained = options.loads.map((load) => slotDrained(options, servers, surroundings, load));
  for (const race of [tableRead(options, servers, surroundings), ...drained, logMerged(options, servers, surroundings)]) {
    if (race.entries.length === 0) continue;
    const results = await runRace(race, options.repeats, client, say);
    process.stdout.write(raceTable(race, results));
    races.push({ name: race.name, about: race.about, rows: race.rows, noise: noiseOf(results), results });
  }
  const targets = options.only.includes("targets") ? await measureTargets(surroundings, say) : [];
  process.stdout.write(targetsTable(targets));
  const duckdb = isWanted(options, "duckdb");
  const visible = options.only.includes("visible")
    ? await measureVisible(surroundings, servers, { repeats: options.repeats, duckdb }, say)
    : [];
  process.stdout.write(visibleTable(visible));
  const pgbench = servers.pgbench === null ? [] : await measurePgbench(servers.pgbench, surroundings, servers, options.repeats, say);
  process.stdout.write(pgbenchTable(pgbench));
  const latency = options.only.includes("latency") ? await measureLatency(surroundings, options, say) : null;
  if (latency !== null) process.stdout.write(latencyTable(latency));
  const about = await aboutRun(options, servers, client);
  if (options.json !== undefined)
    await writeFile(options.json, `${JSON.stringify({ ...about, races, targets, visible, pgbench, latency }, null, 2)}\n`);
  if (options.chart !== undefined) {
    const first = races.find(({ name }) => options.loads.some((load) => load === name)) ?? null;
    await writeFile(options.chart, chartOf(chartData(about, first, visible)));
  }
}

function say(text: string): void {
  process.stderr.write(`bench: ${text}\n`);
}

// Servers and services end in exit hooks.
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => process.exit(1));
const options = parseOptions(process.argv.slice(2));
if (typeof options === "string") {
  process.stderr.write(`${options}\n${USAGE}`);
  process.exitCode = 2;
} else {
  await main(options);
}
