// R-silent-ddl: whether rows of a table have changed, or come, without events, told by what the catalogs say of it.
import { createHash } from "node:crypto";
import { ZERO_LSN, type Lsn } from "../core/lsn.ts";
import { tableLabel, type TableName } from "../core/table.ts";
import type { CompositeShape, TableLayout } from "../core/table-layout.ts";
import { alteredComposite, composites, COMPOSITES_AMONG, SHAPE_OF_TYPE } from "./composites.ts";
import type { Session } from "./session.ts";

/** A layout with what only the moment shows. */
export type SeenLayout = Omit<TableLayout, "formerNames" | "composites" | "labels"> & {
  readonly composites: readonly CompositeShape[];
  /** Of each column whose type has an enum in it the labels, each with its OID, in the order in which they were made. */
  readonly labels: readonly (readonly [attnum: number, labels: readonly string[]])[];
  /** The end of the WAL before the look. */
  readonly lsn: string;
  /** Attribute numbers of columns with a default, an identity or a generating expression. */
  readonly computed: readonly number[];
  /** Attribute numbers of columns that were added with a constant default: rows of before have it though nothing was written. */
  readonly filled: readonly number[];
};

/** What changed without events. `where`: the rows concerned, as SQL; null: all of them. */
export type SilentChange = { readonly words: string; readonly where: string | null };

/** The tables as the catalogs have them now; one that is gone is left out. */
export async function readLayouts(session: Session, oids: readonly number[]): Promise<readonly SeenLayout[]> {
  if (oids.length === 0) return [];
  return (await session.json<SeenLayout[]>(LAYOUTS_SQL, [oids], { prepared: "layouts" })) ?? [];
}

/**
 * What asks for the table to be read again; null: nothing. `published`: attribute numbers that the publication sends; null: all.
 * Rows in other files alone are no reason (VACUUM FULL, CLUSTER, another tablespace; TRUNCATE has an event): a change of values also
 * writes the catalog's row of a column. An added column without a value is none either: null is what the targets have.
 */
export function silentChange(before: TableLayout, now: SeenLayout, published: readonly number[] | null): SilentChange | null {
  if (before.oid !== now.oid) return null; // another table of this name: R-publication
  const isPublished = (attnum: number): boolean => published === null || published.includes(attnum);
  const former = new Map(before.columns.map(([attnum, name, version]) => [attnum, { name, version }]));
  const columns = now.columns.filter(([attnum]) => isPublished(attnum));
  for (const [attnum, name] of columns) {
    const was = former.get(attnum);
    if (was === undefined && (before.formerNames.includes(name) || before.columns.some((column) => column[1] === name)))
      return all(`column ${name} was dropped and made again, or took the name of one that was renamed`);
    if (was === undefined && now.filled.includes(attnum)) return all(`column ${name} was added with a default`);
    if (was !== undefined && was.name !== name) return all(`column ${was.name} was renamed to ${name}`);
  }
  if (before.files !== now.files) {
    const rewritten = columns.find(([attnum, , version]) => {
      const was = former.get(attnum);
      return was === undefined ? now.computed.includes(attnum) : was.version !== version;
    });
    if (rewritten !== undefined) return all(`its rows were rewritten together with column ${rewritten[1]}`);
  }
  const altered = before.composites === undefined ? null : alteredComposite(before.composites.shapes, now.composites);
  if (altered !== null) return all(`the composite type ${altered} was altered`);
  const renamed = columns.find(([attnum]) => hasRenamedLabel(attnum, before, now));
  if (renamed !== undefined) return all(`a label of column ${renamed[1]} was renamed`);
  const known = new Map(before.attached);
  const attached = now.attached.filter(([oid, version]) => known.get(oid) !== version).map(([oid]) => oid);
  if (attached.length === 0) return null;
  const trees = attached.map((oid) => `SELECT relid FROM pg_partition_tree(${oid})`).join(" UNION ALL ");
  return { words: "a table with rows of its own may have become a partition of it", where: `tableoid IN (${trees})` };
}

/** What is kept of a layout; `known`: what was kept of the one before. `acknowledged`: no row of before it comes again. */
export function layoutOf(now: SeenLayout, known: TableLayout | undefined, acknowledged: Lsn = ZERO_LSN): TableLayout {
  const { schema, name, oid, columns, files, attached } = now;
  const labels = now.labels.map(([attnum, each]) => [attnum, each.length, digestOf(each)] as const);
  const names = new Set(columns.map((column) => column[1]));
  const before = known?.oid === oid ? [...known.formerNames, ...known.columns.map((column) => column[1])] : [];
  const formerNames = [...new Set(before)].filter((each) => !names.has(each));
  const shapes = composites(known?.oid === oid ? known.composites : undefined, now.composites, now.lsn, acknowledged);
  return { schema, name, oid, columns, formerNames, files, attached, labels, ...(shapes === undefined ? {} : { composites: shapes }) };
}

/** A label that is added is made after those that were there, wherever it stands among them. */
function hasRenamedLabel(attnum: number, before: TableLayout, now: SeenLayout): boolean {
  const was = before.labels?.find(([of]) => of === attnum);
  const is = now.labels.find(([of]) => of === attnum);
  if (was === undefined || is === undefined) return false;
  const [, count, digest] = was;
  return digestOf(is[1].slice(0, count)) !== digest;
}

function digestOf(labels: readonly string[]): string {
  return createHash("sha256").update(JSON.stringify(labels)).digest("base64url").slice(0, 16);
}

/** For messages. */
export function describeChange(table: TableName, { words }: SilentChange): string {
  return `rows of ${tableLabel(table)} changed without events: ${words}`;
}

