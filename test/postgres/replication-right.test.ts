// The right to stream: an attribute of the role, and on Amazon RDS and Aurora membership of a role.
import { expect, test } from "vitest";
import { missingPrivileges, readServer } from "../../src/postgres/server.ts";
import { Session } from "../../src/postgres/session.ts";
import { startTestPostgres } from "../support/postgres.ts";

const { signal } = new AbortController();

test("a member of rds_replication or rds_superuser may stream where there are such roles; who may not is told the GRANT", async () => {
  await using server = await startTestPostgres(); // of its own: roles are the cluster's
  await using admin = await Session.open({ url: server.url, applicationName: "test" }, signal);
  await admin.query("CREATE ROLE clerk LOGIN PASSWORD 'clerk'");
  const url = new URL(server.url);
  [url.username, url.password] = ["clerk", "clerk"];
  const lacks = async (): Promise<readonly string[]> => {
    await using session = await Session.open({ url: url.href, applicationName: "test" }, signal);
    return (await missingPrivileges(session, await readServer(session), null)).map(({ remedy }) => remedy);
  };
  expect(await lacks()).toEqual([expect.stringContaining('ALTER ROLE "clerk" REPLICATION')]);
  await admin.query("CREATE ROLE rds_replication; CREATE ROLE rds_superuser");
  expect(await lacks()).toEqual([expect.stringContaining('GRANT rds_replication TO "clerk"')]);
  for (const role of ["rds_replication", "rds_superuser"]) {
    await admin.query(`GRANT ${role} TO clerk`);
    expect(await lacks(), role).toEqual([]);
    await admin.query(`REVOKE ${role} FROM clerk`);
  }
  await admin.query("CREATE ROLE between; GRANT rds_replication TO between; GRANT between TO clerk");
  expect(await lacks()).toEqual([]);
});
