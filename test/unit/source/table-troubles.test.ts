import { expect, test } from "vitest";
import { TailraceError } from "../../../src/core/errors.ts";
import { TableTroubles } from "../../../src/source/table-troubles.ts";

const LIMITS = { firstMs: 100, maxMs: 1_000 };

test("a table that failed rests, longer each time and no longer than the limit; others do not", () => {
  const troubles = new TableTroubles(LIMITS);
  const rests: number[] = [];
  let now = 0;
  for (let failure = 0; failure < 6; failure++) {
    troubles.failed("a", "TABLE_LOCKED", now, 1);
    let rested = 0;
    while (troubles.rests("a", now + rested)) rested += 1;
    rests.push(rested);
    now += rested;
  }
  expect(rests).toEqual([100, 200, 400, 800, 1_000, 1_000]);
  troubles.failed("a", "TABLE_LOCKED", now, 1);
  expect(troubles.rests("b", now)).toBe(false);
});

test("the same error is worth one line until the table was read again, another one a line more", () => {
  const troubles = new TableTroubles(LIMITS);
  expect(troubles.failed("a", "TABLE_LOCKED", 0, 0)).toBe(true);
  expect(troubles.failed("a", "TABLE_LOCKED", 500, 0)).toBe(false);
  expect(troubles.failed("a", "PRIVILEGE_MISSING", 900, 0)).toBe(true);
  expect(troubles.over("a")).toBe(true);
  expect(troubles.over("a")).toBe(false);
  expect(troubles.rests("a", 900)).toBe(false);
  expect(troubles.failed("a", "PRIVILEGE_MISSING", 2_000, 0)).toBe(true);
});

test("a lost connection is no table's fault", () => {
  expect(TableTroubles.isOfConnection(new TailraceError("DATABASE_UNREACHABLE", { address: "db", reason: "gone" }))).toBe(true);
  expect(TableTroubles.isOfConnection(new TailraceError("TABLE_MISSING", { table: "a" }))).toBe(false);
});