function all(words: string): SilentChange {
  return { words, where: null };
}

/** access/transam.h: lower OIDs are of what every database has, none of it made of an application's types. */
const FIRST_NORMAL_OID = 16_384;

// All of it in one view of the catalogs: pg_relation_filenode() looks past the statement's snapshot, and would show the files of a rewrite
// beside the columns of before it; with these as what is known, the column that came with the rewrite is a harmless one at the next look.
// A partition is told from a table that was attached by the row of its system column ctid: made with the table, as its place in the tree
// is only then, and never written again (its row type's is, by a new name or owner). In one transaction with the table ATTACH is told by the
// columns' rows, all of which it writes again: by a later command (cmin). A partition's are written again for defaults alone.
// Enums and composites are looked for in domains, arrays, composites and ranges too, for all tables at once: one by one took 5,000 of them a second.
const LAYOUTS_SQL = `
  WITH RECURSIVE own AS MATERIALIZED (
    SELECT a.attrelid, a.attnum, a.atttypid FROM pg_attribute a
    WHERE a.attrelid = ANY($1::oid[]) AND a.attnum > 0 AND NOT a.attisdropped AND a.atttypid >= ${FIRST_NORMAL_OID}
  ), parts(type, part) AS (
    SELECT DISTINCT atttypid, atttypid FROM own
    UNION
    SELECT p.type, below.type FROM parts p JOIN pg_type t ON t.oid = p.part CROSS JOIN LATERAL (
      SELECT t.typbasetype UNION ALL SELECT t.typelem
      UNION ALL SELECT a.atttypid FROM pg_attribute a WHERE a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped
      UNION ALL SELECT r.rngsubtype FROM pg_range r WHERE t.oid IN (r.rngtypid, r.rngmultitypid)) below(type)
    WHERE below.type >= ${FIRST_NORMAL_OID}
  ), enums AS MATERIALIZED (
    SELECT p.type, jsonb_agg(e.oid::int8 || ' ' || e.enumlabel ORDER BY e.oid) AS labels
    FROM parts p JOIN pg_enum e ON e.enumtypid = p.part GROUP BY p.type
  ), labelled AS MATERIALIZED (
    SELECT a.attrelid, jsonb_agg(jsonb_build_array(a.attnum, e.labels) ORDER BY a.attnum) AS labels
    FROM own a JOIN enums e ON e.type = a.atttypid GROUP BY a.attrelid
  ), shapes AS MATERIALIZED (
    SELECT t.oid, ${SHAPE_OF_TYPE} AS shape FROM ${COMPOSITES_AMONG("(SELECT DISTINCT part FROM parts)")}
  ), composed AS MATERIALIZED (
    SELECT each.attrelid, jsonb_agg(each.shape ORDER BY each.oid) AS shapes FROM (
      SELECT DISTINCT a.attrelid, s.oid, s.shape FROM own a JOIN parts p ON p.type = a.atttypid JOIN shapes s ON s.oid = p.part) each
    GROUP BY each.attrelid
  )
  SELECT jsonb_agg(jsonb_build_object(
    'schema', n.nspname, 'name', c.relname, 'oid', c.oid::int8,
    'columns', (
      SELECT coalesce(jsonb_agg(jsonb_build_array(a.attnum, a.attname, a.xmin::text::int8) ORDER BY a.attnum), '[]')
      FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped),
    'computed', (
      SELECT coalesce(jsonb_agg(a.attnum), '[]') FROM pg_attribute a
      WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND (a.atthasdef OR a.attidentity <> '' OR a.attgenerated <> '')),
    'filled', (
      SELECT coalesce(jsonb_agg(a.attnum), '[]') FROM pg_attribute a
      WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND EXISTS (
        SELECT FROM pg_attribute own WHERE own.attrelid = ANY (t.leaves) AND own.attname = a.attname AND own.atthasmissing)),
    'lsn', pg_current_wal_insert_lsn(),
    'composites', coalesce(composed.shapes, '[]'), 'labels', coalesce(labelled.labels, '[]'),
    'files', (SELECT md5(string_agg(leaf.oid || ':' || leaf.relfilenode, ',' ORDER BY leaf.oid)) FROM pg_class leaf WHERE leaf.oid = ANY (t.leaves)),
    'attached', (
      SELECT coalesce(jsonb_agg(jsonb_build_array(i.inhrelid::int8, i.xmin::text::int8) ORDER BY i.inhrelid), '[]')
      FROM pg_inherits i JOIN pg_attribute made ON made.attrelid = i.inhrelid AND made.attnum = -1
      WHERE i.inhrelid = ANY (t.below) AND (i.xmin <> made.xmin OR (
        SELECT bool_and(own.cmin::text <> made.cmin::text) FROM pg_attribute own
        WHERE own.attrelid = i.inhrelid AND own.attnum > 0 AND NOT own.attisdropped AND own.xmin = i.xmin)))
  ) ORDER BY n.nspname COLLATE "C", c.relname COLLATE "C") AS json
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  CROSS JOIN LATERAL (
    SELECT coalesce(array_agg(relid::oid) FILTER (WHERE isleaf), ARRAY[c.oid]) AS leaves,
      coalesce(array_agg(relid::oid) FILTER (WHERE relid <> c.oid), '{}') AS below
    FROM pg_partition_tree(c.oid)) t
  LEFT JOIN labelled ON labelled.attrelid = c.oid LEFT JOIN composed ON composed.attrelid = c.oid
  WHERE c.oid = ANY($1::oid[])`;
