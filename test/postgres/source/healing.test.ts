// Gaps that a snapshot heals: what was lost is named, read again, and what went meanwhile is swept.
import { createHash } from "node:crypto";
import { describe, expect, test } from "vitest";
import { eventually } from "../../support/eventually.ts";
import { withClient } from "../../support/databases.ts";
import { postgres, uniqueName, type TestDatabase } from "../../support/servers.ts";
import { SourceScene } from "./source-scene.ts";

const server = postgres();
const { signal } = new AbortController();

const COLUMNS = "(id int PRIMARY KEY, name text NOT NULL, big text)";

async function withRows(tables: readonly string[], work: (database: TestDatabase, scene: SourceScene) => Promise<void>): Promise<void> {
  await using database = await (await server).createDatabase("healing");
  for (const table of tables) {
    await database.sql(`CREATE TABLE ${table} ${COLUMNS}`);
    await database.sql(`INSERT INTO ${table} SELECT i, 'name ' || i, repeat(md5(i::text), 10) FROM generate_series(1, 500) i`);
  }
  await using scene = await SourceScene.open(database, { snapshot: { mode: "initial", chunkRows: 100 } });
  await scene.while(async () => {
    await scene.untilRead();
    await database.sql(`UPDATE ${tables[0]} SET name = 'before' WHERE id % 7 = 0`);
    await scene.untilLevel(database);
  });
  scene.forget();
  await work(database, scene);
}

/** Changes of every kind, which no slot may bring. */
async function change(database: TestDatabase, table: string): Promise<void> {
  await database.sql(`DELETE FROM ${table} WHERE id % 5 = 0`);
  await database.sql(`UPDATE ${table} SET name = 'changed' WHERE id % 3 = 0`);
  await database.sql(`INSERT INTO ${table} VALUES (9001, 'new', 'x')`);
}

async function heals(database: TestDatabase, scene: SourceScene, tables: readonly string[]): Promise<void> {
  await scene.while(async () => {
    await scene.untilRead();
    await database.sql(`INSERT INTO ${tables[0]} VALUES (9002, 'after', 'x')`);
    await scene.untilLevel(database);
  });
  for (const table of tables) {
    const rows = (await scene.target(table)).map(({ id, name, big }) => `${String(id)} ${String(name)} ${md5(big)}`).sort();
    const expected = await database.sql<{ row: string }>(`SELECT format('%s %s %s', id, name, md5(big)) AS row FROM ${table}`);
    expect(rows).toEqual(expected.map(({ row }) => row).sort());
  }
}

function md5(value: unknown): string {
  return typeof value === "string" ? createHash("md5").update(value).digest("hex") : "";
}

function gaps(scene: SourceScene): readonly string[] {
  return scene.warnings.flatMap((warning) => ("code" in warning ? [String(warning.code)] : []));
}

