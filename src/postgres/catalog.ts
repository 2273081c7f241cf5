// Which tables a source captures, and what they are made of: read from the catalogs, judged by table-judgement.ts.
import { TailraceError } from "../core/errors.ts";
import { readableAs, sentType, type AskedColumns, type AskedTypes } from "../core/read-as.ts";
import { tableLabel, type ColumnType, type TableName } from "../core/table.ts";
import { quoteIdentifier, type Session } from "./session.ts";
import { judgeTable, type CatalogTable, type Relation, type RelationColumn } from "./table-judgement.ts";
import { columnType, MONEY_OID, type AttributeFacts, type CompositeFacts, type ElementFacts, type TypeFacts } from "./types.ts";

export type TableSelection = {
  /** What the globs and names of the configuration match. */
  readonly matches: (schema: string, name: string) => boolean;
  /** Tables written out in full: what is wrong with one of these is an error, with others a reason to skip them. */
  readonly named: readonly TableName[];
  /** `as` of the configuration. */
  readonly asked: AskedTypes;
  /** What `as` of other entries says of the table, which another one takes before them and says nothing of the column. */
  readonly overlooked: (table: TableName) => readonly OverlookedColumn[];
};

/** `first` and `later`: the patterns of the entry that takes the table, and of the one that asks for the column. */
export type OverlookedColumn = { readonly column: string; readonly as: string; readonly first: string; readonly later: string };

export type ResolvedTables = {
  /** By schema and name. */
  readonly tables: readonly CatalogTable[];
  /** Matched by a glob and left out, with the reason: to be said once, at start. */
  readonly skipped: readonly { readonly table: TableName; readonly reason: string }[];
  /** TABLE_MISSING, TABLE_WITHOUT_KEY, TABLE_UNSUPPORTED of named tables; the source may not start with any. */
  readonly problems: readonly TailraceError[];
  readonly wronglyAsked: readonly WronglyAsked[];
  /** Columns of captured tables that are read as they are, though `as` of an entry asks for another type: to be said once. */
  readonly overlooked: readonly { readonly table: TableName; readonly message: string }[];
};

/** COLUMN_AS, with the tables that it is about; a source may not begin to capture them so. Meanwhile the column has its own type. */
export type WronglyAsked = { readonly error: TailraceError; readonly tables: readonly CatalogTable[] };

/** How a publication bears on what the stream sends of a table; `null` reads tables as a publication of ours would send them. */
type PublicationName = string | null;

/**
 * The selected tables, as `publication` sends (or, before it is made, will send) them: its column lists and generated
 * columns are taken into account.
 */
export async function resolveTables(session: Session, selection: TableSelection, publication: PublicationName): Promise<ResolvedTables> {
  const names = await readNames(session);
  const isNamed = new Set(selection.named.map(tableKey));
  const candidates = names.filter(
    (table) => isNamed.has(tableKey(table)) || (!VIEW_KINDS.has(table.kind) && selection.matches(table.schema, table.name)),
  );
  const relations = await readRelations(
    session,
    candidates.map((table) => table.oid),
    publication,
  );

  const found = new Set(relations.map(tableKey));
  const problems = selection.named
    .filter((table) => !found.has(tableKey(table)))
    .map((table) => new TailraceError("TABLE_MISSING", { table: tableLabel(table) }));
  const tables: CatalogTable[] = [];
  const skipped: { table: TableName; reason: string }[] = [];
  const chosen = new Set(relations.map((relation) => relation.oid));
  for (const relation of relations) {
    const verdict = judgeTable(relation, chosen, selection.asked(relation));
    const name = { schema: relation.schema, name: relation.name };
    if (verdict.kind === "captured") tables.push(verdict.table);
    else if (verdict.kind === "covered") continue;
    else if (!isNamed.has(tableKey(relation))) skipped.push({ table: name, reason: verdict.reason });
    else problems.push(refusal(name, verdict));
  }
  return {
    tables,
    skipped,
    problems,
    wronglyAsked: wronglyAsked(tables, relations, selection.asked),
    overlooked: tables.flatMap((table) => overlooked(table, selection)),
  };
}

