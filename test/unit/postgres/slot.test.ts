// R-slot: what a slot may be used for, decided from plain values.
import { describe, expect, test } from "vitest";
import { parseLsn } from "../../../src/core/lsn.ts";
import { judgeSlot, slotError, type Slot } from "../../../src/postgres/slot.ts";

const confirmed = parseLsn("0/500");
const good: Slot = {
  name: "s",
  type: "logical",
  plugin: "pgoutput",
  database: "shop",
  temporary: false,
  activePid: null,
  application: "",
  restartLsn: parseLsn("0/400"),
  confirmedFlushLsn: confirmed,
  walStatus: "reserved",
  invalidationReason: null,
  safeWalBytes: null,
  twoPhase: false,
  failover: true,
  retainedWalBytes: 0,
};
const expected = { database: "shop", recorded: confirmed };

describe("R-slot", () => {
  test("a slot that stands where it was recorded, or behind, is usable", () => {
    expect(judgeSlot(good, expected)).toEqual({ kind: "usable", confirmed });
    expect(judgeSlot({ ...good, confirmedFlushLsn: parseLsn("0/4FF") }, expected).kind).toBe("usable");
    expect(judgeSlot({ ...good, walStatus: "unreserved" }, expected).kind).toBe("usable");
    expect(judgeSlot(good, { ...expected, recorded: null }).kind).toBe("usable");
  });

  test("one byte beyond what was recorded is a gap", () => {
    expect(judgeSlot({ ...good, confirmedFlushLsn: parseLsn("0/501") }, expected)).toEqual({
      kind: "ahead",
      confirmed: parseLsn("0/501"),
      recorded: confirmed,
    });
  });

  test.for([
    ["a missing slot", null, "missing", "SLOT_MISSING"],
    ["a physical slot", { ...good, type: "physical", plugin: null, database: null }, "foreign", "SLOT_FOREIGN"],
    ["another plugin's slot", { ...good, plugin: "test_decoding" }, "foreign", "SLOT_FOREIGN"],
    ["another database's slot", { ...good, database: "other" }, "foreign", "SLOT_FOREIGN"],
    ["a two-phase slot", { ...good, twoPhase: true }, "foreign", "SLOT_FOREIGN"],
    ["a slot in use", { ...good, activePid: 42, application: "psql" }, "active", "SLOT_ACTIVE"],
    ["a slot without WAL", { ...good, walStatus: "lost" }, "lost", "SLOT_LOST"],
    ["a slot that keeps nothing", { ...good, restartLsn: null }, "lost", "SLOT_LOST"],
    ["an invalidated slot", { ...good, invalidationReason: "rows_removed" }, "lost", "SLOT_LOST"],
    ["a slot that somebody moved", { ...good, confirmedFlushLsn: parseLsn("1/0") }, "ahead", "SLOT_AHEAD"],
  ] as [string, Slot | null, string, string][])("%s", ([, slot, kind, code]) => {
    const verdict = judgeSlot(slot, expected);
    expect(verdict.kind).toBe(kind);
    expect(slotError("s", verdict, expected)?.code).toBe(code);
  });

  test("a slot in use is not judged for being ahead: its reader's last record is not read yet", () => {
    expect(judgeSlot({ ...good, activePid: 42, confirmedFlushLsn: parseLsn("1/0") }, expected).kind).toBe("active");
  });

  test("a usable slot has no error", () => expect(slotError("s", judgeSlot(good, expected), expected)).toBeNull());
});
