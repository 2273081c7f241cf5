// Composites in a comparison: on both sides the JSON array of their attributes' texts, of an array of them one of those.
import type pg from "pg";
import { parseType, printType, same, type ParsedType } from "../warehouses/duckdb/struct.ts";

/** `type`, `oid`: of the type at the bottom of domains and arrays, as `bottomOf` finds it. */
export type Typed = { readonly name: string; readonly type: string; readonly oid: string };

/** The attributes of every composite of the database, in order, by its OID. */
export type Composites = ReadonlyMap<string, readonly Typed[]>;

/** A composite that the copy has as a STRUCT, or a list of them, with those of the STRUCT's fields that the source has. */
export type Composite = { readonly isList: boolean; readonly parts: readonly Part[] };
/** `copied`: its type in the copy. */
export type Part = { readonly attribute: Typed; readonly copied: string; readonly composite: Composite | null };

/** SQL of a FROM clause: `bottom`, with the `type` (an array's with `list` behind it) and `oid` that a type is made of. */
export function bottomOf(oid: string, list: string): string {
  return `LATERAL (
    WITH RECURSIVE down(oid, list) AS (
      SELECT ${oid}, ''
      UNION ALL SELECT CASE typtype WHEN 'd' THEN typbasetype ELSE typelem END, CASE typtype WHEN 'd' THEN list ELSE '${list}' END
        FROM down JOIN pg_type USING (oid) WHERE typtype = 'd' OR typoutput = 'array_out'::regproc)
    SELECT typname || list AS type, oid::text AS oid FROM down JOIN pg_type USING (oid) WHERE typtype <> 'd' AND typoutput <> 'array_out'::regproc) bottom`;
}

export async function readComposites(client: pg.Client, list: string): Promise<Composites> {
  const { rows } = await client.query<Typed & { readonly composite: string }>(
    `SELECT t.oid::text AS composite, a.attname AS name, bottom.type, bottom.oid
     FROM pg_type t JOIN pg_attribute a ON a.attrelid = t.typrelid CROSS JOIN ${bottomOf("a.atttypid", list)}
     WHERE t.typtype = 'c' AND a.attnum > 0 AND NOT a.attisdropped AND t.oid >= 16384 ORDER BY t.oid, a.attnum`,
  );
  const composites = new Map<string, Typed[]>();
  for (const { composite, ...attribute } of rows) composites.set(composite, [...(composites.get(composite) ?? []), attribute]);
  return composites;
}

/** null: the source's type is no composite, or the copy has its text. */
export function compositeOf(of: Typed, copied: string | undefined, composites: Composites): Composite | null {
  const attributes = composites.get(of.oid);
  if (attributes === undefined || copied === undefined) return null;
  return compared(attributes, parseType(copied), composites);
}

function compared(attributes: readonly Typed[], copied: ParsedType, composites: Composites): Composite | null {
  const isList = copied.kind === "list";
  const struct = isList ? copied.item : copied;
  if (struct.kind !== "struct") return null;
  const parts = attributes.map((attribute): Part => {
    const field = struct.fields.find(({ name }) => same(name, attribute.name))?.type;
    const own = composites.get(attribute.oid);
    const type = field === undefined ? "" : printType(field);
    return { attribute, copied: type, composite: own === undefined || field === undefined ? null : compared(own, field, composites) };
  });
  return { isList, parts };
}

/** `textOf` is of an attribute that is no composite. */
export function sourceComposite(value: string, { isList, parts }: Composite, textOf: (value: string, part: Part) => string): string {
  if (isList) {
    const items = `(SELECT (${value})[place] AS item, place FROM generate_subscripts(${value}, 1) place) one`;
    const item = sourceComposite("one.item", { isList: false, parts }, textOf);
    return `CASE WHEN ${value} IS NOT NULL THEN to_json(ARRAY(SELECT ${item} FROM ${items} ORDER BY place))::text END`;
  }
  const texts = parts.map((part) => {
    const attribute = `(${value})."${part.attribute.name.replaceAll('"', '""')}"`;
    return part.composite === null ? textOf(attribute, part) : sourceComposite(attribute, part.composite, textOf);
  });
  return `CASE WHEN ${value} IS DISTINCT FROM NULL THEN to_json(ARRAY[${texts.join(", ")}]::text[])::text END`;
}

/** `depth` tells the items of lists in lists apart. */
export function copyComposite(
  value: string,
  { isList, parts }: Composite,
  textOf: (value: string, part: Part) => string,
  depth = 0,
): string {
  if (isList) {
    const item = copyComposite(`item_${depth}`, { isList: false, parts }, textOf, depth + 1);
    return `CASE WHEN ${value} IS NOT NULL THEN to_json(list_transform(${value}, lambda item_${depth}: ${item}))::VARCHAR END`;
  }
  const texts = parts.map((part) => {
    if (part.copied === "") return "'it has no such field'";
    const attribute = `struct_extract(${value}, '${part.attribute.name.replaceAll("'", "''")}')`;
    return part.composite === null ? textOf(attribute, part) : copyComposite(attribute, part.composite, textOf, depth);
  });
  return `CASE WHEN ${value} IS NOT NULL THEN to_json([${texts.join(", ")}])::VARCHAR END`;
}

/** `isSame` is of two attributes that are no composites, by the source's type. */
export function isSameComposite(
  source: string | null,
  copy: string | null,
  composite: Composite,
  isSame: (source: string | null, copy: string | null, type: string) => boolean,
): boolean {
  if (source === null || copy === null) return source === copy;
  const [values, others] = [source, copy].map((text) => JSON.parse(text) as readonly (string | null)[]) as [
    readonly (string | null)[],
    readonly (string | null)[],
  ];
  if (values.length !== others.length) return false;
  return values.every((value, at) => {
    const other = others[at] ?? null;
    if (composite.isList) return isSameComposite(value, other, { ...composite, isList: false }, isSame);
    const { attribute, composite: inner } = composite.parts[at]!;
    return inner === null ? isSame(value, other, attribute.type) : isSameComposite(value, other, inner, isSame);
  });
}