describe("behind a gap the source begins a new epoch and reads every table again", () => {
  test("R-slot, R-epoch, R-sweep: the slot was dropped while rows were deleted and changed", async () => {
    await withRows(["items", "other"], async (database, scene) => {
      await database.sql(`SELECT pg_drop_replication_slot('${scene.options.slot}')`);
      await change(database, "items");
      await heals(database, scene, ["items", "other"]);
      expect(gaps(scene)).toContain("SLOT_MISSING");
      expect((await scene.state())?.epoch).toBe(2);
    });
  });

  test("R-slot: the slot was moved by somebody else", async () => {
    await withRows(["items"], async (database, scene) => {
      await change(database, "items");
      await database.sql(`SELECT pg_replication_slot_advance('${scene.options.slot}', pg_current_wal_lsn())`);
      await heals(database, scene, ["items"]);
      expect(gaps(scene)).toContain("SLOT_AHEAD");
      expect((await scene.state())?.epoch).toBe(2);
    });
  });

  test("R-publication: the publication was dropped, and dropped and made again", async () => {
    await withRows(["items"], async (database, scene) => {
      await database.sql(`DROP PUBLICATION ${scene.options.publication}`);
      await change(database, "items");
      await heals(database, scene, ["items"]);
      expect(gaps(scene)).toContain("PUBLICATION_MISSING");
      scene.forget();
      await database.sql(`DROP PUBLICATION ${scene.options.publication}`);
      await database.sql("DELETE FROM items WHERE id % 11 = 0 OR id > 9000");
      await database.sql(`CREATE PUBLICATION ${scene.options.publication} FOR TABLE items WITH (publish_via_partition_root = true)`);
      await heals(database, scene, ["items"]);
      expect(gaps(scene)).toContain("PUBLICATION_CHANGED");
      expect((await scene.state())?.epoch).toBe(3);
    });
  });

  test("R-slot: the log has an event behind the server's WAL, and no barrier of it", async () => {
    await withRows(["items"], async (database, scene) => {
      await scene.appendLate("items", 1, 1, 1n << 50n);
      await change(database, "items");
      await heals(database, scene, ["items"]);
      expect(gaps(scene)).toEqual(["WAL_REWOUND"]);
      expect((await scene.state())?.epoch).toBe(2);
    });
  });

  test("R-slot: another cluster is the operator's to confirm by its id; until then nothing there is touched", async () => {
    await withRows(["items"], async (database, scene) => {
      const state = (await scene.state())!;
      const slot = async (): Promise<unknown> =>
        database.sql("SELECT confirmed_flush_lsn::text FROM pg_replication_slots WHERE slot_name = $1", [scene.options.slot]);
      await scene.write({ ...state, generation: state.generation + 1, number: 1, systemId: "7" });
      // As on a clone whose slot of this name has gone its own way: neither that nor its publication is looked at first.
      await database.sql(`SELECT pg_replication_slot_advance('${scene.options.slot}', pg_current_wal_lsn())`);
      await database.sql(`DROP PUBLICATION ${scene.options.publication}`);
      await change(database, "items");
      const before = await slot();
      const events = (await scene.events("items")).length;
      for (const systemId of [null, "8"]) {
        scene.options = { ...scene.options, systemId };
        const refusal = await scene.refusal();
        expect(refusal).toMatchObject({ code: "ANOTHER_DATABASE", retry: "operator" });
        expect(refusal.remedy).toContain(`system_id: "${state.systemId}"`);
      }
      expect(await slot()).toEqual(before);
      expect(await scene.events("items")).toHaveLength(events);
      scene.options = { ...scene.options, systemId: state.systemId };
      await heals(database, scene, ["items"]);
      expect(gaps(scene)).toEqual(["ANOTHER_HISTORY"]);
      expect(await scene.state()).toMatchObject({ epoch: 2, systemId: state.systemId });
    });
  });

  test("R-slot: with create: false a slot that is gone stays the operator's, whatever the mode", async () => {
    await withRows(["items"], async (database, scene) => {
      scene.options = { ...scene.options, create: false };
      await database.sql(`SELECT pg_drop_replication_slot('${scene.options.slot}')`);
      expect(await scene.refusal()).toMatchObject({ code: "SLOT_MISSING", retry: "operator" });
    });
  });

  test("R-routing: a topic was deleted", async () => {
    await withRows(["items", "other"], async (database, scene) => {
      await scene.log.deleteTopic(scene.topic("other"), signal);
      await heals(database, scene, ["items", "other"]);
      expect(gaps(scene)).toContain("TOPIC_LOST");
      expect((await scene.state())?.epoch).toBe(2);
    });
  });

  test("R-epoch: the state was deleted; the epoch is above every record's", async () => {
    await withRows(["items"], async (database, scene) => {
      await scene.log.deleteTopic(`${scene.options.topics.prefix}.state`, signal);
      await change(database, "items");
      await heals(database, scene, ["items"]);
      expect(gaps(scene)).toContain("STATE_MISSING");
      expect((await scene.state())?.epoch).toBe(2);
      scene.forget();
      await scene.log.deleteTopic(`${scene.options.topics.prefix}.state`, signal);
      await scene.log.deleteTopic(`${scene.options.topics.prefix}.barriers`, signal);
      await database.sql("DELETE FROM items WHERE id > 9000");
      await heals(database, scene, ["items"]);
      expect((await scene.state())?.epoch).toBe(3);
    });
  });
});

