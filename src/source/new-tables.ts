// Tables that the selection matches and the session does not capture: made since it began, made again under the name of one
// that was dropped, or given the key that they lacked. A new session publishes and loads them; this finds out when one is due.
import { TailraceError } from "../core/errors.ts";
import type { Log } from "../core/log.ts";
import { tableLabel, type TableName } from "../core/table.ts";
import { catalogSignature, resolveTables, type ResolvedTables } from "../postgres/catalog.ts";
import { publishingWaits, readPublication } from "../postgres/publication.ts";
import { readSlot } from "../postgres/slot.ts";
import type { CatalogTable } from "../postgres/table-judgement.ts";
import type { Prepared, SourceOptions, SourceParts } from "./parts.ts";
import { findObstacles, tableGaps } from "./past.ts";
import { publicationChanged } from "./start.ts";
import { registerSchemas, schemaRefused, SchemasRefused } from "./table-schemas.ts";
import { ensureDataTopics, topicProblems } from "./topics.ts";

/** Errors of the log and the registry, which stand in the way of the new table alone: the stream has its topics and schemas. */
const OF_LOG_OR_REGISTRY = /^(LOG_|TOPIC_|REGISTRY_|SCHEMA_REFUSED)/;

export class NewTables {
  readonly #options: SourceOptions;
  readonly #parts: SourceParts;
  readonly #prepared: Prepared;
  readonly #said: Set<string>;
  readonly #warn: (message: string, table: TableName, fields: object) => void;
  readonly #readingKeyless: () => TableName | null;
  /** What the catalogs looked like when no session was due; null: they have to be looked at. */
  #signature: string | null = null;
  /** OIDs of tables that were new at the look before. */
  #before: ReadonlySet<number> = new Set();

  /**
   * `said`: what a glob leaves out and was named by this process. `warn` says a thing once. `readingKeyless`: a table without a key
   * whose snapshot goes on; null: none.
   */
  constructor(
    options: SourceOptions,
    parts: SourceParts,
    prepared: Prepared,
    said: Set<string>,
    warn: (message: string, table: TableName, fields: object) => void,
    readingKeyless: () => TableName | null,
  ) {
    this.#options = options;
    this.#parts = parts;
    this.#prepared = prepared;
    this.#said = said;
    this.#warn = warn;
    this.#readingKeyless = readingKeyless;
  }

