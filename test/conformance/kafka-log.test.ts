// The suite of the event log's port, on a real broker.
import { openKafkaLog } from "../../src/log/kafka/kafka-log.ts";
import { describeWithKafka, kafka } from "../support/servers.ts";
import { eventLogConformance } from "./event-log.ts";

describeWithKafka("on Kafka", () => {
  eventLogConformance({
    kind: "kafka",
    open: async () => openKafkaLog({ ...(await kafka()), clientId: "conformance", ssl: null, sasl: null, log: null }),
    joinMs: 15_000,
  });
});
