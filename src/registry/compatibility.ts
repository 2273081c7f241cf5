// Whether a new schema fits the earlier versions of its subject. Avro specification, "Schema Resolution", with R-logical
// on top: a change of logical type, or of a decimal's scale, is incompatible in either direction.
import avsc, { type Type, type types } from "avsc";
import type { Compatibility } from "../core/schema-registry.ts";
import { Annotated } from "./avro-schema.ts";

/** Why a reader's schema can't read what a writer's wrote. */
export type Mismatch = {
  /** Fields by name from the root, `[]` for array items, `{}` for map values: `/after/tags[]`. */
  readonly path: string;
  /** A change that only R-logical knows: the base types would read. */
  readonly logical: boolean;
  readonly what: string;
  /** The same said of the other direction; only of a logical one. */
  readonly reversed?: string;
};

/**
 * Why `next` breaks `level` against the `earlier` versions (oldest first), one line each; empty when it may be registered.
 * BACKWARD: the new schema reads what the latest wrote. FORWARD: the latest reads what the new one writes.
 */
export function incompatibilities(level: Compatibility, next: Type, earlier: readonly Type[]): readonly string[] {
  if (level === "NONE") return [];
  const found: Mismatch[] = [];
  for (const before of level.endsWith("_TRANSITIVE") ? earlier : earlier.slice(-1)) {
    if (!level.startsWith("FORWARD")) found.push(...mismatches(next, before));
    if (!level.startsWith("BACKWARD")) found.push(...mismatches(before, next));
  }
  return [...new Set(found.map(describe))];
}

/**
 * R-logical: where one of two schemas would read what the other wrote as something else, a line each: another logical type, or a
 * decimal of another scale. In whichever direction the base types read, so that no level of a registry lets it pass.
 */
export function logicalChanges(next: Type, before: Type): readonly string[] {
  const found = mismatches(next, before).filter(({ logical }) => logical);
  const back = mismatches(before, next).flatMap((one) => (one.reversed === undefined ? [] : [{ ...one, what: one.reversed }]));
  return [...new Set([...found, ...back].map(describe))];
}

/** `/after/total: the logical type changed from decimal(10,2) to decimal(10,4)`. */
export function describe(mismatch: Mismatch): string {
  return `${mismatch.path === "" ? "/" : mismatch.path}: ${mismatch.what}`;
}

/** Every place where `reader` can't read what `writer` wrote; empty when it can. */
export function mismatches(reader: Type, writer: Type): readonly Mismatch[] {
  return compare(reader, writer, "", new Map());
}

/** What each pair of records came to, by their names: a type that is used often is compared, and named, once. */
type Compared = Map<string, readonly Mismatch[]>;

function compare(reader: Type, writer: Type, path: string, seen: Compared): readonly Mismatch[] {
  const [read, written] = [bare(reader), bare(writer)];
  if (isUnion(written)) return written.types.flatMap((branch) => compare(reader, branch, path, seen));
  if (isUnion(read)) return compareBranches(read, writer, path, seen);
  const found = compareBases(read, written, path, seen);
  if (found.length > 0 || meaningOf(reader) === meaningOf(writer)) return found;
  const words = (from: Type, to: Type): string => `the logical type changed from ${logicalOf(from)} to ${logicalOf(to)}`;
  return [{ path, logical: true, what: words(writer, reader), reversed: words(reader, writer) }];
}

/** Without their logical types. */
function compareBases(read: Type, written: Type, path: string, seen: Compared): readonly Mismatch[] {
  if (read.name !== undefined && written.name !== undefined && !answersTo(read, written))
    return [{ path, logical: false, what: `${label(read)} is neither ${label(written)} nor has it as an alias` }];
  if (read instanceof avsc.types.RecordType && written instanceof avsc.types.RecordType) return compareFields(read, written, path, seen);
  if (read instanceof avsc.types.ArrayType && written instanceof avsc.types.ArrayType)
    return compare(read.itemsType, written.itemsType, `${path}[]`, seen);
  if (read instanceof avsc.types.MapType && written instanceof avsc.types.MapType)
    return compare(valuesOf(read), valuesOf(written), `${path}{}`, seen);
  return compareLeaves(read, written, path);
}

