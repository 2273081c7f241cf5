// R-publication: the comparison's cases that a real server does not give in test/postgres/publication.test.ts.
import { expect, test } from "vitest";
import { compareFingerprints, type PublicationFingerprint } from "../../../src/postgres/publication.ts";
import { startSql, streamFingerprint } from "../../../src/postgres/stream.ts";
import { parseLsn } from "../../../src/core/lsn.ts";

const table = { schema: "public", name: "a", oid: 1, membership: 10, filter: null, columns: null };
const before: PublicationFingerprint = {
  oid: 5,
  insert: true,
  update: true,
  delete: true,
  truncate: true,
  viaRoot: true,
  generated: false,
  tables: [table],
};

test("a fingerprint survives the state's JSON", () => {
  expect(compareFingerprints(before, JSON.parse(JSON.stringify(before)) as PublicationFingerprint)).toBeNull();
});

test("a changed filter, column list or setting is a difference", () => {
  const changed = (change: Partial<typeof table>): PublicationFingerprint => ({
    ...before,
    tables: [{ ...table, ...change }],
  });
  expect(compareFingerprints(before, changed({ filter: "abc" as never }))).toBe("the row filter of table public.a changed");
  expect(compareFingerprints(before, changed({ columns: [1, 2] as never }))).toBe("the column list of table public.a changed");
  expect(compareFingerprints(before, { ...before, generated: true })).toBe("publishing generated columns was turned on");
});

test("a table that is no longer watched may go", () => {
  expect(compareFingerprints(before, { ...before, tables: [] })).toBe("table public.a is not in it any more");
  expect(compareFingerprints(before, { ...before, tables: [] }, [])).toBeNull();
});

test("R-options: the stream's options are fixed, and another publication is another set", () => {
  const from = parseLsn("16/B374D848");
  expect(startSql({ slot: "s", publication: "p", from, binary: true })).toBe(
    `START_REPLICATION SLOT "s" LOGICAL 16/B374D848 (proto_version '1', publication_names '"p"', messages 'true', binary 'true')`,
  );
  expect(startSql({ slot: "s", publication: `it's "p"`, from, binary: false })).toContain(`publication_names '"it''s ""p"""'`);
  expect(streamFingerprint("p")).toBe('proto_version=1 publication_names="p" messages=on origin=any streaming=off two_phase=off');
});
