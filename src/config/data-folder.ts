// Where a service keeps what it writes to its own disk, unless a path in the configuration says otherwise.

import { resolve } from "node:path";

import { TailraceError } from "../core/errors.ts";
import type { Surroundings } from "./reference.ts";

/** What the image sets: inside a container the configuration's folder is read-only. */
export const DATA_VARIABLE = "TAILRACE_DATA";

/**
 * The data folder of the service whose configuration stands in `dir`, absolute; it need not exist. A relative
 * TAILRACE_DATA starts at `dir`, as every path of the configuration does. Throws USAGE when it is set to nothing.
 */
export function dataFolder({ dir, env }: Pick<Surroundings, "dir" | "env">): string {
  const folder = env[DATA_VARIABLE] ?? "./data";
  if (folder === "") throw new TailraceError("USAGE", { problem: `${DATA_VARIABLE} is set to nothing, not to a folder` });
  return resolve(dir, folder);
}
