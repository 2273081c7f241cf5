// The client of a Confluent-compatible registry: the requests that Tailrace makes, each with a bound and an error by code.
//
// Not by @kafkajs/confluent-schema-registry: its register() writes BACKWARD into the subject's config, its getSchema()
// gives a parsed type whose logical types are lost, and neither takes an AbortSignal.
import { deadline } from "../core/deadline.ts";
import { TailraceError, reasonOf } from "../core/errors.ts";
import {
  NO_RULE,
  type Compatibility,
  type FollowRule,
  type Registered,
  type SchemaRegistry,
  type SchemaTrial,
  type TrialVerdict,
} from "../core/schema-registry.ts";
import { parseSchema } from "./avro-schema.ts";
import { logicalChanges } from "./compatibility.ts";

export type ConfluentRegistryOptions = {
  /** Read again at every request. It may end in a path, and hold credentials, which never show in `address` or an error. */
  readonly url: () => string;
  /** Read again at every request; goes before credentials in the URL. */
  readonly auth?: (() => { readonly username: string; readonly password: string }) | undefined;
  /** When set, written to the config of each subject before this process registers in it; else no config is written. */
  readonly compatibility?: Compatibility | undefined;
  /** How long one request may take, ms; default 10,000. */
  readonly timeoutMs?: number;
  readonly metrics?: RegistryMetrics;
};

/** What the client counts. `code` is the HTTP status, or `none` when there was no answer. */
export type RegistryMetrics = {
  readonly registryRequests: { inc(labels: { readonly code: string }): void };
  readonly registryRefusals: { inc(): void };
};

type Answer = { readonly status: number; readonly body: unknown; readonly words: string };

/** How much of a registry's words goes into an error, characters. */
const WORDS_LIMIT = 1000;

/** Opens no connection: the first request does. */
export function openConfluentRegistry(options: ConfluentRegistryOptions): SchemaRegistry & SchemaTrial {
  return new ConfluentRegistry(options);
}

class ConfluentRegistry implements SchemaRegistry, SchemaTrial {
  readonly #options: ConfluentRegistryOptions;
  readonly #configured = new Set<string>();
  /** Subjects in which this process has registered or found a schema. */
  readonly #known = new Set<string>();
  /** Texts by id. As many as there are schemas in the topics read. */
  readonly #schemas = new Map<number, string>();

  constructor(options: ConfluentRegistryOptions) {
    this.#options = options;
  }

