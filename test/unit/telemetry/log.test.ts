import fs from "node:fs";
import { pino } from "pino";
import { expect, test, vi } from "vitest";
import { Secret } from "../../../src/config/secret.ts";
import { TailraceError } from "../../../src/core/errors.ts";
import { logLevelOf, openLog, stateLogger, type LogLevel } from "../../../src/telemetry/log.ts";

type Line = Record<string, unknown>;

function capture(level?: LogLevel): {
  readonly log: ReturnType<typeof openLog>;
  readonly text: () => string;
  readonly lines: () => Line[];
} {
  const written: string[] = [];
  const log = openLog({ destination: { write: (line: string) => void written.push(line) }, ...(level === undefined ? {} : { level }) });
  return { log, text: () => written.join(""), lines: () => written.map((line) => JSON.parse(line) as Line) };
}

test("a line is JSON with ISO time, level, message and the context of its connector", () => {
  const { log, lines } = capture();
  log.child({ connector: "shop" }).child({ lsn: "16/B374D848" }).info({ rows: 3 }, "merged");
  expect(lines()).toEqual([
    {
      level: "info",
      time: expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/),
      connector: "shop",
      lsn: "16/B374D848",
      rows: 3,
      message: "merged",
    },
  ]);
});

test("lines go to stderr at once, and stdout stays free for output", () => {
  const write = vi.spyOn(fs, "writeSync").mockReturnValue(1000);
  try {
    openLog().info({}, "here");
    expect(write.mock.calls.map(([descriptor, text]) => [descriptor, text.includes("here")])).toEqual([[2, true]]);
  } finally {
    write.mockRestore();
  }
});

test("LOG_LEVEL names the least level that is written, info by default", () => {
  expect([logLevelOf({ LOG_LEVEL: "DEBUG" }), logLevelOf({}), logLevelOf({ LOG_LEVEL: "loud" })]).toEqual(["debug", "info", "info"]);
  const { log, lines } = capture("warn");
  log.info({}, "no");
  log.warn({}, "yes");
  expect(lines().map(({ message }) => message)).toEqual(["yes"]);
});

test("values of secret-like keys are masked at any depth, in context too", () => {
  const { log, text } = capture();
  log.child({ connector: "shop", sasl: { password: "hunter2" } }).info(
    {
      postgres: { url: "hunter2", options: [{ client_secret: "hunter2" }] },
      registry_url: "hunter2",
      authorization: "hunter2",
      PGPASSWORD: "hunter2",
    },
    "connect",
  );
  expect(text()).not.toContain("hunter2");
  expect(text()).toContain("shop");
});

test("pino's own redaction misses a key that is one level deeper than its path", () => {
  let written = "";
  pino({ redact: ["password", "*.password"] }, { write: (line: string) => (written = line) }).info({ a: { b: { password: "hunter2" } } });
  expect(written).toContain("hunter2");
});

test.each([
  "connect to postgres://shop:hunter2@db:5432/shop failed",
  "postgres://shop:hunter2/@:x@db/shop",
  'postgres://shop:"hunter2"@db/shop',
  "host=db password=hunter2 dbname=shop",
  "https://registry/?access_token=hunter2&x=1",
])("credentials inside a text are masked: %s", (text) => {
  const written = capture();
  written.log.info({ detail: text, error: new Error(text) }, text);
  expect(written.text()).not.toContain("hunter2");
  expect(() => written.lines()).not.toThrow();
});

test("a text that only looks a little like credentials is left as it is", () => {
  const { log, lines } = capture();
  const text = "PostgreSQL at db:5432/shop says: a@b.example, see https://host/path and 16/B374D848";
  log.info({}, text);
  expect(lines()[0]?.message).toBe(text);
});

test("an error has its code, remedy and place; its cause's name, code and message, and nothing else of it", () => {
  const { log, text, lines } = capture();
  const cause = Object.assign(new Error("refused"), {
    code: "ECONNREFUSED",
    input: "postgres://u:hunter2@db",
    connectionString: "hunter2",
  });
  const error = new TailraceError(
    "DATABASE_UNREACHABLE",
    { address: "db:5432", reason: "refused" },
    { place: { connector: "shop", lsn: "0/10" }, cause },
  );
  log.error({ error }, "lost");
  expect(lines()[0]?.error).toEqual({
    code: "DATABASE_UNREACHABLE",
    message: "PostgreSQL at db:5432 does not answer: refused",
    remedy: expect.any(String),
    retry: "auto",
    connector: "shop",
    lsn: "0/10",
    cause: { name: "Error", code: "ECONNREFUSED", message: "refused" },
  });
  expect(text()).not.toContain("hunter2");
});

test("an error that nobody expected brings its stack", () => {
  const { log, lines } = capture();
  log.error({ error: TailraceError.from(new RangeError("odd")) }, "lost");
  expect(lines()[0]?.error).toMatchObject({
    code: "UNEXPECTED",
    cause: { name: "RangeError", stack: expect.stringContaining("log.test.ts") },
  });
});

test("bigints, secrets and what holds itself can be logged", () => {
  const { log, lines } = capture();
  const loop: Line = {};
  loop.loop = loop;
  log.info({ lsn: 2n ** 63n, value: new Secret(() => "hunter2"), loop, at: new Date(0) }, "odd");
  expect(lines()[0]).toMatchObject({ lsn: "9223372036854775808", value: "[secret]", at: "1970-01-01T00:00:00.000Z" });
});

test("a state is one line when it begins, not one a try", () => {
  const { log, lines } = capture();
  let now = 1000;
  const say = stateLogger(log.child({ connector: "shop" }), () => now);
  const unreachable = (reason: string): TailraceError => new TailraceError("DATABASE_UNREACHABLE", { address: "db:5432", reason });
  say("starting");
  for (let attempt = 1; attempt <= 100; attempt++) say("waiting", unreachable(`try ${attempt}`));
  say("waiting", new TailraceError("DATABASE_LOGIN", { address: "db:5432", user: "cdc", reason: "no" }));
  now += 61_400;
  say("running");
  say("running");
  say("stopped", new TailraceError("SLOT_MISSING", { slot: "s", lsn: "0/10" }));
  expect(lines().map(({ level, state, was, for_seconds }) => [level, state, was, for_seconds])).toEqual([
    ["info", "starting", undefined, undefined],
    ["warn", "waiting", "starting", 0],
    ["warn", "waiting", "waiting", 0],
    ["info", "running", "waiting", 61.4],
    ["error", "stopped", "running", 0],
  ]);
  expect(lines()[1]).toMatchObject({
    connector: "shop",
    message: expect.stringContaining("try 1"),
    error: { code: "DATABASE_UNREACHABLE" },
  });
});
