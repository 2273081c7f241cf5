// R-key: a table's key does not change under its topic. What was written under the former one stays there: a reader, and compaction, would
// keep both, and what deletes the one says nothing of the other.
import type { FollowRule } from "../core/schema-registry.ts";
import { keyColumns } from "../core/table.ts";
import type { TableSchemas } from "./schema.ts";
import { readKeySchema, readValueSchema } from "./shape.ts";

/** In a refusal by this rule, so that its remedy can be another one than of any other. */
export const KEY_STAYS = "a table's key does not change under its topic";

/** The names of the key's columns, in key order, by a value schema (JSON text); null when it is none of ours. */
export function keyOfValueSchema(schema: string): readonly string[] | null {
  return unlessForeign(() => keyColumns(readValueSchema(schema)).map(({ name }) => name));
}

/** For the subjects of the key's and of the value's schema. A table that gets its first key may: nobody told its rows apart before. */
export function keyRules(schemas: TableSchemas): { readonly key: FollowRule; readonly value: FollowRule } {
  const now = keyOfValueSchema(schemas.value) ?? [];
  const judge = (before: readonly string[] | null): string | null =>
    before === null || before.length === 0 || JSON.stringify(before) === JSON.stringify(now)
      ? null
      : `its key was (${before.join(", ")}) and is (${now.join(", ")}): ${KEY_STAYS}`;
  return {
    key: (latest) => judge(unlessForeign(() => readKeySchema(latest).map(({ name }) => name))),
    value: (latest) => judge(keyOfValueSchema(latest)),
  };
}

function unlessForeign<T>(read: () => T): T | null {
  try {
    return read();
  } catch {
    return null; // the registry, or a reader, has the word
  }
}
