// ALTER TYPE of composites while rows are written: no message of the stream tells of it. Whatever is in the log has the values that its
// row had under the names that they had, and in the end the targets hold what the tables do (adr/0018).
import { describe, expect, test } from "vitest";
import { EventDecoder, schemaIdOf } from "../../../src/avro/decoder.ts";
import type { ColumnType } from "../../../src/core/table.ts";
import { eventually } from "../../support/eventually.ts";
import { readEvent, type Value } from "../../support/row-values.ts";
import { postgres, type TestDatabase } from "../../support/servers.ts";
import { SourceScene } from "./source-scene.ts";

const server = postgres();
const { signal } = new AbortController();

/** A value as JSON has it: composites by the names of their attributes. */
function named(type: ColumnType, value: Value): unknown {
  if (value === null) return null;
  if (type.kind === "array") return (value as readonly Value[]).map((item) => named(type.element, item));
  if (type.kind !== "composite") return value;
  return Object.fromEntries(
    type.attributes.map(({ name, type: of }, index) => [name, named(of, (value as readonly Value[])[index] ?? null)]),
  );
}

/** The values of column c after each create, update and read that the log holds, in order. */
async function logged(scene: SourceScene): Promise<readonly { readonly id: number; readonly c: unknown }[]> {
  const topic = scene.topic("items");
  const found: { id: number; c: unknown }[] = [];
  for (const { start, end } of await scene.log.offsets(topic, signal)) {
    for (let offset = start; offset < end;) {
      const { records, next } = await scene.log.read({ topic, partition: 0, offset }, 1 << 24, signal);
      for (const { value } of records) {
        if (value === null) continue;
        const decoder = new EventDecoder(await scene.registry.schema(schemaIdOf(value), signal));
        const { after } = readEvent(decoder, value);
        const index = decoder.shape.columns.findIndex(({ name }) => name === "c");
        const type = decoder.shape.columns[index]?.type;
        if (after !== null) found.push({ id: after[0] as number, c: type === undefined ? null : named(type, after[index] ?? null) });
      }
      if (next <= offset) break;
      offset = next;
    }
  }
  return found;
}

/** Each attribute has its row's id and, but for `same`, a number that is its name's own: one under another's name shows. */
const row = (id: number): string =>
  `INSERT INTO items (id, c) VALUES (${id}, json_populate_record(NULL::pair, '{"a": ${10_000 + id}, "b": "b${id}", "x": ${20_000 + id}, "y": ${30_000 + id}, "z": ${60_000 + id}, "part": {"p": ${40_000 + id}, "q": ${50_000 + id}}}'))`;
const written: Readonly<Record<string, (id: number) => unknown>> = {
  a: (id) => 10_000 + id,
  b: (id) => `b${id}`,
  x: (id) => 20_000 + id,
  y: (id) => 30_000 + id,
  p: (id) => 40_000 + id,
  q: (id) => 50_000 + id,
  z: (id) => 60_000 + id,
};

function wrong(id: number, c: unknown): readonly string[] {
  return Object.entries((c ?? {}) as Readonly<Record<string, unknown>>).flatMap(([name, value]) => {
    if (name === "part") return wrong(id, value);
    return value === null || value === written[name]?.(id) ? [] : [`${name} of ${id} is ${JSON.stringify(value)}`];
  });
}

async function expectSame(database: TestDatabase, scene: SourceScene): Promise<void> {
  const atSource = await database.sql<{ id: number; c: unknown }>("SELECT id, to_json(c) AS c FROM items ORDER BY id");
  const last = new Map<number, unknown>();
  for (const { id, c } of await logged(scene)) last.set(id, c);
  expect([...last].sort(([a], [b]) => a - b)).toEqual(atSource.map(({ id, c }) => [id, c]));
}

