// A table as a chunk reads it: what the catalogs say under the snapshot of the chunk's transaction.
import type { AskedTypes } from "../core/read-as.ts";
import { tableLabel } from "../core/table.ts";
import { describeTable } from "./catalog.ts";
import { quoteIdentifier, type Session } from "./session.ts";
import type { KeyPart } from "./snapshot-key.ts";
import type { CatalogTable } from "./table-judgement.ts";

/** Plain data, to be compared and kept. */
export type SnapshotTable = {
  readonly table: CatalogTable;
  /** Attribute numbers of the table's columns, in their order: a column that was dropped and made again has another. */
  readonly attnums: readonly number[];
  /** The key's columns as their index has them; empty for a table without a key. */
  readonly key: readonly KeyPart[];
  /** SQL of the publication's row filter. */
  readonly filter: string | null;
  /** Files that its rows are in, one a partition, by OID: a rewrite or TRUNCATE gives a relation another. As of now, not of the snapshot. */
  readonly storage: readonly { readonly oid: number; readonly file: number }[];
};

/** What a transaction sees of a table. */
export type SeenTable = {
  /** pg_current_snapshot(), as text. */
  readonly snapshot: string;
  /** null: it is gone, can't be captured any more, or has another name. */
  readonly table: SnapshotTable | null;
  /** Its rows are in other files, or partitions, than the snapshot knows: rows that the snapshot should see may be gone. */
  readonly rewritten: boolean;
};

/** The table of an OID as `publication` sends it (null: as one of ours would). Takes the transaction's snapshot if there is none yet. */
export async function seeTable(session: Session, oid: number, publication: string | null, asked: AskedTypes): Promise<SeenTable> {
  const withFilters = (await session.version()) >= FILTERS_SINCE;
  // Once a chunk: prepared, this and what describeTable() asks take 3 ms together, else 5.5 ms.
  const facts = withFilters
    ? await session.json<Facts>(FACTS_SQL, [oid, publication], { prepared: "facts" })
    : await session.json<Facts>(FACTS_SQL_BEFORE_FILTERS, [oid], { prepared: "facts" });
  const table = await describeTable(session, oid, publication, asked);
  if (facts === null || table === null) return { snapshot: facts?.snapshot ?? "", table: null, rewritten: false };
  const { snapshot, filter, storage } = facts;
  const attnums = table.columns.map(({ name }) => facts.attnums[name] ?? 0);
  const index = facts.indexes?.find(({ primary, identity }) => (table.identity === "index" ? identity : primary));
  const hasKey = table.columns.some(({ keyPosition }) => keyPosition > 0);
  return {
    snapshot,
    table: {
      table,
      attnums,
      key: hasKey && index !== undefined ? index.columns : [],
      filter,
      storage: storage.map((each) => ({ oid: each.oid, file: each.file })),
    },
    rewritten: storage.some((each) => each.file !== each.fileThen),
  };
}

/** Whether both read the same columns of the same rows in the same order of keys. Where the rows are (`storage`) may differ. */
export function readsAlike(a: SnapshotTable, b: SnapshotTable): boolean {
  return JSON.stringify({ ...a, storage: null }) === JSON.stringify({ ...b, storage: null });
}

/** The table's name in SQL. */
export function tableSql({ table }: Pick<SnapshotTable, "table">): string {
  return `${quoteIdentifier(table.schema)}.${quoteIdentifier(table.name)}`;
}

/** As tableSql(), where rows are read: its own and its partitions', not those of tables that inherit from it, which the stream does not send either. */
export function rowsSql(table: Pick<SnapshotTable, "table">): string {
  return table.table.partitioned ? tableSql(table) : `ONLY ${tableSql(table)}`;
}

/** The condition of the rows that are published; null: all are. */
export function publishedCondition({ filter }: SnapshotTable, where: string | null): string | null {
  // Each on lines of its own: a comment at the end of `where` must not take the parenthesis along.
  const parts = [filter, where].filter((part) => part !== null).map((part) => `(\n${part}\n)`);
  return parts.length === 0 ? null : parts.join(" AND ");
}

/** For error texts. */
export function labelOf({ table }: Pick<SnapshotTable, "table">): string {
  return tableLabel(table);
}

