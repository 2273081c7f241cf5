// The shared suite on every warehouse.
import { afterAll } from "vitest";
import { describeWithPostgres15 } from "../support/servers.ts";
import { dropDatabases, duckdbKind, postgres15Kind, postgresKind } from "./places.ts";
import { warehouseSuite } from "./suite.ts";

afterAll(dropDatabases);
warehouseSuite(duckdbKind);
warehouseSuite(postgresKind);
describeWithPostgres15("an older server", () => warehouseSuite(postgres15Kind));