describe.each(["binary", "text"] as const)("by the %s protocol", (protocol) => {
  async function withItems(work: (database: TestDatabase, scene: SourceScene) => Promise<void>): Promise<void> {
    await using database = await (await server).createDatabase("composites");
    const other = protocol === "text" ? `, tag "char"` : "";
    await database.sql(`CREATE TYPE part AS (p int, q int); CREATE TYPE pair AS (a int, b text, part part, z int);
      CREATE TABLE items (id int PRIMARY KEY, c pair${other}); INSERT INTO items SELECT 0`);
    for (let id = 1; id <= 50; id++) await database.sql(row(id));
    await using scene = await SourceScene.open(database, { snapshot: { mode: "initial", chunkRows: 100 } });
    await scene.while(async () => {
      await scene.untilLevel(database);
      await scene.untilRead();
    });
    await work(database, scene);
  }

  /** Until the state's layout has the types as they are now: a difference has been dealt with. */
  async function untilLooked(database: TestDatabase, scene: SourceScene): Promise<void> {
    const [now] = await database.sql<{ names: string }>(
      `SELECT string_agg(attname, ',' ORDER BY attrelid::regclass::text, attnum) AS names FROM pg_attribute
       WHERE attrelid = ANY (ARRAY['pair'::regclass, 'part'::regclass]) AND NOT attisdropped`,
    );
    await eventually(
      `${now?.names} in the state's layouts`,
      async () => {
        const shapes = (await scene.state())?.layouts.find(({ name }) => name === "items")?.composites?.shapes ?? [];
        const named = [...shapes].sort(([, a], [, b]) => (a < b ? -1 : 1));
        return named.flatMap(([, , , attributes]) => attributes.map(([, name]) => name)).join() === now?.names;
      },
      60_000,
    );
  }

  test.each([
    ["an attribute is added", ["ALTER TYPE pair ADD ATTRIBUTE x int"]],
    ["one is dropped", ["ALTER TYPE pair DROP ATTRIBUTE b"]],
    ["one is dropped and another of its type added", ["ALTER TYPE pair ADD ATTRIBUTE x int, DROP ATTRIBUTE a"]],
    // Neither protocol shows a difference.
    ["the last is dropped and another of its type added", ["ALTER TYPE pair DROP ATTRIBUTE z, ADD ATTRIBUTE y int"]],
    [
      "the last ones are dropped, of it and of one in it, and others of their types added",
      [
        "ALTER TYPE part DROP ATTRIBUTE q, ADD ATTRIBUTE r int",
        "ALTER TYPE pair ADD ATTRIBUTE x int",
        "ALTER TYPE pair DROP ATTRIBUTE x, ADD ATTRIBUTE y int",
      ],
    ],
  ])("R-silent-ddl: while rows are written %s: nothing in the log is wrong, and the table is read again", async (_, alters) => {
    await withItems(async (database, scene) => {
      let id = 100;
      await scene.while(async () => {
        for (const alter of alters) {
          for (const upTo = id + 20; id < upTo; id++) await database.sql(row(id));
          await database.sql(alter);
          for (const upTo = id + 20; id < upTo; id++) await database.sql(row(id));
        }
        await untilLooked(database, scene);
        await scene.untilRead();
        await scene.untilLevel(database);
      });
      expect((await logged(scene)).flatMap((event) => wrong(event.id, event.c))).toEqual([]);
      await expectSame(database, scene);
      expect(scene.warnings.some((warning) => "code" in warning && warning.code === "ROWS_CHANGED")).toBe(true);
    });
  });

  test("R-silent-ddl: while the service was away attributes were dropped and others added: rows of before are set aside, and read again", async () => {
    await withItems(async (database, scene) => {
      for (let id = 100; id < 120; id++) await database.sql(row(id));
      await database.sql(
        "ALTER TYPE pair DROP ATTRIBUTE a, ADD ATTRIBUTE x int; ALTER TYPE part DROP ATTRIBUTE p, ADD ATTRIBUTE q2 int; ALTER TYPE pair DROP ATTRIBUTE x, ADD ATTRIBUTE y int",
      );
      for (let id = 120; id < 140; id++) await database.sql(row(id));
      scene.forget();
      await scene.while(async () => {
        await untilLooked(database, scene);
        await scene.untilRead();
        await database.sql(row(200));
        await scene.untilLevel(database);
      });
      expect((await logged(scene)).flatMap((event) => wrong(event.id, event.c))).toEqual([]);
      await expectSame(database, scene);
      expect(scene.warnings.some((warning) => "code" in warning && warning.code === "COMPOSITE_CHANGED")).toBe(true);
    });
  });

  test("a type that goes with its column, in the transaction that wrote a row of it: the row is in the log, and the stream goes on", async () => {
    await withItems(async (database, scene) => {
      await scene.while(async () => {
        await database.sql(
          `BEGIN; ${row(100)}; ALTER TABLE items DROP c; DROP TYPE pair; INSERT INTO items (id) VALUES (101); COMMIT; INSERT INTO items (id) VALUES (102)`,
        );
        await scene.untilLevel(database);
      });
      const late = (await logged(scene)).filter(({ id }) => id >= 100);
      expect(late.map(({ id, c }) => [id, c !== null])).toEqual([
        [100, true],
        [101, false],
        [102, false],
      ]);
      expect(late.flatMap(({ id, c }) => wrong(id, c))).toEqual([]);
    });
  });

  test("an attribute that is renamed keeps its values under its new name", async () => {
    await withItems(async (database, scene) => {
      await scene.while(async () => {
        await database.sql("ALTER TYPE pair RENAME ATTRIBUTE b TO b2");
        await database.sql("UPDATE items SET c = ROW(1, 'two', NULL, NULL) WHERE id = 7");
        await untilLooked(database, scene);
        await scene.untilRead();
        await scene.untilLevel(database);
      });
      await expectSame(database, scene);
    });
  });
});
