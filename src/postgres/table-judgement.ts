// R-harmless: which relations may be captured, by which key, and why not. Pure: plain values from the catalogs in, a verdict out.
import { typeAsAsked, type AskedColumns } from "../core/read-as.ts";
import { compositesOf, tableLabel, type Column, type Table, type TableName } from "../core/table.ts";
import { columnType, type TypeFacts } from "./types.ts";

/** A table with what the catalogs know beyond core's shape. */
export type CatalogTable = Table & {
  /** Captured as a whole, through the root (publish_via_partition_root). */
  readonly partitioned: boolean;
};

/** What the catalogs say of a relation. */
export type Relation = Identified & {
  readonly serverVersion: number;
  readonly oid: number;
  /** OIDs of the partitioned tables above it; null when it is no partition. */
  readonly ancestors: readonly number[] | null;
  /** Other tables inherit from it (partitions not meant). */
  readonly inherited: boolean;
  readonly publishesGenerated: boolean;
  /** Attribute numbers of the publication's column list; null: all columns. */
  readonly columnList: readonly number[] | null;
  readonly columns: readonly RelationColumn[] | null;
  /** Of a partitioned table: where its rows are. */
  readonly leaves: readonly Identified[] | null;
};

export type RelationColumn = {
  readonly attnum: number;
  readonly name: string;
  readonly typeOid: number;
  readonly typeModifier: number;
  /** pg_attribute.attgenerated: empty, `s`tored or `v`irtual. */
  readonly generated: string;
  readonly type: TypeFacts;
};

/** The part that a partition has too. */
export type Identified = TableName & {
  /** pg_class.relkind. */
  readonly kind: string;
  /** pg_class.relpersistence: `p`ermanent, `u`nlogged, `t`emporary. */
  readonly persistence: string;
  /** pg_class.relreplident. */
  readonly identity: "d" | "n" | "f" | "i";
  readonly primaryKey: Index | null;
  readonly identityIndex: Index | null;
  /** By attribute number. */
  readonly columnNames: Readonly<Record<string, string>> | null;
};

/** Without INCLUDE columns, in index order. */
export type Index = { readonly attnums: readonly number[]; readonly immediate: boolean; readonly valid: boolean };

export type TableVerdict =
  | { readonly kind: "captured"; readonly table: CatalogTable }
  /** A partition whose changes arrive as those of a captured root. */
  | { readonly kind: "covered" }
  /** Published, its UPDATE and DELETE would fail. */
  | { readonly kind: "keyless"; readonly reason: string }
  | { readonly kind: "unsupported"; readonly reason: string };

/** From this version on an UPDATE fails when the replica identity holds a generated column that is not published. */
const CHECKS_GENERATED_SINCE = 180_000;

/** `chosen`: OIDs of all relations selected, to know whether a partition's root is among them. `asked`: of its columns (`as`). */
export function judgeTable(relation: Relation, chosen: ReadonlySet<number>, asked: AskedColumns | null): TableVerdict {
  if (relation.ancestors?.some((oid) => chosen.has(oid)) === true) return { kind: "covered" };
  const unsupported = unsupportedReason(relation);
  if (unsupported !== null) return { kind: "unsupported", reason: unsupported };

  const identity = identityOf(relation);
  if (typeof identity === "string") return { kind: "keyless", reason: identity };
  const sent = (relation.columns ?? []).filter(
    (column) =>
      (column.generated === "" || (column.generated === "s" && relation.publishesGenerated)) &&
      (relation.columnList === null || relation.columnList.includes(column.attnum)),
  );
  const unsent = identity.key.find((attnum) => !sent.some((column) => column.attnum === attnum));
  if (unsent !== undefined) return { kind: "keyless", reason: `its key column ${relation.columnNames?.[unsent]} is not published` };
  if (identity.kind === "full" && relation.columnList !== null)
    return { kind: "keyless", reason: "REPLICA IDENTITY FULL does not go with the publication's column list" };
  const generated = relation.columns?.find((column) => column.generated !== "" && !sent.includes(column));
  if (identity.kind === "full" && generated !== undefined && relation.serverVersion >= CHECKS_GENERATED_SINCE)
    return { kind: "keyless", reason: `REPLICA IDENTITY FULL holds the generated column ${generated.name}, which is not published` };
  const [leaf] = (relation.leaves ?? []).flatMap((each) => leafReason(relation, identity, each) ?? []);
  if (leaf !== undefined) return { kind: "keyless", reason: leaf };

  const columns = sent.map((column): Column => ({
    name: column.name,
    ...typeAsAsked(columnType(column.type), asked?.get(column.name), identity.key.includes(column.attnum)),
    typeOid: column.typeOid,
    typeModifier: column.typeModifier,
    keyPosition: identity.key.indexOf(column.attnum) + 1,
  }));
  const composite = columns.find(({ keyPosition, type }) => keyPosition > 0 && compositesOf(type).length > 0);
  if (composite !== undefined)
    return {
      kind: "unsupported",
      reason: `its key column ${composite.name} is of a composite type, whose shape may change under the key; ask for its text (as: { ${composite.name}: string }) or use another REPLICA IDENTITY`,
    };
  const { oid, schema, name } = relation;
  return { kind: "captured", table: { oid, schema, name, columns, identity: identity.kind, partitioned: relation.kind === "p" } };
}

