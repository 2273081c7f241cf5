// The model must be able to fail: without any one of the rules it finds a history that ends with a wrong target.
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { modulesOf, mutants, rulesOf, type Mutant } from "./snapshot-model-mutants.ts";
import { allRules } from "./snapshot-model-rules.ts";
import { histories, run } from "./snapshot-model.ts";

/** Most are found within a few thousand. */
const RUNS = 100_000;
/** Tried with what must not fail. */
const HARMLESS_RUNS = 5_000;
/** The same histories every time: that a mutant survives is no matter of luck. */
const SEED = 8;
const LIMIT_MS = 300_000;

function survives(mutant: Mutant, runs: number): boolean {
  const [modules, rules] = [modulesOf(mutant), rulesOf(mutant)];
  const examples = mutant.history === undefined ? [] : ([[mutant.history]] as [typeof mutant.history][]);
  const property = fc.property(histories, (history) => run(history, modules, rules));
  return !fc.check(property, { numRuns: runs, seed: SEED, examples, endOnFailure: true }).failed;
}

test("with every rule in its place, the modules loaded as mutants are do hold", () => {
  expect(survives({ rule: "none", without: "nothing", rules: allRules }, HARMLESS_RUNS)).toBe(true);
}, 60_000);

describe("a history is found that goes wrong", () => {
  for (const mutant of mutants.filter(({ harmless }) => harmless === undefined))
    test(`${mutant.rule}: without ${mutant.without}`, () => expect(survives(mutant, RUNS)).toBe(false), LIMIT_MS);
});

describe("no history goes wrong", () => {
  for (const mutant of mutants.filter(({ harmless }) => harmless !== undefined))
    test(
      `${mutant.rule}: without ${mutant.without}, for ${mutant.harmless ?? ""}`,
      () => expect(survives(mutant, HARMLESS_RUNS)).toBe(true),
      LIMIT_MS,
    );
});