  /**
   * `existing`: of the session's tables those that are there still. Throws PUBLICATION_CHANGED, TABLES_ADDED: the session has to
   * end for a new one. A new session would have to wait for an obstacle, and every table with it: then none is due.
   */
  async look(existing: readonly CatalogTable[], signal: AbortSignal): Promise<void> {
    const { session, tables } = this.#prepared;
    const signature = await catalogSignature(session);
    if (signature === this.#signature) return;
    const resolved = await resolveTables(session, this.#options.selection, this.#options.publication);
    saySkipped(this.#parts.logger, this.#said, resolved.skipped);
    sayOverlooked(this.#parts.logger, this.#said, resolved.overlooked);
    const added = resolved.tables.filter(({ oid }) => !tables.some((table) => table.oid === oid));
    const remade = added.filter((table) => tables.some((other) => isSameName(table, other) && !existing.includes(other)));
    // A table that is gone at the next look, as a migration's or a loader's, is worth no new session; nor is any where a
    // session reads every table again.
    const isDue = (oid: number): boolean => this.#before.has(oid) && this.#options.temporary !== true;
    const due = added.filter((table) => remade.includes(table) || isDue(table.oid));
    this.#before = new Set(added.map(({ oid }) => oid));
    this.#signature = added.length === 0 ? signature : null;
    if (due.length === 0) return;
    // R-keyless: a new session would read that table from its beginning, and with a table made now and then, for ever.
    const reading = this.#readingKeyless();
    if (reading !== null && remade.length === 0) {
      const after = tableLabel(reading);
      for (const table of due) this.#warn("a new table is captured when the one without a key has been read", table, { after });
      return;
    }
    const obstacle = await this.#obstacle(due, resolved, signal).catch((cause: unknown) => {
      const error = TailraceError.from(cause);
      if (signal.aborted || !OF_LOG_OR_REGISTRY.test(error.code)) throw cause;
      return error;
    });
    if (obstacle !== null) {
      for (const table of due) this.#warn("a new table can't be captured yet; the others stream on", table, obstacle.toJSON());
      return;
    }
    const [again] = remade;
    if (again !== undefined)
      throw publicationChanged(this.#options.publication, { table: again, words: `table ${tableLabel(again)} was dropped and made again` });
    throw new TailraceError("TABLES_ADDED", { tables: due.map(tableLabel).join(", ") });
  }

  /** What would keep a new session from streaming. */
  async #obstacle(
    due: readonly CatalogTable[],
    resolved: Awaited<ReturnType<typeof resolveTables>>,
    signal: AbortSignal,
  ): Promise<TailraceError | null> {
    const { session, facts } = this.#prepared;
    const { log } = this.#parts;
    const { tables } = resolved;
    const { versions } = this.#prepared.state;
    const slot = await readSlot(session, this.#options.slot);
    const publication = await readPublication(session, this.#options.publication, tables);
    // A column of the others that can't be read as it is asked for any more is no reason to wait.
    const wronglyAsked = resolved.wronglyAsked.filter((wrong) => wrong.tables.some((table) => due.includes(table)));
    const [obstacle] = await findObstacles(this.#options, session, { ...resolved, wronglyAsked, facts, slot, publication }, versions);
    if (obstacle !== undefined) return obstacle;
    const [problem] = await topicProblems(log, this.#options.topics, tables, versions, signal);
    if (problem !== undefined) return problem;
    const waits = await publishingWaits(session, this.#options.publication, due);
    if (waits !== null) return waits;
    if (this.#options.snapshot.mode === "no_data") {
      const [gap] = await tableGaps(this.#options, log, this.#prepared.state, due, signal);
      if (gap !== undefined) return gap.gap;
    }
    await this.#prepare(due, signal);
    return null;
  }

  /** Makes topics and registers schemas: what fails here would keep the new session, and every table with it, waiting. */
  async #prepare(due: readonly CatalogTable[], signal: AbortSignal): Promise<void> {
    const { log, registry } = this.#parts;
    const topics = await ensureDataTopics(log, this.#options.topics, due, this.#prepared.state.versions, signal);
    for (const [index, table] of due.entries()) {
      const topic = topics[index]?.topic.name ?? "";
      await registerSchemas(registry, table, topic, { what: "present" }, signal).catch((cause: unknown) => {
        if (!(cause instanceof SchemasRefused)) throw cause;
        if (this.#options.incompatible(table) === "stop") throw schemaRefused(this.#options.name, table, cause);
      });
    }
  }
}

/** Names what a glob leaves out, each table once a process. */
export function saySkipped(logger: Log, said: Set<string>, skipped: ResolvedTables["skipped"]): void {
  for (const { table, reason } of skipped) {
    const label = tableLabel(table);
    if (said.has(label)) continue;
    said.add(label);
    logger.warn({ table: label }, `not captured: ${reason}`);
  }
}

/** Names columns that an entry of the configuration asks for in vain, each once a process. */
export function sayOverlooked(logger: Log, said: Set<string>, overlooked: ResolvedTables["overlooked"]): void {
  for (const { table, message } of overlooked) {
    if (said.has(message)) continue;
    said.add(message);
    logger.warn({ table: tableLabel(table) }, message);
  }
}

/**
 * What a table that the source has captured before is asked for is no reason to keep all tables waiting: an ALTER TABLE may have taken
 * the column, or given it another type. It is said once; gives the others.
 */
export function sayAltered(
  logger: Log,
  said: Set<string>,
  wrong: ResolvedTables["wronglyAsked"],
  known: ReadonlySet<number>,
): ResolvedTables["wronglyAsked"] {
  const [altered, others] = [true, false].map((is) => wrong.filter(({ tables }) => tables.every(({ oid }) => known.has(oid)) === is));
  for (const { error, tables } of altered ?? []) {
    if (said.has(error.message)) continue;
    said.add(error.message);
    logger.warn({ table: tables.map(tableLabel).join(", "), code: error.code }, `${error.message}; until then it is read as it is`);
  }
  return others ?? [];
}

function isSameName(a: TableName, b: TableName): boolean {
  return a.schema === b.schema && a.name === b.name;
}
