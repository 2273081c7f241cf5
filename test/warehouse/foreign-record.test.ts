// A record that somebody else's producer has put between the events: the sink stops in front of it, and the way past it that
// docs/operations.md shows loses no event.
import { afterAll, expect, test } from "vitest";
import { eventually } from "../support/eventually.ts";
import { dropDatabases, duckdbKind, postgresKind, type Place } from "./places.ts";
import { insert, SinkScene, update } from "./sink-scene.ts";

afterAll(dropDatabases);

const bytes = (text: string): Buffer => Buffer.from(text, "latin1");

for (const kind of [duckdbKind, postgresKind]) {
  test.each([
    ["no frame", bytes("hello"), "EVENT_UNREADABLE"],
    ["a schema that the registry does not have", bytes("\0\0\0\x7f\x01\0"), "SCHEMA_UNKNOWN"],
    ["the frame of a schema that is no event's", bytes("\0\0\0\0\x01\0"), "EVENT_UNREADABLE"],
  ])(
    `${kind.title}: what stands before a record with %s is merged, its place is named, and moving the checkpoint passes it`,
    async (_, value, code) => {
      await using place = await kind.make();
      await using scene = await SinkScene.open();
      await scene.publish(1, insert(1, 1n, "a", null), insert(2, 2n, "b", null));
      await scene.publishForeign(1, value);
      await scene.publish(1, update(3, 1n, "A", null), insert(4, 3n, "c", null));

      for (const _ of ["first", "again"]) {
        await expect(scene.run(place.warehouse, "hard").ended).rejects.toMatchObject({
          code,
          message: expect.stringContaining("(shop.public.orders partition 1 offset 2)") as string,
        });
        expect(await rows(place)).toEqual([
          ["1", "a"],
          ["2", "b"],
        ]);
      }
      const checkpoint = "sink = 'lake' AND topic = 'shop.public.orders' AND partition = 1";
      expect(await place.sql(`SELECT next_offset::text FROM _tailrace.checkpoints WHERE ${checkpoint}`)).toEqual([["2"]]);
      await place.sql(`UPDATE _tailrace.checkpoints SET next_offset = 3 WHERE ${checkpoint} AND next_offset = 2`);

      const run = scene.run(place.warehouse, "hard");
      await eventually("the rest merged", () => scene.flushes.reduce((sum, { events }) => sum + events, 0) === 4);
      await run.stop();
      expect(await rows(place)).toEqual([
        ["1", "A"],
        ["2", "b"],
        ["3", "c"],
      ]);
    },
  );
}

function rows(place: Place): Promise<(string | null)[][]> {
  return place.sql("SELECT id::text, name FROM analytics.orders o ORDER BY o.id");
}
