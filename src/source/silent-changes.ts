// R-silent-ddl: rows that changed, or came, without events are read again. What was noticed and the snapshot that it asks
// for become durable in one record of the state.
import { TailraceError } from "../core/errors.ts";
import type { Log } from "../core/log.ts";
import type { SourceState } from "../core/source-state.ts";
import { keyColumns, tableLabel } from "../core/table.ts";
import type { TableLayout } from "../core/table-layout.ts";
import { describeChange, layoutOf, readLayouts, silentChange, type SeenLayout } from "../postgres/layout.ts";
import type { PublicationFingerprint } from "../postgres/publication.ts";
import type { Session } from "../postgres/session.ts";
import type { CatalogTable } from "../postgres/table-judgement.ts";
import type { SnapshotRequest } from "./control.ts";

export type SilentChangesOptions = {
  readonly session: Session;
  readonly logger: Log;
  readonly state: () => SourceState;
  readonly save: (change: Pick<SourceState, "layouts">) => Promise<void>;
  /** Throws SNAPSHOT_REFUSED when it has to wait for another one; null: no snapshots are made (snapshot.mode no_data). */
  readonly begin: ((request: SnapshotRequest, reason: string) => void) | null;
};

/** Holds the tables against what the state says of them. `tables`: those that still exist. */
export async function lookForSilentChanges(
  { session, logger, state, save, begin }: SilentChangesOptions,
  tables: readonly CatalogTable[],
  publication: PublicationFingerprint | null,
): Promise<void> {
  const seen = await readLayouts(
    session,
    tables.map(({ oid }) => oid),
  );
  const { layouts: before, acknowledged } = state();
  const layouts = seen.map((now): TableLayout => {
    const known = before.find(({ schema, name }) => schema === now.schema && name === now.name);
    const published = publication?.tables.find(({ oid }) => oid === now.oid)?.columns ?? null;
    const change = known === undefined ? null : silentChange(known, now, published);
    const table = tables.find(({ oid }) => oid === now.oid);
    if (known === undefined || change === null || table === undefined) return layoutOf(now, known, acknowledged);
    const error = new TailraceError("ROWS_CHANGED", { table: tableLabel(now), change: change.words });
    if (begin === null) {
      logger.warn(error.toJSON(), `${error.message}; snapshots are off: the targets keep the former values`);
      return layoutOf(now, known, acknowledged);
    }
    const where = keyColumns(table).length === 0 ? null : change.where; // without a key it is read whole
    try {
      begin({ table: { schema: now.schema, name: now.name }, where }, describeChange(now, change));
    } catch (cause) {
      if (cause instanceof TailraceError && cause.code === "SNAPSHOT_REFUSED") return known; // looked at again when that one is complete
      throw cause;
    }
    logger.warn(error.toJSON(), `${error.message}; they are read again`);
    return layoutOf(now, known, acknowledged);
  });
  if (JSON.stringify(layouts) !== JSON.stringify(before)) await save({ layouts });
}

/**
 * The layouts that a session begins with: what the state knows of a table counts until it has been looked at, unless the
 * table is to be read whole and nothing of that is durable yet.
 */
export function firstLayouts(
  known: readonly TableLayout[],
  seen: readonly SeenLayout[],
  { snapshots, acknowledged }: Pick<SourceState, "snapshots" | "acknowledged">,
): readonly TableLayout[] {
  const begins = (snapshots ?? []).filter(({ kind, opening }) => (kind === "table" || kind === "keyless") && opening === null);
  return seen.map((now) => {
    const isRead = begins.some(({ table }) => table.schema === now.schema && table.name === now.name);
    const before = known.find(({ oid }) => oid === now.oid);
    return isRead || before === undefined ? layoutOf(now, before, acknowledged) : before;
  });
}
