// The embedded registry: Confluent's rules of ids, subjects and versions over a store. No HTTP here: routes.ts serves it,
// and Tailrace's own source and sink call it in process.
//
// Stored: ["last id"] → number · ["schema", id] → text · ["id", fingerprint] → id
//         ["subject", name] → latest version · ["version", name, version] → id · ["config", name] → compatibility level
import { TailraceError, reasonOf } from "../core/errors.ts";
import { compatibilityLevels, type Compatibility, type SchemaRegistry } from "../core/schema-registry.ts";
import { parseSchema, type ParsedSchema } from "./avro-schema.ts";
import { incompatibilities } from "./compatibility.ts";
import type { RegistryStore } from "./store.ts";

/** What Confluent's API answers in place of a result. The HTTP status is the code, or its first three digits. */
export type Refusal = { readonly error_code: number; readonly message: string };

export type SubjectVersion = { readonly subject: string; readonly id: number; readonly version: number; readonly schema: string };

export type EmbeddedRegistryOptions = {
  readonly store: RegistryStore;
  /** For messages: the folder. */
  readonly address: string;
  /** Level of the subjects that have none of their own; default BACKWARD. */
  readonly compatibility?: Compatibility;
};

/** Longer subjects would not fit a key of the store. Kafka's topic names have at most 249 characters. */
const SUBJECT_LIMIT = 512;

/** Tells a refusal from a result. */
export function isRefusal(answer: unknown): answer is Refusal {
  return typeof answer === "object" && answer !== null && "error_code" in answer;
}

/** Also the port for Tailrace's own source and sink. Reads are synchronous; a registration resolves when it is on disk. */
export class EmbeddedRegistry implements SchemaRegistry {
  readonly address: string;
  readonly #store: RegistryStore;
  readonly #default: Compatibility;

  constructor(options: EmbeddedRegistryOptions) {
    this.#store = options.store;
    this.address = options.address;
    this.#default = options.compatibility ?? "BACKWARD";
  }

  /** Throws REGISTRY_REFUSED (no Avro, incompatible), REGISTRY_UNREACHABLE (the disk). */
  async register(subject: string, schema: string, signal: AbortSignal): Promise<number> {
    signal.throwIfAborted();
    const answer = await this.add(subject, schema).catch((cause: unknown) => {
      throw new TailraceError("REGISTRY_UNREACHABLE", { address: this.address, reason: reasonOf(cause) }, { cause });
    });
    if (isRefusal(answer)) throw new TailraceError("REGISTRY_REFUSED", { subject, reason: answer.message });
    return answer.id;
  }

  async schema(id: number, signal: AbortSignal): Promise<string> {
    signal.throwIfAborted();
    const schema = this.text(id);
    if (schema === undefined) throw new TailraceError("SCHEMA_UNKNOWN", { id, address: this.address, reason: "it has no such id" });
    return schema;
  }

  /** The text of an id, as it was first registered. */
  text(id: number): string | undefined {
    return this.#store.get(["schema", id]) as string | undefined;
  }

