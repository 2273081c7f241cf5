// mirrors src/config/secret.ts, reference.ts, address.ts: a credential can be used, and can't be shown

import { inspect } from "node:util";

import { describe, expect, test } from "vitest";

import { printableAddress } from "../../../src/config/address.ts";
import { Secret } from "../../../src/config/secret.ts";
import { TailraceError } from "../../../src/core/errors.ts";
import { parseText, refusal, service, sink, source, type World } from "./parse-text.ts";

const PASSWORD = "hunter2";

/** Every way that something is printed, cloned or copied on the way to a log. */
function printed(value: unknown): string {
  const copy: unknown = typeof value === "object" ? { ...value } : value;
  return [
    String(value),
    JSON.stringify(value),
    JSON.stringify([value]),
    JSON.stringify(copy),
    inspect(value, { depth: 20, showHidden: true }),
    inspect(value, { customInspect: false, depth: 20, showHidden: true }),
    inspect(structuredClone(copy), { depth: 20 }),
    Object.entries(value as object).join(),
  ].join("\n");
}

describe("a secret", () => {
  const secret = new Secret(() => PASSWORD);

  test("is revealed on request only", () => {
    expect(secret.reveal()).toBe(PASSWORD);
    expect(`${String(secret)}|${JSON.stringify({ secret })}|${inspect(secret)}|${inspect({ deep: [secret] })}`).toBe(
      '[secret]|{"secret":"[secret]"}|[secret]|{ deep: [ [secret] ] }',
    );
    // Also where the type system does not look.
    expect((secret as unknown as string) + "!" + (secret as unknown as string)).toBe("[secret]![secret]");
    expect(printed(secret)).not.toContain(PASSWORD);
    expect(structuredClone({ secret })).toEqual({ secret: {} });
    expect(Object.assign({}, secret)).toEqual({});
  });

  test("never appears in a loaded configuration, however it is printed", () => {
    const kafka = service(`log:
  kafka: { brokers: [b:1], ssl: { key: "-----BEGIN ${PASSWORD}", cert: "-----BEGIN ${PASSWORD}" }, sasl: { mechanism: plain, username: "u-${PASSWORD}", password: "${PASSWORD}" } }
registry: { url: "http://r", auth: { username: "${PASSWORD}", password: "\${P}" } }
`);
    const text = source() + sink().replace("duckdb: { path: ./lake.duckdb }", `postgres: { url: "postgres://u:\${P}@w/h" }`) + kafka;
    const config = parseText(text, { env: { P: PASSWORD } });
    expect(config.sinks[0]?.warehouse.kind === "postgres" && config.sinks[0].warehouse.url.reveal()).toBe("postgres://u:hunter2@w/h");
    for (const part of [config, config.service, config.service.log, config.sources[0]?.postgres, config.sinks[0]?.warehouse]) {
      expect(printed(part)).not.toContain(PASSWORD);
    }
  });

  test("is read again at every use, from variables and files", () => {
    const env: Record<string, string | undefined> = { USER: "cdc" };
    const files: Record<string, string> = { "/etc/tailrace/password": "one\n" };
    const text = source().replace("postgres://cdc:hunter2@db:5432/shop", '"postgres://${USER}:${file:password}@db/shop"');
    const url = parseText(text, { env, files }).sources[0]?.postgres.url;
    expect(url?.reveal()).toBe("postgres://cdc:one@db/shop");
    env.USER = "other";
    files["/etc/tailrace/password"] = "two\r\n";
    expect(url?.reveal()).toBe("postgres://other:two@db/shop");
  });

  test("that has gone since is an error to retry, which names the variable and its place", () => {
    const env: Record<string, string | undefined> = { URL_: "postgres://a:hunter2@b/c" };
    const url = parseText(source().replace("postgres://cdc:hunter2@db:5432/shop", '"${URL_}"'), { env }).sources[0]?.postgres.url;
    delete env.URL_;
    expect(() => url?.reveal()).toThrow(TailraceError);
    try {
      url?.reveal();
    } catch (thrown) {
      const error = thrown as TailraceError;
      expect(error.message).toBe("postgres.url of source shop can't be read any more: environment variable URL_ is not set");
      expect(error.retry).toBe("auto");
      expect(printed(error)).not.toContain(PASSWORD);
    }
  });
});

