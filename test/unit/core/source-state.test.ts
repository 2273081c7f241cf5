import { describe, expect, test } from "vitest";
import { parseLsn } from "../../../src/core/lsn.ts";
import { mergeStates, type SourceState } from "../../../src/core/source-state.ts";

const state: SourceState = {
  generation: 1,
  number: 1,
  epoch: 1,
  systemId: "7",
  timeline: 1,
  slot: "s",
  phase: "streaming",
  options: "",
  publication: "",
  acknowledged: parseLsn("0/10"),
  published: parseLsn("0/8"),
  topics: [],
};

describe("R-epoch: the state that counts", () => {
  test("is none when there is none", () => {
    expect(mergeStates([])).toBeNull();
  });

  test("is the newest generation's last record, in whatever order the records stand", () => {
    const older = { ...state, number: 5, slot: "old" };
    const newer = { ...state, generation: 2, number: 1, slot: "new" };
    expect(mergeStates([newer, older])).toMatchObject({ generation: 2, slot: "new" });
    expect(mergeStates([older, newer])).toMatchObject({ generation: 2, slot: "new" });
  });

  test("keeps what a dead process acknowledged after its successor had read the state", () => {
    const successor = { ...state, generation: 2, acknowledged: parseLsn("0/10") };
    const late = { ...state, number: 2, acknowledged: parseLsn("0/20"), published: parseLsn("0/18") };
    expect(mergeStates([successor, late])).toMatchObject({ generation: 2, acknowledged: parseLsn("0/20"), published: parseLsn("0/18") });
  });

  test("a late record of an earlier epoch turns neither epoch nor LSNs", () => {
    const next = { ...state, generation: 2, epoch: 2, acknowledged: parseLsn("0/5"), published: parseLsn("0/4") };
    const late = { ...state, number: 2, acknowledged: parseLsn("0/90") };
    expect(mergeStates([next, late])).toMatchObject({ epoch: 2, acknowledged: parseLsn("0/5"), published: parseLsn("0/4") });
  });
});
