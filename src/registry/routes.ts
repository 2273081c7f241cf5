// The embedded registry's HTTP API: Confluent's, as its "Schema Registry API Reference" has it, for Avro without references.
// Paths and answers; the rules are embedded.ts's.
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import type { EmbeddedRegistry, Wanted } from "./embedded.ts";
import { isRefusal, refusals, type Refusal } from "./refusals.ts";
import { GLOBAL, type Holder } from "./settings.ts";
import type { Scope, SubjectVersion } from "./shelf.ts";

const CONTENT_TYPE = "application/vnd.schemaregistry.v1+json";

/** Values are texts, or lists where a name is given twice. */
type Query = { readonly Querystring: Readonly<Record<string, unknown>> };
type Subject = Query & { Params: { subject: string } };
type Version = Query & { Params: { subject: string; version: string } };
type Id = Query & { Params: { id: string } };

/**
 * A Fastify plugin; register it with `{ prefix: "/registry" }`. The server needs `maxParamLength` of 1024 or more
 * (Fastify's default of 100 answers 414 to longer subjects). Answers and error codes are Confluent's.
 */
export function registryRoutes(registry: EmbeddedRegistry): (server: FastifyInstance) => Promise<void> {
  return async (server) => {
    server.removeAllContentTypeParsers();
    // Not every type: a web page may send text/plain to an address of this machine without asking.
    server.addContentTypeParser(
      /^application\/(json|vnd\.schemaregistry(\.v1)?\+json)\b/,
      { parseAs: "string" },
      (_request, body, done) => {
        parseBody(body as string, done);
      },
    );
    server.setErrorHandler((error: { readonly statusCode?: number; readonly message: string }, _request, reply) => {
      const status = error.statusCode ?? 500;
      return send(reply, { error_code: status >= 500 ? 50001 : status, message: error.message });
    });
    server.setNotFoundHandler((_request, reply) => send(reply, { error_code: 404, message: "HTTP 404 Not Found" }));

    server.get("/", (_request, reply) => send(reply, {}));
    server.get("/contexts", (_request, reply) => send(reply, ["."]));
    subjects(server, registry);
    schemas(server, registry);
    compatibility(server, registry);
    config(server, registry);
    mode(server, registry);
  };
}

/** Chapter Subjects. */
function subjects(server: FastifyInstance, registry: EmbeddedRegistry): void {
  server.get<Query>("/subjects", ({ query }, reply) => {
    const found = registry.subjects(scopeOf(query)).filter((subject) => subject.startsWith(prefixOf(query)));
    return send(reply, page(found, query));
  });
  server.post<Subject>("/subjects/:subject", ({ params, query, body }, reply) => {
    const asked = registrationOf(body);
    return send(reply, isRefusal(asked) ? asked : registry.lookUp(params.subject, asked.schema, scopeOf(query)));
  });
  server.delete<Subject>("/subjects/:subject", async ({ params, query }, reply) =>
    send(reply, await registry.deleteSubject(params.subject, isSet(query.permanent))),
  );
  server.get<Subject>("/subjects/:subject/versions", ({ params, query }, reply) => {
    const versions = registry.versions(params.subject, scopeOf(query));
    return send(reply, isRefusal(versions) ? versions : page(versions, query));
  });
  server.post<Subject>("/subjects/:subject/versions", async ({ params, body }, reply) => {
    const asked = registrationOf(body);
    return send(reply, isRefusal(asked) ? asked : await registry.add(params.subject, asked.schema, asked));
  });
  server.get<Version>("/subjects/:subject/versions/:version", (request, reply) => send(reply, versionOf(registry, request)));
  server.get<Version>("/subjects/:subject/versions/:version/schema", (request, reply) => {
    const version = versionOf(registry, request);
    return isRefusal(version) ? send(reply, version) : sendText(reply, version.schema);
  });
  server.get<Version>("/subjects/:subject/versions/:version/referencedby", (request, reply) => {
    const version = versionOf(registry, request);
    return send(reply, isRefusal(version) ? version : []);
  });
  server.delete<Version>("/subjects/:subject/versions/:version", async ({ params, query }, reply) =>
    send(reply, await registry.deleteVersion(params.subject, params.version, isSet(query.permanent))),
  );
}

