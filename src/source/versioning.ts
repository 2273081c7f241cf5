// R-version: a table whose new schema is refused goes on under another topic, `…_v2`, and into other targets. The switch is one record
// of the state, written between the last event of the former shape, which is durable, and the first of the new one; then the session
// ends, and the next one makes the topic and reads the table into it. What comes again after that is told apart by its sequence.
import { TailraceError } from "../core/errors.ts";
import { reach } from "../core/failpoint.ts";
import { topicName } from "../core/naming.ts";
import { compareSequence, formatSequence, LAST_ORDINAL, parseSequence, type Sequence } from "../core/sequence.ts";
import { versionOf, type SourceState, type VersionedTable } from "../core/source-state.ts";
import { tableLabel, type Table, type TableName } from "../core/table.ts";
import { highestWatermark, type CapturedTable } from "./captured-table.ts";
import type { SourceOptions, SourceParts } from "./parts.ts";
import type { Publisher } from "./publisher.ts";
import { policyFor, schemaRefused, SchemasRefused } from "./table-schemas.ts";
import { dataTopicNames } from "./topics.ts";

export type VersioningOptions = {
  readonly options: Pick<SourceOptions, "name" | "topics" | "incompatible"> & {
    readonly snapshot: Pick<SourceOptions["snapshot"], "mode">;
  };
  readonly parts: Pick<SourceParts, "log" | "logger">;
  /** As the state has them when the session begins. */
  readonly versions: readonly VersionedTable[];
  /** The tables of the session. */
  readonly tables: readonly TableName[];
  readonly publisher: Pick<Publisher, "flushed">;
  /** Makes it durable. */
  readonly save: (change: Pick<SourceState, "versions"> & Partial<Pick<SourceState, "parked">>) => Promise<void>;
  readonly signal: AbortSignal;
};

export class Versioning {
  readonly #options: VersioningOptions;
  /** Labels of tables whose rows have come in a shape that their version takes. */
  readonly #reached = new Set<string>();

  constructor(options: VersioningOptions) {
    this.#options = options;
  }

  /** Whether a table is to have a new version whose schema is refused. */
  isFor(table: Table): boolean {
    return policyFor(this.#options.options, table) === "version";
  }

  /** null: it has its first version. */
  find({ schema, name }: TableName): VersionedTable | null {
    return this.#options.versions.find(({ table }) => table.schema === schema && table.name === name) ?? null;
  }

  /** R-tail: events at or below this are in topics of versions before; null: there are none. */
  after(table: TableName): Sequence | null {
    const found = this.find(table);
    return found === null ? null : parseSequence(found.after);
  }

  /** Up to which sequence the rows from `place` on are in a topic of a version before; null: they are not. */
  before(table: TableName, place: Sequence): Sequence | null {
    const after = this.after(table);
    return after?.epoch === place.epoch && compareSequence(place, after) <= 0 ? after : null;
  }

  /** The table's rows have come in a shape that its version takes. */
  reached(table: TableName): void {
    this.#reached.add(tableLabel(table));
  }

  /**
   * Whether rows of a former shape that can't be written are of before the version, though their sequences may say nothing of it: those
   * of a later epoch come again under other ones, and the catalog may have been further when the version's first schema was registered.
   */
  isOfBefore(table: TableName): boolean {
    return this.find(table) !== null && !this.#reached.has(tableLabel(table));
  }

  /**
   * Begins the table's next version; `place`: of the first event that is to go there. Nothing of the table may come meanwhile. `also`: changes of
   * the state that go with it.
   * Throws TABLE_VERSIONED when that is durable; SCHEMA_REFUSED where no version would be taken either, NAME_COLLISION and TABLE_UNSUPPORTED, and what the log throws, when it is not.
   */
  async begin(
    captured: Pick<CapturedTable, "watermarks" | "table">,
    refusal: SchemasRefused | { readonly difference: string; readonly words: string },
    place: Sequence,
    also: Partial<Pick<SourceState, "parked">> = {},
  ): Promise<never> {
    const { options, parts, publisher, versions, save } = this.#options;
    if (refusal instanceof SchemasRefused && refusal.isForAll) throw schemaRefused(options.name, captured.table, refusal);
    const { difference, words } = refusal;
    const table = { schema: captured.table.schema, name: captured.table.name };
    const [known, last] = [highestWatermark([captured]), before(place)];
    const isKnown = known !== null && compareSequence(known, last) > 0;
    // Of the rows up to what one partition is known to hold another may lack some, which only a reading of the table would bring.
    if (isKnown && captured.watermarks.length > 1 && options.snapshot.mode === "no_data") {
      if (refusal instanceof SchemasRefused) throw schemaRefused(options.name, captured.table, refusal);
      throw new TailraceError("SCHEMA_CHANGED", { table: tableLabel(table), difference });
    }
    await publisher.flushed();
    reach("source.before_versioned");
    const version = await this.next(table);
    const after = formatSequence(isKnown ? known : last);
    await save({ ...also, versions: withVersion(versions, { table, version, after, difference, words }) });
    reach("source.after_versioned");
    const topic = topicName(options.topics.prefix, table, version);
    parts.logger.warn(
      { table: tableLabel(table), topic, difference, words },
      `the table begins version ${version}: its new schema is refused`,
    );
    throw new TailraceError("TABLE_VERSIONED", { table: tableLabel(table), version, topic, difference, words });
  }

  /**
   * The number after the present one whose topic is not there, or empty: what is in one is of another life, or another's. Throws NAME_COLLISION,
   * TABLE_UNSUPPORTED, and what the log throws.
   */
  async next({ schema, name }: TableName): Promise<number> {
    const table = { schema, name };
    const { options, parts, versions, tables, signal } = this.#options;
    for (let version = versionOf(versions, table) + 1; ; version++) {
      dataTopicNames(options.topics, tables, withVersion(versions, { table, version, after: "", difference: "", words: "" }));
      const [found] = await parts.log.topics([topicName(options.topics.prefix, table, version)], signal);
      if (found === undefined || (await parts.log.offsets(found.name, signal)).every(({ end }) => end === 0)) return version;
    }
  }
}

function withVersion(versions: readonly VersionedTable[], one: VersionedTable): readonly VersionedTable[] {
  return [...versions.filter(({ table }) => tableLabel(table) !== tableLabel(one.table)), one];
}

/** The last sequence before an event's. */
function before({ epoch, commitLsn, ordinal }: Sequence): Sequence {
  if (ordinal > 0) return { epoch, commitLsn, ordinal: ordinal - 1 };
  return { epoch, commitLsn: (commitLsn - 1n) as Sequence["commitLsn"], ordinal: LAST_ORDINAL };
}
