// What every warehouse owes the sink, whatever SQL it speaks (the port in src/core/warehouse.ts), by subject.
import { describe } from "vitest";
import type { WarehouseKind } from "./places.ts";
import { checkpointSuite } from "./suite/checkpoint.ts";
import { deletesSuite } from "./suite/deletes.ts";
import { lettersSuite } from "./suite/letters.ts";
import { mergingSuite } from "./suite/merging.ts";
import { openWarehouse } from "./suite/open-warehouse.ts";
import { sweepsSuite } from "./suite/sweeps.ts";
import { targetsSuite } from "./suite/targets.ts";
import { unchangedSuite } from "./suite/unchanged.ts";
import { valuesSuite } from "./suite/values.ts";
import { versionViewsSuite } from "./suite/version-views.ts";

export function warehouseSuite(kind: WarehouseKind): void {
  describe(kind.title, () => {
    const warehouse = openWarehouse(kind);
    mergingSuite(warehouse);
    deletesSuite(warehouse);
    sweepsSuite(warehouse);
    unchangedSuite(warehouse);
    checkpointSuite(warehouse);
    lettersSuite(warehouse);
    targetsSuite(warehouse);
    valuesSuite(warehouse);
    versionViewsSuite(warehouse);
  });
}
