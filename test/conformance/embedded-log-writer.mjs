// A process that writes to an embedded log until it is killed, or until its disk is full. Runs what `npm test` built.
//
//   node embedded-log-writer.mjs FOLDER ROUND BYTES
//
// Keeps several appends in flight, each with one batch for every partition, and says what was acknowledged, a JSON line each.
import { writeSync } from "node:fs";
import { RecordBatchWriter } from "../../dist/core/record-batch.js";
import { openEmbeddedLog } from "../../dist/log/embedded/embedded-log.js";

const [folder, round, bytes] = process.argv.slice(2);
const PARTITIONS = 3;
const IN_FLIGHT = 8;
const { signal } = new AbortController();
const say = (line) => writeSync(1, `${JSON.stringify(line)}\n`);
process.on("SIGXFSZ", () => undefined); // a file beyond the limit is then an error of the write, as a full disk is

const log = await openEmbeddedLog({ path: folder });
await log.createTopic({ name: "t", partitions: PARTITIONS, replication: -1, configs: {} }, signal);
const filler = Buffer.alloc(Number(bytes), "x");
let number = 0;

function batches(records, value) {
  const call = ++number;
  return Array.from({ length: PARTITIONS }, (_, partition) => {
    const writer = new RecordBatchWriter();
    for (let record = 0; record < records; record++) {
      const key = Buffer.from(`${round}:${call}:${record}`);
      writer.append(key, 0, key.length, value, 0, value.length);
    }
    return { topic: "t", partition, bytes: writer.finish(call), count: writer.count };
  });
}

async function one(writer, records, value) {
  const mine = batches(records, value);
  const call = number;
  const offsets = await writer.append(mine, signal);
  say({ call, records, offsets });
}

const writer = await log.openWriter({ name: "child" }, signal);
say({ pid: process.pid });
const work = Array.from({ length: IN_FLIGHT }, async () => {
  for (;;) await one(writer, 1 + (number % 5), filler);
});
const failures = (await Promise.allSettled(work)).map(({ reason }) => ({ code: reason.code, message: reason.message }));
// The small ones may still fit; they must stand where the acknowledged ones end.
const next = await log.openWriter({ name: "child" }, signal);
await one(next, 1, Buffer.alloc(0)).catch((cause) => failures.push({ code: cause.code, message: cause.message }));
say({ failures });
await log[Symbol.asyncDispose]();
