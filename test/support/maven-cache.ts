// Java programs for tests, fetched once by Maven and kept between runs and checkouts.
import { execFile, execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readFile, rename, rm } from "node:fs/promises";
import { homedir } from "node:os";
import path from "node:path";
import { promisify } from "node:util";

export type MavenProgram = {
  readonly name: string;
  readonly pom: string;
  /** A goal of the dependency plugin that takes `outputDirectory`. */
  readonly goal: "copy-dependencies" | "unpack";
};

const PLUGIN = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1";
const LOWEST_JAVA = 17;
export const CACHE = path.join(process.env.XDG_CACHE_HOME ?? path.join(homedir(), ".cache"), "tailrace-tests");

/** Why `program` can't run here, and what to do about it; null when it can. */
export async function missingFor(program: MavenProgram): Promise<string | null> {
  const java = javaMajor();
  const fix = "apt-get install openjdk-17-jre-headless maven";
  if (java === null || java < LOWEST_JAVA) return `${program.name} needs Java ${LOWEST_JAVA}, found ${java ?? "none"}: ${fix}`;
  if (existsSync(await folderOf(program)) || onPath("mvn")) return null;
  return `${program.name} is fetched by Maven, and there is no mvn: ${fix}`;
}

/** The folder with the program's files. The first call on a machine downloads, which may take a minute. */
export async function fetched(program: MavenProgram): Promise<string> {
  const folder = await folderOf(program);
  if (existsSync(folder)) return folder;
  process.stderr.write(`fetching ${program.name} with Maven, once …\n`);
  await mkdir(CACHE, { recursive: true });
  const draft = await mkdtemp(`${folder}-`);
  try {
    const args = ["-B", "-q", "-f", program.pom, `${PLUGIN}:${program.goal}`, "-DincludeScope=runtime", `-DoutputDirectory=${draft}`];
    // The plugin notes beside the pom that it has unpacked, and would leave the folder empty after the cache was deleted.
    args.push("-Dmdep.overWriteReleases=true");
    await promisify(execFile)("mvn", args, { maxBuffer: 1 << 26 });
    await rename(draft, folder).catch((error: unknown) => {
      if (!existsSync(folder)) throw error; // otherwise another run was faster, with the same files
    });
  } finally {
    await rm(draft, { recursive: true, force: true });
  }
  return folder;
}

/** Named after the pom's text: a change of version is another folder. */
async function folderOf({ name, pom }: MavenProgram): Promise<string> {
  const hash = createHash("sha256")
    .update(await readFile(pom))
    .digest("hex")
    .slice(0, 12);
  return path.join(CACHE, `${name}-${hash}`);
}

function javaMajor(): number | null {
  if (!onPath("java")) return null;
  try {
    // -XshowSettings and -version differ in stream and wording between versions; a property's line does not.
    const told = execFileSync("sh", ["-c", "java -XshowSettings:properties -version 2>&1"], { encoding: "utf8" });
    return Number(/java\.specification\.version = (?:1\.)?(\d+)/.exec(told)?.[1] ?? NaN) || null;
  } catch {
    return null;
  }
}

function onPath(program: string): boolean {
  return (process.env.PATH ?? "").split(path.delimiter).some((folder) => folder !== "" && existsSync(path.join(folder, program)));
}
