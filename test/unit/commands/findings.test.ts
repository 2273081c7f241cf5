import { expect, test } from "vitest";
import { look, problem, render, type Finding } from "../../../src/commands/findings.ts";
import { TailraceError } from "../../../src/core/errors.ts";

const gone = new TailraceError("TABLE_MISSING", { table: "public.orders" });

async function findingsOf(run: Parameters<typeof look>[2]): Promise<readonly Finding[]> {
  const findings: Finding[] = [];
  await look("source shop", (finding) => void findings.push(finding), run);
  return findings;
}

test("what a look returns is said as good, beside notes and warnings", async () => {
  const findings = await findingsOf(async (_, tell) => {
    tell({ of: "source shop", kind: "warning", message: "mind the gap" });
    return "two tables";
  });
  expect(findings.map(({ kind, message }) => [kind, message])).toEqual([
    ["warning", "mind the gap"],
    ["ok", "two tables"],
  ]);
});

test("a look that has found a problem is not called good", async () => {
  const findings = await findingsOf(async (_, tell) => {
    tell(problem("source shop", gone));
    return "two tables";
  });
  expect(findings.map(({ kind, code }) => [kind, code])).toEqual([["problem", "TABLE_MISSING"]]);
});

test("a look that throws is a problem with the error's code and fix; only what does not answer is silent", async () => {
  const [missing] = await findingsOf(() => Promise.reject(gone));
  expect(missing).toMatchObject({ kind: "problem", code: "TABLE_MISSING", fix: gone.remedy, silent: false });
  const locked = new TailraceError("WAREHOUSE_LOCKED", { path: "lake.duckdb", holder: "" });
  expect(await findingsOf(() => Promise.reject(locked))).toMatchObject([{ kind: "problem", silent: true }]);
});

test("a finding for a person is a line that begins with how good it is, and a line with its fix", () => {
  expect(render(problem("source shop", gone))).toBe(
    "FAIL source shop: table public.orders does not exist [TABLE_MISSING]\n     fix: create it, or take it out of the source's tables\n",
  );
  expect(render({ of: "log", kind: "warning", message: "mind the gap" })).toBe("warn log: mind the gap\n");
});
