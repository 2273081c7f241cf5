// The embedded registry's HTTP API: the part of Confluent's that producers, consumers and Tailrace itself use.
import type { FastifyInstance, FastifyReply } from "fastify";
import { isRefusal, type EmbeddedRegistry, type Refusal } from "./embedded.ts";

const CONTENT_TYPE = "application/vnd.schemaregistry.v1+json";

type Subject = { Params: { subject: string } };
type Version = { Params: { subject: string; version: string } };

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
    server.get("/subjects", (_request, reply) => send(reply, registry.subjects()));
    server.post<Subject>("/subjects/:subject", (request, reply) => {
      const schema = schemaOf(request.body);
      return send(reply, isRefusal(schema) ? schema : registry.lookUp(request.params.subject, schema));
    });
    server.get<Subject>("/subjects/:subject/versions", (request, reply) => {
      const { subject } = request.params;
      return send(reply, registry.versions(subject) ?? { error_code: 40401, message: `Subject '${subject}' not found.` });
    });
    server.post<Subject>("/subjects/:subject/versions", async (request, reply) => {
      const schema = schemaOf(request.body);
      return send(reply, isRefusal(schema) ? schema : await registry.add(request.params.subject, schema));
    });
    server.get<Version>("/subjects/:subject/versions/:version", (request, reply) =>
      send(reply, registry.version(request.params.subject, request.params.version)),
    );
    server.get<{ Params: { id: string } }>("/schemas/ids/:id", (request, reply) => {
      const { id } = request.params;
      const schema = /^\d{1,10}$/.test(id) ? registry.text(Number(id)) : undefined;
      return send(reply, schema === undefined ? { error_code: 40403, message: `Schema ${id} not found` } : { schema });
    });
    server.get("/schemas/types", (_request, reply) => send(reply, ["AVRO"]));
    server.post<Version & { Querystring: { verbose?: string } }>("/compatibility/subjects/:subject/versions/:version", (request, reply) => {
      const schema = schemaOf(request.body);
      if (isRefusal(schema)) return send(reply, schema);
      const problems = registry.test(request.params.subject, request.params.version, schema);
      if (isRefusal(problems)) return send(reply, problems);
      const verdict = { is_compatible: problems.length === 0 };
      return send(reply, request.query.verbose === "true" ? { ...verdict, messages: problems } : verdict);
    });
    server.get("/config", (_request, reply) => send(reply, { compatibilityLevel: registry.compatibility() }));
    server.get<Subject & { Querystring: { defaultToGlobal?: string } }>("/config/:subject", (request, reply) => {
      const { subject } = request.params;
      const level = request.query.defaultToGlobal === "true" ? registry.compatibility(subject) : registry.ownCompatibility(subject);
      // 404 tells a client that the subject has no level of its own; @kafkajs/confluent-schema-registry registers only then, or when the level is its own.
      return send(
        reply,
        level === undefined
          ? { error_code: 40408, message: `Subject '${subject}' does not have subject-level compatibility configured` }
          : { compatibilityLevel: level },
      );
    });
    server.put<Subject>("/config/:subject", async (request, reply) => {
      const level = await registry.setCompatibility(request.params.subject, String(field(request.body, "compatibility")));
      return send(reply, isRefusal(level) ? level : { compatibility: level });
    });
  };
}

function parseBody(body: string, done: (error: Error | null, value?: unknown) => void): void {
  try {
    done(null, JSON.parse(body));
  } catch {
    done(Object.assign(new Error("the body is not JSON"), { statusCode: 400 }));
  }
}

function schemaOf(body: unknown): string | Refusal {
  const [schema, type, references] = [field(body, "schema"), field(body, "schemaType") ?? "AVRO", field(body, "references")];
  if (type !== "AVRO") return { error_code: 42201, message: `Schemas of type ${JSON.stringify(type)} are not supported, AVRO is` };
  if (Array.isArray(references) && references.length > 0) return { error_code: 42201, message: "Schema references are not supported" };
  return typeof schema === "string" && schema !== "" ? schema : { error_code: 42201, message: "Empty schema" };
}

function field(body: unknown, name: string): unknown {
  return typeof body === "object" && body !== null ? (body as Record<string, unknown>)[name] : undefined;
}

function send(reply: FastifyReply, answer: unknown): FastifyReply {
  const code = isRefusal(answer) ? answer.error_code : 200;
  return reply
    .status(code < 1000 ? code : Math.floor(code / 100))
    .header("content-type", CONTENT_TYPE)
    .send(Buffer.from(JSON.stringify(answer))); // to text Fastify would add a charset
}
