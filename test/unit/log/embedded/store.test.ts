// What LMDB does for the log: all or nothing, one owner, and no hole behind a failure.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { open } from "lmdb";
import fc from "fast-check";
import { afterEach, beforeEach, expect, test } from "vitest";
import { agrees, baseOffsetOf, batchKey, Store, topicIdOf } from "../../../../src/log/embedded/store.ts";

let folder: string;
beforeEach(async () => void (folder = await mkdtemp(path.join(tmpdir(), "tailrace-store.d-"))));
afterEach(() => rm(folder, { recursive: true, force: true }));

const id = Buffer.alloc(16, 0xab);

test("keys sort as their topic, partition and offset do, and give them back", () => {
  const place = fc.tuple(fc.uint8Array({ minLength: 16, maxLength: 16 }), fc.nat(1_000), fc.maxSafeNat());
  fc.assert(
    fc.property(place, place, ([topic, partition, offset], [, partition2, offset2]) => {
      const key = batchKey(Buffer.from(topic), partition, offset);
      expect([topicIdOf(key), baseOffsetOf(key)]).toEqual([Buffer.from(topic), offset]);
      const expected = Math.sign(partition - partition2) || Math.sign(offset - offset2);
      expect(Math.sign(key.compare(batchKey(Buffer.from(topic), partition2, offset2)))).toBe(expected);
    }),
  );
});

test("a batch agrees with its key when it says the same base offset", () => {
  const batch = Buffer.alloc(70);
  batch.writeBigInt64BE(5_000_000_000n);
  expect(agrees(batchKey(id, 0, 5_000_000_000), batch)).toBe(true);
  expect(agrees(batchKey(id, 0, 5_000_000_001), batch)).toBe(false);
  expect(agrees(batchKey(id, 0, 705_032_704), batch)).toBe(false); // the same low 32 bits
});

test("the next owner shuts the former one out, whose commits then change nothing", async () => {
  const former = await Store.open(folder);
  const change = (store: Store, offset: number) => [
    { table: store.batches, key: batchKey(id, 0, offset), value: Buffer.from(`${offset}`) },
  ];
  await former.commit(change(former, 0));
  const owner = await Store.open(folder);
  await expect(former.commit(change(former, 1))).rejects.toMatchObject({ code: "LOG_LOCKED" });
  await owner.commit(change(owner, 2));
  expect([...owner.batches.getKeys({ start: Buffer.alloc(1) })].map(baseOffsetOf)).toEqual([0, 2]);
  await owner.close();
});

test("a folder whose name looks like a file's is still a folder", async () => {
  const store = await Store.open(path.join(folder, "shop.log"));
  await store.close();
  await (await Store.open(path.join(folder, "shop.log"))).close();
});

// Trap: LMDB's map has a size, and a write beyond it fails. lmdb lets it grow when no size is given.
test("the file grows with its contents, there is no size to set", async () => {
  const store = await Store.open(folder);
  const value = Buffer.alloc(1024 * 1024, 1);
  for (let offset = 0; offset < 64; offset++) await store.commit([{ table: store.batches, key: batchKey(id, 0, offset), value }]);
  expect(store.batches.getCount()).toBe(64);
  await store.close();
});

// Trap: lmdb's default gives a promise that resolves before the fsync (overlappingSync), and its values are msgpack.
test("the library's defaults are not what is used: commits are flushed, values are the bytes given", async () => {
  const store = await Store.open(folder);
  await store.commit([{ table: store.groups, key: Buffer.from("g"), value: Buffer.from("12") }]);
  await store.close();
  const raw = open({ path: folder, noSubdir: false, maxDbs: 8, overlappingSync: false });
  const groups = raw.openDB<Buffer, Buffer>({ name: "groups", encoding: "binary", keyEncoding: "binary" });
  expect(groups.getBinary(Buffer.from("g"))?.toString()).toBe("12");
  await raw.close();
});
