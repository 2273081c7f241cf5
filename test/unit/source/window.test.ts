// What single rules say, one interleaving each. That they suffice together is snapshot-model.test.ts.
import { describe, expect, test } from "vitest";
import { parseVisibility, sees, widenXid } from "../../../src/postgres/visibility.ts";
import { SnapshotWindow, type Chunk } from "../../../src/source/window.ts";

const TABLE = 1;
const OTHER = 2;
const [NAME, PHOTO, STORY] = [1, 2, 3];

/** A window that watches TABLE; rows are kept as texts. */
function watching(): SnapshotWindow<string> {
  const window = new SnapshotWindow<string>();
  window.watch(TABLE);
  return window;
}

/** A chunk that is read under this snapshot. */
function chunkUnder(window: SnapshotWindow<string>, snapshot: string): Chunk {
  const chunk = window.beginChunk(TABLE);
  window.known(chunk, parseVisibility(snapshot));
  return chunk;
}

describe("a snapshot's text form", () => {
  test.each<[string, ReturnType<typeof parseVisibility>]>([
    ["755:755:", { xmin: 755, xmax: 755, inProgress: new Set() }],
    ["10:20:10,14,19", { xmin: 10, xmax: 20, inProgress: new Set([10, 14, 19]) }],
    ["8589934600:8589934601:8589934600", { xmin: 8_589_934_600, xmax: 8_589_934_601, inProgress: new Set([8_589_934_600]) }],
  ])("%s", (text, visibility) => {
    expect(parseVisibility(text)).toEqual(visibility);
  });

  test.each(["", "10", "10:20", "10:20:x", "-1:20:", " 10:20:"])("is not %j", (text) => {
    expect(() => parseVisibility(text)).toThrow(RangeError);
  });
});

describe("visibility (R-window)", () => {
  test("what ended before is seen, what was in progress or had not begun is not", () => {
    const visibility = parseVisibility("10:20:10,14");
    expect([9, 10, 13, 14, 19, 20, 21].map((xid) => sees(visibility, xid))).toEqual([true, false, true, false, true, false, false]);
  });

  test("a transaction that waits for its standby is not in the snapshot's list and is not seen (seen: xid 755, 755:755:)", () => {
    expect(sees(parseVisibility("755:755:"), 755)).toBe(false);
  });

  test("32 bits mean the id nearest to the snapshot, on both sides of a wraparound", () => {
    const turn = 3 * 2 ** 32;
    expect(widenXid(2 ** 32 - 2, turn + 5)).toBe(turn - 2);
    expect(widenXid(7, turn - 5)).toBe(turn + 7);
    expect(sees(parseVisibility(`${turn + 5}:${turn + 5}:`), 2 ** 32 - 2)).toBe(true);
    expect(sees(parseVisibility(`${turn - 5}:${turn - 5}:`), 7)).toBe(false);
  });

  test("is no matter of which came first: what was delivered before the chunk began may be unseen", () => {
    const window = watching();
    window.begin(755);
    window.whole(TABLE, "a");
    const chunk = chunkUnder(window, "755:755:");
    expect(window.reached(chunk)).toBe(true);
    expect(window.judge(chunk, "a")).toBe("drop");
  });
});

describe("a row at the mark (R-window)", () => {
  test("is emitted when nobody touched it, when its table alone is touched elsewhere, and when its toucher is seen", () => {
    const window = watching();
    window.watch(OTHER);
    window.begin(9);
    window.gone(TABLE, "seen");
    window.begin(11);
    window.gone(TABLE, "b");
    window.gone(OTHER, "a");
    const chunk = chunkUnder(window, "10:10:");
    expect(window.reached(chunk)).toBe(true);
    expect(chunk.touched).toBe(true);
    expect(["a", "b", "seen"].map((key) => window.judge(chunk, key))).toEqual(["emit", "drop", "emit"]);
  });

  test("is dropped, with all others of its table, when an unseen TRUNCATE came", () => {
    const window = watching();
    const chunk = chunkUnder(window, "10:10:");
    window.begin(11);
    window.truncate(OTHER);
    expect(window.judge(chunk, "a")).toBe("emit");
    window.truncate(TABLE);
    expect(window.judge(chunk, "a")).toBe("drop");
  });

  test("need not be asked for in a table where nothing was kept", () => {
    const window = watching();
    const chunk = chunkUnder(window, "10:10:");
    window.begin(11);
    window.gone(OTHER, "a");
    expect(window.reached(chunk)).toBe(true);
    expect(chunk.touched).toBe(false);
  });
});

