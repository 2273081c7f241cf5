// The embedded registry: Confluent's rules of ids, subjects, versions, modes and deletion over a store. No HTTP here:
// routes.ts serves it, and Tailrace's own source and sink call it in process. Source of the rules: Confluent's "Schema
// Registry API Reference", chapters Subjects, Schemas, Mode and Compatibility, and "Schema Deletion Guidelines".
import { TailraceError, reasonOf } from "../core/errors.ts";
import type { Type } from "avsc";
import {
  NO_RULE,
  type Compatibility,
  type FollowRule,
  type Registered,
  type SchemaRegistry,
  type SchemaTrial,
  type TrialVerdict,
} from "../core/schema-registry.ts";
import { parseSchema, type ParsedSchema } from "./avro-schema.ts";
import { incompatibilities, logicalChanges } from "./compatibility.ts";
import { isRefusal, refusals, type Refusal } from "./refusals.ts";
import { GLOBAL, isSubject, readLevel, readMode, Settings, type Holder, type Mode } from "./settings.ts";
import { Shelf, type Scope, type SubjectVersion } from "./shelf.ts";
import type { RegistryStore } from "./store.ts";

export type EmbeddedRegistryOptions = {
  readonly store: RegistryStore;
  /** For messages: the folder. */
  readonly address: string;
  /** Where it is served; default the address. */
  readonly url?: string;
  /** Level of the subjects that have none of their own, until another is set; default BACKWARD. */
  readonly compatibility?: Compatibility;
};

/** What a registration may ask for besides: in mode IMPORT the id, and the version. */
export type Wanted = { readonly id?: number | undefined; readonly version?: number | undefined };

/** Also the port for Tailrace's own source and sink. Reads are synchronous; what writes resolves when it is on disk. */
export class EmbeddedRegistry implements SchemaRegistry, SchemaTrial {
  readonly address: string;
  readonly url: string;
  readonly #store: RegistryStore;
  readonly #shelf: Shelf;
  readonly #settings: Settings;

  constructor(options: EmbeddedRegistryOptions) {
    this.#store = options.store;
    this.address = options.address;
    this.url = options.url ?? options.address;
    this.#shelf = new Shelf(options.store);
    this.#settings = new Settings(options.store, options.compatibility ?? "BACKWARD");
  }

