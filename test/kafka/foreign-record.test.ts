// A record that somebody else's producer has put behind the source's events: the source notices it, names its place, and
// goes on by the way that docs/operations.md shows.
import kafkajs from "kafkajs";
import { expect, test } from "vitest";
import { SourceScene } from "../postgres/source/source-scene.ts";
import { describeWithKafka, kafka, postgres } from "../support/servers.ts";
import { openLog, plainOptions } from "./log-fixture.ts";

describeWithKafka("with Kafka", () => {
  test("R-writer, R-tail: a foreign record stops the source with its place; deleting the records up to it lets it go on", async () => {
    const { brokers } = await kafka();
    await using database = await (await postgres()).createDatabase("foreign");
    await database.sql("CREATE TABLE item (id int PRIMARY KEY)");
    await using scene = await SourceScene.open(database, { log: openLog(plainOptions(brokers)) });
    const topic = scene.topic("item");
    const client = new kafkajs.Kafka({ brokers: [...brokers], logLevel: kafkajs.logLevel.NOTHING });
    const [producer, admin] = [client.producer(), client.admin()];
    await Promise.all([producer.connect(), admin.connect()]);
    try {
      const refused = { code: "EVENT_UNREADABLE", message: expect.stringContaining(`(${topic} partition 0 offset 1)`) as string };
      const meets = scene.while(async () => {
        await database.sql("INSERT INTO item VALUES (1)");
        await scene.untilRows("item", 1);
        await producer.send({ topic, messages: [{ value: "hello" }] });
        await database.sql("INSERT INTO item VALUES (2)"); // its offset is not the expected one: SECOND_WRITER, and another look
        await new Promise(() => undefined);
      });
      await expect(meets).rejects.toMatchObject(refused);
      await database.sql("INSERT INTO item VALUES (3)");
      expect(await scene.refusal()).toMatchObject(refused);

      await admin.fetchTopicOffsets(topic); // the client looks for leaders among the topics that it was asked about before
      await admin.deleteTopicRecords({ topic, partitions: [{ partition: 0, offset: "2" }] });
      await scene.while(async () => scene.untilRows("item", 2));
      expect(await scene.rows("item")).toEqual([{ id: 2 }, { id: 3 }]);
    } finally {
      await Promise.all([producer.disconnect(), admin.disconnect()]);
    }
  });
});