/** The table of a relation OID as it is now, as `publication` sends it; null when it is gone or can't be captured (any more). */
export async function describeTable(
  session: Session,
  oid: number,
  publication: PublicationName,
  asked: AskedTypes,
): Promise<CatalogTable | null> {
  const [relation] = await readRelations(session, [oid], publication);
  if (relation === undefined) return null;
  const verdict = judgeTable(relation, new Set([oid]), asked(relation));
  return verdict.kind === "captured" ? verdict.table : null;
}

/** The column types of type OIDs (with modifiers), in their order: of columns that the catalogs may have no longer. null: the type is gone too. */
export async function describeTypes(
  session: Session,
  types: readonly { readonly typeOid: number; readonly typeModifier: number }[],
): Promise<readonly (ColumnType | null)[]> {
  const values = [types.map(({ typeOid }) => typeOid), types.map(({ typeModifier }) => typeModifier)];
  const read = await session.json<(FlatFacts | null)[]>(TYPES_SQL, values);
  const found = read === null ? null : await withComposites(session, read);
  return types.map((_, index) => {
    const facts = found?.[index] ?? null;
    return facts === null ? null : columnType(facts);
  });
}

/** Whether there is a relation of this OID. */
export async function relationExists(session: Session, oid: number): Promise<boolean> {
  return (await session.query("SELECT FROM pg_class WHERE oid = $1", [oid])).length > 0;
}

/**
 * A text that changes whenever a table of an application comes, goes, is renamed, or gets or loses what judgeTable() asks of
 * it: a cheap look in place of resolveTables(), which reads every column.
 */
export async function catalogSignature(session: Session): Promise<string> {
  const [row] = await session.query(`
    SELECT md5(string_agg(concat_ws(' ', c.oid, n.nspname, c.relname, c.relkind, c.relpersistence, c.relreplident, c.relispartition,
      c.relhassubclass, c.relnatts, (SELECT string_agg(concat_ws(' ', i.indexrelid, i.indimmediate, i.indisvalid), ',' ORDER BY i.indexrelid)
        FROM pg_index i WHERE i.indrelid = c.oid AND (i.indisprimary OR i.indisreplident))), ';' ORDER BY c.oid)) AS signature
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'f') AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'`);
  return row?.signature ?? "";
}

/**
 * R-harmless: the tables that `publication` publishes though the application's UPDATE or DELETE on them fails (a key was
 * dropped, a table of another kind was added).
 */
export async function harmedTables(
  session: Session,
  publication: string,
): Promise<readonly { readonly table: TableName; readonly reason: string }[]> {
  const published = await session.query("SELECT relid::oid::text FROM pg_get_publication_tables($1) ORDER BY 1", [publication]);
  const relations = await readRelations(
    session,
    published.map((row) => Number(row.relid)),
    publication,
  );
  const harmed: { table: TableName; reason: string }[] = [];
  for (const relation of relations) {
    const verdict = judgeTable(relation, new Set([relation.oid]), null);
    if (verdict.kind === "keyless") harmed.push({ table: { schema: relation.schema, name: relation.name }, reason: verdict.reason });
  }
  return harmed;
}

const VIEW_KINDS: ReadonlySet<string> = new Set(["v", "m"]);

type NameRow = TableName & { readonly oid: number; readonly kind: string };

async function readNames(session: Session): Promise<readonly NameRow[]> {
  const names = await session.json<NameRow[]>(`
    SELECT jsonb_agg(jsonb_build_object('oid', c.oid::int8, 'schema', n.nspname, 'name', c.relname, 'kind', c.relkind)) AS json
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'f', 'v', 'm') AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'`);
  return names ?? [];
}

/** One statement, hence one view of the catalogs; ordered by schema and name. */
export async function readRelations(session: Session, oids: readonly number[], publication: PublicationName): Promise<readonly Relation[]> {
  if (oids.length === 0) return [];
  const relations = (await session.json<FlatRelation[]>(RELATIONS_SQL, [oids, publication], { prepared: "relations" })) ?? [];
  const columns = relations.flatMap((relation) => relation.columns ?? []);
  const types = await withComposites(
    session,
    columns.map(({ type }) => type),
  );
  const typeOf = new Map(columns.map((column, index) => [column, types[index]!]));
  return relations.map((relation) => ({
    ...relation,
    columns: relation.columns?.map((column) => ({ ...column, type: typeOf.get(column)! })) ?? null,
  }));
}

