// The shared suite on every warehouse.
import { describeWithPostgres15 } from "../support/servers.ts";
import { duckdbKind, postgres15Kind, postgresKind } from "./places.ts";
import { warehouseSuite } from "./suite.ts";

warehouseSuite(duckdbKind);
warehouseSuite(postgresKind);
describeWithPostgres15("an older server", () => warehouseSuite(postgres15Kind));
