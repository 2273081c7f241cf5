// What is measured against what: each contestant brings the same rows from PostgreSQL to their end.
import { existsSync, readdirSync } from "node:fs";
import path from "node:path";
import type pg from "pg";

export type Measured = {
  readonly rowsPerSecond: number;
  readonly cpuSecondsPerMillion: number;
  /** Of what serves it: the walsender, from its start; for the reads of a whole table all of PostgreSQL's processes. */
  readonly serverSecondsPerMillion: number;
  /** Of the Kafka broker; absent where none is in the way. */
  readonly brokerSecondsPerMillion?: number | undefined;
  readonly peakRssAnonBytes: number;
  /** From the start of the process until its first row had arrived, ms; absent where no process is started, or its start is not of its own. */
  readonly startMs?: number | undefined;
};

/** One run. `prepare` makes the slot, before the rows are written. */
export interface Contestant {
  /** Before anybody's slot is made: what it needs to be as fast as it gets may write into the database. */
  warmUp?(): Promise<void>;
  prepare(): Promise<void>;
  run(rows: number, endLsn: string): Promise<Measured>;
  /** Drops slot, publication, topics and files. */
  tidy(): Promise<void>;
}

export type Surroundings = {
  /** Of the superuser. */
  readonly client: pg.Client;
  readonly url: string;
  /** PID of the postmaster. */
  readonly postmaster: number;
  /** For folders of its own. */
  readonly folder: string;
};

/** One of PostgreSQL's own clients, of this machine; null where it is not installed. */
export function findClient(program: string): string | null {
  const debian = "/usr/lib/postgresql";
  const versions = existsSync(debian) ? readdirSync(debian).sort().reverse() : [];
  const folders = [...versions.map((version) => path.join(debian, version, "bin")), ...(process.env.PATH ?? "").split(path.delimiter)];
  return folders.map((folder) => path.join(folder, program)).find((file) => existsSync(file)) ?? null;
}

export function perSecond(rows: number, ms: number): number {
  return Math.round((rows * 1_000) / Math.max(1, ms));
}

export function perMillion(seconds: number, rows: number): number {
  return (seconds * 1_000_000) / rows;
}

/** The lower one of the two in the middle; 0 of nothing. */
export function medianOf(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor((values.length - 1) / 2)] ?? 0;
}

/** Of each figure by itself. */
export function median(runs: readonly Measured[]): Measured {
  const broker = runs.flatMap(({ brokerSecondsPerMillion }) => brokerSecondsPerMillion ?? []);
  const starts = runs.flatMap(({ startMs }) => startMs ?? []);
  return {
    rowsPerSecond: medianOf(runs.map((run) => run.rowsPerSecond)),
    cpuSecondsPerMillion: medianOf(runs.map((run) => run.cpuSecondsPerMillion)),
    serverSecondsPerMillion: medianOf(runs.map((run) => run.serverSecondsPerMillion)),
    ...(broker.length === 0 ? {} : { brokerSecondsPerMillion: medianOf(broker) }),
    peakRssAnonBytes: medianOf(runs.map((run) => run.peakRssAnonBytes)),
    ...(starts.length === 0 ? {} : { startMs: medianOf(starts) }),
  };
}
