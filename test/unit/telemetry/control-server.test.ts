// The control socket's file: who may connect, what stands in its way, what is left behind.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmod, mkdir, mkdtemp, readdir, rm, stat, writeFile } from "node:fs/promises";
import { request } from "node:http";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { TailraceError } from "../../../src/core/errors.ts";
import { openControlServer, type ControlOptions } from "../../../src/telemetry/control-server.ts";
import { openLog } from "../../../src/telemetry/log.ts";

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "tailrace-control-"));
});
afterEach(async () => {
  await rm(folder, { recursive: true });
});

const place = (): string => path.join(folder, "data", "control.sock");

function open(routes: ControlOptions["routes"] = { "GET /status": async () => ({ fine: true }) }, at = place()): Promise<AsyncDisposable> {
  return openControlServer({ path: at, log: openLog({ level: "silent" }), routes });
}

async function ask(method: string, url: string, body = "", type = "application/json"): Promise<{ status: number; json: unknown }> {
  return new Promise((resolve, reject) => {
    const sent = request({ socketPath: place(), method, path: url, headers: { "content-type": type } }, (answer) => {
      let text = "";
      answer.setEncoding("utf8").on("data", (part: string) => (text += part));
      answer.on("end", () => resolve({ status: answer.statusCode ?? 0, json: JSON.parse(text) }));
    });
    sent.on("error", reject);
    sent.end(body);
  });
}

/** A socket file whose process is gone. */
async function leaveStale(at: string): Promise<void> {
  await mkdir(path.dirname(at), { recursive: true });
  const script = `require("node:net").createServer().listen(${JSON.stringify(at)}, () => process.kill(process.pid, "SIGKILL"))`;
  await once(spawn(process.execPath, ["-e", script]), "exit");
  expect((await stat(at)).isSocket()).toBe(true);
}

test("answers over a socket of mode 0600 in a folder that it made for itself, and leaves nothing when it closes", async () => {
  {
    await using _server = await open();
    expect(await ask("GET", "/status")).toEqual({ status: 200, json: { fine: true } });
    expect((await stat(place())).mode & 0o777).toBe(0o600);
    expect((await stat(path.dirname(place()))).mode & 0o777).toBe(0o700);
    expect(await readdir(path.dirname(place()))).toEqual(["control.sock"]);
  }
  expect(await readdir(path.dirname(place()))).toEqual([]);
});

test("a wide umask opens nothing, and is left as it was", async () => {
  const before = process.umask(0);
  try {
    await using _server = await open();
    expect((await stat(place())).mode & 0o777).toBe(0o600);
  } finally {
    expect(process.umask(before)).toBe(0);
  }
});

test("the socket of a dead process is replaced", async () => {
  await leaveStale(place());
  await using _server = await open();
  expect((await ask("GET", "/status")).status).toBe(200);
});

test("a live service keeps its socket; a second one is refused by name", async () => {
  await using _server = await open();
  await expect(open()).rejects.toThrow(`control socket ${place()} can't be made: another process listens there`);
  expect((await ask("GET", "/status")).status).toBe(200);
});

test("a socket that another service has put there since is not taken away", async () => {
  const first = await open();
  await rm(place());
  await using _second = await open();
  await first[Symbol.asyncDispose]();
  expect((await ask("GET", "/status")).status).toBe(200);
});

test("a file that is no socket is not replaced", async () => {
  await mkdir(path.dirname(place()), { recursive: true });
  await writeFile(place(), "mine");
  await expect(open()).rejects.toThrow("a file of that name is there, and no socket");
});

test.each([
  [107, true],
  [108, false],
])("a path of %i bytes, counted as UTF-8: taken is %s", async (bytes, taken) => {
  const base = path.join(folder, "ä");
  const at = path.join(base, "x".repeat(bytes - Buffer.byteLength(base) - 1));
  expect(Buffer.byteLength(at)).toBe(bytes);
  if (taken) await (await open({}, at))[Symbol.asyncDispose]();
  else await expect(open({}, at)).rejects.toThrow("its path has 108 bytes, and a Unix socket's may have no more than 107");
});

test.skipIf(process.getuid?.() === 0)("a folder that can't be written to is named", async () => {
  await mkdir(path.dirname(place()), { recursive: true });
  await chmod(path.dirname(place()), 0o500);
  await expect(open()).rejects.toMatchObject({ code: "CONTROL_SOCKET", retry: "operator" });
});

test("an error travels as JSON with its code and remedy: 400 for what was asked wrongly, 409 for what can't be done now", async () => {
  await using _server = await open({
    "POST /usage": async () => {
      throw new TailraceError("USAGE", { problem: "no connector shp" });
    },
    "POST /state": async () => {
      throw new TailraceError("SOURCE_NOT_STREAMING", { source: "shop", state: "paused" });
    },
  });
  expect(await ask("POST", "/usage", "{}")).toMatchObject({ status: 400, json: { error: { code: "USAGE", message: "no connector shp" } } });
  expect(await ask("POST", "/state", "{}")).toMatchObject({
    status: 409,
    json: { error: { code: "SOURCE_NOT_STREAMING", retry: "auto" } },
  });
  expect((await ask("POST", "/state", "{")).status).toBe(400);
  expect((await ask("POST", "/nowhere", "{}")).status).toBe(404);
});
