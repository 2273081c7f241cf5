// That an armed one kills the process, test/e2e/kill-service.test.ts shows.
import { expect, test } from "vitest";
import { armFailpoint, failpoints, reach } from "../../../src/core/failpoint.ts";

test("no failpoint does anything unless it is armed", () => {
  for (const point of failpoints) reach(point);
  armFailpoint("source.after_append:1000");
  for (const point of failpoints) reach(point);
});

test.each(["nowhere", "source.after_append:0", "source.after_append:x", "source.after_append:1.5", ""])(
  "the failpoint %j is refused with the names that there are",
  (text) => {
    expect(() => armFailpoint(text)).toThrow(
      expect.objectContaining({ code: "USAGE", message: expect.stringContaining("sink.after_commit") }),
    );
  },
);
