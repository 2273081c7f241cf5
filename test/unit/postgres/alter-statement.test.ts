// What of an ALTER TABLE has to be understood before it can be tried on a copy.
import fc from "fast-check";
import { expect, test } from "vitest";
import { readAlterStatement } from "../../../src/postgres/alter-statement.ts";

test.each([
  ["ALTER TABLE orders ADD x int", `"orders"`, "ADD x int"],
  ["alter table Orders add x int ;", `"orders"`, "add x int"],
  [
    `ALTER TABLE IF EXISTS ONLY public."Or""ders" * DROP n, ALTER COLUMN m TYPE bigint`,
    `"public"."Or""ders"`,
    "DROP n, ALTER COLUMN m TYPE bigint",
  ],
  [
    "/* a /* nested */ comment; */ ALTER -- and; another\n TABLE public . größe RENAME COLUMN a TO b -- end",
    `"public"."größe"`,
    "RENAME COLUMN a TO b",
  ],
  ["ALTER TABLE t ADD x text DEFAULT ';', ADD y text DEFAULT E'\\';', ADD z text DEFAULT $q$;$q$", `"t"`, undefined],
  [`ALTER TABLE t ADD "references" text, ADD ";" text CHECK (";" IN ('a', 'b'))`, `"t"`, undefined],
  ["ALTER TABLE t RENAME a TO b", `"t"`, "RENAME a TO b"],
  ["ALTER TABLE t ALTER a TYPE numeric(10, 2) USING (a / 100.0), DROP CONSTRAINT t_pkey", `"t"`, undefined],
])("%s", (sql, table, rest) => {
  expect(readAlterStatement(sql)).toEqual({ table, rest: rest ?? sql.slice("ALTER TABLE t ".length) });
});

test.each([
  ["", "no ALTER TABLE"],
  ["SELECT 1", "no ALTER TABLE"],
  ["ALTER INDEX i RENAME TO j", "no ALTER TABLE"],
  [`"ALTER" TABLE t DROP n`, "no ALTER TABLE"],
  ["DROP TABLE t", "no ALTER TABLE"],
  ["ALTER TABLE t ADD x int; DROP TABLE t", "more than one statement"],
  ["ALTER TABLE t ADD x int;;", "more than one statement"],
  ["ALTER TABLE t", "does nothing"],
  ["ALTER TABLE", "names no table"],
  ["ALTER TABLE a.b.c DROP n", "names no table of this database"],
  ["ALTER TABLE t RENAME TO u", "RENAME TO makes another table"],
  ["ALTER TABLE t SET SCHEMA other", "neither ADD, DROP, ALTER nor RENAME COLUMN: set"],
  ["ALTER TABLE t ATTACH PARTITION p DEFAULT", "attach"],
  ["ALTER TABLE t DROP n, OWNER TO bob", "owner"],
  ["ALTER TABLE ALL IN TABLESPACE a SET TABLESPACE b", "neither"],
  ["ALTER TABLE t ADD x int REFERENCES u", "a foreign key"],
  ["ALTER TABLE t ADD x text DEFAULT 'open", "does not end"],
  ["ALTER TABLE t ADD x text /* open /* */", "does not end"],
  ["ALTER TABLE t ADD x text DEFAULT $$open", "does not end"],
])("%s: %s", (sql, problem) => {
  expect(readAlterStatement(sql)).toEqual({ problem: expect.stringContaining(problem) as string });
});

test("no text makes it throw or not end, and what is taken is in the text", () => {
  const parts = fc.constantFrom(
    "ALTER",
    " ",
    "TABLE",
    "t",
    ".",
    '"',
    "'",
    "$$",
    "$a$",
    "/*",
    "*/",
    "--",
    "\n",
    ";",
    "ADD",
    "(",
    ")",
    ",",
    "E'",
    "\\",
    "ü",
    "1",
  );
  fc.assert(
    fc.property(fc.array(parts, { maxLength: 25 }), (texts) => {
      const sql = `ALTER TABLE t ADD ${texts.join("")}`;
      const read = readAlterStatement(sql);
      return "problem" in read || (read.table === `"t"` && sql.includes(read.rest) && read.rest.startsWith("ADD"));
    }),
  );
});
