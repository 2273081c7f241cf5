// The text of an Avro schema as a type that knows its logical types, and its identity.
import { createHash } from "node:crypto";
import avsc, { type Schema, type Type } from "avsc";
import { branchesOfDefaultsFirst } from "./union-defaults.ts";

/** A parsed schema. Two texts with the same fingerprint are the same schema: white space and the order of attributes do not count. */
export type ParsedSchema = {
  readonly type: Type;
  /** SHA-256, hex. */
  readonly fingerprint: string;
};

/** An annotated type, kept with what R-logical compares. avsc by itself forgets logical types that have no class. */
export class Annotated extends avsc.types.LogicalType {
  /** As in `decimal(10,2)` or `timestamp-micros`. */
  readonly label: string;
  /** What a reader has to agree on with the writer: the name, and of a decimal the scale. More or fewer digits are the same numbers. */
  readonly meaning: string;

  constructor(schema: Schema, options?: unknown) {
    super(schema, options);
    const { logicalType, precision, scale = 0 } = schema as LogicalAttributes;
    const isDecimal = logicalType === "decimal";
    this.label = isDecimal ? `decimal(${JSON.stringify(precision)},${JSON.stringify(scale)})` : logicalType;
    this.meaning = isDecimal ? `decimal of scale ${JSON.stringify(scale)}` : logicalType;
  }

  protected override _fromValue(value: unknown): unknown {
    return value;
  }

  protected override _toValue(value: unknown): unknown {
    return value;
  }
}

type LogicalAttributes = { readonly logicalType: string; readonly precision?: unknown; readonly scale?: unknown };

/** Parses the JSON text of a schema. Throws an Error that says what is wrong with the text. */
export function parseSchema(text: string): ParsedSchema {
  const logicalTypes = Object.create(null) as Record<string, typeof Annotated>;
  const json: unknown = JSON.parse(text, (key, value: unknown) => {
    if (key === "logicalType" && typeof value === "string") logicalTypes[value] = Annotated;
    return value;
  });
  const type = avsc.Type.forSchema(branchesOfDefaultsFirst(json) as Schema, { logicalTypes, omitRecordMethods: true });
  return {
    type,
    fingerprint: createHash("sha256")
      .update(JSON.stringify(sortedKeys(json)))
      .digest("hex"),
  };
}

function sortedKeys(json: unknown): unknown {
  if (Array.isArray(json)) return json.map(sortedKeys);
  if (typeof json !== "object" || json === null) return json;
  const entries = Object.entries(json).sort(([a], [b]) => (a < b ? -1 : 1));
  return Object.fromEntries(entries.map(([key, value]) => [key, sortedKeys(value)]));
}
