// The image and the compose file say in their own words what the code says in its: names of variables, paths, ports,
// times. No container engine runs here, so each of them is held against the other.
import { execFile } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import path from "node:path";
import { describe, expect, test } from "vitest";
import { parse } from "yaml";
import { LISTEN_VARIABLE } from "../../../src/config/build.ts";
import { DATA_VARIABLE } from "../../../src/config/data-folder.ts";
import type { LoadedConfig } from "../../../src/config/config.ts";
import { parseDuration } from "../../../src/config/duration.ts";
import { loadConfig } from "../../../src/config/load.ts";
import { STOP_MS } from "../../../src/service.ts";

const root = path.resolve(import.meta.dirname, "../../..");
const read = (file: string): Promise<string> => readFile(path.join(root, file), "utf8");

type Instruction = { readonly name: string; readonly text: string };

/** The Dockerfile, comments left out and lines joined. */
const all = (await read("Dockerfile"))
  .replace(/^#.*\n/gm, "")
  .replace(/\\\n/g, " ")
  .split("\n")
  .filter((line) => line.trim() !== "")
  .map((line): Instruction => {
    const [name = "", ...rest] = line.trim().split(/\s+/);
    return { name, text: rest.join(" ") };
  });
/** Its last stage: what runs. */
const image = all.slice(all.findLastIndex(({ name }) => name === "FROM"));
const last = (name: string): string => image.findLast((instruction) => instruction.name === name)?.text ?? "";
const environment = Object.fromEntries(
  last("ENV")
    .split(" ")
    .map((pair) => pair.split("=") as [string, string]),
);
/** The array of an instruction in exec form. */
const command = (text: string): string[] => JSON.parse(text.slice(text.indexOf("["))) as string[];
const configurationFolder = command(last("CMD")).at(-1) ?? "";

/** The configuration of a folder of the repository, as the image would see it at its own place. */
async function inImage(folder: string, more: Readonly<Record<string, string>> = {}): Promise<LoadedConfig> {
  return loadConfig(path.join(root, folder), { ...environment, SHOP_URL: "postgres://db/shop", ...more });
}

describe("Dockerfile", () => {
  test("sets the variables that the code reads, so that what is written by default goes to the volume", async () => {
    expect(Object.keys(environment).sort()).toEqual(["NODE_ENV", DATA_VARIABLE, LISTEN_VARIABLE].sort());
    const volume = last("VOLUME");
    expect(environment[DATA_VARIABLE]).toBe(volume);
    expect(last("WORKDIR")).toBe(volume);
    const { service, sinks } = await inImage("connectors/embedded-duckdb");
    expect(service.log).toEqual({ kind: "embedded", path: `${volume}/log` });
    expect(sinks[0]?.warehouse).toMatchObject({ path: `${volume}/lake.duckdb` });
    expect(service.http.listen).toEqual({ host: "0.0.0.0", port: Number(last("EXPOSE")) });
    const setUp = last("RUN");
    expect(setUp).toContain(`install -d -o 1000 -g 1000 -m 0700 ${volume}`);
    expect(setUp).toContain(`install -d ${configurationFolder}`);
  });

  test("runs as a user without rights, who is named by number", () => {
    expect(last("USER")).toBe("1000:1000");
  });

  test("starts from a Node.js that package.json takes, and copies files that exist and that the build is given", async () => {
    const { engines } = JSON.parse(await read("package.json")) as { engines: { node: string } };
    const oldest = Number(/\d+/.exec(engines.node)?.[0]);
    for (const { text } of all.filter(({ name }) => name === "FROM")) {
      expect(Number(/^node:(\d+)-slim\b/.exec(text)?.[1])).toBeGreaterThanOrEqual(oldest);
    }
    const given = (await read(".dockerignore")).split("\n");
    expect(given[0]).toBe("*");
    const copied = all.flatMap(({ name, text }) => (name === "COPY" && !text.startsWith("--from") ? text.split(" ").slice(0, -1) : []));
    expect(given.slice(1).filter(Boolean).sort()).toEqual(copied.map((file) => `!${file}`).sort());
    for (const file of copied) expect(existsSync(path.join(root, file)), file).toBe(true);
  });

  test("its healthcheck is good while /livez is, asks the port that the variable names, and needs nothing but Node.js", async () => {
    const [program, ...args] = command(last("HEALTHCHECK"));
    expect(program).toBe("node");
    let status = 200;
    const server = createServer(({ url }, answer) => answer.writeHead(url === "/livez" ? status : 404).end());
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const env = { [LISTEN_VARIABLE]: `0.0.0.0:${(server.address() as AddressInfo).port}` };
    const check = (): Promise<number> =>
      new Promise((resolve) => {
        execFile(process.execPath, args, { env }, (error) => resolve(typeof error?.code === "number" ? error.code : 0));
      });
    expect(await check()).toBe(0);
    status = 503;
    expect(await check()).toBe(1);
    server.close();
    server.closeAllConnections();
    expect(await check()).toBe(1);
  });
});

type Service = {
  readonly environment?: Readonly<Record<string, string>>;
  readonly volumes?: readonly string[];
  readonly ports?: readonly string[];
  readonly depends_on?: Readonly<Record<string, { readonly condition: string }>>;
  readonly healthcheck?: object;
  readonly [key: string]: unknown;
};
const compose = parse(await read("deploy/compose.yaml")) as {
  readonly services: Readonly<Record<string, Service>>;
  readonly volumes: object;
};
const { tailrace = {}, postgres = {}, kafka = {}, registry = {} } = compose.services;

describe("deploy/compose.yaml", () => {
  test("mounts, publishes and stops the image as the image and the service have it", () => {
    expect(tailrace.volumes).toEqual([`./tailrace:${configurationFolder}:ro`, `tailrace:${last("VOLUME")}`]);
    expect(tailrace.command).toEqual(command(last("CMD")));
    expect(tailrace.ports).toEqual([`127.0.0.1:${last("EXPOSE")}:${last("EXPOSE")}`]);
    expect(tailrace.read_only).toBe(true);
    expect(parseDuration(String(tailrace.stop_grace_period))).toBeGreaterThan(STOP_MS);
  });

  test("its configuration names the services where they are, and what is written goes to the volume", async () => {
    const config = await inImage("deploy/tailrace", { PGPASSWORD: "secret" });
    const advertised = kafka.environment?.KAFKA_ADVERTISED_LISTENERS?.split(",").find((one) => one.startsWith("INSIDE://"));
    expect(config.service.log).toMatchObject({ brokers: [advertised?.slice("INSIDE://".length)] });
    expect(registry.environment?.KAFKA_BOOTSTRAP_SERVERS).toBe(advertised?.slice("INSIDE://".length));
    expect(registry.ports?.[0]).toMatch(/:8080$/);
    expect(config.service.registry).toMatchObject({ url: "http://registry:8080/apis/ccompat/v7" });
    expect(config.sources[0]?.postgres.url.reveal()).toBe(`postgres://postgres:secret@postgres:5432/${postgres.environment?.POSTGRES_DB}`);
    expect(tailrace.environment?.PGPASSWORD).toBe(postgres.environment?.POSTGRES_PASSWORD);
    expect(config.sinks[0]?.warehouse).toMatchObject({ path: `${last("VOLUME")}/lake.duckdb` });
  });

  test("each volume and file that it mounts exists, and who is waited for to be healthy has a healthcheck", () => {
    for (const [name, { volumes = [], depends_on: waitsFor = {} }] of Object.entries(compose.services)) {
      for (const [from = ""] of volumes.map((volume) => volume.split(":"))) {
        if (from.startsWith(".")) expect(existsSync(path.join(root, "deploy", from)), `${name}: ${from}`).toBe(true);
        else expect(Object.keys(compose.volumes), name).toContain(from);
      }
      for (const [other, { condition }] of Object.entries(waitsFor)) {
        expect(compose.services[other]?.healthcheck !== undefined, `${name} waits for ${other}`).toBe(condition === "service_healthy");
      }
    }
  });
});
