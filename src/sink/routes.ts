// Which of the source's topics a sink merges, and into what.
import type { TopicState } from "../core/source-state.ts";
import type { TableName } from "../core/table.ts";

/** What the configuration says of one table of the source; null: it is not merged. */
export type TableRule = (table: TableName) => { readonly target: TableName; readonly deletes: "hard" | "soft" } | null;

export type Route = { readonly topic: TopicState; readonly target: TableName; readonly deletes: "hard" | "soft" };

/** The topics that the rule takes. */
export function routesOf(topics: readonly TopicState[], rule: TableRule): readonly Route[] {
  return topics.flatMap((topic) => {
    const into = rule(topic.table);
    return into === null ? [] : [{ topic, ...into }];
  });
}
