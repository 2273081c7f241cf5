// On which generated pairs the embedded registry and Apicurio 2.6 may differ, and nowhere else (docs/registry.md has the same
// list). A difference counts as named only when the schemas have what it is about.
import { incompatibilities } from "../../../src/registry/compatibility.ts";
import type { Compatibility } from "../../../src/core/schema-registry.ts";
import { parseSchema } from "../../../src/registry/avro-schema.ts";

/** What a registry makes of a schema. */
export type Outcome = "compatible" | "incompatible" | "invalid" | "fails";

export type Difference = {
  readonly what: string;
  readonly ours: string;
  readonly apicurio: string;
  readonly why: string;
};

export const differences = {
  logical: {
    what: "a logical type or a decimal's scale changes, and the base types would read",
    ours: "incompatible",
    apicurio: "compatible",
    why: "R-logical: Apicurio compares base types only",
  },
  foreignSymbol: {
    what: "a field's default is no symbol of its enum",
    ours: "invalid",
    apicurio: "as without it",
    why: "Apicurio does not look; a reader that needs the default would fail",
  },
  earlyName: {
    what: "a type's name stands before its definition",
    ours: "invalid",
    apicurio: "as without it",
    why: "the specification wants the definition first, and other readers need it; Java's Avro 1.12 does not",
  },
  recursiveMap: {
    what: "a map holds the record that it stands in",
    ours: "as without it",
    apicurio: "500 on registration",
    why: "Apicurio 2.6 fails on it",
  },
} as const satisfies Record<string, Difference>;

export type DifferenceName = keyof typeof differences;

/** Our verdict on `next` after `earlier`, oldest first; `logical` when R-logical alone has an objection. */
export function ourOutcome(
  level: Compatibility,
  next: string,
  earlier: readonly string[],
): { readonly outcome: Outcome; readonly logical: boolean } {
  try {
    const problems = incompatibilities(
      level,
      parseSchema(next).type,
      earlier.map((text) => parseSchema(text).type),
    );
    const logical = problems.length > 0 && problems.every((problem) => problem.includes(": the logical type changed from "));
    return { outcome: problems.length === 0 ? "compatible" : "incompatible", logical };
  } catch {
    return { outcome: "invalid", logical: false };
  }
}

/** Which of the named differences makes these two outcomes; undefined when none does. */
export function nameOf(ours: ReturnType<typeof ourOutcome>, theirs: Outcome, schemas: readonly string[]): DifferenceName | undefined {
  if (ours.logical && theirs === "compatible") return "logical";
  const found = new Set(schemas.flatMap((text) => [...traits(JSON.parse(text), []), ...traitsOfNames(text)]));
  if (theirs === "fails") return found.has("recursiveMap") ? "recursiveMap" : undefined;
  if (ours.outcome !== "invalid") return undefined;
  return (["foreignSymbol", "earlyName"] as const).find((name) => found.has(name));
}

/** What a schema's text has of them. `within` are the records around, and `{}` for a map. */
function* traits(schema: unknown, within: readonly string[]): Generator<DifferenceName> {
  if (typeof schema === "string") {
    const around = within.lastIndexOf("{}");
    if (around >= 0 && within.slice(0, around).includes(schema)) yield "recursiveMap";
  }
  if (Array.isArray(schema)) for (const branch of schema) yield* traits(branch, within);
  if (typeof schema !== "object" || schema === null) return;
  const { type, name, items, values, fields } = schema as Record<string, unknown>;
  if (type === "array") yield* traits(items, within);
  if (type === "map") yield* traits(values, [...within, "{}"]);
  if (!Array.isArray(fields)) return;
  for (const field of fields as readonly Record<string, unknown>[]) {
    yield* traitsOfDefault(field);
    yield* traits(field.type, [...within, String(name)]);
  }
}

function* traitsOfDefault({ type, default: value }: Record<string, unknown>): Generator<DifferenceName> {
  if (value === undefined) return;
  const { symbols } = type as { readonly symbols?: readonly unknown[] };
  if (Array.isArray(symbols) && !symbols.includes(value)) yield "foreignSymbol";
}

/** By the places of names in the text: a definition says `"name":"X"` where its fields, symbols or size follow. */
function traitsOfNames(text: string): readonly DifferenceName[] {
  const definitions = [...text.matchAll(/"type":"(?:record|enum|fixed)","name":"(\w+)"/g)];
  const early = definitions.some(({ 1: name, index }) => text.search(new RegExp(`[:[,]"${name}"[,\\]}]`)) < index);
  return early ? ["earlyName"] : [];
}
