// What is used of @platformatic/kafka, from the files that its index names. The index itself loads the library's clients and
// registries too, which compile JSON schemas while they load: half of the library's 0.3 s, at every start of a service.
import type * as Library from "@platformatic/kafka";

const folder = new URL(".", import.meta.resolve("@platformatic/kafka"));

/** Throws when the library's file lacks one of `names`: it is another version than the lockfile's. */
async function load<Name extends keyof typeof Library>(file: string, names: readonly Name[]): Promise<Pick<typeof Library, Name>> {
  const loaded = (await import(new URL(file, folder).href)) as Pick<typeof Library, Name>;
  const missing = names.filter((name) => !(name in loaded));
  if (missing.length > 0) throw new Error(`@platformatic/kafka: ${file} has no ${missing.join(", ")}`);
  return loaded;
}

export const { AuthenticationError, NetworkError, ProtocolError, ResponseError, TimeoutError, UnsupportedCompressionError, UserError } =
  await load("errors.js", [
    "AuthenticationError",
    "NetworkError",
    "ProtocolError",
    "ResponseError",
    "TimeoutError",
    "UnsupportedCompressionError",
    "UserError",
  ]);
export const { compressionsAlgorithms, compressionsAlgorithmsByBitmask, protocolErrorsCodesById, Writer } = await load(
  "protocol/index.js",
  ["protocolErrorsCodesById", "compressionsAlgorithms", "compressionsAlgorithmsByBitmask", "Writer"],
);
export const { apiVersionsV3, createAPI, fetchV12, initProducerIdV4, listOffsetsV7, metadataV12 } = await load("apis/index.js", [
  "apiVersionsV3",
  "createAPI",
  "fetchV12",
  "initProducerIdV4",
  "listOffsetsV7",
  "metadataV12",
]);
export const { Connection, ConnectionPool } = await load("network/index.js", ["Connection", "ConnectionPool"]);

export type Connection = Library.Connection;
export type ConnectionPool = Library.ConnectionPool;
export type ProtocolError = Library.ProtocolError;
export type Writer = Library.Writer;