const INDEX_JSON = `jsonb_build_object('attnums', (i.indkey::int2[])[0:i.indnkeyatts - 1], 'immediate', i.indimmediate, 'valid', i.indisvalid)`;
const PRIMARY_KEY = `(SELECT ${INDEX_JSON} FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary)`;
const IDENTITY_INDEX = `(SELECT ${INDEX_JSON} FROM pg_index i WHERE i.indrelid = c.oid AND i.indisreplident)`;
/** Attribute numbers differ between a partition and its root (a dropped column suffices): names are what they share. */
const COLUMN_NAMES = `(SELECT jsonb_object_agg(a.attnum, a.attname) FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped)`;

// Each look-up of a type is behind a fence (OFFSET 0): a join would read all of pg_type for every column, since the planner
// expects a hundred domains upon one another.
const typeAt = (oid: string): string => `LATERAL (SELECT * FROM pg_type WHERE pg_type.oid = ${oid} OFFSET 0)`;
const bottomOf = (oid: string, modifier: string, name = "base"): string => `LATERAL (
  WITH RECURSIVE down(oid, modifier) AS (
    SELECT ${oid}, ${modifier}
    UNION ALL SELECT d.typbasetype, d.typtypmod FROM down CROSS JOIN ${typeAt("down.oid")} d WHERE d.typtype = 'd')
  SELECT down.oid, down.modifier FROM down CROSS JOIN ${typeAt("down.oid")} d WHERE d.typtype <> 'd') ${name}`;

/** What columnType() is told of a type, which stands at the bottom of the domains of a column's type. `t`: its row, `base`: what bottomOf gave. */
const factsOf = (t: string, base: string): string => `'oid', ${t}.oid::int8, 'modifier', ${base}.modifier, 'name', ${t}.typname,
  'label', format_type(${t}.oid, NULL), 'type', ${t}.typtype, 'category', ${t}.typcategory,
  'fraction', CASE ${t}.oid WHEN ${MONEY_OID} THEN scale('0'::money::numeric) END`;
/** TypeFacts of the row `t` and `base`. int2vector and oidvector are arrays too, and are printed as something else. */
const TYPE_JSON = `jsonb_build_object(${factsOf("t", "base")},
  'element', CASE WHEN t.typelem <> 0 AND t.typoutput = 'pg_catalog.array_out'::regproc THEN (SELECT jsonb_build_object(${factsOf("e", "bottom")})
    FROM ${bottomOf("t.typelem", "base.modifier", "bottom")} CROSS JOIN ${typeAt("bottom.oid")} e) END)`;

/** Facts as one statement brings them: what a composite is made of is asked for by another one, and only where there is any. */
type FlatFacts = Omit<TypeFacts, "composite" | "element"> & { readonly element: Omit<ElementFacts, "composite"> | null };
type FlatRelation = Omit<Relation, "columns"> & {
  readonly columns: readonly (Omit<RelationColumn, "type"> & { readonly type: FlatFacts })[] | null;
};
type FlatComposite = Omit<CompositeFacts, "attributes"> & {
  readonly oid: number;
  readonly attributes: readonly (Omit<AttributeFacts, "type"> & { readonly type: FlatFacts })[] | null;
};

/** The facts of types with those of the composites that they are made of. */
async function withComposites<F extends FlatFacts | null>(
  session: Session,
  types: readonly F[],
): Promise<readonly (F extends null ? null : TypeFacts)[]>;
async function withComposites(session: Session, types: readonly (FlatFacts | null)[]): Promise<readonly (TypeFacts | null)[]> {
  const oids = types.flatMap((type) => [type, type?.element]).flatMap((type) => (type?.type === "c" ? [type.oid] : []));
  const found = oids.length === 0 ? [] : ((await session.json<FlatComposite[]>(COMPOSITES_SQL, [oids])) ?? []);
  const composites = new Map(found.map((composite) => [composite.oid, composite]));
  const compositeOf = (oid: number): CompositeFacts | null => {
    const composite = composites.get(oid);
    if (composite === undefined) return null;
    const { schema, given } = composite;
    return { schema, given, attributes: (composite.attributes ?? []).map((attribute) => ({ ...attribute, type: whole(attribute.type) })) };
  };
  const whole = ({ element, ...type }: FlatFacts): TypeFacts => ({
    ...type,
    composite: compositeOf(type.oid),
    element: element === null ? null : { ...element, composite: compositeOf(element.oid) },
  });
  return types.map((type) => (type === null ? null : whole(type)));
}

