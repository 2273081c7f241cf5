// Ids and versions as they stand in the store. It knows no rule of who may do what: embedded.ts does.
//
// Stored: ["last id"] → number · ["schema", id] → text · ["id", fingerprint] → id · ["same as", id] → the schema's first id
//         ["gone", id] → true when its last version was deleted for good
//         ["subject", name] → highest version · ["version", name, version] → id · ["deleted", name, version] → true
import type { RegistryStore } from "./store.ts";

export type SubjectVersion = { readonly subject: string; readonly id: number; readonly version: number; readonly schema: string };

/** Which versions a question is about: those that are there, with the softly deleted ones, or these alone. */
export type Scope = "live" | "all" | "deleted";

/** Schemas are never deleted: events with their ids may stand in the log. What writes is for inside a transaction. */
export class Shelf {
  readonly #store: RegistryStore;

  constructor(store: RegistryStore) {
    this.#store = store;
  }

  /** The text of an id as it was first registered, also when all its versions are gone. */
  text(id: number): string | undefined {
    return this.#store.get(["schema", id]) as string | undefined;
  }

  /** Whether the id was given out, and not all of its versions were deleted for good. */
  isPublic(id: number): boolean {
    return this.text(id) !== undefined && this.#store.get(["gone", id]) === undefined;
  }

  lastId(): number {
    return (this.#store.get(["last id"]) as number | undefined) ?? 0;
  }

  /** In alphabetical order. */
  subjects(scope: Scope): readonly string[] {
    const all = this.#store.list(["subject"]).map(({ last }) => String(last));
    return all.filter((subject) => this.has(subject, scope));
  }

  has(subject: string, scope: Scope): boolean {
    return this.versions(subject, scope).length > 0;
  }

  /** Ascending. */
  versions(subject: string, scope: Scope): readonly number[] {
    const all = this.#store.list(["version", subject]).map(({ last }) => Number(last));
    if (scope === "all") return all;
    const deleted = new Set(this.#store.list(["deleted", subject]).map(({ last }) => Number(last)));
    return all.filter((version) => deleted.has(version) === (scope === "deleted"));
  }

  at(subject: string, version: number, scope: Scope): SubjectVersion | undefined {
    const id = this.#store.get(["version", subject, version]) as number | undefined;
    if (id === undefined) return undefined;
    const deleted = this.#store.get(["deleted", subject, version]) !== undefined;
    if (scope !== "all" && deleted !== (scope === "deleted")) return undefined;
    return { subject, id, version, schema: this.text(id) ?? "" };
  }

  /** The latest version that holds the schema. */
  versionWith(subject: string, fingerprint: string, scope: Scope): SubjectVersion | undefined {
    const known = this.#store.get(["id", fingerprint]) as number | undefined;
    if (known === undefined) return undefined;
    const versions = this.versions(subject, scope).map((version) => this.at(subject, version, "all"));
    return versions.findLast((version) => version !== undefined && this.#firstId(version.id) === known);
  }

  /** Where an id is used, by subject and version. Looks at every version of the registry. */
  uses(id: number, scope: Scope): readonly SubjectVersion[] {
    return this.subjects(scope).flatMap((subject) =>
      this.versions(subject, scope)
        .map((version) => this.at(subject, version, "all"))
        .filter((version): version is SubjectVersion => version?.id === id),
    );
  }

  /** The version that a next registration gets: after the highest that is left, softly deleted ones too. */
  nextVersion(subject: string): number {
    return ((this.#store.get(["subject", subject]) as number | undefined) ?? 0) + 1;
  }

  /** The schema's id; a new one when it has none. */
  idOf(fingerprint: string, text: string): number {
    const known = this.#store.get(["id", fingerprint]) as number | undefined;
    if (known !== undefined) return known;
    const id = this.lastId() + 1;
    this.keep(id, fingerprint, text);
    return id;
  }

  /** Whether `id` is free, or already this schema's. */
  mayBe(id: number, fingerprint: string): boolean {
    return this.text(id) === undefined || this.#firstId(id) === this.#store.get(["id", fingerprint]);
  }

  /** Gives the id to the schema; as one more of its ids when it has another. `mayBe` has been asked. */
  keep(id: number, fingerprint: string, text: string): void {
    const first = this.#store.get(["id", fingerprint]) as number | undefined;
    if (this.text(id) !== undefined) return;
    this.#store.put(["schema", id], text);
    if (first === undefined) this.#store.put(["id", fingerprint], id);
    else this.#store.put(["same as", id], first);
    if (id > this.lastId()) this.#store.put(["last id"], id);
  }

  /** Adds a version. Softly deleted ones of the same id make way for it, as they do in Confluent's. */
  place(subject: string, version: number, id: number): void {
    for (const earlier of this.versions(subject, "deleted"))
      if (this.at(subject, earlier, "all")?.id === id) this.#remove(subject, earlier);
    this.#store.put(["version", subject, version], id);
    this.#store.remove(["deleted", subject, version]);
    this.#store.put(["subject", subject], Math.max(version, this.nextVersion(subject) - 1));
    this.#store.remove(["gone", id]);
  }

  hide(subject: string, version: number): void {
    this.#store.put(["deleted", subject, version], true);
  }

  /** Deletes versions for good. */
  purge(subject: string, versions: readonly number[]): void {
    const ids = new Set(versions.map((version) => this.at(subject, version, "all")?.id));
    for (const version of versions) this.#remove(subject, version);
    const highest = this.versions(subject, "all").at(-1);
    if (highest === undefined) this.#store.remove(["subject", subject]);
    else this.#store.put(["subject", subject], highest);
    for (const id of ids) if (id !== undefined && this.uses(id, "all").length === 0) this.#store.put(["gone", id], true);
  }

  #remove(subject: string, version: number): void {
    this.#store.remove(["version", subject, version]);
    this.#store.remove(["deleted", subject, version]);
  }

  #firstId(id: number): number {
    return (this.#store.get(["same as", id]) as number | undefined) ?? id;
  }
}