type Facts = {
  readonly snapshot: string;
  readonly filter: string | null;
  readonly attnums: Readonly<Record<string, number>>;
  readonly indexes: readonly { readonly primary: boolean; readonly identity: boolean; readonly columns: readonly KeyPart[] }[] | null;
  readonly storage: readonly { readonly oid: number; readonly file: number; readonly fileThen: number | null }[];
};

/** Row filters came with PostgreSQL 15. */
const FILTERS_SINCE = 150_000;

const OPERATORS_JSON = `(
  SELECT jsonb_object_agg(o.amopstrategy, format('OPERATOR(%I.%s)', n.nspname, p.oprname))
  FROM pg_amop o JOIN pg_operator p ON p.oid = o.amopopr JOIN pg_namespace n ON n.oid = p.oprnamespace
  WHERE o.amopfamily = c.opcfamily AND o.amoplefttype = c.opcintype AND o.amoprighttype = c.opcintype AND o.amoppurpose = 's')`;

// Types are looked up behind a fence, as catalog.ts does it.
const TYPE_AT_DOWN = "LATERAL (SELECT * FROM pg_type WHERE pg_type.oid = down.oid OFFSET 0) d";
const BASE_TYPE = `(
  WITH RECURSIVE down(oid) AS (
    SELECT a.atttypid UNION ALL SELECT d.typbasetype FROM down CROSS JOIN ${TYPE_AT_DOWN} WHERE d.typtype = 'd')
  SELECT format_type(d.oid, -1) FROM down CROSS JOIN ${TYPE_AT_DOWN} WHERE d.typtype <> 'd')`;

const KEY_COLUMNS_JSON = `(
  SELECT jsonb_agg(jsonb_build_object(
    'name', a.attname, 'type', ${BASE_TYPE},
    'collation', (SELECT format('%I.%I', n.nspname, l.collname) FROM pg_collation l JOIN pg_namespace n ON n.oid = l.collnamespace WHERE l.oid = k.coll),
    'operators', ${OPERATORS_JSON}, 'descending', k.options & 1 = 1, 'nullsFirst', k.options & 2 = 2) ORDER BY k.place)
  FROM unnest(i.indkey::int2[], i.indclass::oid[], i.indcollation::oid[], i.indoption::int2[]) WITH ORDINALITY k(attnum, opclass, coll, options, place)
  JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
  JOIN pg_opclass c ON c.oid = k.opclass
  WHERE k.place <= i.indnkeyatts)`;

// The catalogs are read as the transaction's snapshot has them, except for pg_relation_filenode and pg_partition_tree, which
// know only what is now: where the two differ, the table was rewritten since.
const factsSql = (filter: string): string => `
  SELECT jsonb_build_object(
    'snapshot', pg_current_snapshot()::text,
    'filter', ${filter},
    'attnums', (SELECT jsonb_object_agg(attname, attnum) FROM pg_attribute WHERE attrelid = $1::oid AND attnum > 0 AND NOT attisdropped),
    'indexes', (SELECT jsonb_agg(jsonb_build_object('primary', i.indisprimary, 'identity', i.indisreplident, 'columns', ${KEY_COLUMNS_JSON}))
                FROM pg_index i WHERE i.indrelid = $1::oid AND (i.indisprimary OR i.indisreplident)),
    'storage', (SELECT coalesce(jsonb_agg(jsonb_build_object('oid', t.oid::int8, 'file', pg_relation_filenode(t.oid)::int8, 'fileThen', c.relfilenode::int8) ORDER BY t.oid), '[]')
                FROM (SELECT relid::oid FROM pg_partition_tree($1::oid) WHERE isleaf
                      UNION SELECT oid FROM pg_class WHERE oid = $1::oid AND relkind = 'r') t(oid)
                LEFT JOIN pg_class c ON c.oid = t.oid)) AS json`;
const FACTS_SQL = factsSql(
  "(SELECT pg_get_expr(r.prqual, r.prrelid) FROM pg_publication_rel r JOIN pg_publication p ON p.oid = r.prpubid WHERE p.pubname = $2 AND r.prrelid = $1::oid)",
);
const FACTS_SQL_BEFORE_FILTERS = factsSql("NULL::text");
