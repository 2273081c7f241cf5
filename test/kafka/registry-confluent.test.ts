import { SchemaRegistry, SchemaType } from "@kafkajs/confluent-schema-registry";
import { expect, test } from "vitest";
import { openConfluentRegistry } from "../../src/registry/confluent.ts";
import { startRegistry } from "../support/registry.ts";
import { describeWithRegistry, registry, uniqueName } from "../support/servers.ts";
import { rowSchema } from "../unit/registry/open-registry.ts";

const signal = new AbortController().signal;

/** GET /config/SUBJECT of a registry, or the status when there is none. */
async function levelOf(url: string, subject: string): Promise<unknown> {
  const response = await fetch(`${url}/config/${subject}`);
  return response.ok ? ((await response.json()) as { compatibilityLevel: string }).compatibilityLevel : response.status;
}

/** `subject` null: the registry's. */
async function setLevel(url: string, subject: string | null, compatibility: string | null): Promise<void> {
  const headers = { "content-type": "application/json" };
  const response = await fetch(
    `${url}/config${subject === null ? "" : `/${subject}`}`,
    compatibility === null ? { method: "DELETE" } : { method: "PUT", headers, body: JSON.stringify({ compatibility }) },
  );
  if (!response.ok) throw new Error(await response.text());
}

