// What a session's snapshots are connected to: publisher and state on one side, status and operators on the other.
import type { SnapshotEnd } from "../core/barrier.ts";
import { TailraceError } from "../core/errors.ts";
import { pause } from "../core/pause.ts";
import { keyColumns, tableLabel, type Table, type TableName } from "../core/table.ts";
import type { ConnectionSettings, Session } from "../postgres/session.ts";
import { writeMark } from "../postgres/snapshot-mark.ts";
import type { Acknowledger } from "./acknowledger.ts";
import type { CapturedTables } from "./captured-tables.ts";
import type { VersionSnapshots } from "./refusals.ts";
import type { SnapshotRequest } from "./control.ts";
import type { Prepared, SourceOptions, SourceParts } from "./parts.ts";
import type { Publisher } from "./publisher.ts";
import { SnapshotBoard } from "./snapshot-status.ts";
import { FOREVER } from "./snapshot-keyless.ts";
import { SnapshotWork, type SnapshotWorkOptions } from "./snapshot-work.ts";
import { Snapshots } from "./snapshots.ts";

/** How often status is told, ms. */
const TELL_EVERY_MS = 500;

/** The session's snapshots; null when none are made (snapshot.mode no_data). `isParked`: the end of such a table's snapshot is said when its rows are in its own topic. */
export function newSnapshots(
  options: SourceOptions,
  parts: SourceParts,
  prepared: Prepared,
  publisher: Publisher,
  isParked: (table: TableName) => boolean,
): Snapshots | null {
  const { snapshots, epoch } = prepared.state;
  if (snapshots === null) return null;
  const names = new Map(prepared.topics.map(({ state, topic }) => [tableLabel(state.table), topic.name]));
  return new Snapshots({
    source: options.name,
    epoch,
    records: snapshots,
    topicOf: (table) => names.get(tableLabel(table)) ?? "",
    events: {
      durable: (table, rows) => parts.observer.snapshotRows(table, rows),
      ended: (end: SnapshotEnd) => {
        // R-park: a sink would sweep the rows of which the snapshot's stand in the parked topic.
        if (!isParked(end.table)) publisher.announce([end]);
      },
      completed: ({ table, kind, rows, chunks }) => {
        if (kind !== "rereads") parts.logger.info({ table: tableLabel(table), rows, chunks }, "snapshot: complete");
      },
    },
  });
}

/** What R-version asks of the session's snapshots; null when none are made. */
export function versionSnapshots(snapshots: Snapshots | null, session: Session): VersionSnapshots | null {
  if (snapshots === null) return null;
  return {
    passed: async (signal) => {
      let pass = (): void => undefined;
      const passed = new Promise<void>((resolve) => (pass = resolve));
      await writeMark(session, snapshots.passingMark(pass));
      await orAborted(passed, signal);
    },
    request: (table, reason) => {
      const isDue = snapshots.all.some(
        (each) => each.kind === "table" && each.opening === null && tableLabel(each.table) === tableLabel(table),
      );
      if (!isDue) snapshots.request(table, "table", reason, null);
    },
  };
}

/** Throws the signal's reason when it aborts first. */
async function orAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  signal.throwIfAborted();
  const ended = new AbortController();
  const aborted = new Promise<never>((_, reject) => {
    signal.addEventListener("abort", () => reject(TailraceError.from(signal.reason)), { signal: ended.signal });
  });
  try {
    return await Promise.race([promise, aborted]);
  } finally {
    ended.abort();
  }
}

export type SnapshotSession = {
  readonly options: SourceOptions;
  readonly parts: SourceParts;
  readonly settings: ConnectionSettings;
  readonly snapshots: Snapshots;
  readonly tables: CapturedTables;
  readonly captured: readonly Table[];
  readonly acks: Acknowledger;
  readonly epoch: number;
  readonly lag: SnapshotWorkOptions["lag"];
  /** Stops the stream for a moment, or lets it go on. */
  readonly hold: (on: boolean) => void;
};

/** Reads until the signal aborts; with snapshot.mode initial_only until (true) nothing is left to read. */
export async function runSnapshots(session: SnapshotSession, signal: AbortSignal): Promise<boolean> {
  const { options, parts, settings, snapshots, tables, lag } = session;
  const board = new SnapshotBoard();
  for (const { kind, table } of snapshots.all) if (kind === "keyless") passOver(tables, table);
  const work = new SnapshotWork({
    settings,
    publication: options.publication,
    asked: options.selection.asked,
    snapshot: options.snapshot,
    snapshots,
    logger: parts.logger,
    tables,
    epoch: session.epoch,
    hold: session.hold,
    lag,
    paused: parts.pausedTables,
    waiting: (label, reason) => board.waiting(label, reason),
  });
  const working = work.run(signal);
  while (!signal.aborted) {
    parts.observer.snapshots(board.look(snapshots.all, parts.pausedTables(), performance.now()));
    parts.observer.snapshotMemory(work.chunkBytes, snapshots.window.touches);
    if (options.snapshot.mode === "initial_only" && snapshots.all.length === 0) return true;
    await pause(TELL_EVERY_MS, signal);
  }
  await working;
  return false;
}

/** Not durable before the state is written. Throws TABLE_MISSING, SNAPSHOT_REFUSED. */
export function beginSnapshot(
  { snapshots, captured, tables }: Pick<SnapshotSession, "snapshots" | "captured" | "tables">,
  { table, where }: SnapshotRequest,
  reason: string,
): void {
  const found = captured.find((each) => each.schema === table.schema && each.name === table.name);
  if (found === undefined) throw new TailraceError("TABLE_MISSING", { table: tableLabel(table) });
  const keyless = keyColumns(found).length === 0;
  const goesOn = snapshots.all.some((each) => each.kind !== "rereads" && tableLabel(each.table) === tableLabel(table));
  if (where !== null && goesOn)
    throw new TailraceError("SNAPSHOT_REFUSED", {
      table: tableLabel(table),
      reason: "a snapshot of it goes on; ask again when that is complete",
    });
  if (keyless && where !== null)
    throw new TailraceError("SNAPSHOT_REFUSED", {
      table: tableLabel(table),
      reason: "a table without a key is read whole, not by a condition",
    });
  if (keyless) passOver(tables, found);
  snapshots.request(found, keyless ? "keyless" : where === null ? "table" : "filtered", reason, where);
}

/** R-keyless: whatever comes before the snapshot is taken will be in it. */
function passOver(tables: CapturedTables, table: TableName): void {
  const captured = tables.find(tableLabel(table));
  if (captured !== null) captured.reading.passedBelow = FOREVER;
}
