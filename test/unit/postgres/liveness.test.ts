// The watchdog, by plain numbers: monotonic milliseconds.
import { describe, expect, test } from "vitest";
import { limitsFor, liveness, type Activity } from "../../../src/postgres/liveness.ts";

describe("limits", () => {
  test("the default timeout of a minute: updates every 10 s, given up after a minute of silence", () => {
    expect(limitsFor(60_000)).toEqual({ keepaliveMs: 10_000, silenceMs: 60_000 });
  });
  test("a short timeout: three updates in its time", () => expect(limitsFor(900)).toEqual({ keepaliveMs: 300, silenceMs: 900 }));
  test.for([0, -1, Number.NaN])("%d turns the watchdog off, not on at once; updates go on", (timeout) =>
    expect(limitsFor(timeout)).toEqual({ keepaliveMs: 10_000, silenceMs: null }),
  );
});

describe("a tick", () => {
  const limits = limitsFor(60_000);
  const at = (changes: Partial<Activity>): Activity => ({ received: 100_000, listening: 0, sent: 100_000, ...changes });

  test("does nothing while both sides have spoken", () => expect(liveness(109_999, at({}), limits)).toBe("fine"));
  test("sends a status update when the last is as old as the limit", () => expect(liveness(110_000, at({}), limits)).toBe("keepalive"));
  test("gives the server exactly its time", () => {
    expect(liveness(160_000, at({ sent: 160_000 }), limits)).toBe("fine");
    expect(liveness(160_001, at({ sent: 160_000 }), limits)).toBe("reconnect");
  });
  test("never gives up while paused, but says that we are there", () =>
    expect(liveness(900_000, at({ listening: null }), limits)).toBe("keepalive"));
  test("gives the full time again after a pause", () => {
    expect(liveness(900_000, at({ listening: 850_000, sent: 899_000 }), limits)).toBe("fine");
    expect(liveness(910_001, at({ listening: 850_000, sent: 910_000 }), limits)).toBe("reconnect");
  });
  test("never gives up when the server has no timeout", () => expect(liveness(9e9, at({ sent: 9e9 }), limitsFor(0))).toBe("fine"));
});