describeWithRegistry("Apicurio", () => {
  test("registers a schema once, and gives its text back", async () => {
    const { url } = await registry();
    const subject = `${uniqueName("shop")}.public.orders-value`;
    const client = openConfluentRegistry({ url: () => url });
    const id = await client.register(subject, rowSchema("int"), signal);
    expect(await client.register(subject, rowSchema("int"), signal)).toBe(id);
    expect(await openConfluentRegistry({ url: () => url }).schema(id, signal)).toBe(rowSchema("int"));
  });

  test("a trial says what a registration would come to, and registers nothing", async () => {
    const { url } = await registry();
    const subject = uniqueName("trial");
    const client = openConfluentRegistry({ url: () => url, compatibility: "BACKWARD" });
    expect(await client.tryOut(subject, rowSchema("long"), signal)).toEqual({ verdict: "first" });
    await client.register(subject, rowSchema("long"), signal);
    expect(await client.tryOut(subject, rowSchema("long"), signal)).toEqual({ verdict: "known" });
    expect(await client.tryOut(subject, rowSchema("double"), signal)).toEqual({ verdict: "fits" });
    const reason = expect.stringMatching(/./) as string;
    const timestamp = rowSchema({ type: "long", logicalType: "timestamp-micros" });
    for (const refused of [rowSchema("string"), timestamp, "no schema"])
      expect(await client.tryOut(subject, refused, signal), refused).toEqual({ verdict: "refused", reason });
    const versions = await fetch(`${url}/subjects/${subject}/versions`);
    expect(await versions.json()).toEqual([1]);
  });

  for (const whose of ["subject's", "registry's"])
    test(`a trial at a _TRANSITIVE level, the ${whose}, asks each version: what a registration would come to`, async () => {
      await using own = whose === "registry's" ? await startRegistry() : null;
      const { url } = own ?? (await registry());
      const subject = uniqueName("transitive");
      const record = (...fields: readonly object[]): string => JSON.stringify({ type: "record", name: "Row", fields });
      const [id, b] = [
        { name: "id", type: "int" },
        { name: "b", type: "string" },
      ] as const;
      const versions = [record(id), record(id, { ...b, default: "" })];
      const next = record(id, b); // reads the latest, and not the one before
      const client = openConfluentRegistry({ url: () => url });
      for (const version of versions) await client.register(subject, version, signal);
      const levelIs = (level: string): Promise<void> => setLevel(url, whose === "subject's" ? subject : null, level);
      await levelIs("BACKWARD");
      expect(await client.tryOut(subject, next, signal)).toEqual({ verdict: "fits" });
      await levelIs("BACKWARD_TRANSITIVE");
      const refused = { verdict: "refused", reason: expect.stringMatching(/^after version 1: ./) as string };
      expect(await client.tryOut(subject, next, signal)).toEqual(refused);
      expect(await client.tryOut(subject, record(id, { ...b, default: "" }, { ...b, name: "c", default: "" }), signal)).toEqual({
        verdict: "fits",
      });
      expect(await client.tryOut(uniqueName("transitive"), next, signal)).toEqual({ verdict: "first" });
      await expect(client.register(subject, next, signal)).rejects.toMatchObject({ code: "REGISTRY_REFUSED" });
      await levelIs("BACKWARD");
      await expect(client.register(subject, next, signal)).resolves.toBeGreaterThan(0);
    });

  test("our registration leaves the subject's config alone, where the client library's writes BACKWARD into it", async () => {
    const { url } = await registry();
    const [ours, theirs] = [uniqueName("ours"), uniqueName("theirs")];
    await openConfluentRegistry({ url: () => url }).register(ours, rowSchema("int"), signal);
    await new SchemaRegistry({ host: url }).register({ type: SchemaType.AVRO, schema: rowSchema("int") }, { subject: theirs });
    expect(await levelOf(url, ours)).toBe("NONE");
    expect(await levelOf(url, theirs)).toBe("BACKWARD");
  });

  test("the client library refuses to register in a subject of another level, ours does not mind", async () => {
    const { url } = await registry();
    const subject = uniqueName("full");
    await setLevel(url, subject, "FULL");
    await openConfluentRegistry({ url: () => url }).register(subject, rowSchema("int"), signal);
    const theirs = new SchemaRegistry({ host: url }).register({ type: SchemaType.AVRO, schema: rowSchema("int") }, { subject });
    await expect(theirs).rejects.toThrow("Compatibility does not match the configuration");
  });

  test("enforces nothing until a level is set: a configured one is, before the subject exists", async () => {
    const { url } = await registry();
    const [free, held] = [uniqueName("free"), uniqueName("held")];
    const client = openConfluentRegistry({ url: () => url });
    await client.register(free, rowSchema("long"), signal);
    await expect(client.register(free, rowSchema("int"), signal)).resolves.toBeGreaterThan(0);
    const configured = openConfluentRegistry({ url: () => url, compatibility: "BACKWARD" });
    await configured.register(held, rowSchema("long"), signal);
    expect(await levelOf(url, held)).toBe("BACKWARD");
    await expect(configured.register(held, rowSchema("int"), signal)).rejects.toMatchObject({
      code: "REGISTRY_REFUSED",
      message: expect.stringContaining("INT not compatible with writer type: LONG"),
    });
  });

  test("a subject whose level was deleted takes anything; the next process that is configured sets it again", async () => {
    const { url } = await registry();
    const subject = uniqueName("reset");
    await openConfluentRegistry({ url: () => url, compatibility: "BACKWARD" }).register(subject, rowSchema("long"), signal);
    await setLevel(url, subject, null);
    expect(await levelOf(url, subject)).toBe("NONE");
    const again = openConfluentRegistry({ url: () => url, compatibility: "BACKWARD" }).register(subject, rowSchema("int"), signal);
    await expect(again).rejects.toMatchObject({ code: "REGISTRY_REFUSED" });
  });

  test("R-logical: it takes another decimal scale at BACKWARD, our client does not", async () => {
    const { url } = await registry();
    const subject = uniqueName("decimal");
    const decimal = (scale: number): string => rowSchema({ type: "bytes", logicalType: "decimal", precision: 10, scale });
    const client = openConfluentRegistry({ url: () => url, compatibility: "BACKWARD" });
    await client.register(subject, decimal(2), signal);
    await expect(client.register(subject, decimal(4), signal)).rejects.toThrow(
      "the logical type changed from decimal(10,2) to decimal(10,4)",
    );
    const direct = await fetch(`${url}/subjects/${subject}/versions`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ schema: decimal(4) }),
    });
    expect(direct.status).toBe(200);
  });

  test("R-park: a subject that takes anything does so, new or known, whatever level it had", async () => {
    const { url } = await registry();
    const client = openConfluentRegistry({ url: () => url, compatibility: "FULL" });
    for (const subject of [uniqueName("parked"), uniqueName("parked")])
      for (const type of ["int", "string", { type: "long", logicalType: "timestamp-micros" }, "long"])
        expect(await client.register(subject, rowSchema(type), signal, "anything")).toBeGreaterThan(0);
    const held = uniqueName("held");
    await setLevel(url, held, "FULL");
    expect(await openConfluentRegistry({ url: () => url }).register(held, rowSchema("int"), signal, "anything")).toBeGreaterThan(0);
    expect(await openConfluentRegistry({ url: () => url }).register(held, rowSchema("string"), signal, "anything")).toBeGreaterThan(0);
  });

  test("a subject that was deleted takes another schema, and the ids of before are still read", async () => {
    const { url } = await registry();
    const subject = uniqueName("deleted");
    const client = openConfluentRegistry({ url: () => url, compatibility: "BACKWARD" });
    const id = await client.register(subject, rowSchema("long"), signal);
    await expect(client.register(subject, rowSchema("string"), signal)).rejects.toMatchObject({ code: "REGISTRY_REFUSED" });
    expect((await fetch(`${url}/subjects/${subject}`, { method: "DELETE" })).status).toBe(200);
    expect(await client.latest(subject, signal)).toBeNull();
    const next = await client.register(subject, rowSchema("string"), signal);
    expect(next).not.toBe(id);
    expect(await client.latest(subject, signal)).toBe(rowSchema("string"));
    expect(await levelOf(url, subject)).toBe("BACKWARD"); // which had gone with the versions
    expect(await openConfluentRegistry({ url: () => url }).schema(id, signal)).toBe(rowSchema("long"));
    expect(await client.register(subject, rowSchema("long"), signal, "past")).toBe(id);
  });

  test("a text that is no schema is refused, an id that it does not have is unknown", async () => {
    const { url } = await registry();
    const client = openConfluentRegistry({ url: () => url });
    await expect(client.register(uniqueName("broken"), '{"type":"recor', signal)).rejects.toMatchObject({ code: "REGISTRY_REFUSED" });
    await expect(client.schema(99_999_999, signal)).rejects.toMatchObject({ code: "SCHEMA_UNKNOWN" });
  });

  test("a URL without its path is named as such", async () => {
    const { origin } = new URL((await registry()).url);
    await expect(openConfluentRegistry({ url: () => origin }).register("a", rowSchema("int"), signal)).rejects.toMatchObject({
      code: "REGISTRY_UNREACHABLE",
      message: expect.stringMatching(/HTTP 40\d|path of registry.url/),
    });
  });
});
