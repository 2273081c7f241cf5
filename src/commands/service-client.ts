// Asks the service that runs a folder, by the control socket in its data folder.
import { request } from "node:http";
import { dataFolder } from "../config/data-folder.ts";
import { TailraceError, reasonOf } from "../core/errors.ts";
import { controlSocket } from "../service/control.ts";
import { exitCodes } from "./report.ts";

/** What the service says against a request. */
export type Refusal = { readonly code?: string; readonly message: string; readonly remedy?: string };

export type Answer<T> = { readonly value: T } | { readonly refusal: Refusal };

/** A look is answered at once. */
export const LOOK_MS = 5_000;
/** A graceful end, and servers that are slow to drop what is theirs, take their time. */
const WORK_MS = 120_000;

/**
 * Sends one request to the service that runs `dir`. `body`: sent as JSON by POST; null: a GET. Throws SERVICE_ABSENT when nobody
 * is there to answer.
 */
export async function askService<T>(dir: string, route: string, body: object | null): Promise<Answer<T>> {
  const socketPath = controlSocket(dataFolder({ dir, env: process.env }));
  const absent = (cause: unknown): TailraceError =>
    new TailraceError("SERVICE_ABSENT", { dir, reason: whyNot(cause, socketPath) }, { cause });
  return new Promise((resolve, reject) => {
    const sent = request(
      {
        socketPath,
        path: route,
        method: body === null ? "GET" : "POST",
        headers: body === null ? {} : { "content-type": "application/json" },
        signal: AbortSignal.timeout(body === null ? LOOK_MS : WORK_MS),
      },
      (answer) => {
        let text = "";
        answer.setEncoding("utf8").on("data", (part: string) => (text += part));
        answer.once("error", (cause) => reject(absent(cause)));
        answer.once("end", () => {
          try {
            const json = JSON.parse(text) as unknown;
            resolve(answer.statusCode === 200 ? { value: json as T } : { refusal: (json as { readonly error: Refusal }).error });
          } catch (cause) {
            reject(absent(cause));
          }
        });
      },
    );
    sent.once("error", (cause) => reject(absent(cause)));
    sent.end(body === null ? undefined : JSON.stringify(body));
  });
}

/**
 * Prints the answer: as JSON to stdout, or its `lines`; a refusal with its fix to stderr. Gives the exit code.
 */
export function printAnswer<T>(answer: Answer<T>, json: boolean, lines: (value: T) => readonly string[]): number {
  if ("value" in answer) {
    process.stdout.write(json ? `${JSON.stringify(answer.value)}\n` : `${lines(answer.value).join("\n")}\n`);
    return exitCodes.good;
  }
  const { code, message, remedy } = answer.refusal;
  if (json) process.stdout.write(`${JSON.stringify({ error: answer.refusal })}\n`);
  // A configuration's message has a fix in each of its lines.
  else process.stderr.write(`${message}\n${remedy === undefined || code === "CONFIG_INVALID" ? "" : `fix: ${remedy}\n`}`);
  return code === "USAGE" || code === "CONFIG_INVALID" ? exitCodes.config : exitCodes.failed;
}

function whyNot(cause: unknown, place: string): string {
  const { code } = cause as { readonly code?: unknown };
  if (code === "ENOENT" || code === "ENOTDIR") return `there is no socket at ${place}`;
  if (code === "ECONNREFUSED") return `nobody listens at the socket ${place}`;
  if (code === "EACCES" || code === "EPERM") return `this user may not use the socket ${place}`;
  return `the socket ${place}: ${reasonOf(cause)}`;
}
