// A table of generated pairs and chains of schemas: the embedded registry's verdicts beside those of a real Apicurio.
import { expect, test } from "vitest";
import { compatibilityLevels, type Compatibility } from "../../src/core/schema-registry.ts";
import { describeWithRegistry, registry, uniqueName } from "../support/servers.ts";
import { differences, nameOf, ourOutcome, type DifferenceName, type Outcome } from "../unit/registry/differences.ts";
import { generatedChain, generatedPair } from "../unit/registry/generated-pairs.ts";
import { serveRegistry } from "../unit/registry/open-registry.ts";

const PAIRS = 1200;
const PAIRS_A_TEST = 100;
const CHAINS = 30;

async function send(method: string, url: string, body: object): Promise<{ readonly status: number; readonly body: unknown }> {
  const headers = { "content-type": "application/vnd.schemaregistry.v1+json" };
  const response = await fetch(url, { method, headers, body: JSON.stringify(body) });
  return { status: response.status, body: JSON.parse(await response.text()) };
}

function outcomeOf({ status, body }: Awaited<ReturnType<typeof send>>): Outcome {
  if (status === 409) return "incompatible";
  if (status === 422) return "invalid";
  if (status !== 200) return "fails";
  return (body as { is_compatible?: boolean }).is_compatible === false ? "incompatible" : "compatible";
}

/** Registers `before` in a subject of its own, and asks about `after` at each level. */
async function asked(url: string, before: string, after: string, levels: readonly Compatibility[]): Promise<readonly Outcome[]> {
  const subject = uniqueName("generated");
  const first = await send("POST", `${url}/subjects/${subject}/versions`, { schema: before });
  if (first.status !== 200) return levels.map(() => outcomeOf(first));
  const outcomes: Outcome[] = [];
  for (const compatibility of levels) {
    await send("PUT", `${url}/config/${subject}`, { compatibility });
    outcomes.push(outcomeOf(await send("POST", `${url}/compatibility/subjects/${subject}/versions/1`, { schema: after })));
  }
  return outcomes;
}

/** Registers the earlier versions unchecked in a subject of its own, and the next one at the level. */
async function registered(url: string, earlier: readonly string[], next: string, compatibility: Compatibility): Promise<Outcome> {
  const subject = uniqueName("chain");
  await send("PUT", `${url}/config/${subject}`, { compatibility: "NONE" });
  for (const schema of earlier)
    expect(await send("POST", `${url}/subjects/${subject}/versions`, { schema })).toMatchObject({ status: 200 });
  await send("PUT", `${url}/config/${subject}`, { compatibility });
  return outcomeOf(await send("POST", `${url}/subjects/${subject}/versions`, { schema: next }));
}

describeWithRegistry("generated schemas", () => {
  const named = new Set<DifferenceName>();
  const levels = ["BACKWARD", "FORWARD", "FULL"] as const;

  for (let from = 0; from < PAIRS; from += PAIRS_A_TEST)
    test(`pairs ${from} to ${from + PAIRS_A_TEST - 1}: ours and Apicurio's verdicts differ by named differences only`, async () => {
      const { url } = await registry();
      const unnamed: unknown[] = [];
      for (let seed = from; seed < from + PAIRS_A_TEST; seed++) {
        const { title, before, after } = generatedPair(seed);
        const theirs = await asked(url, before, after, levels);
        for (const [index, level] of levels.entries()) {
          const ours = ourOutcome(level, after, [before]);
          const their = theirs[index] ?? "fails";
          if (ours.outcome === their) continue;
          const name = nameOf(ours, their, [before, after]);
          if (name === undefined) unnamed.push({ title, level, before, after, ours: ours.outcome, their });
          else named.add(name);
        }
      }
      expect(unnamed).toEqual([]);
    });

  test("each named difference was seen", () => {
    expect([...named].toSorted()).toEqual(Object.keys(differences).toSorted());
  });

  for (const level of compatibilityLevels)
    test(`${level}: of the fourth of ${CHAINS} chains of versions, registered over HTTP, both say the same but for R-logical`, async () => {
      const { url } = await registry();
      await using served = await serveRegistry();
      const outcomes = new Map<Outcome, number>();
      for (let seed = 0; seed < CHAINS; seed++) {
        const chain = generatedChain(seed, 4);
        const [earlier, next] = [chain.slice(0, -1), chain.at(-1) ?? ""];
        const ours = await registered(served.url, earlier, next, level);
        const theirs = await registered(url, earlier, next, level);
        const { outcome, logical } = ourOutcome(level, next, earlier);
        expect([ours, theirs], JSON.stringify(chain)).toEqual([outcome, logical ? "compatible" : outcome]);
        outcomes.set(ours, (outcomes.get(ours) ?? 0) + 1);
      }
      expect([...outcomes.keys()].toSorted()).toEqual(level === "NONE" ? ["compatible"] : ["compatible", "incompatible"]);
    });
});
