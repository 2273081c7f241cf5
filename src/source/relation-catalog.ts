// What the catalogs say of a RELATION message, which tells no key under REPLICA IDENTITY FULL, no order of its columns, and no types but OIDs.
import { keyOfValueSchema } from "../avro/key-rule.ts";
import type { Log } from "../core/log.ts";
import type { SchemaRegistry } from "../core/schema-registry.ts";
import type { ColumnType, Table } from "../core/table.ts";
import { describeTable, describeTypes, relationExists } from "../postgres/catalog.ts";
import type { Relation } from "../postgres/pgoutput.ts";
import type { Session } from "../postgres/session.ts";
import { describeHolder, type Holder } from "../postgres/snapshot-holders.ts";
import { waitUntilSeen } from "../postgres/snapshot-waits.ts";
import type { CatalogTable } from "../postgres/table-judgement.ts";
import { sees, type Visibility } from "../postgres/visibility.ts";
import { inShapeOf } from "./captured-table.ts";
import type { SourceOptions } from "./parts.ts";

export type RelationCatalogOptions = {
  readonly options: Pick<SourceOptions, "slot" | "publication" | "selection">;
  readonly session: Session;
  readonly registry: Pick<SchemaRegistry, "latest">;
  readonly logger: Pick<Log, "warn">;
  readonly signal: AbortSignal;
};

export class RelationCatalog {
  readonly #options: RelationCatalogOptions;
  /** What was seen when the catalogs were last waited for; null: they were not. */
  #visibility: Visibility | null = null;
  /** Commits wait for this source as for a standby: they can't be waited for. */
  #isStandby = false;

  constructor(options: RelationCatalogOptions) {
    this.#options = options;
  }

  /**
   * R-seen: resolves when the catalogs have what transaction `xid` (32 bits), in which a RELATION of the table stands, made of it. What was done
   * before it was seen when it wrote, since an ALTER TABLE holds its lock until it is. Of a source that commits wait for as for a synchronous
   * standby it resolves before: each would wait for the other.
   */
  async seen(xid: number, table: string): Promise<void> {
    if (this.#isStandby || (this.#visibility !== null && sees(this.#visibility, xid))) return;
    const { session, logger, options, signal } = this.#options;
    const onWaiting = (holder: Holder | null): void => {
      const who = holder === null ? "a transaction that is ending" : describeHolder(holder);
      logger.warn({ table, holder: who }, "the stream waits until sessions see a transaction that it has brought");
    };
    const { slot } = options;
    this.#visibility = await waitUntilSeen(session, xid, { slot, onWaiting }, signal);
    if (this.#visibility !== null) return;
    this.#isStandby = true;
    logger.warn(
      { table, slot },
      "commits wait for this source as for a synchronous standby: a change of a table's key or types may be read as of before it; name the standbys in synchronous_standby_names, not *",
    );
  }

  /** null: it is gone, or can't be captured any more. */
  async table({ oid }: Relation): Promise<CatalogTable | null> {
    const { session, options } = this.#options;
    return describeTable(session, oid, options.publication, options.selection.asked);
  }

  async exists({ oid }: Relation): Promise<boolean> {
    return relationExists(this.#options.session, oid);
  }

  /** Of the relation's columns, in their order; null: the type is gone too. */
  async types({ columns }: Relation): Promise<readonly (ColumnType | null)[]> {
    return describeTypes(this.#options.session, columns);
  }

  /**
   * As inShapeOf(), with the key of now, or the former one: rows of before it changed may come when the catalog shows it. A RELATION tells which
   * columns are part of that (not under REPLICA IDENTITY FULL), their order is the one of the last schema of `topic`; else of the table's
   * columns. `keyless`: whether it may have had none.
   */
  async shape(
    relation: Relation,
    now: CatalogTable,
    types: readonly (ColumnType | null)[],
    topic: string,
    keyless: boolean,
  ): Promise<Table | null> {
    const { options, registry, signal } = this.#options;
    const asked = options.selection.asked(now);
    const found = inShapeOf(relation, now, types, asked);
    const flagged = relation.columns.flatMap(({ name, identity }) => (identity ? [name] : []));
    if (found !== null || types.includes(null) || relation.identity === "f" || (flagged.length === 0 && !keyless)) return found;
    const latest = await registry.latest(`${topic}-value`, signal);
    const last = latest === null ? null : keyOfValueSchema(latest);
    return inShapeOf(relation, now, types, asked, last ?? flagged) ?? inShapeOf(relation, now, types, asked, flagged);
  }
}
