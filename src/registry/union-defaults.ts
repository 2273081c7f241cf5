// Defaults of unions. Since 1.12 the Avro specification ("Complex Types", "Records") lets a field's default be of any branch
// of its union, avsc only of the first: for avsc the branch goes there. What a schema can read does not hang on the order.

/** The JSON of a schema as it is, but that each union of a field begins with the branch of the field's default. */
export function branchesOfDefaultsFirst(schema: unknown): unknown {
  const kinds = new Map<string, string>();
  collectKinds(schema, kinds);
  return reordered(schema, kinds);
}

/** Which kind of type each name is. Namespaces don't matter: two kinds under one unqualified name are as good as unheard of. */
function collectKinds(schema: unknown, kinds: Map<string, string>): void {
  if (typeof schema !== "object" || schema === null) return;
  const { name, type } = schema as Record<string, unknown>;
  if (typeof name === "string" && typeof type === "string") kinds.set(unqualified(name), type);
  for (const part of Object.values(schema)) collectKinds(part, kinds);
}

function reordered(schema: unknown, kinds: ReadonlyMap<string, string>): unknown {
  if (Array.isArray(schema)) return schema.map((branch) => reordered(branch, kinds));
  if (typeof schema !== "object" || schema === null) return schema;
  const copy = { ...schema } as Record<string, unknown>;
  for (const key of ["type", "items", "values"]) if (key in copy) copy[key] = reordered(copy[key], kinds);
  if (Array.isArray(copy.fields)) copy.fields = copy.fields.map((field) => fieldOf(reordered(field, kinds), kinds));
  return copy;
}

function fieldOf(field: unknown, kinds: ReadonlyMap<string, string>): unknown {
  if (typeof field !== "object" || field === null || !("default" in field) || !("type" in field)) return field;
  if (!Array.isArray(field.type)) return field;
  const branches: readonly unknown[] = field.type;
  const fitting = branches.find((branch) => fits(field.default, branch, kinds));
  return fitting === undefined ? field : { ...field, type: [fitting, ...branches.filter((branch) => branch !== fitting)] };
}

/** By kind alone: whether it is a value of the branch, avsc says. */
function fits(value: unknown, branch: unknown, kinds: ReadonlyMap<string, string>): boolean {
  if (typeof branch === "object" && branch !== null && "type" in branch) return fits(value, branch.type, kinds);
  if (typeof branch !== "string") return false;
  const kind = kinds.get(unqualified(branch)) ?? branch;
  if (value === null) return kind === "null";
  if (typeof value === "boolean") return kind === "boolean";
  if (typeof value === "string") return ["string", "bytes", "enum", "fixed"].includes(kind);
  if (Array.isArray(value)) return kind === "array";
  if (typeof value === "object") return ["map", "record", "error"].includes(kind);
  if (kind === "int") return value === (Number(value) | 0);
  return kind === "float" || kind === "double" || (kind === "long" && Number.isInteger(value));
}

function unqualified(name: string): string {
  return name.slice(name.lastIndexOf(".") + 1);
}
