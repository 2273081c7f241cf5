// What the source costs as a service of its own: memory that is bounded whatever comes, and CPU that is held against
// PostgreSQL's own client over the same rows in the same run, since seconds alone say more of the machine than of the code.
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { promisify } from "node:util";
import { expect, test } from "vitest";
import { eventually } from "../support/eventually.ts";
import { freeze } from "../support/freeze.ts";
import { ProcessCost, cpuSeconds } from "../support/process-cost.ts";
import { describeWithKafka, kafka, postgres, registry, uniqueName, type TestDatabase } from "../support/servers.ts";
import { Scene, sourceDocument, until } from "./scene.ts";

/** Of the large transaction: 90 MB of events that may not be in memory at once. `TAILRACE_COST_ROWS=1000000` is the whole measure. */
const TRANSACTION_ROWS = Number(process.env.TAILRACE_COST_ROWS ?? 500_000);
/** Of 5 kB each: five times as many bytes. */
const WIDE_ROWS = Math.ceil(TRANSACTION_ROWS / 5);
const MAX_ANON_BYTES = 200 * 1024 * 1024;
/** No room for a heap that grows with a transaction. */
const OLD_SPACE_MB = 256;
/** Of a round of the CPU's measure. */
const ROWS = 200_000;
const ROUNDS = 5;
/** The source costs 0.9 to 1.3 times what pg_recvlogical does in the rounds that are compared, each one's cheapest; twice that must not pass. */
const MAX_RATIO = 1.8;
const LIMIT_MS = 600_000;

const NARROW = `id bigint PRIMARY KEY, customer_id int, status text, amount numeric(12,2), quantity int, note text, created_at timestamptz, updated_at timestamptz`;
/** `first` and `last` are SQL. */
const narrowRows = (first: string, last: string): string =>
  `INSERT INTO orders SELECT g, g % 50000, (array['new','paid','shipped','done'])[1 + g % 4], (g % 100000) / 100.0, g % 10,
   'order note number ' || g, now(), now() FROM generate_series(${first}, ${last}) AS g`;
/** A thousand rows each. */
const narrowTransactions = (from: number, rows: number): string =>
  `DO $$ BEGIN FOR i IN 0..${rows / 1_000 - 1} LOOP ${narrowRows(`${from + 1} + i * 1000`, `${from} + (i + 1) * 1000`)}; COMMIT; END LOOP; END $$`;

describeWithKafka("the source into Kafka", () => {
  test(
    `a transaction of ${TRANSACTION_ROWS} rows and rows of 5 kB pass through a bounded memory`,
    async () => {
      await using database = await (await postgres()).createDatabase("cost");
      await database.sql(`CREATE TABLE orders (${NARROW}); CREATE TABLE files (id int PRIMARY KEY, body text)`);
      await database.sql("ALTER TABLE files ALTER COLUMN body SET STORAGE EXTERNAL");
      await using scene = await Scene.open();
      const { pid } = await streaming(scene, database, uniqueName("cost"));
      using cost = new ProcessCost(pid);
      await database.sql(narrowRows("1", String(TRANSACTION_ROWS)));
      await untilPublished(scene, TRANSACTION_ROWS);
      const narrow = cost.peakAnonBytes;
      await database.sql(`INSERT INTO files SELECT g, repeat(md5(g::text), 160) FROM generate_series(1, ${WIDE_ROWS}) AS g`);
      await untilPublished(scene, TRANSACTION_ROWS + WIDE_ROWS);
      console.log(`peak of anonymous memory, MB: ${megabytes(narrow)} with narrow rows, ${megabytes(cost.peakAnonBytes)} with wide ones`);
      expect(megabytes(narrow), "after the narrow rows, MB").toBeLessThan(megabytes(MAX_ANON_BYTES));
      expect(megabytes(cost.peakAnonBytes), "after the wide rows, MB").toBeLessThan(megabytes(MAX_ANON_BYTES));
      expect(await scene.stop()).toMatchObject({ code: 0 });
    },
    LIMIT_MS,
  );

  const program = recvlogical();
  if (program === null && process.env.CI !== "true")
    console.warn("no pg_recvlogical here (apt-get install postgresql-client): the CPU is not held against it");
  test.skipIf(program === null && process.env.CI !== "true")(
    "the CPU for a row stays near that of pg_recvlogical, which throws it away",
    async () => {
      if (program === null) throw new Error("no pg_recvlogical here: apt-get install postgresql-client");
      await using database = await (await postgres()).createDatabase("cost");
      await database.sql(`CREATE TABLE orders (${NARROW})`);
      await using scene = await Scene.open();
      const name = uniqueName("cost");
      const { pid } = await streaming(scene, database, name);
      const slot = `${name}_theirs`;
      await database.sql("SELECT pg_create_logical_replication_slot($1, 'pgoutput')", [slot]);
      const rounds: { readonly ours: number; readonly theirs: number }[] = [];
      for (let round = 0; round <= ROUNDS; round++) {
        // Each has the machine to itself: ours waits frozen until the rows are written and theirs has had them.
        const frozen = freeze([pid]);
        await database.sql(narrowTransactions(round * ROWS, ROWS));
        const [end] = await database.sql<{ lsn: string }>("SELECT pg_current_wal_lsn()::text AS lsn");
        const theirs = await drain(program, database, slot, name, end?.lsn ?? "");
        const before = cpuSeconds(pid);
        frozen.thaw();
        await untilPublished(scene, (round + 1) * ROWS);
        const ours = cpuSeconds(pid) - before;
        if (round > 0) rounds.push({ ours, theirs }); // the first one warms up
      }
      // Other work on the machine makes ours dearer and theirs, which then finds more at once, cheaper: the round that had least of it counts.
      const ratio = Math.min(...rounds.map(({ ours }) => ours)) / Math.max(...rounds.map(({ theirs }) => theirs));
      const perMillion = rounds.map(({ ours, theirs }) => [ours, theirs].map((seconds) => ((seconds * 1e6) / ROWS).toFixed(2)).join(" : "));
      console.log(`CPU seconds per million rows, ours : pg_recvlogical's  ${perMillion.join("  ")}; ratio ${ratio.toFixed(2)}`);
      expect(ratio, perMillion.join("  ")).toBeLessThan(MAX_RATIO);
      expect(await scene.stop()).toMatchObject({ code: 0 });
    },
    LIMIT_MS,
  );
});

