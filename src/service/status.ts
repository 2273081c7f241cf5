// What GET /api/status says of the service: plain JSON.
import type { SnapshotStatus } from "../source/snapshot-status.ts";
import type { ConnectorStatus } from "../supervise.ts";

type ConnectorView = {
  readonly name: string;
  readonly state: ConnectorStatus["state"];
  /** What it does within that state. */
  readonly phase: string;
  readonly restarts: number;
  readonly error: Record<string, unknown> | null;
  /** Labels of the tables that an operator has paused. */
  readonly pausedTables: readonly string[];
};

export type SourceStatus = ConnectorView & {
  /** PostgreSQL's notation; 0/0 before the first acknowledgement of this process. */
  readonly ackLsn: string;
  readonly publishedEvents: number;
  readonly deadLetters: number;
  readonly lagBytes: number | null;
  readonly retainedWalBytes: number | null;
  /** The unfinished ones. */
  readonly snapshots: readonly SnapshotStatus[];
  readonly parked: readonly ParkedStatus[];
  readonly versions: readonly VersionStatus[];
};

/** A table of a later version: the topic of its events, what had changed, and the registry's words. */
export type VersionStatus = {
  readonly table: string;
  readonly version: number;
  readonly topic: string;
  readonly difference: string;
  readonly words: string;
};

/** A parked table: where its events go, what had changed, the registry's words, and the commands that let it pass. */
export type ParkedStatus = {
  readonly table: string;
  readonly topic: string;
  readonly difference: string;
  readonly words: string;
  readonly commands: string;
};

export type SinkStatus = ConnectorView & {
  readonly source: string;
  readonly warehouse: string;
  readonly mergedEvents: number;
  readonly mergedRows: number;
  /** Keys with an open dead letter. */
  readonly openDeadLetters: number;
  /** Keys whose events wait for a snapshot to bring their row. */
  readonly awaitingSnapshot: number;
  readonly deadLetters: number;
  /** Records of the log that are not merged, when last seen; null before the checkpoint is known. */
  readonly lagRecords: number | null;
  readonly lastSequence: string;
};

export type ServiceStatus = { readonly version: string; readonly sources: readonly SourceStatus[]; readonly sinks: readonly SinkStatus[] };

/** The phase of a source that has ended by itself: snapshot.mode initial_only, and all is read. */
export const OVER = "all is read, and the source is not to stream again";

/** Whether the connector does its work, or has done all of it: for probes, which would otherwise be answered 503 for good. */
export function isReady({ state, phase }: Pick<ConnectorView, "state" | "phase">): boolean {
  return state === "running" || (state === "stopped" && phase === OVER);
}

export function newView(name: string): ConnectorView {
  return { name, state: "starting", phase: "starting", restarts: 0, error: null, pausedTables: [] };
}

/** What a connector's state says in its view. */
export function viewOf({ state, restarts, error }: ConnectorStatus): Pick<ConnectorView, "state" | "restarts" | "error"> {
  return { state, restarts, error: error?.toJSON() ?? null };
}