  get address(): string {
    try {
      return addressOf(new URL(this.#options.url()));
    } catch {
      return "(registry.url)";
    }
  }

  get url(): string {
    return this.address;
  }

  async register(
    subject: string,
    schema: string,
    signal: AbortSignal,
    what: Registered = "present",
    rule: FollowRule = NO_RULE,
  ): Promise<number> {
    await this.#configure(subject, what === "anything" ? "NONE" : this.#options.compatibility, signal);
    const path = pathOf(subject);
    const known = await this.#request("POST", what === "past" ? `${path}?deleted=true` : path, { schema }, signal);
    if (known.status === 200) {
      this.#known.add(subject);
      return idOf(known, this.address);
    }
    if (known.status !== 404) throw this.#failure(known, subject);
    const isEmpty = what !== "anything" && !(await this.#checkMeaning(subject, schema, rule, signal));
    // With its last version a subject may have lost its level.
    if (isEmpty && this.#known.has(subject) && this.#configured.delete(subject))
      await this.#configure(subject, this.#options.compatibility, signal);
    const answer = await this.#request("POST", `${path}/versions`, { schema }, signal);
    if (answer.status !== 200) throw this.#failure(answer, subject);
    this.#known.add(subject);
    return idOf(answer, this.address);
  }

  async latest(subject: string, signal: AbortSignal): Promise<string | null> {
    const answer = await this.#request("GET", `${pathOf(subject)}/versions/latest`, undefined, signal);
    if (answer.status === 404) return null;
    const schema = field(answer.body, "schema");
    if (answer.status !== 200 || typeof schema !== "string") throw this.#failure(answer, subject);
    return schema;
  }

  /** Asks at the subject's level as it is now: register() sets the one of the options first, when it is set. */
  async tryOut(subject: string, schema: string, signal: AbortSignal, rule: FollowRule = NO_RULE): Promise<TrialVerdict> {
    const known = await this.#request("POST", pathOf(subject), { schema }, signal);
    if (known.status === 200) return { verdict: "known" };
    if (known.status !== 404) throw this.#failure(known);
    try {
      await this.#checkMeaning(subject, schema, rule, signal);
    } catch (cause) {
      if (cause instanceof TailraceError && cause.code === "REGISTRY_REFUSED") return { verdict: "refused", reason: cause.message };
      throw cause;
    }
    // One by one: what Apicurio answers of all at once is the same at every level (docs/registry.md), and not each registry knows that request.
    const versions = (await this.#isTransitive(subject, signal)) ? await this.#versions(subject, signal) : ["latest"];
    const reasons = new Map<string, (number | string)[]>();
    let there = 0;
    for (const version of versions) {
      const verdict = await this.#tryOn(subject, version, schema, signal);
      if (verdict === "gone") continue;
      there += 1;
      if (verdict !== "fits") reasons.set(verdict.reason, [...(reasons.get(verdict.reason) ?? []), version]);
    }
    if (reasons.size === 0) return { verdict: there > 0 ? "fits" : "first" };
    const lines = [...reasons].map(([reason, of]) => (of[0] === "latest" ? reason : `after version ${of.join(", ")}: ${reason}`));
    return { verdict: "refused", reason: lines.join("; ").slice(0, WORDS_LIMIT) };
  }

  async schema(id: number, signal: AbortSignal): Promise<string> {
    const cached = this.#schemas.get(id);
    if (cached !== undefined) return cached;
    const answer = await this.#request("GET", `/schemas/ids/${id}`, undefined, signal);
    const unknown = (reason: string): TailraceError => new TailraceError("SCHEMA_UNKNOWN", { id, address: this.address, reason });
    if (answer.status === 404 && field(answer.body, "error_code") !== undefined) throw unknown(answer.words);
    if (answer.status !== 200) throw this.#failure(answer);
    const [schema, type, references] = [
      field(answer.body, "schema"),
      field(answer.body, "schemaType") ?? "AVRO",
      field(answer.body, "references"),
    ];
    if (type !== "AVRO") throw unknown(`it is of type ${JSON.stringify(type)}, not AVRO`);
    if (Array.isArray(references) && references.length > 0) throw unknown("it refers to other schemas");
    if (typeof schema !== "string") throw notARegistry(this.address, answer);
    this.#schemas.set(id, schema);
    return schema;
  }

  async #configure(subject: string, compatibility: Compatibility | undefined, signal: AbortSignal): Promise<void> {
    if (compatibility === undefined || this.#configured.has(subject)) return;
    const put = async (level: Compatibility): Promise<Answer> =>
      this.#request("PUT", `/config/${encodeURIComponent(subject)}`, { compatibility: level }, signal);
    let answer = await put(compatibility);
    // Apicurio takes NONE for the deletion of a level, and has none to delete before there was one.
    if (answer.status === 404 && compatibility === "NONE" && (await put("BACKWARD")).status === 200) answer = await put("NONE");
    if (answer.status !== 200) throw this.#failure(answer, subject);
    this.#configured.add(subject);
  }

  /** R-logical and the caller's rule, whatever the registry says: registries compare base types only. false: the subject has no version. */
  async #checkMeaning(subject: string, schema: string, rule: FollowRule, signal: AbortSignal): Promise<boolean> {
    const before = await this.latest(subject, signal);
    if (before === null) return false;
    const ruled = rule(before);
    const changes = [...(ruled === null ? [] : [ruled]), ...changesOfMeaning(schema, before)];
    if (changes.length > 0) throw this.#refusal(subject, changes.join("; "));
    return true;
  }

  /** What the registry says of a schema after one version. `gone`: the subject has no such version. */
  async #tryOn(
    subject: string,
    version: number | string,
    schema: string,
    signal: AbortSignal,
  ): Promise<"gone" | "fits" | { readonly reason: string }> {
    // Apicurio gives the messages only when asked for, Confluent's knows no other place for them.
    const path = `/compatibility${pathOf(subject)}/versions/${version}?verbose=true`;
    const answer = await this.#request("POST", path, { schema }, signal);
    if (answer.status === 404 && field(answer.body, "error_code") !== undefined) return "gone";
    if (answer.status === 422) return { reason: answer.words };
    const fits = field(answer.body, "is_compatible");
    if (answer.status !== 200 || typeof fits !== "boolean") throw this.#failure(answer);
    if (fits) return "fits";
    const messages = field(answer.body, "messages");
    const hasWords = Array.isArray(messages) && messages.length > 0;
    return { reason: hasWords ? messages.map(String).join("; ") : "it is incompatible with an earlier schema" };
  }

  /** Whether a registration is held against all versions of the subject. false also where nobody may ask. */
  async #isTransitive(subject: string, signal: AbortSignal): Promise<boolean> {
    let level: unknown = this.#options.compatibility;
    // Apicurio says NONE of a subject that the registry's own level holds for.
    for (const path of [`/config/${encodeURIComponent(subject)}?defaultToGlobal=true`, "/config"]) {
      if (level !== undefined && level !== "NONE") break;
      const answer = await this.#request("GET", path, undefined, signal);
      level = field(answer.body, "compatibilityLevel");
    }
    return String(level).endsWith("_TRANSITIVE");
  }

  /** Those that are not deleted, the latest first. */
  async #versions(subject: string, signal: AbortSignal): Promise<readonly number[]> {
    const answer = await this.#request("GET", `${pathOf(subject)}/versions`, undefined, signal);
    if (answer.status === 404 && field(answer.body, "error_code") !== undefined) return [];
    const { body } = answer;
    if (answer.status !== 200 || !Array.isArray(body)) throw this.#failure(answer);
    return body.map(Number).toReversed();
  }

  /** An answer, of whatever status. */
  async #request(method: "GET" | "POST" | "PUT", path: string, body: object | undefined, signal: AbortSignal): Promise<Answer> {
    signal.throwIfAborted();
    const { timeoutMs = 10_000, metrics } = this.#options;
    const { base, address, authorization, secrets } = this.#target();
    using bound = deadline(timeoutMs, signal);
    try {
      const response = await fetch(base + path, {
        method,
        headers: {
          accept: "application/vnd.schemaregistry.v1+json, application/json",
          ...(body === undefined ? {} : { "content-type": "application/vnd.schemaregistry.v1+json" }),
          ...(authorization === undefined ? {} : { authorization }),
        },
        body: body === undefined ? null : JSON.stringify(body),
        redirect: "manual",
        signal: bound.signal,
      });
      const text = await response.text();
      metrics?.registryRequests.inc({ code: String(response.status) });
      const parsed = json(text);
      const message = field(parsed, "message");
      const words = typeof message === "string" ? message : text.startsWith("<") ? "" : text; // a proxy's page says nothing
      return { status: response.status, body: parsed, words: withoutSecrets(words, secrets).slice(0, WORDS_LIMIT) };
    } catch (error) {
      signal.throwIfAborted();
      metrics?.registryRequests.inc({ code: "none" });
      throw new TailraceError("REGISTRY_UNREACHABLE", { address, reason: withoutSecrets(whyNot(error, timeoutMs), secrets) });
    }
  }

