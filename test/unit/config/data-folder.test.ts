import { expect, test } from "vitest";

import { dataFolder } from "../../../src/config/data-folder.ts";

test.each([
  ["stands beside the configuration when nobody says where", {}, "/etc/tailrace/data"],
  ["is where TAILRACE_DATA says", { TAILRACE_DATA: "/var/lib/tailrace" }, "/var/lib/tailrace"],
  ["starts at the configuration's folder when TAILRACE_DATA is relative", { TAILRACE_DATA: "../data" }, "/etc/data"],
])("the data folder %s", (_, env, folder) => {
  expect(dataFolder({ dir: "/etc/tailrace", env })).toBe(folder);
});

test("a TAILRACE_DATA that is set to nothing is refused: it would be the configuration's folder", () => {
  expect(() => dataFolder({ dir: "/etc/tailrace", env: { TAILRACE_DATA: "" } })).toThrow("TAILRACE_DATA is set to nothing");
});