describe("R-epoch: a source whose state and barriers are gone begins above every epoch that its topics hold", () => {
  const wipe = async (scene: SourceScene): Promise<void> => {
    const { prefix } = scene.options.topics;
    for (const name of [`${prefix}.state`, `${prefix}.barriers`]) await scene.log.deleteTopic(name, signal);
    scene.forget();
  };

  test("with its slot, and without slot and publication, as `tailrace drop` leaves it", async () => {
    await withRows(["items", "other"], async (database, scene) => {
      await wipe(scene);
      await change(database, "items");
      await heals(database, scene, ["items", "other"]);
      expect((await scene.state())?.epoch).toBe(2);
      await wipe(scene);
      await database.sql(`SELECT pg_drop_replication_slot('${scene.options.slot}'); DROP PUBLICATION ${scene.options.publication}`);
      await database.sql("DELETE FROM items WHERE id > 9000");
      await heals(database, scene, ["items", "other"]);
      expect((await scene.state())?.epoch).toBe(3);
    });
  });

  test("no state of a lower epoch is ever written: a sink would take it for an older log", async () => {
    await withRows(["items"], async (database, scene) => {
      for (const epoch of [2, 3]) {
        await wipe(scene);
        await database.sql(`SELECT pg_drop_replication_slot('${scene.options.slot}')`);
        await scene.while(async () => scene.untilRead());
        expect((await scene.states()).map((state) => state.epoch)).toEqual((await scene.states()).map(() => epoch));
      }
    });
  });

  test("a state of a lower epoch that was being made is not gone on with", async () => {
    await withRows(["items"], async (database, scene) => {
      const before = (await scene.state())!;
      await wipe(scene);
      await scene.write({ ...before, phase: "making", generation: 1, number: 1, publication: "", topics: [], snapshots: [] });
      await heals(database, scene, ["items"]);
      expect((await scene.state())?.epoch).toBe(2);
    });
  });

  test("events behind a dead process's late ones are found before anything is said to stream, whatever dies meanwhile", async () => {
    await withRows(["items"], async (database, scene) => {
      await wipe(scene);
      await heals(database, scene, ["items"]); // epoch 2
      await scene.appendLate("items", 1_500, 1);
      await wipe(scene);
      await database.sql("DELETE FROM items WHERE id > 9000");
      expect(await scene.refusal()).toMatchObject({ code: "GAP_FOUND" });
      expect(await scene.state()).toMatchObject({ epoch: 2, phase: "making" });
      scene.forget();
      await heals(database, scene, ["items"]);
      expect((await scene.state())?.epoch).toBe(3);
    });
  });
});

describe("a gap of one table alone is that table's", () => {
  test("R-publication: it was taken out of the publication and added again", async () => {
    await withRows(["items", "other"], async (database, scene) => {
      const before = (await scene.events("other")).length;
      await database.sql(`ALTER PUBLICATION ${scene.options.publication} DROP TABLE items`);
      await change(database, "items");
      await database.sql(`ALTER PUBLICATION ${scene.options.publication} ADD TABLE items`);
      await heals(database, scene, ["items"]);
      expect(gaps(scene)).toEqual(["PUBLICATION_CHANGED"]);
      expect((await scene.state())?.epoch).toBe(1);
      expect(await scene.events("other")).toHaveLength(before);
    });
  });

  test("a new table is loaded, the others are left alone", async () => {
    await withRows(["items"], async (database, scene) => {
      const before = (await scene.events("items")).length;
      await database.sql(`CREATE TABLE late ${COLUMNS}`);
      await database.sql("INSERT INTO late SELECT i, 'late', NULL FROM generate_series(1, 300) i");
      await heals(database, scene, ["late"]);
      expect(await scene.events("items")).toHaveLength(before);
    });
  });
});