  /** Where to ask now. fetch refuses a URL with credentials, and its error would show them. */
  #target(): { base: string; address: string; authorization: string | undefined; secrets: readonly string[] } {
    const given = this.#options.url();
    const auth = this.#options.auth?.();
    if (!URL.canParse(given))
      throw new TailraceError("REGISTRY_UNREACHABLE", { address: "(registry.url)", reason: "registry.url is not a URL" });
    const url = new URL(given);
    const username = auth?.username ?? percentDecoded(url.username);
    const password = auth?.password ?? percentDecoded(url.password);
    const address = addressOf(url);
    if (username === "" && password === "") return { base: address, address, authorization: undefined, secrets: [] };
    const token = Buffer.from(`${username}:${password}`).toString("base64");
    return {
      base: address,
      address,
      authorization: `Basic ${token}`,
      secrets: [password, encodeURIComponent(password), url.password, token],
    };
  }

  #failure(answer: Answer, subject?: string): TailraceError {
    const { status } = answer;
    const reason = answer.words === "" ? `HTTP ${status}` : `HTTP ${status}: ${answer.words}`;
    if (status === 401 || status === 403) return new TailraceError("REGISTRY_LOGIN", { address: this.address, reason });
    if (subject !== undefined && (status === 409 || status === 422)) return this.#refusal(subject, answer.words);
    if (status === 200 || status === 404) return notARegistry(this.address, answer);
    return new TailraceError("REGISTRY_UNREACHABLE", { address: this.address, reason });
  }

  #refusal(subject: string, reason: string): TailraceError {
    this.#options.metrics?.registryRefusals.inc();
    return new TailraceError("REGISTRY_REFUSED", { subject, reason });
  }
}

/** Empty when the schema before is no Avro: then the registry has the word. */
function changesOfMeaning(schema: string, before: string): readonly string[] {
  try {
    return logicalChanges(parseSchema(schema).type, parseSchema(before).type);
  } catch {
    return [];
  }
}

function pathOf(subject: string): string {
  return `/subjects/${encodeURIComponent(subject)}`;
}

/** Origin and path: no credentials, no query (where tokens may stand), no slash at the end. */
function addressOf(url: URL): string {
  return (url.origin + url.pathname).replace(/\/+$/, "");
}

function percentDecoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text; // a stray % stands for itself
  }
}

/** Secrets of fewer than 4 characters would make holes in every word. */
function withoutSecrets(text: string, secrets: readonly string[]): string {
  return secrets.filter((secret) => secret.length > 3).reduce((rest, secret) => rest.replaceAll(secret, "***"), text);
}

function idOf(answer: Answer, address: string): number {
  const id = field(answer.body, "id");
  if (typeof id !== "number") throw notARegistry(address, answer);
  return id;
}

function notARegistry(address: string, answer: Answer): TailraceError {
  const reason = `HTTP ${answer.status}, not the answer of a schema registry; is the path of registry.url right?`;
  return new TailraceError("REGISTRY_UNREACHABLE", { address, reason });
}

/** fetch hides the reason of a failed connection in its cause. */
function whyNot(error: unknown, timeoutMs: number): string {
  if (error instanceof Error && error.name === "TimeoutError") return `no answer within ${timeoutMs} ms`;
  return reasonOf(error instanceof TypeError && error.cause !== undefined ? error.cause : error);
}

function json(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function field(body: unknown, name: string): unknown {
  return typeof body === "object" && body !== null ? (body as Record<string, unknown>)[name] : undefined;
}
