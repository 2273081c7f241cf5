// The first step of every npm script: makes a bare clone runnable, then becomes the command that was asked for.
// Plain JavaScript without packages, because none may be installed yet. Everything it says goes to stderr: stdout belongs to
// the command, which may print JSON.
//
//   node scripts/setup.mjs build              packages and dist
//   node scripts/setup.mjs run FILE ARGS…     packages and dist, then `node FILE ARGS…` (files in dist-bench are built first)
//   node scripts/setup.mjs tool FILE ARGS…    packages only, then `node FILE ARGS…`
import { spawn, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { chmodSync, copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { constants } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";

const ROOT = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "..");
const LOWEST_NODE = [20, 19];
/** What is compiled where. `from` are the folders whose change makes the output stale. */
const OUTPUTS = {
  dist: { project: "tsconfig.build.json", from: ["src"] },
  "dist-bench": { project: "tsconfig.bench.json", from: ["src", "bench", "test/support"] },
};
/** Both streams of a step go to stderr. */
const QUIET = { cwd: ROOT, stdio: ["ignore", 2, 2] };
/** npm passes Ctrl-C on to its script, which the terminal has told already: a second one this soon is the same key press. */
const SAME_KEY_PRESS_MS = 300;

const [verb, file, ...args] = process.argv.slice(2);
if (!["build", "run", "tool"].includes(verb) || (verb !== "build" && file === undefined)) {
  fail("usage: node scripts/setup.mjs build | run FILE [ARGS…] | tool FILE [ARGS…]", 2);
}
checkNode();
withLock(() => {
  installPackages();
  if (verb !== "tool") build("dist");
  if (verb === "run" && file.startsWith("dist-bench/")) build("dist-bench");
});
if (verb !== "build") become(process.execPath, [path.resolve(ROOT, file), ...args]);

function checkNode() {
  const [major, minor] = process.versions.node.split(".").map(Number);
  if (major > LOWEST_NODE[0] || (major === LOWEST_NODE[0] && minor >= LOWEST_NODE[1])) return;
  fail(`Tailrace needs Node.js ${LOWEST_NODE.join(".")} or later, this is ${process.versions.node}; https://nodejs.org has newer ones`, 1);
}

/** Runs `npm ci` unless node_modules holds exactly what package-lock.json asks for. */
function installPackages() {
  const wanted = lockedVersions("package-lock.json");
  const installed = lockedVersions("node_modules/.package-lock.json"); // npm writes it last: a broken installation has none
  const fits = ([where, { version, optional }]) =>
    installed?.[where] === undefined ? optional : installed[where].version === version && existsSync(path.join(ROOT, where));
  if (installed !== undefined && Object.entries(wanted).every(fits)) return;
  // Scripts of packages stay off: no package of ours needs one. Dev packages are named because NODE_ENV=production would drop them.
  const flags = ["ci", "--ignore-scripts", "--include=dev", "--no-audit", "--no-fund", "--no-progress", "--loglevel=error"];
  const npm = process.env.npm_execpath;
  step("installing packages", () =>
    npm?.endsWith(".js")
      ? spawnSync(process.execPath, [npm, ...flags], QUIET)
      : spawnSync("npm", flags, { ...QUIET, shell: process.platform === "win32" }),
  );
}

/** Folder in node_modules → version, from one of npm's lock files; undefined when there is none. */
function lockedVersions(lockFile) {
  const at = path.join(ROOT, lockFile);
  if (!existsSync(at)) return undefined;
  const entries = Object.entries(JSON.parse(readFileSync(at, "utf8")).packages).filter(([where]) => where !== "");
  return Object.fromEntries(entries.map(([where, entry]) => [where, { version: entry.version, optional: entry.optional === true }]));
}

/** Compiles into `output` when a source, a compiler option or a package has changed since the last time. */
function build(output) {
  const { project, from } = OUTPUTS[output];
  const sources = from.flatMap((folder) => filesBelow(folder));
  const stampFile = path.join(ROOT, output, ".stamp");
  const stamp = fingerprint([...sources, project, "tsconfig.json", "package-lock.json"]);
  if (existsSync(stampFile) && readFileSync(stampFile, "utf8") === stamp) return;
  const compiler = path.join(ROOT, "node_modules/typescript/bin/tsc");
  step(`building ${output}`, () => spawnSync(process.execPath, [compiler, "-p", project], QUIET));
  // tsc with one root folder drops that folder's name: src/a.ts becomes dist/a.js, but dist-bench/src/a.js.
  const place = (source) => path.join(output, from.length === 1 ? path.relative(from[0], source) : source);
  const kept = new Set(sources.flatMap((source) => outputsOf(place(source))));
  for (const old of filesBelow(output)) if (!kept.has(old) && !path.basename(old).startsWith(".")) rmSync(path.join(ROOT, old));
  for (const asset of sources.filter((source) => !source.endsWith(".ts"))) {
    mkdirSync(path.dirname(path.join(ROOT, place(asset))), { recursive: true });
    copyFileSync(path.join(ROOT, asset), path.join(ROOT, place(asset)));
  }
  const commandLine = path.join(ROOT, output, "main.js");
  if (existsSync(commandLine)) chmodSync(commandLine, 0o755);
  writeFileSync(stampFile, stamp);
}

function outputsOf(placed) {
  if (!placed.endsWith(".ts")) return [placed];
  const stem = placed.slice(0, -".ts".length);
  return [`${stem}.js`, `${stem}.js.map`];
}

function fingerprint(files) {
  const hash = createHash("sha256");
  for (const name of files) {
    const at = path.join(ROOT, name);
    hash.update(`${name}\0${existsSync(at) ? createHash("sha256").update(readFileSync(at)).digest("hex") : "none"}\n`);
  }
  return hash.digest("hex");
}

function filesBelow(folder) {
  if (!existsSync(path.join(ROOT, folder))) return [];
  return readdirSync(path.join(ROOT, folder), { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile())
    .map((entry) => path.relative(ROOT, path.join(entry.parentPath, entry.name)))
    .sort();
}

/** Two npm scripts started at once must not install or build over each other; the second waits for the first. */
function withLock(work) {
  const lock = path.join(ROOT, ".setup.lock");
  for (let told = false; ; pause(100)) {
    try {
      mkdirSync(lock);
      break;
    } catch (error) {
      if (error.code !== "EEXIST") throw error;
    }
    const holder = Number(existsSync(lock) ? readdirSync(lock)[0] : undefined);
    const age = Date.now() - (statSync(lock, { throwIfNoEntry: false })?.mtimeMs ?? Date.now());
    if (Number.isNaN(holder) ? age > 5_000 : !alive(holder)) rmSync(lock, { recursive: true, force: true });
    else if (!told && !Number.isNaN(holder)) told = say(`waiting for the set-up that process ${holder} does`);
  }
  const release = () => rmSync(lock, { recursive: true, force: true });
  process.once("exit", release); // a failed step exits from inside
  writeFileSync(path.join(lock, String(process.pid)), "");
  work();
  process.off("exit", release);
  release();
}

function alive(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error.code === "EPERM";
  }
}

function pause(milliseconds) {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, milliseconds);
}

