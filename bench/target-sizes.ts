// What a flush of a few changed rows costs by the size of the target that they are merged into.
import { rm } from "node:fs/promises";
import path from "node:path";
import { DuckDBInstance } from "@duckdb/node-api";
import pg from "pg";
import { toLsn } from "../src/core/lsn.ts";
import { formatSequence } from "../src/core/sequence.ts";
import type { StagedRows } from "../src/core/staged-rows.ts";
import type { Flush, MergePlan, TableFlush, TargetSpec, Warehouse } from "../src/core/warehouse.ts";
import { openDuckdb } from "../src/warehouses/duckdb/warehouse.ts";
import { openPostgresWarehouse } from "../src/warehouses/postgres/warehouse.ts";
import { medianOf, type Surroundings } from "./contestant.ts";
import { withDatabase } from "./sinks.ts";

const CHANGED_ROWS = 2_000;
const TARGET_ROWS = [100_000, 1_000_000, 3_000_000, 30_000_000];
const FLUSHES = 9;

/** Medians. `flushMs`: staging, merge and commit; `closeMs`: of DuckDB, its checkpoint and letting the file go. */
export type TargetCost = {
  readonly title: string;
  readonly changedRows: number;
  readonly targetRows: number;
  readonly openMs: number;
  readonly flushMs: number;
  readonly closeMs: number;
};

const spec: TargetSpec = {
  target: { schema: "bench", name: "orders" },
  key: ["id"],
  deletes: "hard",
  columns: [
    { name: "id", type: { kind: "int8" } },
    { name: "customer_id", type: { kind: "int4" } },
    { name: "status", type: { kind: "text" } },
    { name: "note", type: { kind: "text" } },
    { name: "updated_at", type: { kind: "timestamptz" } },
  ],
};
const plan: MergePlan = { ...spec, columns: spec.columns.map((column) => ({ ...column, unchanged: "impossible" })) };
/** Keys in the order of the table, as a sequence gives them. */
const fill = (rows: number): string => `INSERT INTO bench.orders
  SELECT i, i % 50000, 'new', 'order note number ' || i, now(), '${sequence(0)}', now(), now() FROM generate_series(1, ${rows}) g(i)`;

/** Which rows change: everywhere in the target, or those that came last. */
const PATTERNS = { "all over": (rows: number) => Math.floor(rows / CHANGED_ROWS), "the newest": () => 1 } as const;

export async function measureTargets({ client, url, folder }: Surroundings, say: (text: string) => void): Promise<readonly TargetCost[]> {
  const costs: TargetCost[] = [];
  for (const rows of TARGET_ROWS) {
    for (const kind of ["duckdb", "postgres"] as const) {
      say(`${CHANGED_ROWS} changed rows into ${rows} of ${kind}`);
      const name = `target_${rows}`;
      const place = kind === "duckdb" ? path.join(folder, `${name}.duckdb`) : withDatabase(url, name);
      if (kind === "postgres") await client.query(`CREATE DATABASE ${name}`);
      const warehouse = kind === "duckdb" ? openDuckdb({ path: place }) : openPostgresWarehouse({ url: () => place });
      try {
        costs.push(...(await measureTarget(warehouse, rows, kind === "duckdb" ? inDuckdb(place) : inPostgres(place))));
      } finally {
        await warehouse[Symbol.asyncDispose]();
        if (kind === "postgres") await client.query(`DROP DATABASE ${name}`);
        else await rm(place, { force: true });
      }
    }
  }
  return costs;
}

async function measureTarget(warehouse: Warehouse, rows: number, run: (sql: string) => Promise<void>): Promise<readonly TargetCost[]> {
  const { signal } = new AbortController();
  let fence = 0;
  {
    await using session = await warehouse.open(signal);
    await session.prepare();
    await session.ensureTarget(spec);
    ({ fence } = await session.acquire("bench"));
  }
  await run(fill(rows));
  let offset: number | null = null;
  const costs: TargetCost[] = [];
  for (const [pattern, step] of Object.entries(PATTERNS)) {
    const times: { openMs: number; flushMs: number; closeMs: number }[] = [];
    for (let flush = 0; flush < FLUSHES; flush++) {
      const next: number = (offset ?? 0) + 1;
      const began = performance.now();
      const session = await warehouse.open(signal);
      const opened = performance.now();
      await session.ensureTarget(spec);
      await session.flush(flushOf(fence, offset, changes(rows, step(rows), next)), signal);
      const flushed = performance.now();
      await session[Symbol.asyncDispose]();
      times.push({ openMs: opened - began, flushMs: flushed - opened, closeMs: performance.now() - flushed });
      offset = next;
    }
    const median = (figure: keyof (typeof times)[number]): number => medianOf(times.map((time) => time[figure]));
    const title = `${warehouse.address.split(" ", 1)[0] ?? ""}, ${pattern}`;
    costs.push({
      title,
      changedRows: CHANGED_ROWS,
      targetRows: rows,
      openMs: median("openMs"),
      flushMs: median("flushMs"),
      closeMs: median("closeMs"),
    });
  }
  return costs;
}

function sequence(commit: number): string {
  return formatSequence({ epoch: 1, commitLsn: toLsn(BigInt(commit)), ordinal: 0 });
}

/** Every `step`th row from the target's end. */
function changes(rows: number, step: number, commit: number): StagedRows {
  const text = (value: string, into: Parameters<StagedRows["writeKey"]>[1]): void => into.text(Buffer.from(value), 0, value.length);
  const idOf = (row: number): number => rows - row * step;
  return {
    rows: CHANGED_ROWS,
    unchanged: plan.columns.map(() => null),
    deleted: new Uint8Array(CHANGED_ROWS),
    writeValues: (row, into) => {
      into[0]!.long(0, idOf(row));
      into[1]!.int(commit);
      text("paid", into[2]!);
      text(`order note number ${idOf(row)}`, into[3]!);
      into[4]!.long(400_000, commit);
    },
    writeSequence: (_, into) => text(sequence(commit), into),
    writeCommitTime: (_, into) => into.long(400_000, commit),
    writeKey: (row, into) => into.bytes(Buffer.from(String(idOf(row))), 0, String(idOf(row)).length),
  };
}

function flushOf(fence: number, offset: number | null, staged: StagedRows): Flush {
  const table: TableFlush = { plan, truncate: null, staged };
  const nextOffset = (offset ?? 0) + 1;
  const expected = offset === null ? null : { topicId: "id", nextOffset: offset };
  return {
    sink: "bench",
    fence,
    tables: [table],
    checkpoints: [{ topic: "t", partition: 0, topicId: "id", nextOffset, sequence: sequence(nextOffset), expected }],
    deadLetters: [],
    closedDeadLetters: [],
    letterFloors: [],
    sweeps: [],
    expiries: [],
    orphaned: () => [],
    run: { startedMs: Date.now(), events: CHANGED_ROWS, firstSequence: sequence(nextOffset), lastSequence: sequence(nextOffset) },
  };
}

const inDuckdb =
  (file: string) =>
  async (sql: string): Promise<void> => {
    const instance = await DuckDBInstance.create(file);
    const connection = await instance.connect();
    await connection.run(sql);
    connection.closeSync();
    instance.closeSync();
  };

const inPostgres =
  (url: string) =>
  async (sql: string): Promise<void> => {
    const client = new pg.Client({ connectionString: url });
    await client.connect();
    await client.query(sql);
    await client.query("VACUUM ANALYZE bench.orders");
    await client.end();
  };