describe("no error shows a credential", () => {
  const kafka = (more: string): string => service(`log: { kafka: { brokers: [b:1], ${more} } }\nregistry: { url: "http://r" }\n`);
  const env: World = { env: { P: PASSWORD, URL_: `postgres//u:${PASSWORD}@h` } };
  const url = (value: string): string => source().replace("postgres://cdc:hunter2@db:5432/shop", value);
  test.each([
    ["a URL that is none", url("postgres//u:hunter2@h")],
    ["a URL that is none, from a variable", url('"${URL_}"')],
    ["a URL with a bad percent sign", url("postgres://u:hunter2%@h/d")],
    ["a URL with a slash in the password", url("postgres://u:hunter2/x@h/d")],
    ["a default", url('"${NOT:-hunter2}" extra')],
    ["a default of the wrong type", source('topics: { partitions: "${NOT:-hunter2}" }\n')],
    ["a list for a password", source() + kafka("sasl: { mechanism: plain, username: u, password: [hunter2] }")],
    ["a password where a map belongs", source() + kafka("sasl: hunter2")],
    ["a key file that is a key", source() + kafka("ssl: { cert: hunter2, key: hunter2 }")],
    ["a URL in the wrong place", source() + sink().replace("./lake.duckdb", "postgres://u:hunter2@h/d")],
    ["a URL for a slot", source().replace("postgres:\n", "postgres:\n  slot: postgres://u:hunter2@h/d\n")],
    ["a connection string for a slot", source().replace("postgres:\n", "postgres:\n  slot: host=h password=hunter2\n")],
    ["a registry with credentials", source() + service("registry: { url: http://u:hunter2@r }\n")],
    ["a password of a misspelt key", source() + kafka("sasl: { mechanism: plain, username: u, pasword: hunter2 }")],
    ["a password that YAML takes for an alias", source() + kafka("sasl: { mechanism: plain, username: u, password: *hunter2 }")],
    ["a password that YAML takes for a tag", source() + kafka("sasl: { mechanism: plain, username: u, password: !hunter2 x }")],
    ["a password that YAML can't read", source() + kafka("sasl: { mechanism: plain, username: u, password: @hunter2 }")],
    ["a password with a brace", source() + kafka("sasl: { mechanism: plain, username: u, password: a}hunter2 }")],
    ["a password with a colon", url("hunter2: x")],
    ["a broken reference", url('"postgres://u:${hunter2 }@h"')],
    ["an unquoted reference", url("postgres://u:hunter2${P}@h")],
  ])("%s", (_, text) => {
    const error = refusal(text, env);
    expect(`${printed(error)}${error.stack ?? ""}${JSON.stringify(error.issues)}${printed(error.issues)}`).not.toContain(PASSWORD);
  });

  test("a number for a password is not repeated", () => {
    const error = refusal(source() + kafka("sasl: { mechanism: plain, username: u, password: 48151623 }"));
    expect(printed(error)).not.toContain("48151623");
    expect(error.issues).toMatchObject([{ code: "wrong_type", seen: "a number", fix: "put the value in quotes" }]);
  });
});

describe("references", () => {
  const revealed = (text: string, world: World = {}): string | undefined => {
    const kafka = service(
      `log: { kafka: { brokers: [b:1], sasl: { mechanism: plain, username: u, password: ${text} } } }\nregistry: { url: "http://r" }\n`,
    );
    const { log } = parseText(source() + kafka, world).service;
    return log.kind === "kafka" ? log.sasl?.password.reveal() : undefined;
  };

  test.each([
    ['"${A}"', "a"],
    ["'${A}'", "a"],
    ['"x${A}y${A}"', "xaya"],
    ['"${NOT:-default}"', "default"],
    ['"${EMPTY:-default}"', "default"],
    ['"${NOT:-}x"', "x"],
    ['"${NOT:-a:-b}"', "a:-b"],
    ['"$${A}"', "${A}"],
    ['"$$$$"', "$$"],
    ['"pa$word$"', "pa$word$"],
    ["pa$$word", "pa$$word"],
    ['"${file:/run/secrets/p}!"', "from file!"],
    ['"${B}"', "${A} \\n \n: #"],
  ])("%s gives %j", (text, value) => {
    const env = { A: "a", EMPTY: "", B: "${A} \\n \n: #" };
    expect(revealed(text, { env, files: { "/run/secrets/p": "from file\n" } })).toBe(value);
  });
});

describe("a printable address", () => {
  test.each([
    ["postgres://u:hunter2@db:5433/shop?sslmode=require&password=hunter2", "db:5433/shop"],
    ["postgresql://u@db/shop", "db:5432/shop"],
    ["postgres://u:hunter2@db", "db:5432"],
    ["postgres://u:hunter2@[::1]:1/a%20b", "[::1]:1/a b"],
    ["postgres://u:hunter2@/shop?host=/tmp&port=6000", "[unknown address]"],
    ["postgres:///shop?host=/tmp&port=6000", "/tmp:6000/shop"],
    ["https://u:hunter2@registry/path", "registry:443"],
    ["http://registry:8081", "registry:8081"],
    ["u:hunter2", "[unknown address]"],
    ["not a url hunter2", "[unknown address]"],
  ])("of %s is %s", (url, address) => {
    expect(printableAddress(url)).toBe(address);
    expect(printableAddress(new Secret(() => url))).toBe(address);
  });

  test("of a secret that can't be read is unknown", () => {
    const gone = new Secret(() => {
      throw new Error("gone");
    });
    expect(printableAddress(gone)).toBe("[unknown address]");
  });
});
