// What the registry's API answers in place of a result. Codes: Confluent's "Schema Registry API Reference", the errors
// named at each method; the words are the ones that its clients are used to.
import type { Compatibility } from "../core/schema-registry.ts";

/** The HTTP status is the code, or its first three digits. */
export type Refusal = { readonly error_code: number; readonly message: string };

/** Tells a refusal from a result. */
export function isRefusal(answer: unknown): answer is Refusal {
  return typeof answer === "object" && answer !== null && "error_code" in answer;
}

function refusal(error_code: number, message: string): Refusal {
  return { error_code, message };
}

export const refusals = {
  noSubject: (subject: string) => refusal(40401, `Subject '${subject}' not found.`),
  noVersion: (version: number | string) => refusal(40402, `Version ${version} not found.`),
  noSchema: (id?: string) => refusal(40403, id === undefined ? "Schema not found" : `Schema ${id} not found`),
  subjectDeleted: (subject: string) => refusal(40404, `Subject '${subject}' was soft deleted. Set permanent=true to delete permanently`),
  subjectNotDeleted: (subject: string) => refusal(40405, `Subject '${subject}' was not deleted first before being permanently deleted`),
  versionDeleted: (subject: string, version: number) =>
    refusal(40406, `Subject '${subject}' Version ${version} was soft deleted. Set permanent=true to delete permanently`),
  versionNotDeleted: (subject: string, version: number) =>
    refusal(40407, `Subject '${subject}' Version ${version} was not deleted first before being permanently deleted`),
  noLevel: (subject: string) => refusal(40408, `Subject '${subject}' does not have subject-level compatibility configured`),
  noMode: (subject: string) => refusal(40409, `Subject '${subject}' does not have subject-level mode configured`),
  incompatible: (subject: string, level: Compatibility, problems: readonly string[]) =>
    refusal(
      409,
      `Schema being registered is incompatible with an earlier schema for subject "${subject}" (${level}): ${problems.join("; ")}`,
    ),
  invalidSchema: (what: string) => refusal(42201, what),
  invalidVersion: (version: string) =>
    refusal(
      42202,
      `The specified version '${version}' is not a valid version id. Allowed values are between [1, 2^31-1] and the string "latest"`,
    ),
  invalidLevel: (levels: readonly string[]) => refusal(42203, `Invalid compatibility level. Valid values are ${levels.join(", ")}`),
  invalidMode: (modes: readonly string[]) => refusal(42204, `Invalid mode. Valid values are ${modes.join(", ")}`),
  notPermitted: (what: string) => refusal(42205, what),
  invalidSubject: (subject: string) => refusal(42208, `The specified subject '${subject}' is not a valid subject`),
} as const;
