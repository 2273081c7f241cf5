// R-version: what a view of a table's present version has, and when it is made anew. What somebody else has made is never touched.
import { describe, expect, test } from "vitest";
import { decideView, isOurs, viewDdl, type ViewFacts } from "../../../src/warehouses/version-view.ts";

const named = (name: string) => ({ schema: "raw", name });
const view = { view: named("orders_latest"), first: named("orders"), target: named("orders_v2") };
const id = { name: "id", type: "bigint" };
const note = { name: "note", type: "text" };
const seq = { name: "_tailrace_seq", type: "text" };
const facts = (parts: Partial<ViewFacts>): ViewFacts => ({ first: [id, note, seq], target: [id, note, seq], found: null, ...parts });

function made(parts: Partial<ViewFacts>) {
  const decision = decideView(view, facts(parts));
  if (decision.kind !== "make") throw new Error(`it is not made: ${JSON.stringify(decision)}`);
  return decision;
}

describe("R-version: the view", () => {
  test("has the columns of the first target, in their order, that the present one has in the same type", () => {
    const target = [{ name: "note", type: "text" }, { name: "total", type: "text" }, seq, id];
    const decision = made({ first: [id, { name: "total", type: "numeric(10,2)" }, note, seq], target });
    expect(viewDdl(view, decision, "w.")).toEqual([
      'CREATE OR REPLACE VIEW w."raw"."orders_latest" AS SELECT "id", "note", "_tailrace_seq" FROM "raw"."orders_v2"',
      `COMMENT ON VIEW w."raw"."orders_latest" IS '${decision.comment}'`,
    ]);
    expect(isOurs(decision.comment)).toBe(true);
  });

  test("stands when it is there as it should be, whatever order the catalogue gives its words in", () => {
    const { comment } = made({});
    const found = { columns: [id, note, seq], isView: true, comment };
    expect(decideView(view, facts({ found }))).toEqual({ kind: "stands" });
  });

  test("is replaced where its columns are the same, and dropped first where they are others", () => {
    const { comment } = made({});
    const before = { isView: true, comment: comment.replace("orders_v2", "orders_v1") };
    expect(made({ found: { ...before, columns: [id, note, seq] } })).toMatchObject({ replaces: true, drops: false });
    const other = made({ found: { ...before, columns: [id, seq] } });
    expect(other).toMatchObject({ replaces: false, drops: true });
    expect(viewDdl(view, other)[0]).toBe('DROP VIEW "raw"."orders_latest"');
  });

  test.each([
    ["a table", { columns: [id], isView: false, comment: null }],
    ["somebody's view", { columns: [id], isView: true, comment: null }],
    ["somebody's view with words of theirs", { columns: [id], isView: true, comment: "made by hand" }],
  ])("is not made where %s has its name", (_, found) => {
    expect(decideView(view, facts({ found }))).toEqual({ kind: "none", reason: "no view raw.orders_latest: something else has that name" });
  });

  test.each([
    ["no column of the table's is the same", { target: [{ name: "id", type: "text" }, seq] }, "raw.orders_v2 has no column of the same"],
    ["the present target is not there", { target: [] }, "raw.orders_v2 is not there"],
  ])("is not made when %s", (_, parts, reason) => {
    expect(decideView(view, facts(parts))).toMatchObject({ kind: "none", reason: expect.stringContaining(reason) as string });
  });

  test("has the metadata columns of the present target alone: of soft deletes the mark, whatever they were before", () => {
    const deleted = { name: "_tailrace_deleted", type: "boolean" };
    expect(made({ target: [id, note, seq, deleted] }).query).toContain('SELECT "id", "note", "_tailrace_seq", "_tailrace_deleted" FROM');
    expect(made({ first: [id, deleted, note, seq] }).query).toContain('SELECT "id", "note", "_tailrace_seq" FROM');
  });

  test("keeps its columns when somebody drops the first target, and has all of them when it has none yet", () => {
    const before = made({ first: [note, seq] });
    const kept = made({ first: [], found: { columns: [note, seq], isView: true, comment: before.comment } });
    expect(kept).toMatchObject({ query: before.query, replaces: true, comment: expect.stringContaining("raw.orders is gone") as string });
    expect(decideView(view, facts({ first: [], found: { columns: [note, seq], isView: true, comment: kept.comment } }))).toEqual({
      kind: "stands",
    });
    expect(made({ first: [] }).query).toContain('SELECT "id", "note", "_tailrace_seq" FROM');
  });
});
