// What is measured against what: each contestant brings the same rows from PostgreSQL to their end.
import { existsSync, readdirSync } from "node:fs";
import path from "node:path";
import type pg from "pg";

export type Measured = {
  readonly rowsPerSecond: number;
  readonly cpuSecondsPerMillion: number;
  /** Of what serves it: the walsender, from its start; for the reads of a whole table all of PostgreSQL's processes. */
  readonly serverSecondsPerMillion: number;
  readonly peakRssAnonBytes: number;
};

/** One run. `prepare` makes the slot, before the rows are written. */
export interface Contestant {
  prepare(): Promise<void>;
  run(rows: number, endLsn: string): Promise<Measured>;
  /** Drops slot, publication and files. */
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

/** Of each figure by itself. */
export function median(runs: readonly Measured[]): Measured {
  const of = (figure: keyof Measured): number =>
    runs.map((run) => run[figure]).sort((a, b) => a - b)[Math.floor((runs.length - 1) / 2)] ?? 0;
  return {
    rowsPerSecond: of("rowsPerSecond"),
    cpuSecondsPerMillion: of("cpuSecondsPerMillion"),
    serverSecondsPerMillion: of("serverSecondsPerMillion"),
    peakRssAnonBytes: of("peakRssAnonBytes"),
  };
}