/** Chapter Schemas. */
function schemas(server: FastifyInstance, registry: EmbeddedRegistry): void {
  server.get<Query>("/schemas", ({ query }, reply) => {
    const scope = scopeOf(query);
    const named = registry.subjects(scope).filter((subject) => subject.startsWith(prefixOf(query)));
    const found = named.flatMap((subject) => {
      const versions = registry.versions(subject, scope);
      if (isRefusal(versions)) return [];
      const wanted = isSet(query.latestOnly) ? versions.slice(-1) : versions;
      return wanted.map((version) => registry.version(subject, String(version), "all"));
    });
    return send(reply, page(found, query));
  });
  server.get("/schemas/types", (_request, reply) => send(reply, ["AVRO"]));
  server.get<Id>("/schemas/ids/:id", ({ params, query }, reply) => {
    const schema = textOf(registry, params.id);
    const more = isSet(query.fetchMaxId) ? { maxId: registry.lastId() } : {};
    return send(reply, schema === undefined ? refusals.noSchema(params.id) : { schema, ...more });
  });
  server.get<Id>("/schemas/ids/:id/schema", ({ params }, reply) => {
    const schema = textOf(registry, params.id);
    return schema === undefined ? send(reply, refusals.noSchema(params.id)) : sendText(reply, schema);
  });
  server.get<Id>("/schemas/ids/:id/subjects", ({ params, query }, reply) => {
    const uses = usesOf(registry, params.id, scopeOf(query));
    return send(reply, isRefusal(uses) ? uses : page([...new Set(uses.map(({ subject }) => subject))], query));
  });
  server.get<Id>("/schemas/ids/:id/versions", ({ params, query }, reply) => {
    const uses = usesOf(registry, params.id, scopeOf(query));
    const named = isRefusal(uses) ? uses : uses.map(({ subject, version }) => ({ subject, version }));
    return send(reply, isRefusal(named) ? named : page(named, query));
  });
}

/** Chapter Compatibility. */
function compatibility(server: FastifyInstance, registry: EmbeddedRegistry): void {
  const verdict = (reply: FastifyReply, problems: readonly string[] | Refusal, verbose: boolean): FastifyReply => {
    if (isRefusal(problems)) return send(reply, problems);
    return send(reply, { is_compatible: problems.length === 0, ...(verbose ? { messages: problems } : {}) });
  };
  server.post<Version>("/compatibility/subjects/:subject/versions/:version", ({ params, query, body }, reply) => {
    const asked = registrationOf(body);
    const problems = isRefusal(asked) ? asked : registry.test(params.subject, params.version, asked.schema);
    return verdict(reply, problems, isSet(query.verbose));
  });
  server.post<Subject>("/compatibility/subjects/:subject/versions", ({ params, query, body }, reply) => {
    const asked = registrationOf(body);
    const problems = isRefusal(asked) ? asked : registry.testAll(params.subject, asked.schema);
    return verdict(reply, problems, isSet(query.verbose));
  });
}

/** Chapter Config. Of its attributes the compatibility level; the others are not kept. */
function config(server: FastifyInstance, registry: EmbeddedRegistry): void {
  const set = async (subject: Holder, body: unknown): Promise<unknown> => {
    const level = await registry.setCompatibility(subject, String(field(body, "compatibility")));
    return isRefusal(level) ? level : { compatibility: level };
  };
  const drop = async (subject: Holder): Promise<unknown> => {
    const level = await registry.deleteCompatibility(subject);
    return isRefusal(level) ? level : { compatibilityLevel: level };
  };
  server.get("/config", (_request, reply) => send(reply, { compatibilityLevel: registry.compatibility() }));
  server.put("/config", async ({ body }, reply) => send(reply, await set(GLOBAL, body)));
  server.delete("/config", async (_request, reply) => send(reply, await drop(GLOBAL)));
  server.get<Subject>("/config/:subject", ({ params: { subject }, query }, reply) => {
    const level = isSet(query.defaultToGlobal) ? registry.compatibility(subject) : registry.ownCompatibility(subject);
    // 404 tells a client that the subject has no level of its own; @kafkajs/confluent-schema-registry registers only then, or when the level is its own.
    return send(reply, level === undefined ? refusals.noLevel(subject) : { compatibilityLevel: level });
  });
  server.put<Subject>("/config/:subject", async ({ params, body }, reply) => send(reply, await set(params.subject, body)));
  server.delete<Subject>("/config/:subject", async ({ params }, reply) => send(reply, await drop(params.subject)));
}

