// npm run bench: the same million rows through one contestant after the other, on servers of its own. Compare only what one run
// measured: figures move from machine to machine and from run to run. The tables go to stdout, everything else to stderr.
import { rm, writeFile } from "node:fs/promises";
import { availableParallelism } from "node:os";
import path from "node:path";
import { parseArgs } from "node:util";
import pg from "pg";
import { startPostgres } from "../src/quickstart/postgres-server.ts";
import { KAFKA, startKafka } from "../test/support/kafka.ts";
import { missingFor } from "../test/support/maven-cache.ts";
import { REGISTRY, startRegistry } from "../test/support/registry.ts";
import { temporaryFolder } from "../test/support/temporary-folder.ts";
import { findClient, median, type Contestant, type Measured, type Surroundings } from "./contestant.ts";
import { measureLatency, type LatencyReport } from "./latency.ts";
import type { KafkaParts } from "./service-process.ts";
import { copyOut, READ_TABLE, snapshot } from "./snapshots.ts";
import { recvlogical, STREAMED_TABLE, tailrace } from "./streams.ts";

const USAGE = `usage: npm run bench -- [--rows 1000000] [--repeats 3] [--only recvlogical,embedded,kafka,snapshot,latency] [--json FILE]`;
const ROWS_PER_TRANSACTION = 1_000;
const SESSIONS = [1, 2, 4];
const subjects = ["recvlogical", "embedded", "kafka", "snapshot", "latency"] as const;
type Subject = (typeof subjects)[number];

const COLUMNS = `id bigint PRIMARY KEY, customer_id int, status text, amount numeric(12,2), quantity int,
  note text, created_at timestamptz, updated_at timestamptz`;

/** About 150 bytes of pgoutput a row. */
function insertRows(table: string, from: number, rows: number): string {
  return `DO $$ BEGIN FOR i IN 0..${Math.ceil(rows / ROWS_PER_TRANSACTION) - 1} LOOP
    INSERT INTO ${table} SELECT g, g % 50000, (array['new','paid','shipped','done'])[1 + g % 4], (g % 100000) / 100.0, g % 10,
      'order note number ' || g, now(), now()
    FROM generate_series(${from} + i * ${ROWS_PER_TRANSACTION} + 1, ${from} + least((i + 1) * ${ROWS_PER_TRANSACTION}, ${rows})) AS g;
    COMMIT;
  END LOOP; END $$`;
}

type Options = { readonly rows: number; readonly repeats: number; readonly only: readonly Subject[]; readonly json: string | undefined };

/** Who runs against whom, over rows that `fill` writes when all are prepared. */
type Race = {
  readonly about: string;
  /** What the figure of the server's CPU is of. */
  readonly server: string;
  readonly entries: readonly Entry[];
  readonly fill: (repeat: number) => Promise<void>;
};

type Entry = { readonly name: string; readonly title: string; readonly contestant: (slot: string) => Contestant };
type Result = Measured & Pick<Entry, "name" | "title"> & { readonly runs: readonly Measured[] };

/** What was started last is closed first. (Node 20 has no AsyncDisposableStack.) */
class Closing implements AsyncDisposable {
  readonly #steps: (() => Promise<unknown>)[] = [];

  defer(step: () => Promise<unknown>): void {
    this.#steps.push(step);
  }

  use<T extends AsyncDisposable>(resource: T): T {
    this.defer(async () => resource[Symbol.asyncDispose]());
    return resource;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const step of this.#steps.reverse()) await step();
  }
}

