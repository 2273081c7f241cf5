// npm run bench: a million rows through one slot after the other, on servers of its own. Compare only what one run measured:
// figures move from machine to machine and from run to run. The table goes to stdout, everything else to stderr.
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
import {
  findRecvlogical,
  recvlogical,
  tailrace,
  type Contestant,
  type KafkaParts,
  type Measured,
  type Surroundings,
} from "./contestants.ts";

const USAGE = "usage: npm run bench -- [--rows 1000000] [--repeats 3] [--only recvlogical,embedded,kafka] [--json FILE]";
const ROWS_PER_TRANSACTION = 1_000;
const names = ["recvlogical", "embedded", "kafka"] as const;
type Name = (typeof names)[number];
const titles: Readonly<Record<Name, string>> = {
  recvlogical: "pg_recvlogical (binary) → /dev/null",
  embedded: "Tailrace source → embedded log",
  kafka: "Tailrace source → Kafka",
};

const CREATE_TABLE = `CREATE TABLE orders (id bigint PRIMARY KEY, customer_id int, status text, amount numeric(12,2), quantity int,
  note text, created_at timestamptz, updated_at timestamptz)`;

/** About 150 bytes of pgoutput a row. */
function insertRows(from: number, rows: number): string {
  return `DO $$ BEGIN FOR i IN 0..${Math.ceil(rows / ROWS_PER_TRANSACTION) - 1} LOOP
    INSERT INTO orders SELECT g, g % 50000, (array['new','paid','shipped','done'])[1 + g % 4], (g % 100000) / 100.0, g % 10,
      'order note number ' || g, now(), now()
    FROM generate_series(${from} + i * ${ROWS_PER_TRANSACTION} + 1, ${from} + least((i + 1) * ${ROWS_PER_TRANSACTION}, ${rows})) AS g;
    COMMIT;
  END LOOP; END $$`;
}

type Options = { readonly rows: number; readonly repeats: number; readonly only: readonly Name[]; readonly json: string | undefined };

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
  await client.query(CREATE_TABLE);

  const program = findRecvlogical();
  const kafka = options.only.includes("kafka") ? await startKafkaParts(closing) : null;
  const entries = options.only.filter((name) => {
    if (name !== "recvlogical") return name === "embedded" || kafka !== null;
    if (program === null) say("no pg_recvlogical here (apt-get install postgresql-client): left out");
    return program !== null;
  });
  const surroundings: Surroundings = { client, url: server.url, folder };
  const contestant = (name: Name, repeat: number): Contestant => {
    const slot = `bench_${name}_${repeat}`;
    if (name === "recvlogical") return recvlogical(program ?? "", slot, surroundings);
    return tailrace(slot, surroundings, name === "kafka" ? kafka : null);
  };
  const measured = new Map<Name, Measured[]>(entries.map((name) => [name, []]));
  for (let repeat = 1; repeat <= options.repeats; repeat++) {
    // Each is first once: whoever comes first finds the WAL in the cache that the others warm, or does not.
    const turn = (repeat - 1) % entries.length;
    const order = [...entries.slice(turn), ...entries.slice(0, turn)];
    const all = order.map((name) => [name, contestant(name, repeat)] as const);
    say(`repeat ${repeat} of ${options.repeats}: slots`);
    for (const [, one] of all) await one.prepare();
    say(`repeat ${repeat}: ${options.rows} rows`);
    await client.query(insertRows((repeat - 1) * options.rows, options.rows));
    await client.query("CHECKPOINT");
    const { rows: end } = await client.query<{ lsn: string }>("SELECT pg_current_wal_lsn() AS lsn");
    for (const [name, one] of all) {
      const result = await one.drain(options.rows, end[0]?.lsn ?? "0/0");
      measured.get(name)?.push(result);
      say(`repeat ${repeat}: ${titles[name]}: ${result.rowsPerSecond} rows/s, ${result.cpuSecondsPerMillion.toFixed(2)} s CPU per 1M`);
    }
    for (const [, one] of all) await one.tidy();
  }
  const results = entries.map((name) => ({
    name,
    title: titles[name],
    ...median(measured.get(name) ?? []),
    runs: measured.get(name) ?? [],
  }));
  process.stdout.write(table(results));
  if (options.json !== undefined) {
    const about = {
      rows: options.rows,
      repeats: options.repeats,
      node: process.version,
      cores: availableParallelism(),
      at: new Date().toISOString(),
    };
    await writeFile(options.json, `${JSON.stringify({ ...about, results }, null, 2)}\n`);
  }
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

/** Of each figure by itself. */
function median(runs: readonly Measured[]): Measured {
  const of = (figure: keyof Measured): number =>
    runs.map((run) => run[figure]).sort((a, b) => a - b)[Math.floor((runs.length - 1) / 2)] ?? 0;
  return {
    rowsPerSecond: of("rowsPerSecond"),
    cpuSecondsPerMillion: of("cpuSecondsPerMillion"),
    walsenderSecondsPerMillion: of("walsenderSecondsPerMillion"),
    peakRssAnonBytes: of("peakRssAnonBytes"),
  };
}

function table(results: readonly (Measured & { readonly title: string })[]): string {
  const header = ["", "rows/s", "CPU s per 1M", "walsender s per 1M", "peak RssAnon"];
  const cells = results.map((result) => [
    result.title,
    result.rowsPerSecond.toLocaleString("en-US"),
    result.cpuSecondsPerMillion.toFixed(2),
    result.walsenderSecondsPerMillion.toFixed(2),
    `${Math.round(result.peakRssAnonBytes / 1024 / 1024)} MiB`,
  ]);
  const widths = header.map((_, at) => Math.max(...[header, ...cells].map((row) => row[at]?.length ?? 0)));
  const line = (row: readonly string[]): string =>
    row.map((cell, at) => (at === 0 ? cell.padEnd(widths[at] ?? 0) : cell.padStart(widths[at] ?? 0))).join("   ");
  return `${[header, ...cells].map(line).join("\n")}\n`;
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
    const asked = values.only?.split(",") ?? names;
    const unknown = asked.find((name) => !names.some((known) => known === name));
    if (unknown !== undefined) return `--only knows ${names.join(", ")}, not ${unknown}`;
    return { rows, repeats, only: names.filter((name) => asked.includes(name)), json: values.json };
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