function unsupportedReason(relation: Relation): string | null {
  if (relation.kind === "v") return "it is a view";
  if (relation.kind === "m") return "it is a materialized view";
  if (relation.kind === "f") return "it is a foreign table";
  if (relation.persistence === "u") return "it is unlogged, so its changes are not in the WAL";
  if (relation.persistence === "t") return "it is temporary";
  if (relation.inherited) return "other tables inherit from it; name those instead";
  if (relation.columns === null) return "it has no columns";
  const leaf = relation.leaves?.find((each) => each.kind === "f" || each.persistence !== "p");
  return leaf === undefined ? null : `its partition ${tableLabel(leaf)} is ${leaf.kind === "f" ? "a foreign table" : "not logged"}`;
}

type Identity = { readonly kind: Table["identity"]; readonly key: readonly number[] };

/** The replica identity and the key (attribute numbers, in key order), or why UPDATE and DELETE would fail. */
function identityOf(relation: Identified): Identity | string {
  switch (relation.identity) {
    case "n":
      return "its REPLICA IDENTITY is NOTHING";
    case "f":
      // UPDATE and DELETE always work; without a primary key that can be relied on the table is captured keyless.
      return { kind: "full", key: usable(relation.primaryKey) ? relation.primaryKey.attnums : [] };
    case "d":
      if (relation.primaryKey === null) return "it has no primary key";
      if (!relation.primaryKey.immediate) return "its primary key is deferrable";
      return usable(relation.primaryKey)
        ? { kind: "default", key: relation.primaryKey.attnums }
        : "the index of its primary key is not valid";
    case "i":
      if (relation.identityIndex === null) return "the index of its REPLICA IDENTITY was dropped";
      return usable(relation.identityIndex)
        ? { kind: "index", key: relation.identityIndex.attnums }
        : "the index of its REPLICA IDENTITY is not valid";
  }
}

/**
 * Rows live in the partitions and old rows are sent by the partition's identity, but labelled by the root's: where the
 * two differ, key columns would arrive as nulls.
 */
function leafReason(root: Identified, identity: Identity, leaf: Identified): string | null {
  const own = identityOf(leaf);
  const name = tableLabel(leaf);
  if (typeof own === "string") return `of its partition ${name}: ${own}`;
  if (own.kind === "full") return null; // the whole old row holds any key
  if (identity.kind === "full") return `its partition ${name} is not REPLICA IDENTITY FULL as the root is`;
  const names = (relation: Identified, key: readonly number[]): (string | undefined)[] =>
    key.map((attnum) => relation.columnNames?.[attnum]);
  const sent = new Set(names(leaf, own.key));
  return names(root, identity.key).every((column) => sent.has(column))
    ? null
    : `its partition ${name} has another replica identity than the root`;
}

function usable(index: Index | null): index is Index {
  return index !== null && index.valid && index.immediate;
}