/** The composites among the types $1, and all that they are made of. */
const COMPOSITES_SQL = `
  WITH RECURSIVE reached(oid) AS (
    SELECT unnest($1::oid[])
    UNION SELECT part.oid FROM reached CROSS JOIN ${typeAt("reached.oid")} t CROSS JOIN LATERAL (
      SELECT t.typbasetype WHERE t.typtype = 'd'
      UNION ALL SELECT t.typelem WHERE t.typelem <> 0
      UNION ALL SELECT a.atttypid FROM pg_attribute a WHERE t.typtype = 'c' AND a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped
    ) part(oid))
  SELECT jsonb_agg(jsonb_build_object('oid', c.oid::int8, 'schema', n.nspname, 'given', r.relnatts, 'attributes', (
    SELECT jsonb_agg(jsonb_build_object('number', a.attnum, 'name', a.attname, 'typeOid', a.atttypid::int8, 'typeModifier', a.atttypmod,
      'type', ${TYPE_JSON}) ORDER BY a.attnum)
    FROM pg_attribute a CROSS JOIN ${bottomOf("a.atttypid", "a.atttypmod")} CROSS JOIN ${typeAt("base.oid")} t
    WHERE a.attrelid = c.typrelid AND a.attnum > 0 AND NOT a.attisdropped))) AS json
  FROM reached CROSS JOIN ${typeAt("reached.oid")} c JOIN pg_class r ON r.oid = c.typrelid JOIN pg_namespace n ON n.oid = c.typnamespace
  WHERE c.typtype = 'c'`;

const TYPES_SQL = `
  SELECT jsonb_agg(CASE WHEN t.oid IS NOT NULL THEN ${TYPE_JSON} END ORDER BY place) AS json
  FROM unnest($1::oid[], $2::int4[]) WITH ORDINALITY asked(oid, modifier, place)
  LEFT JOIN ${bottomOf("asked.oid", "asked.modifier")} ON true LEFT JOIN ${typeAt("base.oid")} t ON true`;

// Columns that a version lacks are reached through to_jsonb: absent there, they are null.
const RELATIONS_SQL = `
  SELECT jsonb_agg(jsonb_build_object(
    'serverVersion', current_setting('server_version_num')::int,
    'oid', c.oid::int8, 'schema', n.nspname, 'name', c.relname, 'kind', c.relkind, 'persistence', c.relpersistence,
    'ancestors', CASE WHEN c.relispartition THEN
        (SELECT jsonb_agg(relid::oid::int8) FROM pg_partition_ancestors(c.oid) WHERE relid <> c.oid) END,
    'inherited', c.relkind = 'r' AND EXISTS (SELECT FROM pg_inherits h WHERE h.inhparent = c.oid),
    'identity', c.relreplident, 'primaryKey', ${PRIMARY_KEY}, 'identityIndex', ${IDENTITY_INDEX}, 'columnNames', ${COLUMN_NAMES},
    'publishesGenerated', coalesce((SELECT to_jsonb(p) ->> 'pubgencols' = 's' FROM pg_publication p WHERE p.pubname = $2), false),
    'columnList', (SELECT to_jsonb(r) -> 'prattrs' FROM pg_publication_rel r JOIN pg_publication p ON p.oid = r.prpubid
                   WHERE p.pubname = $2 AND r.prrelid = c.oid),
    'columns', (
      SELECT jsonb_agg(jsonb_build_object(
        'attnum', a.attnum, 'name', a.attname, 'typeOid', a.atttypid::int8, 'typeModifier', a.atttypmod, 'generated', a.attgenerated,
        'type', ${TYPE_JSON}) ORDER BY a.attnum)
      FROM pg_attribute a CROSS JOIN ${bottomOf("a.atttypid", "a.atttypmod")}
      CROSS JOIN ${typeAt("base.oid")} t
      WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped),
    'leaves', CASE WHEN c.relkind = 'p' THEN (
      SELECT jsonb_agg(leaf.json) FROM pg_partition_tree(c.oid) tree CROSS JOIN LATERAL (
        SELECT jsonb_build_object('schema', n.nspname, 'name', c.relname, 'kind', c.relkind, 'persistence', c.relpersistence,
          'identity', c.relreplident, 'primaryKey', ${PRIMARY_KEY}, 'identityIndex', ${IDENTITY_INDEX}, 'columnNames', ${COLUMN_NAMES}) AS json
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = tree.relid) leaf
      WHERE tree.isleaf) END
  ) ORDER BY n.nspname COLLATE "C", c.relname COLLATE "C") AS json
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = ANY($1::oid[])`;

