import { expect, test } from "vitest";
import { connectorConfig } from "../../../bench/debezium.ts";

const kafka = { brokers: ["127.0.0.1:9092"], registry: "http://127.0.0.1:8081/apis/ccompat/v7", brokerPid: 1 };
const wanted = {
  name: "bench_a",
  url: "postgres://me:p%40ss@127.0.0.1:5433/shop",
  tables: ["public.a", "public.b"],
  tuned: "throughput",
  snapshot: "no_data",
} as const;

test("a connector reads the database of the URL, whose password is percent-encoded there and plain here", () => {
  expect(connectorConfig({ kafka, encoding: "json" }, wanted)).toMatchObject({
    "database.hostname": "127.0.0.1",
    "database.port": "5433",
    "database.user": "me",
    "database.password": "p@ss",
    "database.dbname": "shop",
    "table.include.list": "public.a,public.b",
    "slot.name": "bench_a",
    "snapshot.mode": "no_data",
  });
});

test("JSON comes without its schema, which would be most of every record", () => {
  const config = connectorConfig({ kafka, encoding: "json" }, wanted);
  expect(config["value.converter.schemas.enable"]).toBe("false");
  expect(config["key.converter.schemas.enable"]).toBe("false");
});

test("Avro goes to the registry's own API, framed as Confluent frames it", () => {
  const config = connectorConfig({ kafka, encoding: "avro" }, wanted);
  expect(config["value.converter.apicurio.registry.url"]).toBe("http://127.0.0.1:8081/apis/registry/v2");
  expect(config["value.converter.apicurio.registry.as-confluent"]).toBe("true");
});

test("for short times batches wait less than for many rows, and nothing else differs", () => {
  const throughput = connectorConfig({ kafka, encoding: "json" }, wanted);
  const latency = connectorConfig({ kafka, encoding: "json" }, { ...wanted, tuned: "latency" });
  const differs = Object.keys(throughput).filter((key) => throughput[key] !== latency[key]);
  expect(differs.sort()).toEqual(["poll.interval.ms", "producer.override.linger.ms"]);
  for (const key of differs) expect(Number(latency[key])).toBeLessThan(Number(throughput[key]));
});
