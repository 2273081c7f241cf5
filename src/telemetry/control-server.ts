// The control socket: HTTP with JSON over a Unix socket that its owner alone may connect to. What the requests do is the
// service's business.
import { chmod, lstat, mkdir, mkdtemp, rename, rm, unlink } from "node:fs/promises";
import { connect } from "node:net";
import path from "node:path";
import { fastify, type FastifyInstance } from "fastify";
import { TailraceError, reasonOf } from "../core/errors.ts";
import type { Log } from "../core/log.ts";
import { redactText } from "./redaction.ts";

/** A request's handler: takes the body, resolves with what is sent back as JSON. */
export type ControlHandler = (body: Readonly<Record<string, unknown>>) => Promise<object>;

export type ControlOptions = {
  /** Absolute path of the socket; its folder is made when missing. */
  readonly path: string;
  readonly log: Log;
  /** By method and path, as in `POST /pause`. */
  readonly routes: Readonly<Record<`${"GET" | "POST"} /${string}`, ControlHandler>>;
};

/** unix(7): sun_path has 108 bytes with the zero behind it. A longer one would be cut off in silence by some systems. */
const LONGEST_PATH_BYTES = 107;
/** A live process answers a connect at once, however busy it is: the kernel does it. */
const CONNECT_MS = 2_000;
/** How long requests may go on after the server was told to close, ms. */
const CLOSE_MS = 800;

/**
 * Listens until disposed of. The socket is made in a folder that nobody else may enter and moved to its place when it
 * has mode 0600: it is never open to others, and replaces that of a dead process in one step. Throws CONTROL_SOCKET: a live
 * process listens there, the path is too long, the folder can't be written to.
 */
export async function openControlServer(options: ControlOptions): Promise<AsyncDisposable> {
  const { path: place } = options;
  const bytes = Buffer.byteLength(place);
  if (bytes > LONGEST_PATH_BYTES)
    throw refused(place, `its path has ${bytes} bytes, and a Unix socket's may have no more than ${LONGEST_PATH_BYTES}`);
  const server = fastify({ forceCloseConnections: "idle" });
  addRoutes(server, options);
  let folder: string | null = null;
  try {
    await mkdir(path.dirname(place), { recursive: true, mode: 0o700 });
    if (await answers(place)) throw refused(place, "another process listens there: one service runs in a data folder");
    folder = await mkdtemp(path.join(path.dirname(place), ".c")); // mode 0700; its socket's path is no longer than `place`
    const made = path.join(folder, "s");
    await server.listen({ path: made });
    await chmod(made, 0o600);
    const { ino } = await lstat(made);
    await rename(made, place);
    return { [Symbol.asyncDispose]: () => close(server, place, ino) };
  } catch (cause) {
    await server.close();
    if (cause instanceof TailraceError) throw cause;
    throw refused(place, reasonOf(cause), cause);
  } finally {
    if (folder !== null) await rm(folder, { recursive: true, force: true });
  }
}

function addRoutes(server: FastifyInstance, { routes, log }: ControlOptions): void {
  server.setErrorHandler((thrown, request, reply) => {
    const status = (thrown as { readonly statusCode?: number }).statusCode;
    // What Fastify itself refuses: a body that is no JSON, an unknown route.
    if (status !== undefined && status < 500) return reply.status(status).send({ error: { message: redactText(reasonOf(thrown)) } });
    const error = TailraceError.from(thrown);
    if (error.code === "UNEXPECTED") log.error({ error: thrown, path: request.routeOptions.url }, "a control request failed");
    return reply.status(error.code === "USAGE" || error.code === "CONFIG_INVALID" ? 400 : 409).send({ error: error.toJSON() });
  });
  for (const [route, handler] of Object.entries(routes)) {
    const [method = "", url = ""] = route.split(" ");
    server.route({ method, url, handler: async ({ body }) => handler((body ?? {}) as Readonly<Record<string, unknown>>) });
  }
}

/** Whether a live process listens on the socket; a file that is no socket is not ours to replace. Throws CONTROL_SOCKET. */
async function answers(place: string): Promise<boolean> {
  const found = await lstat(place).catch((cause: unknown) => {
    if ((cause as NodeJS.ErrnoException).code === "ENOENT") return null;
    throw cause;
  });
  if (found === null) return false;
  if (!found.isSocket()) throw refused(place, "a file of that name is there, and no socket");
  return new Promise((resolve, reject) => {
    const socket = connect(place);
    socket.setTimeout(CONNECT_MS, () => settle(true)); // its queue of connections is full: it lives
    socket.once("connect", () => settle(true));
    socket.once("error", (error: NodeJS.ErrnoException) => {
      if (error.code === "ECONNREFUSED" || error.code === "ENOENT") settle(false);
      else if (error.code === "EAGAIN") settle(true);
      else reject(error);
    });
    const settle = (live: boolean): void => {
      socket.destroy();
      resolve(live);
    };
  });
}

async function close(server: FastifyInstance, place: string, ino: number): Promise<void> {
  const now = await lstat(place).catch(() => null);
  if (now?.ino === ino) await unlink(place).catch(() => undefined);
  const force = setTimeout(() => {
    server.server.closeAllConnections();
  }, CLOSE_MS);
  await server.close();
  clearTimeout(force);
}

function refused(place: string, reason: string, cause?: unknown): TailraceError {
  return new TailraceError("CONTROL_SOCKET", { path: place, reason }, { cause });
}
