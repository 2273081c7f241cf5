// Which of the source's topics a sink merges, and into what.
import { TailraceError } from "../core/errors.ts";
import { versionedName } from "../core/naming.ts";
import type { TopicState } from "../core/source-state.ts";
import { tableLabel, type TableName } from "../core/table.ts";

/** What the configuration says of one table of the source; null: it is not merged. */
export type TableRule = (table: TableName) => { readonly target: TableName; readonly deletes: "hard" | "soft" } | null;

export type Route = {
  readonly topic: TopicState;
  readonly target: TableName;
  readonly deletes: "hard" | "soft";
  /** R-version: the target of the first version; null: this is it. */
  readonly first: TableName | null;
};

/** The topics that the rule takes. Throws NAME_COLLISION for two that would be merged into one target, of which one is of a later version. */
export function routesOf(topics: readonly TopicState[], rule: TableRule): readonly Route[] {
  const routes = topics.flatMap((topic) => routeOf(topic, rule) ?? []);
  for (const { target, first, topic } of routes) {
    const other =
      first === null ? undefined : routes.find((each) => each.topic !== topic && tableLabel(each.target) === tableLabel(target));
    if (other === undefined) continue;
    const name = `the target ${tableLabel(target)}`;
    throw new TailraceError("NAME_COLLISION", { first: `topic ${other.topic.name}`, second: `topic ${topic.name}`, name });
  }
  return routes;
}

/** null: the rule does not take it. */
export function routeOf(topic: TopicState, rule: TableRule): Route | null {
  const into = rule(topic.table);
  if (into === null) return null;
  const { version = 1 } = topic;
  const { schema, name } = into.target;
  return { ...into, topic, target: { schema, name: versionedName(name, version) }, first: version === 1 ? null : into.target };
}
