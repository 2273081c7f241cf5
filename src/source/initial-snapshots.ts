// Which tables a source has to read as it begins. Pure.
import type { SnapshotRecord } from "../core/snapshot-record.ts";
import { versionOf, type SourceState } from "../core/source-state.ts";
import { keyColumns, tableLabel, type Table, type TableName } from "../core/table.ts";
import type { SnapshotOptions } from "./parts.ts";
import { TableSnapshot } from "./snapshot-progress.ts";
import type { Start } from "./start.ts";

export type BeginningFacts = {
  readonly mode: SnapshotOptions["mode"];
  readonly tables: readonly Table[];
  readonly state: SourceState | null;
  readonly start: Start;
  /** Tables behind a gap; null: all. */
  readonly concerned: readonly TableName[] | null;
  /** Why, of a gap; "" without one. */
  readonly gap: string;
  /** snapshot.mode always: this process has not begun its snapshots yet. */
  readonly first: boolean;
};

/**
 * The unfinished snapshots, those that are to begin among them; null: none are made. One that goes on keeps its durable
 * chunks, but behind a gap it begins anew: what was lost may be of them.
 */
export function initialSnapshots(facts: BeginningFacts): readonly SnapshotRecord[] | null {
  if (facts.mode === "no_data") return null;
  return facts.tables.flatMap((table) => {
    const label = tableLabel(table);
    const before = facts.state?.snapshots?.find((record) => tableLabel(record.table) === label);
    const reason = reasonFor(table, facts, before !== undefined);
    if (reason === null) return before ?? [];
    const kind = keyColumns(table).length === 0 ? "keyless" : "table";
    // Queued keys may be of another key by now, and the table is read whole.
    const rereads = isVersion(reason) ? [] : (before?.rereads ?? []);
    return { ...TableSnapshot.begin(table, kind, reason).record(), rereads };
  });
}

/** null: what is there of the table goes on. */
function reasonFor(table: TableName, { mode, state, start, concerned, gap, first }: BeginningFacts, isRecorded: boolean): string | null {
  const isThis = (other: TableName): boolean => other.schema === table.schema && other.name === table.name;
  if (gap !== "" && (concerned === null || concerned.some(isThis))) return gap;
  if (state === null || (state.phase === "making" && start.kind !== "renew" && state.snapshots === null)) return "first start";
  // Each table of the beginning that was not finished has a record: one without came later.
  if (state.phase === "making") return isRecorded ? null : "new table";
  const topic = state.topics.find((each) => isThis(each.table));
  if (topic === undefined) return "new table";
  const version = versionOf(state.versions, table);
  if (version !== (topic.version ?? 1)) return `version ${version}`;
  return mode === "always" && first ? "start" : null;
}

/** R-version: what reasonFor() says of a table whose version has no topic yet. */
function isVersion(reason: string): boolean {
  return reason.startsWith("version ");
}