  /** Throws REGISTRY_REFUSED (no Avro, incompatible, read-only), REGISTRY_UNREACHABLE (the disk). */
  async register(
    subject: string,
    schema: string,
    signal: AbortSignal,
    what: Registered = "present",
    rule: FollowRule = NO_RULE,
  ): Promise<number> {
    signal.throwIfAborted();
    const answer = await this.#register(subject, schema, what, rule).catch((cause: unknown) => {
      throw new TailraceError("REGISTRY_UNREACHABLE", { address: this.address, reason: reasonOf(cause) }, { cause });
    });
    if (isRefusal(answer)) throw new TailraceError("REGISTRY_REFUSED", { subject, reason: answer.message });
    return answer.id;
  }

  async latest(subject: string, signal: AbortSignal): Promise<string | null> {
    signal.throwIfAborted();
    const latest = this.version(subject, "latest");
    return isRefusal(latest) ? null : latest.schema;
  }

  async #register(subject: string, schema: string, what: Registered, rule: FollowRule): Promise<{ readonly id: number } | Refusal> {
    if (what === "anything") {
      if (this.ownCompatibility(subject) !== "NONE") {
        const level = await this.setCompatibility(subject, "NONE");
        if (isRefusal(level)) return level;
      }
      return this.add(subject, schema);
    }
    const known = this.lookUp(subject, schema, what === "past" ? "all" : "live");
    if (!isRefusal(known)) return known;
    const latest = this.version(subject, "latest");
    if (isRefusal(latest)) return this.add(subject, schema);
    const next = parse(schema);
    // Also at NONE, where add() compares nothing.
    const changes = isRefusal(next) ? [] : changesOfMeaning(next.type, latest.schema, rule);
    return changes.length === 0 ? this.add(subject, schema) : refusals.incompatible(subject, this.compatibility(subject), changes);
  }

  async tryOut(subject: string, schema: string, signal: AbortSignal, rule: FollowRule = NO_RULE): Promise<TrialVerdict> {
    signal.throwIfAborted();
    const known = this.lookUp(subject, schema);
    if (!isRefusal(known)) return { verdict: "known" };
    const tested = this.testAll(subject, schema);
    if (isRefusal(tested)) return { verdict: "refused", reason: tested.message };
    const latest = await this.latest(subject, signal);
    // Also at NONE, where nothing else is compared.
    const changes = latest === null ? [] : changesOfMeaning(parseSchema(schema).type, latest, rule);
    const problems = [...new Set([...tested, ...changes])];
    if (problems.length > 0) return { verdict: "refused", reason: problems.join("; ") };
    return { verdict: isRefusal(this.versions(subject)) ? "first" : "fits" };
  }

  /** Also of a schema that was deleted for good: our own events with its id are to be read. */
  async schema(id: number, signal: AbortSignal): Promise<string> {
    signal.throwIfAborted();
    const schema = this.#shelf.text(id);
    if (schema === undefined) throw new TailraceError("SCHEMA_UNKNOWN", { id, address: this.address, reason: "it has no such id" });
    return schema;
  }

  /** The text of an id, as it was first registered; undefined when there is none, or its last version was deleted for good. */
  text(id: number): string | undefined {
    return this.#shelf.isPublic(id) ? this.#shelf.text(id) : undefined;
  }

  lastId(): number {
    return this.#shelf.lastId();
  }

  /**
   * Registers a schema. The same schema gets the same id in every subject, and one version in each; after a deletion, soft
   * or permanent, its id again and the next version. Refusals: 409, 42201, 42205 (the mode), 42208.
   */
  async add(subject: string, text: string, wanted: Wanted = {}): Promise<{ readonly id: number } | Refusal> {
    if (!isSubject(subject)) return refusals.invalidSubject(subject);
    const parsed = parse(text);
    if (isRefusal(parsed)) return parsed;
    return this.#store.transaction(() => {
      const known = this.#shelf.versionWith(subject, parsed.fingerprint, "live");
      const { id = known?.id, version = known?.version } = wanted;
      if (known !== undefined && id === known.id && version === known.version) return { id };
      return this.#refusedBy(subject, parsed, wanted) ?? this.#place(subject, parsed, text, wanted);
    });
  }

  /** The version under which a subject has this schema. Refusals: 40401, 40403, 42201. */
  lookUp(subject: string, text: string, scope: Scope = "live"): SubjectVersion | Refusal {
    const parsed = parse(text);
    if (isRefusal(parsed)) return parsed;
    if (!this.#shelf.has(subject, scope)) return refusals.noSubject(subject);
    return this.#shelf.versionWith(subject, parsed.fingerprint, scope) ?? refusals.noSchema();
  }

  /** In alphabetical order. */
  subjects(scope: Scope = "live"): readonly string[] {
    return this.#shelf.subjects(scope);
  }

  /** Ascending. Refusal: 40401. */
  versions(subject: string, scope: Scope = "live"): readonly number[] | Refusal {
    const versions = this.#shelf.versions(subject, scope);
    return versions.length === 0 ? refusals.noSubject(subject) : versions;
  }

  /** `version` is a number from 1, `latest` or `-1`. Refusals: 40401, 40402, 42202. */
  version(subject: string, version: string, scope: Scope = "live"): SubjectVersion | Refusal {
    const wanted = readVersion(version);
    if (isRefusal(wanted)) return wanted;
    if (!this.#shelf.has(subject, scope)) return refusals.noSubject(subject);
    const number = wanted === "latest" ? this.#latest(subject) : wanted;
    return this.#shelf.at(subject, number, scope) ?? refusals.noVersion(version);
  }

  /** Where an id is used. Refusal: 40403. */
  uses(id: number, scope: Scope = "live"): readonly SubjectVersion[] | Refusal {
    return this.#shelf.isPublic(id) ? this.#shelf.uses(id, scope) : refusals.noSchema(String(id));
  }

  /** Why a schema could not follow the one version; empty when it could. Refusals as of `version`, 42201. */
  test(subject: string, version: string, text: string): readonly string[] | Refusal {
    const parsed = parse(text);
    if (isRefusal(parsed)) return parsed;
    const against = this.version(subject, version);
    return isRefusal(against) ? against : this.#problems(subject, parsed, [against.version]);
  }

  /** Why a schema could not be registered at the subject's level; empty when it could. Refusal: 42201. */
  testAll(subject: string, text: string): readonly string[] | Refusal {
    const parsed = parse(text);
    return isRefusal(parsed) ? parsed : this.#problems(subject, parsed, this.#shelf.versions(subject, "live"));
  }

  /**
   * Hides a version, or with `permanent` deletes a hidden one for good. Resolves with its number.
   * Refusals: 40401, 40402, 40406 (hidden already), 40407 (not hidden yet), 42202, 42205 (read-only).
   */
  async deleteVersion(subject: string, version: string, permanent: boolean): Promise<number | Refusal> {
    return this.#store.transaction(() => {
      const found = this.version(subject, version, "all");
      if (isRefusal(found)) return found;
      const live = this.#shelf.at(subject, found.version, "live") !== undefined;
      if (!live && !permanent) return refusals.versionDeleted(subject, found.version);
      if (this.#settings.isReadOnly(subject)) return readOnly(subject);
      if (live && permanent) return refusals.versionNotDeleted(subject, found.version);
      if (permanent) this.#shelf.purge(subject, [found.version]);
      else this.#hide(subject, [found.version]);
      return found.version;
    });
  }

  /**
   * Hides all versions of a subject, or with `permanent` deletes them for good, when all are hidden. Resolves with their numbers.
   * Refusals: 40401, 40404 (hidden already), 40405 (not hidden yet), 42205 (read-only).
   */
  async deleteSubject(subject: string, permanent: boolean): Promise<readonly number[] | Refusal> {
    return this.#store.transaction(() => {
      const [live, all] = [this.#shelf.versions(subject, "live"), this.#shelf.versions(subject, "all")];
      if (all.length === 0) return refusals.noSubject(subject);
      if (live.length === 0 && !permanent) return refusals.subjectDeleted(subject);
      if (this.#settings.isReadOnly(subject)) return readOnly(subject);
      if (live.length > 0 && permanent) return refusals.subjectNotDeleted(subject);
      if (permanent) this.#shelf.purge(subject, all);
      else this.#hide(subject, live);
      return permanent ? all : live;
    });
  }

  /** The level that registrations in this subject are held to; without a subject the registry's own. */
  compatibility(subject: Holder = GLOBAL): Compatibility {
    return this.#settings.level(subject);
  }

  ownCompatibility(subject: string): Compatibility | undefined {
    return this.#settings.ownLevel(subject);
  }

  /** Without a subject the registry's own. Refusals: 42203 (no such level), 42205 (read-only), 42208. */
  async setCompatibility(subject: Holder, level: string): Promise<Compatibility | Refusal> {
    const known = readLevel(level);
    if (isRefusal(known)) return known;
    return this.#change(subject, () => {
      this.#settings.setLevel(subject, known);
      return known;
    });
  }

  /** Resolves with the level that was: the subject goes back to the registry's, the registry to its default. Refusals: 40401, 42205, 42208. */
  async deleteCompatibility(subject: Holder): Promise<Compatibility | Refusal> {
    return this.#change(subject, () => {
      const own = subject === GLOBAL ? this.#settings.level(GLOBAL) : this.#settings.ownLevel(subject);
      if (own === undefined) return refusals.noSubject(String(subject));
      this.#settings.dropLevel(subject);
      return own;
    });
  }

  /** The mode that holds in this subject; without a subject the registry's own. */
  mode(subject: Holder = GLOBAL): Mode {
    return this.#settings.mode(subject);
  }

  ownMode(subject: string): Mode | undefined {
    return this.#settings.ownMode(subject);
  }

  /**
   * IMPORT needs a subject, or for the registry all, without versions, and drops hidden ones; with `force` it goes beside them.
   * Refusals: 42204 (no such mode), 42205 (there are versions), 42208.
   */
  async setMode(subject: Holder, mode: string, force: boolean): Promise<Mode | Refusal> {
    if (subject !== GLOBAL && !isSubject(subject)) return refusals.invalidSubject(subject);
    const known = readMode(mode);
    if (isRefusal(known)) return known;
    return this.#store.transaction(() => {
      if (known === "IMPORT" && !force && this.#settings.mode(subject) !== "IMPORT") {
        const subjects = subject === GLOBAL ? this.#shelf.subjects("all") : [subject];
        if (subjects.some((each) => this.#shelf.has(each, "live")))
          return refusals.notPermitted("Cannot import since found existing subjects");
        for (const each of subjects) this.#shelf.purge(each, this.#shelf.versions(each, "all"));
      }
      this.#settings.setMode(subject, known);
      return known;
    });
  }

  /** Resolves with the mode that was. Refusals: 40401, 42208. */
  async deleteMode(subject: Holder): Promise<Mode | Refusal> {
    if (subject !== GLOBAL && !isSubject(subject)) return refusals.invalidSubject(subject);
    return this.#store.transaction(() => {
      const own = subject === GLOBAL ? this.#settings.mode(GLOBAL) : this.#settings.ownMode(subject);
      if (own === undefined) return refusals.noSubject(String(subject));
      this.#settings.dropMode(subject);
      return own;
    });
  }

  async #change<T>(subject: Holder, change: () => T | Refusal): Promise<T | Refusal> {
    if (subject !== GLOBAL && !isSubject(subject)) return refusals.invalidSubject(subject);
    return this.#store.transaction(() => (this.#settings.isReadOnly(subject) ? readOnly(subject) : change()));
  }

  /** Of the versions that are there; of the hidden ones when all are. */
  #latest(subject: string): number {
    return this.#shelf.versions(subject, "live").at(-1) ?? this.#shelf.versions(subject, "all").at(-1) ?? 0;
  }

  #refusedBy(subject: string, parsed: ParsedSchema, { id, version }: Wanted): Refusal | undefined {
    const mode = this.#settings.mode(subject);
    if (this.#settings.isReadOnly(subject)) return readOnly(subject);
    if (id === undefined && mode === "IMPORT") return refusals.notPermitted(`Subject ${subject} is not in read-write mode`);
    if (id !== undefined && mode !== "IMPORT") return refusals.notPermitted(`Subject ${subject} is not in import mode`);
    if (id !== undefined && !this.#shelf.mayBe(id, parsed.fingerprint))
      return refusals.notPermitted(`Overwrite new schema with id ${id} is not permitted.`);
    if (mode === "IMPORT") {
      const taken = version !== undefined && this.#shelf.at(subject, version, "live") !== undefined;
      return taken ? refusals.notPermitted(`Overwrite version ${version} of subject ${subject} is not permitted.`) : undefined;
    }
    if (version !== undefined && version !== this.#shelf.nextVersion(subject))
      return refusals.invalidSchema("Version is not one more than previous version");
    const problems = this.#problems(subject, parsed, this.#shelf.versions(subject, "live"));
    return problems.length === 0 ? undefined : refusals.incompatible(subject, this.#settings.level(subject), problems);
  }

  #place(subject: string, parsed: ParsedSchema, text: string, wanted: Wanted): { readonly id: number } {
    const id = wanted.id ?? this.#shelf.idOf(parsed.fingerprint, text);
    this.#shelf.keep(id, parsed.fingerprint, text);
    this.#shelf.place(subject, wanted.version ?? this.#shelf.nextVersion(subject), id);
    return { id };
  }

  /** With its last version a subject loses its level and its mode. */
  #hide(subject: string, versions: readonly number[]): void {
    for (const version of versions) this.#shelf.hide(subject, version);
    if (this.#shelf.has(subject, "live")) return;
    this.#settings.dropLevel(subject);
    this.#settings.dropMode(subject);
  }

  #problems(subject: string, next: ParsedSchema, versions: readonly number[]): readonly string[] {
    const earlier = versions.map((version) => parseSchema(this.#shelf.at(subject, version, "all")?.schema ?? "").type);
    return incompatibilities(this.#settings.level(subject), next.type, earlier);
  }
}

function parse(text: string): ParsedSchema | Refusal {
  try {
    return parseSchema(text);
  } catch (error) {
    return refusals.invalidSchema(`The schema is not valid Avro: ${reasonOf(error)}`);
  }
}

function readVersion(text: string): number | "latest" | Refusal {
  if (text === "latest" || text === "-1") return "latest";
  const valid = /^[1-9]\d{0,9}$/.test(text) && Number(text) <= 0x7fff_ffff;
  return valid ? Number(text) : refusals.invalidVersion(text);
}

function readOnly(subject: Holder): Refusal {
  return refusals.notPermitted(subject === GLOBAL ? "The registry is in read-only mode" : `Subject ${subject} is in read-only mode`);
}

/** By the caller's rule, and R-logical. */
function changesOfMeaning(next: Type, latest: string, rule: FollowRule): readonly string[] {
  const ruled = rule(latest);
  return [...(ruled === null ? [] : [ruled]), ...logicalChanges(next, parseSchema(latest).type)];
}