async function main(options: Options): Promise<void> {
  await using closing = new Closing();
  const folder = await temporaryFolder("bench");
  closing.defer(() => rm(folder, { recursive: true, force: true }));
  say("starting PostgreSQL");
  // Room for the WAL of all rows: a checkpoint in the middle would be measured as well.
  const settings = { max_wal_size: "8GB", shared_buffers: "512MB", checkpoint_timeout: "1h" };
  const server = closing.use(await startPostgres({ dataDir: path.join(folder, "postgres"), settings }));
  const client = new pg.Client({ connectionString: server.url });
  await client.connect();
  closing.defer(() => client.end());
  const surroundings: Surroundings = { client, url: server.url, postmaster: server.pid ?? 0, folder };

  const results: Result[] = [];
  for (const race of [snapshots(options, surroundings), await streams(options, surroundings, closing)]) {
    if (race.entries.length === 0) continue;
    const ranked = await run(race, options.repeats, options.rows, client);
    process.stdout.write(table(race, ranked));
    results.push(...ranked);
  }
  const latency = options.only.includes("latency") ? await measureLatency(surroundings, options, say) : null;
  if (latency !== null) process.stdout.write(latencyTable(latency));
  if (options.json !== undefined) {
    const about = {
      rows: options.rows,
      repeats: options.repeats,
      node: process.version,
      cores: availableParallelism(),
      at: new Date().toISOString(),
    };
    await writeFile(options.json, `${JSON.stringify({ ...about, results, latency }, null, 2)}\n`);
  }
}

function snapshots({ only, rows }: Options, surroundings: Surroundings): Race {
  const { client } = surroundings;
  const program = findClient("psql");
  if (program === null && only.includes("snapshot")) say("no psql here (apt-get install postgresql-client): COPY is left out");
  const copy: Entry = {
    name: "copy",
    title: "COPY (binary) by psql → /dev/null",
    contestant: () => copyOut(program ?? "", surroundings),
  };
  const ours = SESSIONS.map((sessions): Entry => {
    const title = `Tailrace snapshot → embedded log, ${sessions} ${sessions === 1 ? "session" : "sessions"}`;
    return { name: `snapshot_${sessions}`, title, contestant: (slot) => snapshot(slot, surroundings, sessions) };
  });
  return {
    about: "a table read",
    server: "PostgreSQL s per 1M",
    entries: !only.includes("snapshot") ? [] : program === null ? ours : [copy, ...ours],
    fill: async (repeat) => {
      if (repeat > 1) return;
      await client.query(`CREATE TABLE ${READ_TABLE} (${COLUMNS})`);
      await client.query(insertRows(READ_TABLE, 0, rows));
      await client.query(`VACUUM ANALYZE ${READ_TABLE}`); // else whoever reads first also writes the hint bits of all rows
    },
  };
}

async function streams({ only, rows }: Options, surroundings: Surroundings, closing: Closing): Promise<Race> {
  const { client } = surroundings;
  const program = only.includes("recvlogical") ? findClient("pg_recvlogical") : null;
  if (program === null && only.includes("recvlogical")) say("no pg_recvlogical here (apt-get install postgresql-client): left out");
  const kafka = only.includes("kafka") ? await startKafkaParts(closing) : null;
  const entries: Entry[] = [];
  if (program !== null)
    entries.push({
      name: "recvlogical",
      title: "pg_recvlogical (binary) → /dev/null",
      contestant: (slot) => recvlogical(program, slot, surroundings),
    });
  if (only.includes("embedded"))
    entries.push({ name: "embedded", title: "Tailrace source → embedded log", contestant: (slot) => tailrace(slot, surroundings, null) });
  if (kafka !== null)
    entries.push({ name: "kafka", title: "Tailrace source → Kafka", contestant: (slot) => tailrace(slot, surroundings, kafka) });
  await client.query(`CREATE TABLE ${STREAMED_TABLE} (${COLUMNS})`);
  return {
    about: "a slot drained",
    server: "walsender s per 1M",
    entries,
    fill: async (repeat) => {
      await client.query(insertRows(STREAMED_TABLE, (repeat - 1) * rows, rows));
    },
  };
}

async function startKafkaParts(closing: Closing): Promise<KafkaParts | null> {
  const missing = (await missingFor(KAFKA)) ?? (await missingFor(REGISTRY));
  if (missing !== null) {
    say(`${missing}: left out`);
    return null;
  }
  say("starting Kafka and a registry");
  const kafka = closing.use(await startKafka());
  const registry = closing.use(await startRegistry());
  return { brokers: kafka.brokers, registry: registry.url };
}

