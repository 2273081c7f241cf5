import { expect, test } from "vitest";
import { describeWithRegistry, registry, uniqueName } from "../support/servers.ts";
import { schemaPairs, schemaText, type SchemaPair, type Verdict } from "../unit/registry/schema-pairs.ts";

/** Apicurio's word on the pair, in a subject of its own that is held to BACKWARD. */
async function apicurioVerdict(url: string, { before, after, title }: SchemaPair): Promise<Verdict> {
  const subject = `${url}/subjects/${uniqueName("pair")}-value/versions`;
  const send = (method: string, address: string, body: object) =>
    fetch(address, { method, headers: { "content-type": "application/vnd.schemaregistry.v1+json" }, body: JSON.stringify(body) });
  const first = await send("POST", subject, { schema: schemaText(before) });
  if (!first.ok) throw new Error(`${title}: the earlier schema gets ${first.status} ${await first.text()}`);
  await send("PUT", subject.replace("/subjects/", "/config/").replace("/versions", ""), { compatibility: "BACKWARD" });
  const second = await send("POST", subject, { schema: schemaText(after) });
  if (second.ok) return "compatible";
  if (second.status === 409) return "incompatible";
  if (second.status === 422) return "invalid";
  throw new Error(`${title}: the later schema gets ${second.status} ${await second.text()}`);
}

describeWithRegistry("the embedded registry's verdicts beside Apicurio's", () => {
  for (const pair of schemaPairs) {
    const expected = pair.apicurio ?? pair.ours;
    const difference = pair.why === undefined ? "" : `, ours ${pair.ours} (${pair.why})`;
    test.concurrent(`${pair.title}: ${expected}${difference}`, async () => {
      expect(await apicurioVerdict((await registry()).url, pair)).toBe(expected);
    });
  }
});
