// What an operator has paused: a file in the data folder, so that a restart resumes nothing by itself.
import { open, readFile, rename } from "node:fs/promises";
import path from "node:path";
import { TailraceError, reasonOf } from "../core/errors.ts";

/** By connector: whether all of it is paused, and labels of tables. */
type Paused = { whole: boolean; tables: readonly string[] };

const NONE: ReadonlySet<string> = new Set();

export class Pauses {
  readonly #file: string | null;
  #paused: ReadonlyMap<string, Paused>;

  private constructor(file: string | null, paused: ReadonlyMap<string, Paused>) {
    this.#file = file;
    this.#paused = paused;
  }

  /** Kept in memory only. */
  static none(): Pauses {
    return new Pauses(null, new Map());
  }

  /** Throws PAUSES_UNREADABLE; a file that is not there means that nothing is paused. */
  static async load(file: string): Promise<Pauses> {
    let text: string;
    try {
      text = await readFile(file, "utf8");
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code === "ENOENT") return new Pauses(file, new Map());
      throw unreadable(file, cause);
    }
    try {
      const written = JSON.parse(text) as Record<string, Paused>;
      const entries = Object.entries(written).map(([name, { whole, tables }]) => {
        if (typeof whole !== "boolean" || !Array.isArray(tables)) throw new Error(`${name} is not as Tailrace writes it`);
        return [name, { whole, tables: tables.map(String) }] as const;
      });
      return new Pauses(file, new Map(entries));
    } catch (cause) {
      throw unreadable(file, cause);
    }
  }

  isPaused(connector: string): boolean {
    return this.#paused.get(connector)?.whole === true;
  }

  /** Labels of the connector's paused tables; another set after each change. */
  tables(connector: string): ReadonlySet<string> {
    const tables = this.#paused.get(connector)?.tables ?? [];
    return tables.length === 0 ? NONE : new Set(tables);
  }

  /** Pauses or resumes the whole connector; durable when it resolves. Throws PAUSES_UNREADABLE, and then nothing has changed. */
  async setWhole(connector: string, whole: boolean): Promise<void> {
    await this.#set(connector, { whole, tables: [...this.tables(connector)] });
  }

  /** Pauses or resumes tables of the connector, as setWhole() does the whole. */
  async setTables(connector: string, labels: readonly string[], paused: boolean): Promise<void> {
    const others = [...this.tables(connector)].filter((label) => !labels.includes(label));
    await this.#set(connector, { whole: this.isPaused(connector), tables: paused ? [...others, ...labels].sort() : others });
  }

  /** Of a connector that is no more. */
  async forget(connector: string): Promise<void> {
    if (this.#paused.has(connector)) await this.#set(connector, { whole: false, tables: [] });
  }

  async #set(connector: string, paused: Paused): Promise<void> {
    const next = new Map(this.#paused);
    if (paused.whole || paused.tables.length > 0) next.set(connector, paused);
    else next.delete(connector);
    if (this.#file !== null) await replace(this.#file, `${JSON.stringify(Object.fromEntries(next), null, 2)}\n`);
    this.#paused = next;
  }
}

/** The file has the old text or the new one, whenever the power goes. */
async function replace(file: string, text: string): Promise<void> {
  const fresh = `${file}.new`;
  try {
    await using written = await open(fresh, "w", 0o600);
    await written.writeFile(text);
    await written.sync();
    await rename(fresh, file);
    await using folder = await open(path.dirname(file), "r");
    await folder.sync();
  } catch (cause) {
    throw unreadable(file, cause);
  }
}

function unreadable(file: string, cause: unknown): TailraceError {
  return new TailraceError("PAUSES_UNREADABLE", { path: file, reason: reasonOf(cause) }, { cause });
}
