import { expect, test } from "vitest";
import { statusLines } from "../../../src/commands/status-text.ts";
import type { SinkStatus, SourceStatus } from "../../../src/service/status.ts";

const source: SourceStatus = {
  name: "shop",
  state: "running",
  phase: "streaming",
  restarts: 0,
  error: null,
  pausedTables: [],
  ackLsn: "0/10",
  publishedEvents: 5,
  deadLetters: 0,
  lagBytes: null,
  retainedWalBytes: 1 << 20,
  snapshots: [],
  parked: [],
  versions: [],
};
const sink: SinkStatus = {
  name: "lake",
  state: "paused",
  phase: "its checkpoint stands still until it is resumed",
  restarts: 0,
  error: null,
  pausedTables: ["public.orders"],
  source: "shop",
  warehouse: "duckdb lake.duckdb",
  mergedEvents: 4,
  mergedRows: 3,
  openDeadLetters: 0,
  awaitingSnapshot: 0,
  deadLetters: 0,
  lagRecords: 1,
  lastSequence: "",
};

test("each connector has its state, and what is paused is said", () => {
  expect(statusLines({ version: "1.2.3", sources: [source], sinks: [sink] })).toEqual([
    "tailrace 1.2.3",
    "source shop: running (streaming)",
    "  acknowledged 0/10 · 5 events since start · lag ? · WAL kept 1.0 MiB · 0 dead letters · 0 restarts",
    "sink lake ← shop: paused (its checkpoint stands still until it is resumed) → duckdb lake.duckdb",
    "  4 events, 3 rows merged since start · 1 records behind · 0 open dead letters · 0 restarts",
    "  tables paused: public.orders",
  ]);
});

test("snapshots are a table: how far, how fast, how long still, and what for they wait", () => {
  const snapshots: SourceStatus["snapshots"] = [
    {
      table: "public.orders",
      state: "reading",
      rows: 450_000,
      estimatedRows: 1_000_000,
      chunks: 23,
      rowsPerSecond: 10_000,
      waitingFor: null,
    },
    { table: "public.big", state: "starting", rows: 0, estimatedRows: null, chunks: 0, rowsPerSecond: 0, waitingFor: "PID 7 (psql)" },
    { table: "public.more", state: "reading", rows: 120, estimatedRows: 100, chunks: 1, rowsPerSecond: 60, waitingFor: null },
  ];
  const lines = statusLines({ version: "1", sources: [{ ...source, snapshots }], sinks: [] }).slice(3);
  expect(lines).toEqual([
    "  snapshot       state     progress                                   rows  rows/s  left",
    "  public.orders  reading   █████████░░░░░░░░░░░ 45%  450,000 of ~1,000,000  10,000  55 s",
    "  public.big     starting                                                0       0     ?",
    "    waits for PID 7 (psql)",
    "  public.more    reading   ███████████████████░ 99%            120 of ~120      60   0 s",
  ]);
});