describe("unsent columns (R-window-toast)", () => {
  test("come from the chunk's row as long as no unseen event brought them, the others from those events in order", () => {
    const window = watching();
    const chunk = chunkUnder(window, "10:20:10,12");
    window.begin(12);
    window.partial(TABLE, "a", [PHOTO, STORY], "first", 5);
    window.begin(13); // seen
    window.whole(TABLE, "a");
    window.begin(10);
    window.partial(TABLE, "a", [NAME, STORY], "second", 6);
    expect(window.judge(chunk, "a")).toEqual({ columns: [STORY], rows: ["first", "second"] });
    window.begin(25);
    window.partial(TABLE, "a", [PHOTO], "third", 5);
    expect(window.judge(chunk, "a")).toBe("drop"); // nothing is the chunk's any more
  });

  test.each<[string, (window: SnapshotWindow<string>) => void]>([
    ["a delete", (window) => window.gone(TABLE, "a")],
    ["a complete row", (window) => window.whole(TABLE, "a")],
    ["a TRUNCATE", (window) => window.truncate(TABLE)],
  ])("are not inherited across %s", (_, end) => {
    const window = watching();
    const chunk = chunkUnder(window, "10:10:");
    window.begin(11);
    window.partial(TABLE, "a", [PHOTO], "before", 6);
    end(window);
    window.partial(TABLE, "a", [PHOTO], "after", 5);
    expect(window.judge(chunk, "a")).toBe("drop");
  });
});

describe("what is kept (R-window-start)", () => {
  test("everything, until a snapshot is known", () => {
    const window = watching();
    window.begin(11);
    window.gone(TABLE, "a");
    const early = window.beginChunk(TABLE);
    window.advance(parseVisibility("100:100:")); // the early chunk's snapshot may be an older one
    expect(window.touches).toBe(1);
    window.known(early, parseVisibility("10:10:"));
    expect(window.judge(early, "a")).toBe("drop");
    window.close(early);
    expect([window.touches, window.bytes]).toEqual([0, 0]);
  });

  test("what the last known snapshot does not see, for chunks to come", () => {
    const window = watching();
    window.advance(parseVisibility("12:12:"));
    window.begin(12);
    window.gone(TABLE, "a");
    window.close(chunkUnder(window, "12:12:"));
    expect(window.judge(chunkUnder(window, "12:12:"), "a")).toBe("drop");
    window.advance(parseVisibility("13:13:"));
    expect(window.touches).toBe(1); // two chunks under 12 are open still
  });

  test("back to the least snapshot of all chunks that wait for their mark", () => {
    const window = watching();
    const old = chunkUnder(window, "10:10:");
    window.begin(10);
    window.gone(TABLE, "a");
    const young = chunkUnder(window, "30:30:");
    window.close(young);
    expect(window.judge(old, "a")).toBe("drop");
  });

  test("back to the snapshot known when a chunk began, as long as its own is not known", () => {
    const window = watching();
    window.advance(parseVisibility("10:10:"));
    const slow = window.beginChunk(TABLE);
    window.begin(11);
    window.gone(TABLE, "a");
    window.advance(parseVisibility("40:40:"));
    window.known(slow, parseVisibility("11:12:11"));
    expect(window.judge(slow, "a")).toBe("drop");
  });

  test("an id from before a wraparound goes when ids from behind it are the floor", () => {
    const turn = 2 ** 32;
    const window = watching();
    window.begin(2 ** 32 - 1);
    window.gone(TABLE, "a");
    window.begin(3);
    window.gone(TABLE, "a");
    window.advance(parseVisibility(`${turn + 3}:${turn + 3}:`));
    expect(window.touches).toBe(1);
    expect(window.judge(chunkUnder(window, `${turn + 3}:${turn + 3}:`), "a")).toBe("drop");
  });

  test("one long transaction keeps nothing: what others have touched since is seen by every chunk to come", () => {
    const window = watching();
    window.advance(parseVisibility("10:11:10"));
    for (let xid = 11; xid < 1_000; xid++) {
      window.begin(xid);
      window.gone(TABLE, `key ${xid}`);
      if (xid % 10 === 0) window.advance(parseVisibility(`10:${xid}:10`));
    }
    expect(window.touches).toBe(10);
    window.begin(10); // it commits at last
    window.gone(TABLE, "long");
    window.advance(parseVisibility("10:1000:10"));
    expect(window.touches).toBe(1);
    expect(window.judge(chunkUnder(window, "10:1000:10"), "long")).toBe("drop");
  });

  test("of two snapshots with one end the one with fewer in progress counts", () => {
    const window = watching();
    window.advance(parseVisibility("10:20:10,15"));
    window.advance(parseVisibility("10:20:10"));
    window.advance(parseVisibility("10:20:10,15"));
    window.begin(15);
    window.gone(TABLE, "a");
    window.close(chunkUnder(window, "10:20:10"));
    expect(window.touches).toBe(0);
  });

  test("no more than the limit: all is forgotten, chunks are given up, and what was opened before is not open any more", () => {
    const window = new SnapshotWindow<string>(10_000);
    window.watch(TABLE);
    const { generation } = window;
    const chunk = chunkUnder(window, "10:10:");
    window.begin(11);
    for (let n = 0; n < 100; n++) window.gone(TABLE, `key ${n}`);
    expect(window.bytes).toBeLessThanOrEqual(10_000);
    expect(window.generation).toBeGreaterThan(generation);
    expect(window.reached(chunk)).toBe(false);
    const late = window.beginChunk(TABLE, generation);
    window.known(late, parseVisibility("20:20:"));
    expect(window.reached(late)).toBe(false);
    const anew = window.beginChunk(TABLE, window.generation);
    window.known(anew, parseVisibility("20:20:"));
    expect(window.reached(anew)).toBe(true);
  });

  test("nothing of a backlog that the chunk waiting behind it has seen, however large it is", () => {
    const window = new SnapshotWindow<string>(10_000);
    window.watch(TABLE);
    const chunk = chunkUnder(window, "1000:1000:");
    for (let xid = 11; xid < 900; xid++) {
      window.begin(xid);
      window.gone(TABLE, `key ${xid}`);
    }
    expect(window.bytes).toBeLessThanOrEqual(10_000);
    expect(window.reached(chunk)).toBe(true);
    expect(window.judge(chunk, "key 20")).toBe("emit");
  });

  test("nothing, of tables that nobody reads", () => {
    const window = watching();
    window.begin(11);
    window.gone(OTHER, "a");
    expect(window.touches).toBe(0);
  });

  test("a hundred thousand touches of one key are forgotten in one go as fast as those of many keys", () => {
    const window = watching();
    const old = chunkUnder(window, "10:10:");
    window.begin(11);
    for (let n = 0; n < 100_000; n++) window.partial(TABLE, "counter", [PHOTO], "row", 3);
    expect(window.bytes).toBeGreaterThan(100_000);
    window.advance(parseVisibility("12:12:"));
    const before = performance.now();
    window.close(old);
    expect(window.touches).toBe(0);
    expect(performance.now() - before).toBeLessThan(1_000); // as an array whose first is spliced out: 9 s
  });
});