/** The service with one source, into Kafka, once it streams. */
async function streaming(scene: Scene, database: TestDatabase, name: string): Promise<{ readonly pid: number }> {
  await scene.configure(
    { kind: "service", log: { kafka: { brokers: (await kafka()).brokers } }, registry: { url: (await registry()).url } },
    sourceDocument({
      name: "shop",
      url: database.url,
      tables: ["public.*"],
      postgres: { slot: name, publication: name },
      topics: { prefix: name },
    }),
  );
  await scene.start({ NODE_OPTIONS: `--max-old-space-size=${OLD_SPACE_MB}` });
  await scene.reaches({ shop: "running" });
  if (scene.pid === null) throw new Error("the service has ended");
  return { pid: scene.pid };
}

async function untilPublished(scene: Scene, events: number): Promise<void> {
  await until(async () => {
    expect((await scene.source("shop")).publishedEvents).toBeGreaterThanOrEqual(events);
  }, LIMIT_MS);
}

/**
 * Drains the slot to /dev/null; the seconds of CPU that it took. On the walsender's own core: on another one the client is woken for
 * each message, or not, by how busy the machine is, and costs a third or three times as much.
 */
async function drain(program: string, database: TestDatabase, slot: string, publication: string, endLsn: string): Promise<number> {
  const core = /^Cpus_allowed_list:\s+(\d+)/m.exec(readFileSync("/proc/self/status", "latin1"))?.[1] ?? "0";
  const options = ["proto_version=1", `publication_names=${publication}`, "binary=true"].flatMap((option) => ["-o", option]);
  const args = ["-d", database.url, "-S", slot, "--start", ...options, "-E", endLsn, "-f", "/dev/null", "--no-loop"];
  const child = spawn("taskset", ["-c", core, program, ...args], { stdio: ["ignore", "ignore", "inherit"] });
  const ended = once(child, "exit") as Promise<[number | null]>;
  using cost = new ProcessCost(child.pid ?? 0);
  const walsender = await eventually("the slot is read", async () => {
    const sql = "SELECT active_pid AS pid FROM pg_replication_slots WHERE slot_name = $1";
    return (await database.sql<{ pid: number | null }>(sql, [slot]))[0]?.pid ?? null;
  });
  await promisify(execFile)("taskset", ["-p", "-c", core, String(walsender)]);
  const [code] = await ended;
  expect(code, "pg_recvlogical ends well").toBe(0);
  return cost.cpuSeconds;
}

/** Of the newest PostgreSQL that Debian has here, or of PATH; null where there is none. */
function recvlogical(): string | null {
  const debian = "/usr/lib/postgresql";
  const versions = existsSync(debian) ? readdirSync(debian).sort((a, b) => Number(b) - Number(a)) : [];
  const folders = [...versions.map((version) => path.join(debian, version, "bin")), ...(process.env.PATH ?? "").split(path.delimiter)];
  return folders.map((folder) => path.join(folder, "pg_recvlogical")).find((file) => existsSync(file)) ?? null;
}

function megabytes(bytes: number): number {
  return Math.round(bytes / 1024 / 1024);
}
