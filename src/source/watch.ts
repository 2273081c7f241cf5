// What the stream itself does not tell, looked at from time to time: WAL that is kept for us, a publication changed by
// hand, tables that our publication has come to harm.
import { TailraceError } from "../core/errors.ts";
import { parseLsn, type Lsn } from "../core/lsn.ts";
import { pause } from "../core/pause.ts";
import { tableLabel, type TableName } from "../core/table.ts";
import { harmedTables } from "../postgres/catalog.ts";
import { readPublication, type PublicationFingerprint } from "../postgres/publication.ts";
import { quoteIdentifier, type Session } from "../postgres/session.ts";
import { readSlot } from "../postgres/slot.ts";
import type { CatalogTable } from "../postgres/table-judgement.ts";
import type { Prepared, SourceMemory, SourceOptions, SourceParts } from "./parts.ts";
import { NewTables } from "./new-tables.ts";
import { judgePublication } from "./start.ts";

/** How often, ms. */
const WATCH_EVERY_MS = 5_000;

/**
 * Looks until the signal aborts; `seen.bytes` becomes what the acknowledged LSN is behind the end of the WAL, `seen.retained` what the
 * server keeps for the slot. `look` is told of the captured tables that exist and of the publication; `readingKeyless` as NewTables
 * asks for it. Throws PUBLICATION_CHANGED, PUBLICATION_MISSING, TABLES_ADDED, DATABASE_UNREACHABLE.
 */
export async function watchSource(
  options: SourceOptions,
  parts: SourceParts,
  memory: SourceMemory,
  prepared: Prepared,
  acknowledged: () => Lsn,
  seen: { bytes: number; retained: number },
  look: (tables: readonly CatalogTable[], publication: PublicationFingerprint | null) => Promise<void>,
  readingKeyless: () => TableName | null,
  signal: AbortSignal,
): Promise<void> {
  const { session } = prepared;
  const said = new Set<string>();
  const once = (message: string, table: TableName, fields: object): void => {
    const label = tableLabel(table);
    if (said.has(`${message} ${label}`)) return;
    said.add(`${message} ${label}`);
    parts.logger.warn({ table: label, ...fields }, message);
  };
  const newTables = new NewTables(options, parts, prepared, memory.said, once, readingKeyless);
  let givenUp = false;
  while (!signal.aborted) {
    try {
      const slot = await readSlot(session, options.slot);
      const [row] = await session.query("SELECT pg_current_wal_lsn()::text AS lsn");
      const lag = parseLsn(row?.lsn ?? "0/0") - acknowledged();
      seen.bytes = Number(lag > 0n ? lag : 0n);
      seen.retained = slot?.retainedWalBytes ?? 0;
      if (slot !== null) parts.observer.wal(seen.bytes, seen.retained, slot.safeWalBytes);
      const tables = await existing(session, prepared.tables);
      for (const table of prepared.tables)
        if (!tables.includes(table)) once("the table was dropped; its events stay in the log", table, {});
      const publication = await readPublication(session, options.publication, tables);
      judgePublication(options.publication, prepared.state, publication, tables);
      await newTables.look(tables, signal);
      await look(tables, publication);
      for (const { table, reason } of await harmedTables(session, options.publication)) {
        const fix = `ALTER PUBLICATION ${quoteIdentifier(options.publication)} DROP TABLE ${quoteIdentifier(table.schema)}.${quoteIdentifier(table.name)};`;
        once("the application's UPDATE and DELETE on this published table fail", table, { reason, fix });
      }
    } catch (cause) {
      // Somebody rewrites a table, or the catalogs are slow to answer: the stream goes on, and so does the next look.
      if (!(cause instanceof TailraceError) || cause.code !== "STATEMENT_GIVEN_UP") throw cause;
      if (!givenUp) parts.logger.warn(cause.toJSON(), "a look at the catalogs was given up; the next one tries again");
      givenUp = true;
    }
    await pause(WATCH_EVERY_MS, signal);
  }
}

async function existing<T extends { readonly oid: number }>(session: Session, tables: readonly T[]): Promise<readonly T[]> {
  const rows = await session.query("SELECT oid::text FROM pg_class WHERE oid = ANY($1::oid[])", [tables.map(({ oid }) => oid)]);
  const oids = new Set(rows.map(({ oid }) => Number(oid)));
  return tables.filter(({ oid }) => oids.has(oid));
}
