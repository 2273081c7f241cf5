// The bytes that stand in users' topics. A difference here is a change of the format: sinks of older versions, and every
// registry's copy of the schemas, must then be thought of. `vitest run -u` writes the file anew.
import { expect, test } from "vitest";
import { EventDecoder } from "../../../src/avro/decoder.ts";
import { readEvent } from "../../support/row-values.ts";
import { eventsOf } from "../../unit/avro/events.ts";
import { binary, column, int4, int8, NULL, numeric, table, text, tuple, UNCHANGED } from "../../unit/avro/rows.ts";

const orders = table([
  column("id", "int8", 1),
  column("customer_id", "int4"),
  column("status", "enum"),
  column("amount", { kind: "decimal", precision: 12, scale: 2 }),
  column("ratio", "float8"),
  column("paid", "bool"),
  column("note", "text"),
  column("placed on", "date"),
  column("created_at", "timestamptz"),
  column("details", "jsonb"),
  column("token", "uuid"),
  column("address", { kind: "other", typeName: "inet" }),
]);
const full = tuple(
  binary(int8(9_007_199_254_740_993n)),
  binary(int4(-7)),
  text("shipped"),
  binary(numeric(-128n, 2)),
  text("-0"),
  text("t"),
  text("snow ☃"),
  text("0044-03-15 BC"),
  text("2026-11-21 07:55:50.123456+00"),
  text('{"a": 1}'),
  text("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
  text("10.0.0.1/8"),
);
const keyOnly = tuple(binary(int8(1n)), ...Array.from({ length: 11 }, () => NULL));
const unsent = tuple(
  ...[binary(int8(1n)), NULL, text("paid"), NULL, NULL, NULL, UNCHANGED, NULL, text("infinity"), UNCHANGED, NULL, NULL],
);
const notes = table([column("note", "text")], "notes");

test("schemas, keys and events keep their bytes", async () => {
  const keyed = eventsOf(orders, "shop.public.orders");
  const keyless = eventsOf(notes, "shop.public.notes");
  const golden = {
    orders: {
      keySchema: JSON.parse(keyed.schemas.key ?? "") as unknown,
      valueSchema: JSON.parse(keyed.schemas.value) as unknown,
      key: keyed.key(full).toString("hex"),
      create: event(keyed.schemas.value, keyed.create(full)),
      moved: event(keyed.schemas.value, keyed.create(full, keyOnly)),
      update: event(keyed.schemas.value, keyed.update(null, unsent)),
      delete: event(keyed.schemas.value, keyed.delete(keyOnly)),
      truncate: event(keyed.schemas.value, keyed.truncate()),
    },
    notes: {
      valueSchema: JSON.parse(keyless.schemas.value) as unknown,
      create: event(keyless.schemas.value, keyless.create(tuple(text("no key")))),
    },
  };
  await expect(`${JSON.stringify(golden, null, 2)}\n`).toMatchFileSnapshot("./events.json");
});

/** The bytes, and beside them what they say. */
function event(schema: string, value: Buffer): unknown {
  const { op, before, after, unchanged, movedFrom } = readEvent(new EventDecoder(schema), value);
  return { bytes: value.toString("hex"), op, before: plain(before), after: plain(after), unchanged, movedFrom: movedFrom?.toString("hex") ?? null };
}

/** Values as JSON has them: what it can't say, as text. */
function plain(row: readonly unknown[] | null): unknown {
  return row?.map((value) => (typeof value === "bigint" ? `${value}n` : Object.is(value, -0) ? "-0" : value)) ?? null;
}
