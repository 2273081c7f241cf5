// The JSON schema that editors check a configuration with, made from the schemas that Tailrace itself uses.

import * as z from "zod";

import { schemas } from "./schema.ts";

/** What an editor accepts beside a value: `"${NAME}"`, `"${NAME:-default}"`, `"${file:PATH}"`. */
const REFERENCE = { type: "string", pattern: "\\$\\{" } as const;

/** The content of connectors/connector.schema.json: one document of a configuration, of any kind. */
export function connectorJsonSchema(): Readonly<Record<string, unknown>> {
  const schema = z.toJSONSchema(z.discriminatedUnion("kind", [schemas.service, schemas.source, schemas.sink]), {
    io: "input",
    override: ({ jsonSchema, path }) => {
      const constrained = jsonSchema.type === "integer" || jsonSchema.type === "number" || jsonSchema.type === "boolean";
      const narrowed = jsonSchema.type === "string" && (jsonSchema.enum !== undefined || jsonSchema.pattern !== undefined);
      if (path.at(-1) === "kind" || !(constrained || narrowed)) return;
      // A reference may stand for any scalar; what it gives is checked when the configuration is loaded.
      const { description, default: initial, ...leaf } = jsonSchema;
      for (const key of Object.keys(jsonSchema)) Reflect.deleteProperty(jsonSchema, key); // zod wants this object changed, not another
      if (description !== undefined) jsonSchema.description = description;
      if (initial !== undefined) jsonSchema.default = initial;
      jsonSchema.anyOf = [leaf, REFERENCE];
    },
  });
  return { $schema: schema.$schema, title: "Tailrace configuration", ...schema };
}
