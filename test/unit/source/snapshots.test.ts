// What a session's snapshots make of marks that come by; who reads and who waits is tested with real servers.
import { describe, expect, test } from "vitest";
import { toLsn } from "../../../src/core/lsn.ts";
import type { CapturedTable } from "../../../src/source/captured-table.ts";
import { TableSnapshot } from "../../../src/source/snapshot-progress.ts";
import { Snapshots, type AwaitedChunk, type ChunkJob } from "../../../src/source/snapshots.ts";
import { ChunkRows } from "../../../src/postgres/snapshot-rows.ts";

const words = { schema: "public", name: "words" };
const captured = {
  label: "public.words",
  moves: 0,
  reading: { watched: false, passedBelow: 0n, shapesSeen: 0n, shapesUntold: 0n, letters: null, moves: 0 },
} as unknown as CapturedTable;

function keyless(): { readonly snapshots: Snapshots; readonly snapshot: TableSnapshot; readonly ended: string[] } {
  const ended: string[] = [];
  const snapshots = new Snapshots({
    source: "shop",
    epoch: 1,
    records: [TableSnapshot.begin(words, "keyless", "first start").record()],
    topicOf: () => "shop.public.words",
    events: { durable: () => undefined, ended: ({ opening }) => void ended.push(opening), completed: () => undefined },
  });
  return { snapshots, snapshot: snapshots.all[0]!, ended };
}

/** The last chunk of an attempt, read and waiting for its mark. */
function lastChunk(snapshot: TableSnapshot, attempt: number, opening: string): AwaitedChunk {
  const job: ChunkJob = { kind: "blocks", snapshot, range: snapshot.take()!, isLast: true, opening, attempt };
  const chunk = { table: 1, visibility: null, touched: false };
  return { job, chunk, captured, rows: new ChunkRows([], 1_000), passed: () => undefined };
}

describe("R-keyless: a chunk of a table without a key", () => {
  test("is true at its mark though the touched keys of all tables were forgotten meanwhile: nothing is judged by them", () => {
    const { snapshots, snapshot } = keyless();
    const mark = snapshots.chunkMark(lastChunk(snapshot, snapshot.beginAnew(), "o1"));
    snapshots.window.forget();
    expect(snapshots.mark(mark, toLsn(10n))).not.toBeNull();
  });

  test("counts for nothing once the table is read anew, though its reader never heard that it was committed", () => {
    const { snapshots, snapshot, ended } = keyless();
    const first = lastChunk(snapshot, snapshot.beginAnew(), "o1");
    const marked = snapshots.mark(snapshots.chunkMark(first), toLsn(10n));
    if (marked === null || marked === "opening") throw new Error("the chunk's mark means nothing");
    marked.emitted(0);
    // Here the answer to COMMIT is lost: the reader gives the range back and begins anew.
    if (first.job.kind === "blocks") snapshot.giveBack(first.job.range);
    const second = lastChunk(snapshot, snapshot.beginAnew(), "o2");
    snapshots.published(toLsn(10n));
    expect([snapshot.complete, ended]).toEqual([false, []]);
    const again = snapshots.mark(snapshots.chunkMark(second), toLsn(20n));
    if (again === null || again === "opening") throw new Error("the second chunk's mark means nothing");
    again.emitted(0);
    snapshots.published(toLsn(20n));
    expect([snapshot.complete, ended]).toEqual([true, ["o2"]]);
  });

  test("R-park: read before its table's events came to go elsewhere, is passed over: it is read again for the other place", () => {
    const { snapshots, snapshot } = keyless();
    const chunk = lastChunk(snapshot, snapshot.beginAnew(), "o1");
    const reading = { watched: false, passedBelow: 0n, shapesSeen: 0n, shapesUntold: 0n, letters: null, moves: 1 };
    const mark = snapshots.chunkMark({ ...chunk, captured: { ...captured, reading } });
    expect(snapshots.mark(mark, toLsn(10n))).toBeNull();
  });

  test("of an attempt before is passed over where its mark comes by", () => {
    const { snapshots, snapshot } = keyless();
    const mark = snapshots.chunkMark(lastChunk(snapshot, snapshot.beginAnew(), "o1"));
    snapshot.beginAnew();
    expect(snapshots.mark(mark, toLsn(10n))).toBeNull();
  });
});