/** Chapter Mode. */
function mode(server: FastifyInstance, registry: EmbeddedRegistry): void {
  const set = async (subject: Holder, body: unknown, force: boolean): Promise<unknown> => {
    const mode = await registry.setMode(subject, String(field(body, "mode")), force);
    return isRefusal(mode) ? mode : { mode };
  };
  const drop = async (subject: Holder): Promise<unknown> => {
    const mode = await registry.deleteMode(subject);
    return isRefusal(mode) ? mode : { mode };
  };
  server.get("/mode", (_request, reply) => send(reply, { mode: registry.mode() }));
  server.put<Query>("/mode", async ({ body, query }, reply) => send(reply, await set(GLOBAL, body, isSet(query.force))));
  server.delete("/mode", async (_request, reply) => send(reply, await drop(GLOBAL)));
  server.get<Subject>("/mode/:subject", ({ params: { subject }, query }, reply) => {
    const mode = isSet(query.defaultToGlobal) ? registry.mode(subject) : registry.ownMode(subject);
    return send(reply, mode === undefined ? refusals.noMode(subject) : { mode });
  });
  server.put<Subject>("/mode/:subject", async ({ params, body, query }, reply) =>
    send(reply, await set(params.subject, body, isSet(query.force))),
  );
  server.delete<Subject>("/mode/:subject", async ({ params }, reply) => send(reply, await drop(params.subject)));
}

function parseBody(body: string, done: (error: Error | null, value?: unknown) => void): void {
  try {
    done(null, JSON.parse(body));
  } catch {
    done(Object.assign(new Error("the body is not JSON"), { statusCode: 400 }));
  }
}

function registrationOf(body: unknown): ({ readonly schema: string } & Wanted) | Refusal {
  const [schema, type, references] = [field(body, "schema"), field(body, "schemaType") ?? "AVRO", field(body, "references")];
  if (type !== "AVRO") return refusals.invalidSchema(`Schemas of type ${JSON.stringify(type)} are not supported, AVRO is`);
  if (Array.isArray(references) && references.length > 0) return refusals.invalidSchema("Schema references are not supported");
  if (typeof schema !== "string" || schema === "") return refusals.invalidSchema("Empty schema");
  return { schema, id: number(field(body, "id")), version: number(field(body, "version")) };
}

/** Clients that ask for nothing send -1, or as a version 0. */
function number(value: unknown): number | undefined {
  return typeof value === "number" && Number.isInteger(value) && value > 0 && value <= 0x7fff_ffff ? value : undefined;
}

function versionOf(registry: EmbeddedRegistry, { params, query }: FastifyRequest<Version>): SubjectVersion | Refusal {
  return registry.version(params.subject, params.version, scopeOf(query));
}

function textOf(registry: EmbeddedRegistry, id: string): string | undefined {
  return /^\d{1,10}$/.test(id) ? registry.text(Number(id)) : undefined;
}

function usesOf(registry: EmbeddedRegistry, id: string, scope: Scope): readonly SubjectVersion[] | Refusal {
  return /^\d{1,10}$/.test(id) ? registry.uses(Number(id), scope) : refusals.noSchema(id);
}

function scopeOf(query: Query["Querystring"]): Scope {
  if (isSet(query.deletedOnly)) return "deleted";
  return isSet(query.deleted) ? "all" : "live";
}

/** `:*:` is all contexts, of which there is one here. */
function prefixOf({ subjectPrefix }: Query["Querystring"]): string {
  const prefix = typeof subjectPrefix === "string" ? subjectPrefix : "";
  return prefix.startsWith(":*:") ? prefix.slice(3) : prefix;
}

function page<T>(items: readonly T[], { offset, limit }: Query["Querystring"]): readonly T[] {
  const [from, count] = [Math.max(Number(offset ?? 0) || 0, 0), Number(limit ?? -1)];
  return items.slice(from, count > 0 ? from + count : undefined);
}

function isSet(flag: unknown): boolean {
  return String(flag).toLowerCase() === "true";
}

function field(body: unknown, name: string): unknown {
  return typeof body === "object" && body !== null ? (body as Record<string, unknown>)[name] : undefined;
}

function send(reply: FastifyReply, answer: unknown): FastifyReply {
  const code = isRefusal(answer) ? answer.error_code : 200;
  return sendText(reply.status(code < 1000 ? code : Math.floor(code / 100)), JSON.stringify(answer));
}

function sendText(reply: FastifyReply, text: string): FastifyReply {
  return reply.header("content-type", CONTENT_TYPE).send(Buffer.from(text)); // to text Fastify would add a charset
}
