// R-version: when a sink tends the views of its tables' versions.
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { TailraceError } from "../../../src/core/errors.ts";
import type { Log } from "../../../src/core/log.ts";
import type { WarehouseSession } from "../../../src/core/warehouse.ts";
import { routesOf } from "../../../src/sink/routes.ts";
import { VersionViews } from "../../../src/sink/version-views.ts";

beforeEach(() => void vi.useFakeTimers({ toFake: ["performance"] }));
afterEach(() => void vi.useRealTimers());

test("R-version: a view that can't be made is tried again a minute later, though nothing is merged, and said once", async () => {
  const topic = { name: "shop.public.orders_v2", id: "2", partitions: 1, table: { schema: "public", name: "orders" }, version: 2 };
  const said: unknown[] = [];
  const views = new VersionViews({ warn: (_: object, message: string) => said.push(message) } as unknown as Log);
  let tries = 0;
  const session = {
    ensureView: async (): Promise<null> => {
      tries += 1;
      if (tries < 3) throw new TailraceError("WAREHOUSE_REFUSED", { warehouse: "w", reason: "another view depends on it" });
      return Promise.resolve(null);
    },
  } as unknown as WarehouseSession;
  views.route(routesOf([topic], ({ name }) => ({ target: { schema: "raw", name }, deletes: "hard" })));
  const seen: unknown[] = [];
  for (const waits of [0, 59_000, 2_000, 60_000, 60_000]) {
    vi.advanceTimersByTime(waits);
    const wasDue = views.isDue;
    await views.keep(session);
    seen.push([wasDue, tries]);
  }
  expect(seen).toEqual([
    [true, 1],
    [false, 1],
    [true, 2],
    [true, 3],
    [false, 3],
  ]);
  expect(said).toHaveLength(1);
});
