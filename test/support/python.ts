// confluent-kafka's AvroDeserializer with fastavro on a topic: packages from PyPI in a virtual environment that is made once and kept.
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readFile, rename, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { CACHE } from "./maven-cache.ts";

const REQUIREMENTS = fileURLToPath(new URL("./python/requirements.txt", import.meta.url));
const SCRIPT = fileURLToPath(new URL("./python/read_topic.py", import.meta.url));
const INSTALL_MS = 120_000;
const READ_MS = 90_000;
const run = promisify(execFile);

/** A record's key and value; in both, what JSON can't say is `<Python's type> <text>`. `refused <error>`: it is not deserialized. */
export type PythonRecord = readonly [key: unknown, value: Readonly<Record<string, unknown>> | string | null];

export type PythonReader = {
  /** Every record of the topic's partition 0, in order. */
  readonly read: (topic: string) => Promise<readonly PythonRecord[]>;
};

/** The Python with the packages; or why it can't be had here, and what to do about it. The first call on a machine downloads. */
export async function pythonWithReaders(): Promise<{ readonly python: string } | { readonly missing: string }> {
  const hash = createHash("sha256")
    .update(await readFile(REQUIREMENTS))
    .digest("hex")
    .slice(0, 12);
  const folder = path.join(CACHE, `python-${hash}`);
  const found = { python: path.join(folder, "bin", "python3") };
  const done = path.join(folder, "installed");
  if (existsSync(done)) return found;
  await mkdir(CACHE, { recursive: true });
  const options = { timeout: INSTALL_MS, killSignal: "SIGKILL" } as const;
  const draft = await mkdtemp(`${folder}-`);
  try {
    // Its scripts name the folder that they were made in; it is moved, so only modules are called.
    await run("python3", ["-m", "venv", draft], options);
    const pip = [
      "-m",
      "pip",
      "install",
      "-q",
      "--disable-pip-version-check",
      "--no-input",
      "--only-binary",
      ":all:",
      "--retries",
      "1",
      "--timeout",
      "5",
    ];
    await run(path.join(draft, "bin", "python3"), [...pip, "-r", REQUIREMENTS], options);
    await writeFile(path.join(draft, "installed"), "");
    await rename(draft, folder).catch((error: unknown) => {
      if (!existsSync(done)) throw error; // otherwise another run was faster, with the same files
    });
    return found;
  } catch (cause) {
    const [said] = String((cause as { stderr?: unknown }).stderr ?? cause)
      .trim()
      .split("\n")
      .slice(-1);
    return {
      missing: `confluent-kafka and fastavro are fetched from PyPI (${said ?? ""}): apt-get install python3-venv, and let pip reach PyPI`,
    };
  } finally {
    await rm(draft, { recursive: true, force: true });
  }
}

export function pythonReader(python: string, servers: { readonly brokers: readonly string[]; readonly registryUrl: string }): PythonReader {
  return {
    async read(topic) {
      const options = { timeout: READ_MS, killSignal: "SIGKILL", maxBuffer: 1 << 26 } as const;
      const { stdout } = await run(python, [SCRIPT, servers.brokers.join(","), servers.registryUrl, topic], options);
      const lines = stdout.split("\n").filter((line) => line !== "");
      return lines.map((line) => JSON.parse(line) as PythonRecord);
    },
  };
}
