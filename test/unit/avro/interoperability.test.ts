// What a user's own program does with our records: the Confluent client, and a reader with a schema of Debezium's shape.
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { SchemaRegistry } from "@kafkajs/confluent-schema-registry";
import avro from "avsc";
import { expect, test } from "vitest";
import { eventsOf, KEY_SCHEMA_ID, VALUE_SCHEMA_ID } from "./events.ts";
import { column, NULL, table, text, tuple } from "./rows.ts";

const orders = table([
  column("id", "int4", 1),
  column("note", "text"),
  column("total", { kind: "decimal", precision: 12, scale: 2 }),
  column("host", { kind: "other", typeName: "inet" }),
]);
const events = eventsOf(orders);
const row = tuple(text("7"), text("hello"), text("-1.28"), NULL);

test("@kafkajs/confluent-schema-registry finds the schema by the frame and decodes keys and values", async () => {
  const schemas = new Map([
    [KEY_SCHEMA_ID, events.schemas.key],
    [VALUE_SCHEMA_ID, events.schemas.value],
  ]);
  const server = createServer((request, response) => {
    const schema = schemas.get(Number(/\/schemas\/ids\/(\d+)/.exec(request.url ?? "")?.[1]));
    response.writeHead(schema === undefined ? 404 : 200, { "content-type": "application/vnd.schemaregistry.v1+json" });
    response.end(JSON.stringify({ schema }));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  try {
    const registry = new SchemaRegistry({ host: `http://127.0.0.1:${(server.address() as AddressInfo).port}` });
    expect(await registry.decode(events.key(row))).toEqual({ id: 7 });
    const value = (await registry.decode(events.create(row, tuple(text("6"), NULL, NULL, NULL)))) as Record<string, unknown>;
    expect(value.op).toBe("c");
    expect(value.moved_from).toEqual({ id: 6 });
    expect(value.after).toEqual({ id: 7, note: "hello", total: Buffer.of(0x80), host: null });
  } finally {
    server.closeAllConnections();
    server.close();
  }
});

test("a reader whose schema has before, after and op alone, every column nullable, reads our events", () => {
  const fields = [
    { name: "id", type: ["null", "int"], default: null },
    { name: "note", type: ["null", "string"], default: null },
  ];
  const foreign = avro.Type.forSchema({
    type: "record",
    name: "Envelope",
    namespace: "shop.public.orders",
    fields: [
      { name: "before", type: ["null", { type: "record", name: "Value", fields }], default: null },
      { name: "after", type: ["null", "Value"], default: null },
      { name: "op", type: ["null", "string"], default: null },
    ],
  });
  const resolver = foreign.createResolver(avro.Type.forSchema(JSON.parse(events.schemas.value) as avro.Schema));
  expect(foreign.fromBuffer(events.delete(row).subarray(5), resolver)).toMatchObject({ op: "d" });
});
