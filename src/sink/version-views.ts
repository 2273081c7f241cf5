// R-version: keeps the views of tables that have come to have a second version at the present one, once that is complete.
import { TailraceError } from "../core/errors.ts";
import type { Log } from "../core/log.ts";
import { tableLabel, type TableName } from "../core/table.ts";
import type { VersionView, WarehouseSession } from "../core/warehouse.ts";
import type { Route } from "./routes.ts";

/** How long a view that can't be made is left alone, ms. Each try costs what a flush costs, and its session. */
const RETRY_MS = 60_000;

export class VersionViews {
  readonly #logger: Log;
  #views: ReadonlyMap<string, VersionView> = new Map();
  /** Labels of targets whose view may not be as it should. */
  readonly #due = new Set<string>();
  /** Of the last events that were merged into each target: one object a schema. */
  readonly #columns = new Map<string, object>();
  readonly #said = new Set<string>();
  /** By performance.now(). */
  #notBefore = 0;

  constructor(logger: Log) {
    this.#logger = logger;
  }

  /** `routes`: all that concern the sink. */
  route(routes: readonly Route[]): void {
    this.#views = new Map(viewsOf(routes).map((view) => [tableLabel(view.target), view]));
    for (const label of this.#views.keys()) this.#due.add(label);
  }

  /** The target may have come to be complete. */
  changed(target: TableName): void {
    if (this.#views.has(tableLabel(target))) this.#due.add(tableLabel(target));
  }

  /** Rows of these columns are merged; the target is altered for those that it did not have so. */
  merged(target: TableName, columns: object): void {
    if (!this.#views.has(tableLabel(target)) || this.#columns.get(tableLabel(target)) === columns) return;
    this.#columns.set(tableLabel(target), columns);
    this.changed(target);
  }

  /** Whether keep() has something to do, though nothing may be merged: what it did not come to before. */
  get isDue(): boolean {
    return this.#due.size > 0 && performance.now() >= this.#notBefore;
  }

  /** Makes what is due. A view that can't be made is said once, and costs nothing else. */
  async keep(session: WarehouseSession): Promise<void> {
    if (!this.isDue) return;
    for (const label of this.#due) {
      const view = this.#views.get(label);
      this.#due.delete(label);
      if (view === undefined) continue;
      try {
        const reason = await session.ensureView(view);
        if (reason !== null) this.#say(reason);
      } catch (cause) {
        if (!(cause instanceof TailraceError) || cause.code !== "WAREHOUSE_REFUSED") throw cause;
        this.#say(`view ${tableLabel(view.view)} can't be made: ${cause.message}`);
        this.#due.add(label);
        this.#notBefore = performance.now() + RETRY_MS;
        return; // the session may be of no more use
      }
    }
  }

  #say(message: string): void {
    if (this.#said.has(message)) return;
    this.#said.add(message);
    this.#logger.warn({}, message);
  }
}

/** `first`: a table's first target. */
export function latestView({ schema, name }: TableName): TableName {
  return { schema, name: `${name}_latest` };
}

/** Of each table whose present version is not its first one. */
export function viewsOf(routes: readonly Route[]): readonly VersionView[] {
  const present = new Map<string, Route>();
  for (const route of routes) {
    const label = tableLabel(route.topic.table);
    if ((route.topic.version ?? 1) >= (present.get(label)?.topic.version ?? 1)) present.set(label, route);
  }
  const targets = new Set(routes.map(({ target }) => tableLabel(target)));
  return [...present.values()].flatMap(({ first, target }) => {
    if (first === null) return [];
    const view = latestView(first);
    return targets.has(tableLabel(view)) ? [] : [{ view, first, target }];
  });
}
