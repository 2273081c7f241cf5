// A table of generated pairs and chains of schemas: the embedded registry's verdicts beside those of a real Apicurio.
import { expect, test } from "vitest";
import { compatibilityLevels, type Compatibility, type TrialVerdict } from "../../src/core/schema-registry.ts";
import { parseSchema } from "../../src/registry/avro-schema.ts";
import { logicalChanges } from "../../src/registry/compatibility.ts";
import { openConfluentRegistry } from "../../src/registry/confluent.ts";
import { describeWithRegistry, registry, uniqueName } from "../support/servers.ts";
import { differences, nameOf, ourOutcome, type DifferenceName, type Outcome } from "../unit/registry/differences.ts";
import { generatedChain, generatedPair } from "../unit/registry/generated-pairs.ts";
import { serveRegistry } from "../unit/registry/open-registry.ts";

const PAIRS = 1200;
const PAIRS_A_TEST = 100;
const CHAINS = 90;

const { signal } = new AbortController();

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

/** Registers the earlier versions unchecked in a subject of its own, and the next one at the level. `tried`: what our client expects of that. */
async function registered(
  url: string,
  earlier: readonly string[],
  next: string,
  compatibility: Compatibility,
): Promise<{ readonly outcome: Outcome; readonly tried: TrialVerdict["verdict"] }> {
  const subject = uniqueName("chain");
  await send("PUT", `${url}/config/${subject}`, { compatibility: "NONE" });
  for (const schema of earlier) {
    const outcome = outcomeOf(await send("POST", `${url}/subjects/${subject}/versions`, { schema }));
    if (outcome !== "compatible") return { outcome, tried: "refused" };
  }
  await send("PUT", `${url}/config/${subject}`, { compatibility });
  const { verdict: tried } = await openConfluentRegistry({ url: () => url }).tryOut(subject, next, signal);
  return { outcome: outcomeOf(await send("POST", `${url}/subjects/${subject}/versions`, { schema: next })), tried };
}

/** R-logical, which our client asks of the latest version at each level. */
function changesMeaning(earlier: readonly string[], next: string): boolean {
  return logicalChanges(parseSchema(next).type, parseSchema(earlier.at(-1) ?? "").type).length > 0;
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
    test(`${level}: of the fourth of ${CHAINS} chains of versions, registered over HTTP, both say the same but for R-logical, and what our client's trial says of each`, async () => {
      const { url } = await registry();
      await using served = await serveRegistry();
      const outcomes = new Map<Outcome, number>();
      let failed = 0;
      for (let seed = 0; seed < CHAINS; seed++) {
        const chain = generatedChain(seed, 4);
        const [earlier, next] = [chain.slice(0, -1), chain.at(-1) ?? ""];
        const ours = await registered(served.url, earlier, next, level);
        const theirs = await registered(url, earlier, next, level);
        const { outcome, logical } = ourOutcome(level, next, earlier);
        expect(ours.outcome, JSON.stringify(chain)).toBe(outcome);
        if (theirs.outcome === "fails") {
          expect(nameOf({ outcome, logical }, "fails", chain), JSON.stringify(chain)).toBeDefined();
          failed += 1;
          continue;
        }
        expect(theirs.outcome, JSON.stringify(chain)).toBe(logical ? "compatible" : outcome);
        for (const each of [ours, theirs]) {
          const expected = each.outcome === "compatible" && !changesMeaning(earlier, next) ? "fits" : "refused";
          expect(each.tried, JSON.stringify(chain)).toBe(expected);
        }
        outcomes.set(ours.outcome, (outcomes.get(ours.outcome) ?? 0) + 1);
      }
      expect(failed).toBeLessThan(CHAINS / 10);
      expect([...outcomes.keys()].toSorted()).toEqual(level === "NONE" ? ["compatible"] : ["compatible", "incompatible"]);
    });
});