  /** Registers a schema. The same schema gets the same id in every subject, and one version in each. Refusals: 409, 42201, 42208. */
  async add(subject: string, text: string): Promise<{ readonly id: number } | Refusal> {
    if (!isSubject(subject)) return invalidSubject(subject);
    const parsed = parse(text);
    if (isRefusal(parsed)) return parsed;
    return this.#store.transaction(() => {
      const known = this.#versionWith(subject, parsed.fingerprint);
      if (known !== undefined) return { id: known.id };
      const problems = this.#problems(subject, parsed, this.versions(subject) ?? []);
      if (problems.length > 0) return incompatible(subject, this.compatibility(subject), problems);
      const id = this.#idOf(parsed.fingerprint, text);
      const version = this.#latest(subject) + 1;
      this.#store.put(["version", subject, version], id);
      this.#store.put(["subject", subject], version);
      return { id };
    });
  }

  /** The version under which a subject has this schema. Refusals: 40401, 40403, 42201. */
  lookUp(subject: string, text: string): SubjectVersion | Refusal {
    const parsed = parse(text);
    if (isRefusal(parsed)) return parsed;
    if (this.#latest(subject) === 0) return noSubject(subject);
    return this.#versionWith(subject, parsed.fingerprint) ?? { error_code: 40403, message: "Schema not found" };
  }

  /** In alphabetical order. */
  subjects(): readonly string[] {
    return this.#store.list(["subject"]).map(({ last }) => String(last));
  }

  /** Ascending; undefined when there is no such subject. */
  versions(subject: string): readonly number[] | undefined {
    const latest = this.#latest(subject);
    return latest === 0 ? undefined : Array.from({ length: latest }, (_, index) => index + 1);
  }

  /** `version` is a number from 1, `latest` or `-1`. Refusals: 40401, 40402, 42202. */
  version(subject: string, version: string): SubjectVersion | Refusal {
    const latest = this.#latest(subject);
    const wanted = version === "latest" || version === "-1" ? latest : Number(version);
    if (!/^(latest|-1|[1-9]\d{0,9})$/.test(version) || wanted > 0x7fff_ffff)
      return {
        error_code: 42202,
        message: `The specified version '${version}' is not a valid version id. Allowed values are between [1, 2^31-1] and the string "latest"`,
      };
    if (latest === 0) return noSubject(subject);
    return this.#at(subject, wanted) ?? { error_code: 40402, message: `Version ${version} not found.` };
  }

  /** Why a schema could not follow the one version; empty when it could. Refusals as of `version`, 42201. */
  test(subject: string, version: string, text: string): readonly string[] | Refusal {
    const parsed = parse(text);
    if (isRefusal(parsed)) return parsed;
    const against = this.version(subject, version);
    return isRefusal(against) ? against : this.#problems(subject, parsed, [against.version]);
  }

  /** The level that registrations in this subject are held to; without a subject the registry's own. */
  compatibility(subject?: string): Compatibility {
    return this.ownCompatibility(subject ?? "") ?? this.#default;
  }

  ownCompatibility(subject: string): Compatibility | undefined {
    return this.#store.get(["config", subject]) as Compatibility | undefined;
  }

  /** Refusals: 42203 (no such level), 42208. */
  async setCompatibility(subject: string, level: string): Promise<Compatibility | Refusal> {
    if (!isSubject(subject)) return invalidSubject(subject);
    const known = compatibilityLevels.find((candidate) => candidate === level.toUpperCase());
    if (known === undefined)
      return { error_code: 42203, message: `Invalid compatibility level. Valid values are ${compatibilityLevels.join(", ")}` };
    await this.#store.transaction(() => {
      this.#store.put(["config", subject], known);
    });
    return known;
  }

  #latest(subject: string): number {
    return (this.#store.get(["subject", subject]) as number | undefined) ?? 0;
  }

  #at(subject: string, version: number): SubjectVersion | undefined {
    const id = this.#store.get(["version", subject, version]) as number | undefined;
    return id === undefined ? undefined : { subject, id, version, schema: this.text(id) ?? "" };
  }

  #versionWith(subject: string, fingerprint: string): SubjectVersion | undefined {
    const id = this.#store.get(["id", fingerprint]) as number | undefined;
    const found = id === undefined ? undefined : this.#store.list(["version", subject]).find(({ value }) => value === id);
    return found === undefined ? undefined : this.#at(subject, Number(found.last));
  }

  #idOf(fingerprint: string, text: string): number {
    const known = this.#store.get(["id", fingerprint]) as number | undefined;
    if (known !== undefined) return known;
    const id = ((this.#store.get(["last id"]) as number | undefined) ?? 0) + 1;
    this.#store.put(["last id"], id);
    this.#store.put(["schema", id], text);
    this.#store.put(["id", fingerprint], id);
    return id;
  }

  #problems(subject: string, next: ParsedSchema, versions: readonly number[]): readonly string[] {
    const earlier = versions.map((version) => parseSchema(this.#at(subject, version)?.schema ?? "").type);
    return incompatibilities(this.compatibility(subject), next.type, earlier);
  }
}

function parse(text: string): ParsedSchema | Refusal {
  try {
    return parseSchema(text);
  } catch (error) {
    return { error_code: 42201, message: `The schema is not valid Avro: ${reasonOf(error)}` };
  }
}

function isSubject(subject: string): boolean {
  return subject !== "" && subject.length <= SUBJECT_LIMIT;
}

function invalidSubject(subject: string): Refusal {
  return { error_code: 42208, message: `The specified subject '${subject}' is not a valid subject` };
}

function noSubject(subject: string): Refusal {
  return { error_code: 40401, message: `Subject '${subject}' not found.` };
}

function incompatible(subject: string, level: Compatibility, problems: readonly string[]): Refusal {
  return {
    error_code: 409,
    message: `Schema being registered is incompatible with an earlier schema for subject "${subject}" (${level}): ${problems.join("; ")}`,
  };
}