/** Replaces this process as well as Node can: same streams, signals passed on once, same exit. */
function become(command, commandArgs) {
  // A process group of its own, so that the terminal's Ctrl-C comes to this process alone and is passed on exactly once.
  const child = spawn(command, commandArgs, { stdio: "inherit", detached: process.platform !== "win32" });
  const lastSent = new Map();
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT"]) {
    process.on(signal, () => {
      const now = performance.now();
      if (now - (lastSent.get(signal) ?? -Infinity) < SAME_KEY_PRESS_MS) return;
      lastSent.set(signal, now);
      child.kill(signal);
    });
  }
  // npm tells SIGTERM to the shell between us, which dies of it without a word to us.
  const parent = process.ppid;
  if (process.env.npm_lifecycle_event !== undefined) {
    const watch = setInterval(() => {
      if (process.ppid === parent) return;
      clearInterval(watch);
      child.kill("SIGTERM");
    }, 250);
  }
  child.once("error", (error) => fail(`${command} does not start: ${error.message}`, 1));
  child.once("exit", (code, signal) => process.exit(code ?? 128 + constants.signals[signal]));
}

/** Runs one step; its output is shown on stderr, and a failure ends the set-up with the step's exit code. */
function step(name, run) {
  say(`${name} …`);
  const start = performance.now();
  const { status, signal, error } = run();
  if (signal !== null && signal !== undefined) process.exit(128 + constants.signals[signal]);
  if (status !== 0) fail(`${name} failed${error === undefined ? "" : `: ${error.message}`}`, status ?? 1);
  say(`${name} took ${((performance.now() - start) / 1000).toFixed(1)} s`);
}

function say(text) {
  process.stderr.write(`tailrace: ${text}\n`);
  return true;
}

function fail(text, code) {
  say(text);
  process.exit(code);
}