describe("a chunk that was given up", () => {
  test("has nothing to emit when its mark comes by", () => {
    const window = watching();
    const closed = chunkUnder(window, "10:10:");
    window.close(closed);
    expect(window.reached(closed)).toBe(false);
    const lost = chunkUnder(window, "10:10:");
    window.forget();
    expect(window.reached(lost)).toBe(false);
    expect(window.judge(lost, "a")).toBe("drop");
  });

  test("is one whose table is not watched any more, also when it is watched again", () => {
    const window = watching();
    const chunk = chunkUnder(window, "10:10:");
    window.begin(11);
    window.gone(TABLE, "a");
    window.unwatch(TABLE);
    expect([window.touches, window.bytes]).toEqual([0, 0]);
    expect(window.reached(chunk)).toBe(false);
    window.watch(TABLE);
    expect(window.reached(chunk)).toBe(false);
  });

  test("is one whose snapshot is not known when its mark comes by", () => {
    const window = watching();
    expect(window.reached(window.beginChunk(TABLE))).toBe(false);
  });

  test("does not learn its snapshot any more", () => {
    const window = watching();
    const chunk = window.beginChunk(TABLE);
    window.close(chunk);
    window.known(chunk, parseVisibility("10:10:"));
    expect(window.reached(chunk)).toBe(false);
  });

  test("after forget() everything is kept again until a snapshot is known", () => {
    const window = watching();
    window.advance(parseVisibility("50:50:"));
    window.forget();
    window.begin(11);
    window.gone(TABLE, "a");
    expect(window.touches).toBe(1);
  });
});
