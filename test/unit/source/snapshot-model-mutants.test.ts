import fc from "fast-check";
import { expect, test } from "vitest";
import { modulesOf, mutants, rulesOf } from "./snapshot-model-mutants.ts";
import { histories, run } from "./snapshot-model.ts";

const RUNS = Number(process.env.TEST_MUTANT_HISTORIES ?? 20_000);
for (const mutant of mutants)
  test(`${mutant.rule} without ${mutant.without}`, () => {
    const modules = modulesOf(mutant);
    const rules = rulesOf(mutant);
    const t = performance.now();
    const result = fc.check(
      fc.property(histories(200), (history) => {
        run(history, modules, rules);
      }),
      { numRuns: RUNS, endOnFailure: true },
    );
    console.log(
      mutant.rule,
      mutant.without,
      result.failed,
      result.numRuns,
      Math.round(performance.now() - t),
      (result.errorInstance as Error | undefined)?.message,
    );
    expect(result.failed).toBe(true);
  }, 600_000);