/** Medians of interleaved repeats. */
async function run({ about, entries, fill }: Race, repeats: number, rows: number, client: pg.Client): Promise<readonly Result[]> {
  const measured = new Map<Entry, Measured[]>(entries.map((entry) => [entry, []]));
  for (let repeat = 1; repeat <= repeats; repeat++) {
    // Each is first once: whoever comes first finds a cache that the others warm, or does not.
    const turn = (repeat - 1) % entries.length;
    const all = [...entries.slice(turn), ...entries.slice(0, turn)].map((entry) => ({
      entry,
      contestant: entry.contestant(`bench_${entry.name}_${repeat}`),
    }));
    say(`${about}, repeat ${repeat} of ${repeats}: ${rows} rows`);
    for (const { contestant } of all) await contestant.prepare();
    await fill(repeat);
    await client.query("CHECKPOINT");
    const { rows: end } = await client.query<{ lsn: string }>("SELECT pg_current_wal_lsn() AS lsn");
    for (const { entry, contestant } of all) {
      const result = await contestant.run(rows, end[0]?.lsn ?? "0/0");
      measured.get(entry)?.push(result);
      say(`${entry.title}: ${result.rowsPerSecond} rows/s, ${result.cpuSecondsPerMillion.toFixed(2)} s CPU per 1M`);
    }
    for (const { contestant } of all) await contestant.tidy();
  }
  return entries.map((entry) => {
    const runs = measured.get(entry) ?? [];
    return { name: entry.name, title: entry.title, ...median(runs), runs };
  });
}

function table({ about, server }: Race, results: readonly Result[]): string {
  const header = [about, "rows/s", "CPU s per 1M", server, "peak RssAnon"];
  return aligned([
    header,
    ...results.map((result) => [
      result.title,
      result.rowsPerSecond.toLocaleString("en-US"),
      result.cpuSecondsPerMillion.toFixed(2),
      result.serverSecondsPerMillion.toFixed(2),
      `${Math.round(result.peakRssAnonBytes / 1024 / 1024)} MiB`,
    ]),
  ]);
}

function latencyTable({ perSecond, quiet, reading }: LatencyReport): string {
  const row = (title: string, { transactions, p50Ms, p99Ms, maxMs }: LatencyReport["quiet"]): readonly string[] => [
    title,
    transactions.toLocaleString("en-US"),
    ...[p50Ms, p99Ms, maxMs].map((ms) => `${ms.toFixed(1)} ms`),
  ];
  return aligned([
    [`commit → durable in the log, ${perSecond} transactions/s`, "seen", "p50", "p99", "longest"],
    row("no snapshot", quiet),
    row("during a snapshot", reading),
  ]);
}

function aligned(lines: readonly (readonly string[])[]): string {
  const widths = (lines[0] ?? []).map((_, at) => Math.max(...lines.map((line) => line[at]?.length ?? 0)));
  const text = lines.map((line) =>
    line.map((cell, at) => (at === 0 ? cell.padEnd(widths[at] ?? 0) : cell.padStart(widths[at] ?? 0))).join("   "),
  );
  return `${text.join("\n")}\n\n`;
}

function say(text: string): void {
  process.stderr.write(`bench: ${text}\n`);
}

function parseOptions(args: readonly string[]): Options | string {
  try {
    const { values } = parseArgs({
      args: [...args],
      options: { rows: { type: "string" }, repeats: { type: "string" }, only: { type: "string" }, json: { type: "string" } },
    });
    const rows = Number(values.rows ?? 1_000_000);
    const repeats = Number(values.repeats ?? 3);
    if (!Number.isSafeInteger(rows) || rows < 1) return `--rows is a whole number, not ${String(values.rows)}`;
    if (!Number.isSafeInteger(repeats) || repeats < 1) return `--repeats is a whole number, not ${String(values.repeats)}`;
    const asked = values.only?.split(",") ?? subjects;
    const unknown = asked.find((name) => !subjects.some((known) => known === name));
    if (unknown !== undefined) return `--only knows ${subjects.join(", ")}, not ${unknown}`;
    return { rows, repeats, only: subjects.filter((name) => asked.includes(name)), json: values.json };
  } catch (cause) {
    return cause instanceof Error ? cause.message : String(cause);
  }
}

// Servers and services end in exit hooks.
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => process.exit(1));
const options = parseOptions(process.argv.slice(2));
if (typeof options === "string") {
  process.stderr.write(`${options}\n${USAGE}\n`);
  process.exitCode = 2;
} else {
  await main(options);
}