function refusal(table: TableName, verdict: { readonly kind: "keyless" | "unsupported"; readonly reason: string }): TailraceError {
  const label = tableLabel(table);
  return new TailraceError(
    verdict.kind === "keyless" ? "TABLE_WITHOUT_KEY" : "TABLE_UNSUPPORTED",
    { table: label, reason: verdict.reason },
    { place: { table: label } },
  );
}

/** Unambiguous, unlike the label: a schema `a.b` with table `c` is not schema `a` with table `b.c`. */
function tableKey(table: TableName): string {
  return `${quoteIdentifier(table.schema)}.${quoteIdentifier(table.name)}`;
}

function overlooked(table: CatalogTable, selection: TableSelection): ResolvedTables["overlooked"] {
  const columns = selection.overlooked(table).filter(({ column }) => table.columns.some(({ name }) => name === column));
  return columns.map(({ column, as, first, later }) => ({
    table,
    message: `column ${column} of ${tableLabel(table)} is not read as ${as}, as ${later} of the source's tables asks: ${first} takes the table before; put ${later} first, or say \`as\` of the column in ${first} too`,
  }));
}

/** A column that none of the tables has that an entry of the configuration takes, or whose type can't be read so. */
function wronglyAsked(tables: readonly CatalogTable[], relations: readonly Relation[], asked: AskedTypes): readonly WronglyAsked[] {
  const wrong: WronglyAsked[] = [];
  const found = new Map<AskedColumns, { readonly tables: CatalogTable[]; readonly columns: Set<string> }>();
  for (const table of tables) {
    const columns = asked(table);
    if (columns === null) continue;
    const taken = found.get(columns) ?? { tables: [], columns: new Set() };
    found.set(columns, taken);
    taken.tables.push(table);
    for (const { name, keyPosition, ...column } of table.columns) {
      taken.columns.add(name);
      const as = columns.get(name);
      const allowed = readableAs(sentType(column), keyPosition > 0);
      if (as === undefined || allowed.includes(as)) continue;
      const own = relations.find(({ oid }) => oid === table.oid)?.columns?.find((each) => each.name === name)?.type.label;
      const reason = `its type ${own ?? ""} can't be read as ${as}${keyPosition > 0 ? " in a key" : ""}`;
      const error = new TailraceError("COLUMN_AS", { table: tableLabel(table), column: name, reason, allowed: allowed.join(", ") });
      wrong.push({ error, tables: [table] });
    }
  }
  for (const [columns, taken] of found) {
    for (const column of columns.keys()) {
      if (taken.columns.has(column)) continue;
      const names = [...taken.columns].slice(0, NAMED_COLUMNS);
      const allowed = `the columns ${names.join(", ")}${names.length < taken.columns.size ? ", …" : ""}`;
      const table = taken.tables.map(tableLabel).join(", ");
      const error = new TailraceError("COLUMN_AS", { table, column, reason: "no such column is captured", allowed });
      wrong.push({ error, tables: taken.tables });
    }
  }
  return wrong;
}

/** In an error text. */
const NAMED_COLUMNS = 50;
