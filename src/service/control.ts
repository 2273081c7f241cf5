// The control socket's requests: what `tailrace pause` and its like ask of a running service.
import path from "node:path";
import { TailraceError } from "../core/errors.ts";
import type { ControlOptions } from "../telemetry/control-server.ts";
import type { Fleet } from "./fleet.ts";

/** Where the service of a data folder is reached. */
export function controlSocket(dataFolder: string): string {
  return path.join(dataFolder, "control.sock");
}

type Body = Readonly<Record<string, unknown>>;

export function controlRoutes(fleet: Fleet): ControlOptions["routes"] {
  return {
    "GET /status": async () => fleet.status(),
    "POST /snapshot": async (body) => fleet.snapshot(text(body, "source"), text(body, "table"), textOrNull(body, "where")),
    "POST /pause": async (body) => fleet.pause(text(body, "connector"), textOrNull(body, "table")),
    "POST /resume": async (body) => fleet.resume(text(body, "connector"), textOrNull(body, "table")),
    "POST /unpark": async (body) => fleet.unpark(text(body, "source"), text(body, "table")),
    "POST /drop": async (body) => fleet.drop(text(body, "connector"), body.foreignToo === true),
    "POST /letters": async (body) => fleet.letters(text(body, "connector"), textOrNull(body, "id")),
    "POST /reload": async () => fleet.reload(),
  };
}

function text(body: Body, name: string): string {
  const value = textOrNull(body, name);
  if (value === null) throw new TailraceError("USAGE", { problem: `the request lacks ${name}` });
  return value;
}

function textOrNull(body: Body, name: string): string | null {
  const value = body[name] ?? null;
  if (value !== null && typeof value !== "string") throw new TailraceError("USAGE", { problem: `${name} is no text` });
  return value === "" ? null : value;
}
