// Every example that a reader may copy is a configuration that loads, and the JSON schema that editors use is the current one.

import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { format, resolveConfig } from "prettier";
import { describe, expect, test } from "vitest";

import { parseConfig } from "../../../src/config/load.ts";
import { ConfigError } from "../../../src/config/issue.ts";
import { connectorJsonSchema } from "../../../src/config/json-schema.ts";

const root = fileURLToPath(new URL("../../../", import.meta.url));
const SCHEMA = join(root, "connectors/connector.schema.json");

/** What the reader of an example has: each variable set to something that fits its name, each file there. */
const env = new Proxy<Record<string, string>>({}, { get: (_, name) => sample(String(name)) });
function sample(name: string): string {
  if (name.includes("REGISTRY_URL")) return "http://registry:8081";
  if (name.includes("BROKER")) return "b1:9092,b2:9092";
  if (name === "TAILRACE_HTTP_LISTEN") return "127.0.0.1:0";
  return name.endsWith("URL") ? "postgres://user:password@host:5432/database" : "sample";
}

describe("folders to copy", () => {
  const connectors = readdirSync(join(root, "connectors"), { withFileTypes: true }).filter((entry) => entry.isDirectory());

  test.each([...connectors.map(({ name }) => `connectors/${name}`), "deploy/tailrace"])("%s loads, and names the schema", (name) => {
    const dir = join(root, name);
    const files = readdirSync(dir)
      .filter((file) => /\.ya?ml$/.test(file))
      .map((file) => ({ name: file, text: readFileSync(join(dir, file), "utf8") }));
    const config = parseConfig(files, { dir, env, readFile: () => "sample" });
    expect(config.sources.length).toBeGreaterThan(0);
    expect(config.sinks.length).toBeGreaterThan(0);
    for (const { text } of files) {
      const schema = /^# yaml-language-server: \$schema=(.+)$/m.exec(text)?.[1] ?? "none";
      expect(join(dir, schema)).toBe(SCHEMA);
    }
  });
});

describe("connector.schema.json", () => {
  test("is what the schemas say", async () => {
    const generated = await format(JSON.stringify(connectorJsonSchema()), { ...(await resolveConfig(SCHEMA)), parser: "json" });
    await expect(generated, "out of date; to write it again: npx vitest run test/unit/config/examples.test.ts -u").toMatchFileSnapshot(
      SCHEMA,
    );
  });

  test("has no key of a later version", () => {
    const text = JSON.stringify(connectorJsonSchema());
    const later = ["token", "retention", "columns", "mask", "wal_budget", "contract", "delivery", "scd2", "append"];
    expect(later.filter((key) => text.includes(`"${key}"`))).toEqual([]);
  });

  test("takes a reference wherever a value is narrower than a text", () => {
    const [service, source] = (
      connectorJsonSchema() as { oneOf: { properties: Record<string, { properties: Record<string, unknown> }> }[] }
    ).oneOf;
    expect(source?.properties.topics?.properties.partitions).toMatchObject({
      default: 4,
      anyOf: [{ type: "integer" }, { pattern: "\\$\\{" }],
    });
    expect(service?.properties.kind).toEqual({ type: "string", const: "service" });
  });
});

describe("documents", () => {
  // design.md, section 5, shows the full design, with the features of later versions.
  const NOT_THIS_VERSION = new Set(["docs/design.md"]);
  // A block may show one document of several: what others would add is not missed.
  const OTHERS = new Set(["no_source", "no_such_source", "needs_registry"]);

  const pages = ["README.md", ...markdownUnder("docs")].filter((page) => existsSync(join(root, page)) && !NOT_THIS_VERSION.has(page));
  const blocks = pages.flatMap((page) => {
    const text = readFileSync(join(root, page), "utf8");
    return [...text.matchAll(/^( *)```ya?ml\n(.*?)^\1```$/gms)].flatMap((match) => {
      const yaml = (match[2] ?? "").replaceAll(new RegExp(`^${match[1] ?? ""}`, "gm"), "");
      const line = text.slice(0, match.index).split("\n").length + 1;
      return /^kind:/m.test(yaml) ? [{ name: `${page}:${line}`, yaml }] : [];
    });
  });

  test("the reference has examples", () => {
    expect(blocks.some(({ name }) => name.startsWith("docs/configuration.md"))).toBe(true);
  });

  test.each(blocks)("$name loads", ({ name, yaml }) => {
    try {
      parseConfig([{ name, text: yaml }], { dir: root, env, readFile: () => "sample" });
    } catch (thrown) {
      if (!(thrown instanceof ConfigError)) throw thrown;
      expect(thrown.issues.filter((issue) => !OTHERS.has(issue.code))).toEqual([]);
    }
  });
});

function markdownUnder(folder: string): readonly string[] {
  return readdirSync(join(root, folder), { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".md"))
    .map((name) => join(folder, name));
}