/** Any branch will do. When none does, the words are about the branch that is most like what was written. */
function compareBranches(reader: types.UnwrappedUnionType, writer: Type, path: string, seen: Compared): readonly Mismatch[] {
  const tried = reader.types.map((branch) => ({
    found: compare(branch, writer, path, seen),
    alike: kind(bare(branch)) === kind(bare(writer)),
  }));
  if (tried.some(({ found }) => found.length === 0)) return [];
  const closest = tried.find(({ found }) => found.every(({ logical }) => logical)) ?? tried.find(({ alike }) => alike);
  return (
    closest?.found ?? [{ path, logical: false, what: `${label(writer)} can't be read as one of ${reader.types.map(label).join(", ")}` }]
  );
}

function compareFields(reader: types.RecordType, writer: types.RecordType, path: string, seen: Compared): readonly Mismatch[] {
  const pair = `${reader.name ?? ""}:${writer.name ?? ""}`;
  const known = seen.get(pair);
  if (known !== undefined) return known;
  seen.set(pair, []); // a recursive record may hold itself
  const written = new Map(writer.fields.map((field) => [field.name, field.type]));
  const found = reader.fields.flatMap((field) => compareField(field, written, `${path}/${field.name}`, seen));
  const unique = [...new Set(found)];
  seen.set(pair, unique);
  return unique;
}

function compareField(field: types.Field, written: ReadonlyMap<string, Type>, path: string, seen: Compared): readonly Mismatch[] {
  const [name, ...others] = [field.name, ...field.aliases].filter((candidate) => written.has(candidate));
  if (others.length > 0) return [{ path, logical: false, what: `it could be read from ${[name, ...others].join(" or ")}` }];
  const type = name === undefined ? undefined : written.get(name);
  if (type !== undefined) return compare(field.type, type, path, seen);
  return field.defaultValue() === undefined ? [{ path, logical: false, what: "a new field needs a default" }] : [];
}

/** Primitives, enums and fixed: avsc's resolver decides on promotions, symbols and sizes. */
function compareLeaves(reader: Type, writer: Type, path: string): readonly Mismatch[] {
  try {
    reader.createResolver(writer, { ignoreNamespaces: true }); // names were compared before
    return [];
  } catch {
    return [{ path, logical: false, what: `${label(writer)} can't be read as ${label(reader)}${missingSymbols(reader, writer)}` }];
  }
}

function missingSymbols(reader: Type, writer: Type): string {
  if (!(reader instanceof avsc.types.EnumType && writer instanceof avsc.types.EnumType)) return "";
  const missing = writer.symbols.filter((symbol) => !reader.symbols.includes(symbol));
  return missing.length === 0 ? "" : `: it lacks ${missing.join(", ")}`;
}

/** As Java's SchemaCompatibility has it: names without their namespaces, so that a table may move to another schema, or full aliases. */
function answersTo(reader: Type, writer: Type): boolean {
  return unqualified(reader.name) === unqualified(writer.name) || (reader.aliases ?? []).includes(writer.name ?? "");
}

function unqualified(name = ""): string {
  return name.slice(name.lastIndexOf(".") + 1);
}

/** What is said of a union's branch is said of the one of the same kind: where types are promoted to one another, or have one name. */
function kind(type: Type): string {
  const { typeName } = type;
  if (typeName === "int" || typeName === "long" || typeName === "float" || typeName === "double") return "number";
  if (typeName === "bytes" || typeName === "string") return "text";
  return type.name === undefined ? typeName : `${typeName} ${unqualified(type.name)}`;
}

function meaningOf(type: Type): string | null {
  return type instanceof Annotated ? type.meaning : null;
}

function logicalOf(type: Type): string {
  return type instanceof Annotated ? type.label : "none";
}

function bare(type: Type): Type {
  return type instanceof Annotated ? type.underlyingType : type;
}

function valuesOf(map: types.MapType): Type {
  return map.valuesType as Type; // avsc declares no type for it
}

function isUnion(type: Type): type is types.UnwrappedUnionType {
  return avsc.Type.isType(type, "union");
}

function label(type: Type): string {
  const base = bare(type);
  const name = base.name ?? base.typeName;
  return type instanceof Annotated ? `${name} (${type.label})` : name;
}
