// Names of PostgreSQL as names of Avro and Kafka, and which of them would then be one.
//
// A legal name stays as it is. Any other UTF-16 unit becomes `_uXXXX` (four lower-case hex digits), as Debezium's
// `avro_unicode` adjustment writes it; unlike Debezium, `_` itself is left alone, so that ordinary names stay ordinary.
// Two names can therefore meet, though only on purpose (`a b` and `a_u0020b`), and then the table is refused.
import { TailraceError } from "./errors.ts";
import { tableLabel, type TableName } from "./table.ts";

/** Kafka's limit (org.apache.kafka.common.internals.Topic.MAX_NAME_LENGTH). */
export const MAX_TOPIC_LENGTH = 249;

/** The name as Avro allows it: `[A-Za-z_][A-Za-z0-9_]*`. */
export function avroName(name: string): string {
  return name.replace(/^[^A-Za-z_]|[^A-Za-z0-9_]/g, escape);
}

/** The Avro namespace of a topic's records: the topic's name with each part between dots made legal. */
export function avroNamespace(topic: string): string {
  return topic
    .split(".")
    .map((part) => (part === "" ? "_" : avroName(part)))
    .join(".");
}

/** The Avro field of each column, in order. Throws NAME_COLLISION when two columns would share one. */
export function fieldNames(table: TableName & { readonly columns: readonly { readonly name: string }[] }): readonly string[] {
  const owners = new Map<string, string>();
  return table.columns.map((column) => {
    const field = avroName(column.name);
    const owner = owners.get(field);
    if (owner !== undefined) {
      throw new TailraceError(
        "NAME_COLLISION",
        { first: `column "${owner}"`, second: `column "${column.name}"`, name: field },
        { place: { table: tableLabel(table) } },
      );
    }
    owners.set(field, column.name);
    return field;
  });
}

/** R-version: a table's name, or its topic's, under a version: `orders`, `orders_v2`, `orders_v3`. */
export function versionedName(name: string, version: number): string {
  return version === 1 ? name : `${name}_v${version}`;
}

/**
 * The topic of a table, `<prefix>.<schema>.<table>`, in Kafka's alphabet `[a-zA-Z0-9._-]`; of a later version with its ending. Throws
 * TABLE_UNSUPPORTED when it is longer than Kafka takes.
 */
export function topicName(prefix: string, table: TableName, version = 1): string {
  const topic = versionedName(`${prefix}.${table.schema}.${table.name}`.replace(/[^A-Za-z0-9._-]/g, escape), version);
  if (topic.length <= MAX_TOPIC_LENGTH) return topic;
  const reason = `its topic's name would have ${topic.length} characters, Kafka takes ${MAX_TOPIC_LENGTH}`;
  throw new TailraceError("TABLE_UNSUPPORTED", { table: tableLabel(table), reason }, { place: { table: tableLabel(table) } });
}

/**
 * Throws NAME_COLLISION when two of a source's topics (its own ones among them: the schema `dead` with a table `letters`
 * meets `<prefix>.dead_letters`) are the same to Kafka, which takes `.` and `_` for one character because its metrics do.
 */
export function refuseTopicCollisions(topics: readonly string[]): void {
  const owners = new Map<string, string>();
  for (const topic of topics) {
    const name = topic.replaceAll(".", "_");
    const owner = owners.get(name);
    if (owner !== undefined) {
      throw new TailraceError("NAME_COLLISION", { first: `topic ${owner}`, second: `topic ${topic}`, name: `${name} in Kafka's metrics` });
    }
    owners.set(name, topic);
  }
}

function escape(unit: string): string {
  return `_u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`;
}
