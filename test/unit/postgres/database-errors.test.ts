import { expect, test } from "vitest";
import { databaseError } from "../../../src/postgres/database-errors.ts";

const peer = { address: "db:5432/shop", user: "clerk" };

function thrown(code: string, message: string, routine?: string): Error {
  return Object.assign(new Error(message), { code, severity: "ERROR", routine });
}

test.each([
  ["55P03", "canceling statement due to lock timeout", "STATEMENT_GIVEN_UP"],
  ["57014", "canceling statement due to statement timeout", "STATEMENT_GIVEN_UP"],
  ["53000", "insufficient resources", "SERVER_EXHAUSTED"],
  ["53100", 'could not extend file "base/5/16384": No space left on device', "SERVER_EXHAUSTED"],
  ["53200", "out of memory", "SERVER_EXHAUSTED"],
  ["53300", "sorry, too many clients already", "CONNECTION_LIMIT"],
  ["53300", 'too many connections for role "clerk"', "CONNECTION_LIMIT"],
  ["53300", "number of requested standby connections exceeds max_wal_senders (currently 10)", "SLOT_LIMIT"],
  ["53400", "all replication slots are in use", "SLOT_LIMIT", "ReplicationSlotCreate"],
  ["53400", "temporary file size exceeds temp_file_limit (1024kB)", "SERVER_EXHAUSTED", "FileWriteV"],
])("SQLSTATE %s (%s) is an everyday error with its own remedy: %s", (sqlstate, message, code, routine?: string) => {
  const error = databaseError(thrown(sqlstate, message, routine), peer);
  expect(error).toMatchObject({ code, retry: "auto" });
  expect(error.remedy).not.toContain("report it");
});

test("what has no code of its own is UNEXPECTED, in the server's words", () => {
  expect(databaseError(thrown("XX000", "cache lookup failed"), peer)).toMatchObject({
    code: "UNEXPECTED",
    message: "PostgreSQL says: cache lookup failed (SQLSTATE XX000)",
  });
});
