// ALTER TYPE … ADD | DROP ATTRIBUTE changes the rows of every table that has a column of the type, and no message of the stream tells of it:
// rows are sent in the shape that the type had at their place in the WAL (adr/0018). This finds out up to which place a shape holds.
import { parseLsn, type Lsn } from "../core/lsn.ts";
import { pause } from "../core/pause.ts";
import { compositesOf, type CompositeType, type Table } from "../core/table.ts";
import type { CompositeShape, KnownComposites } from "../core/table-layout.ts";
import type { Session } from "./session.ts";

/** A lock on a type is waited for so long, ms, and asked for as often. */
const LOCKED_MS = 500;
const ASK_EVERY_MS = 20;

/** The composites of a table's events, each once, by OID: not of columns whose events hold their text. */
export function shapesOf({ columns }: Pick<Table, "columns">): readonly CompositeShape[] {
  const types = new Map(columns.flatMap(({ type }) => compositesOf(type)).map((type) => [type.oid, type]));
  return [...types.values()].sort((a, b) => a.oid - b.oid).map(shapeOf);
}

function shapeOf({ oid, schema, name, given, attributes }: CompositeType): CompositeShape {
  const columns = attributes.map((each) => [each.number, each.name, each.typeOid, each.typeModifier] as const);
  return [oid, `${schema}.${name}`, given, columns];
}

/** The name of the first type of `now` that had another shape in `before`; null: none. Types that only one of them has don't count. */
export function alteredComposite(before: readonly CompositeShape[], now: readonly CompositeShape[]): string | null {
  const altered = now.find((shape) => {
    const was = before.find(([oid]) => oid === shape[0]);
    return was !== undefined && JSON.stringify(was) !== JSON.stringify(shape);
  });
  return altered === undefined ? null : altered[1];
}

/** What is kept of a table's composites; `known`: what was kept before. `lsn`: the end of the WAL behind the look that found `now`. */
export function composites(
  known: KnownComposites | undefined,
  now: readonly CompositeShape[],
  lsn: string,
  acknowledged: Lsn,
): KnownComposites | undefined {
  if (now.length === 0) return undefined;
  if (known === undefined) return { shapes: now, since: "0/0", added: false, dropped: false };
  if (alteredComposite(known.shapes, now) === null) return { ...known, shapes: now };
  const counts = parseLsn(known.since) > acknowledged; // rows of before that change may come again
  let { added, dropped } = counts ? known : { added: false, dropped: false };
  for (const [oid, , given, attributes] of now) {
    const was = known.shapes.find(([other]) => other === oid);
    if (was === undefined) continue;
    const [, , givenThen, attributesThen] = was;
    const live = new Map(attributes.map(([number, , ...type]) => [number, String(type)]));
    const isSame = attributesThen.every(([number, , ...type]) => !live.has(number) || live.get(number) === String(type));
    const kept = attributesThen.filter(([number]) => live.has(number)).length;
    const isComplete = live.size === kept + (given - givenThen);
    added ||= given > givenThen || !isSame;
    dropped ||= kept < attributesThen.length || !isComplete || !isSame;
  }
  return { shapes: now, since: lsn, added, dropped };
}

/**
 * Rows up to here may be of a former shape though they have as many attributes as the present one: attributes were added and others dropped.
 * 0n: every row tells by their number.
 */
export function untoldUpTo(known: KnownComposites | undefined): Lsn {
  return known !== undefined && known.added && known.dropped ? parseLsn(known.since) : parseLsn("0/0");
}

/** `lsn`: whatever stands before it in the WAL has one of the shapes that the types had until then, `shapes` being the last. */
export type ShapesLook = { readonly lsn: Lsn; readonly shapes: readonly CompositeShape[] };

/**
 * The shapes of composites by their OIDs. Whoever commits an ALTER TYPE has it in the WAL before others see it, and holds a lock until
 * they do: that is waited for, but not for ever, since a transaction may hold it for hours before it commits.
 */
export async function lookAtShapes(session: Session, oids: readonly number[], signal: AbortSignal): Promise<ShapesLook> {
  const first = await lookAtLocks(session, oids);
  let { locked } = first;
  for (let waited = 0; locked && waited < LOCKED_MS && !signal.aborted; waited += ASK_EVERY_MS) {
    await pause(ASK_EVERY_MS, signal);
    ({ locked } = await lookAtLocks(session, oids));
  }
  const shapes = (await session.json<CompositeShape[]>(SHAPES_SQL, [oids], { prepared: "shapes" })) ?? [];
  return { lsn: parseLsn(first.lsn), shapes };
}

/** The place comes first: a lock that is taken after it was asked for is of a change that stands behind it. */
async function lookAtLocks(session: Session, oids: readonly number[]): Promise<{ readonly lsn: string; readonly locked: boolean }> {
  const [row] = await session.query(LOCKS_SQL, [oids], { prepared: "shape locks" });
  return { lsn: row?.lsn ?? "0/0", locked: row?.locked === "t" };
}

const LOCKS_SQL = `
  SELECT pg_current_wal_insert_lsn()::text AS lsn, EXISTS (
    SELECT FROM pg_locks l WHERE l.locktype = 'relation' AND l.granted AND l.mode = 'AccessExclusiveLock'
      AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
      AND l.relation = ANY (ARRAY(SELECT t.typrelid FROM pg_type t WHERE t.oid = ANY($1::oid[])))) AS locked`;

/** Of a type `t` with its row type's relation and schema, as shapeOf() has one. */
export const SHAPE_OF_TYPE = `jsonb_build_array(t.oid::int8, tn.nspname || '.' || t.typname, tr.relnatts, (
    SELECT coalesce(jsonb_agg(jsonb_build_array(ta.attnum, ta.attname, ta.atttypid::int8, ta.atttypmod) ORDER BY ta.attnum), '[]')
    FROM pg_attribute ta WHERE ta.attrelid = t.typrelid AND ta.attnum > 0 AND NOT ta.attisdropped))`;
export const COMPOSITES_AMONG = (oids: string): string =>
  `${oids} AS among(oid) JOIN pg_type t ON t.oid = among.oid AND t.typtype = 'c' JOIN pg_class tr ON tr.oid = t.typrelid JOIN pg_namespace tn ON tn.oid = t.typnamespace`;

const SHAPES_SQL = `SELECT jsonb_agg(${SHAPE_OF_TYPE} ORDER BY t.oid) AS json FROM ${COMPOSITES_AMONG("unnest($1::oid[])")}`;