describe("while it streams", () => {
  test("R-publication: a table that is taken out and added again is read again", async () => {
    await withRows(["items", "other"], async (database, scene) => {
      await scene.while(async () => {
        const { sessions } = scene;
        await database.sql(`ALTER PUBLICATION ${scene.options.publication} DROP TABLE items`);
        await change(database, "items");
        await database.sql(`ALTER PUBLICATION ${scene.options.publication} ADD TABLE items`);
        await scene.untilWarned("PUBLICATION_CHANGED");
        await eventually("a session that is to read it", () => scene.sessions > sessions, 30_000);
        await scene.untilRead();
        await scene.untilLevel(database);
      });
      await heals(database, scene, ["items", "other"]);
    });
  });

  test("R-publication: a table that is dropped and made again under its name is published and read again", async () => {
    await withRows(["items", "other"], async (database, scene) => {
      await scene.while(async () => {
        const { looks, sessions } = scene;
        await eventually("a look at the tables as they were", () => scene.looks > looks + 1, 30_000);
        await database.sql(`DROP TABLE items; CREATE TABLE items ${COLUMNS}; INSERT INTO items VALUES (1, 'again', 'x'), (7, 'new', 'y')`);
        await scene.untilWarned("PUBLICATION_CHANGED");
        await eventually("a session that is to read it", () => scene.sessions > sessions, 30_000);
        await scene.untilRead();
        await database.sql("INSERT INTO items VALUES (2, 'streamed', 'z')");
        await scene.untilLevel(database);
      });
      expect((await scene.target("items")).map(({ id, name }) => [id, name]).sort()).toEqual([
        [1, "again"],
        [2, "streamed"],
        [7, "new"],
      ]);
      expect(gaps(scene)).toEqual(["PUBLICATION_CHANGED"]);
      expect((await scene.state())?.epoch).toBe(1);
    });
  });

  test("R-publication: rows of a table that was dropped, and made again in another shape before they came, are passed over, and the new one is read", async () => {
    await withRows(["items", "other"], async (database, scene) => {
      await database.sql("INSERT INTO items VALUES (900, 'of the old one', 'x')");
      await database.sql("DROP TABLE items; CREATE TABLE items (id int PRIMARY KEY, name text NOT NULL, big text, more int)");
      await database.sql("INSERT INTO items VALUES (1, 'again', 'x', 5)");
      await scene.while(async () => {
        await scene.untilLevel(database);
        await scene.untilRead();
        await database.sql("INSERT INTO items VALUES (2, 'streamed', 'z', 6)");
        await scene.untilLevel(database);
      });
      expect((await scene.target("items")).map(({ id, name }) => [id, name]).sort()).toEqual([
        [1, "again"],
        [2, "streamed"],
      ]);
    });
  });

  test("a table that comes to match the selection is published and read, the others are left alone; one that can't be captured changes nothing", async () => {
    await withRows(["items"], async (database, scene) => {
      const before = (await scene.events("items")).length;
      const sessions = scene.sessions;
      await scene.while(async () => {
        await database.sql("CREATE TABLE keyless (id int); INSERT INTO keyless VALUES (1)");
        await database.sql(`CREATE TABLE late ${COLUMNS}; INSERT INTO late SELECT i, 'late', NULL FROM generate_series(1, 300) i`);
        await eventually("the new table in the state", async () => (await scene.state())?.topics.length === 2, 30_000);
        await scene.untilRead();
        await database.sql("INSERT INTO late VALUES (301, 'streamed', NULL)");
        await scene.untilLevel(database);
        expect(scene.sessions).toBe(sessions + 2);
        await scene.untilWarned("public.keyless");
        await database.sql("ALTER TABLE keyless ADD PRIMARY KEY (id)");
        await eventually("the table that has a key now in the state", async () => (await scene.state())?.topics.length === 3, 30_000);
        await scene.untilRead();
        await scene.untilLevel(database);
      });
      expect(await scene.target("late")).toHaveLength(301);
      expect(await scene.target("keyless")).toEqual([{ id: 1 }]);
      expect(await scene.events("items")).toHaveLength(before);
      expect(gaps(scene)).toEqual([]);
    });
  });

  test("with no_data such a table is captured from then on", async () => {
    await using database = await (await server).createDatabase("healing");
    await database.sql(`CREATE TABLE items ${COLUMNS}`);
    await using scene = await SourceScene.open(database);
    await scene.while(async () => {
      await database.sql(`CREATE TABLE late ${COLUMNS}; INSERT INTO late VALUES (1, 'before', NULL)`);
      await eventually("the new table in the state", async () => (await scene.state())?.topics.length === 2, 30_000);
      await database.sql("INSERT INTO late VALUES (2, 'after', NULL)");
      await scene.untilRows("late", 1);
    });
    expect((await scene.rows("late")).map(({ id }) => id)).toEqual([2]);
  });

  test("a table that can't be published is named, and the others stream on in the same session", async () => {
    await using database = await (await server).createDatabase("healing");
    const role = uniqueName("clerk");
    await database.sql(`CREATE TABLE items ${COLUMNS}; CREATE ROLE ${role} LOGIN REPLICATION PASSWORD 'clerk'; ALTER TABLE items OWNER TO ${role};
      GRANT CREATE ON DATABASE ${database.name} TO ${role}; GRANT ALL ON SCHEMA public TO ${role}`);
    const url = new URL(database.url);
    [url.username, url.password] = [role, "clerk"];
    await using scene = await SourceScene.open(database, { url: url.href });
    await scene.while(async () => {
      await database.sql(`CREATE TABLE foreign_one ${COLUMNS}`);
      await scene.untilWarned("public.foreign_one");
      await database.sql("INSERT INTO items VALUES (1, 'on', NULL)");
      await scene.untilRows("items", 1);
    });
    expect(scene.sessions).toBe(1);
    await database.sql(`DROP OWNED BY ${role}; DROP ROLE ${role}`);
  });

  test("R-window-start: a write transaction that is open across the start is waited for and named, nothing is lost", async () => {
    await using database = await (await server).createDatabase("healing");
    await database.sql(`CREATE TABLE items ${COLUMNS}`);
    await database.sql("INSERT INTO items SELECT i, 'name', 'x' FROM generate_series(1, 200) i");
    await using scene = await SourceScene.open(database, { snapshot: { mode: "initial" } });
    await scene.while(async () => scene.untilRead());
    await database.sql("CREATE TABLE late (id int PRIMARY KEY, name text, big text)");
    await database.sql("INSERT INTO late SELECT i, 'name', 'x' FROM generate_series(1, 200) i");
    await withClient(database.url, async (holder) => {
      await holder.query("BEGIN");
      await holder.query("UPDATE late SET name = 'held' WHERE id <= 100");
      scene.forget();
      await scene.while(async () => {
        await scene.untilWarned("waits until open transactions end");
        expect((await scene.events("late")).length).toBe(0);
        await holder.query("UPDATE late SET name = 'held on' WHERE id <= 50");
        await holder.query("COMMIT");
        await scene.untilRead();
        await scene.untilLevel(database);
      });
    });
    const names = (await scene.target("late")).map(({ name }) => name);
    expect(names.filter((name) => name === "held on")).toHaveLength(50);
    expect(names.filter((name) => name === "held")).toHaveLength(50);
  });
});
