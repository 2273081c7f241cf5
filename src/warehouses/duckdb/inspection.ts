// What would keep a sink from merging into a DuckDB file, looked at without writing: the file's place, who holds it, and
// targets that do not fit.
import { access, constants } from "node:fs/promises";
import path from "node:path";
import { reasonOf, TailraceError } from "../../core/errors.ts";
import type { TargetSpec } from "../../core/warehouse.ts";
import { openFile, type DuckdbOptions } from "./file.ts";
import { findColumns, foundColumn, targetDdl, type FoundColumn } from "./target.ts";

/**
 * The problems of the file and its targets, in the words that a sink would stop with: WAREHOUSE_PRIVILEGE, TARGET_DIFFERS,
 * NAME_COLLISION. A missing file is not made. Throws what openFile() throws (WAREHOUSE_LOCKED for a file that others hold).
 */
export async function inspectFile(
  options: DuckdbOptions,
  targets: readonly TargetSpec[],
  signal: AbortSignal,
): Promise<readonly TailraceError[]> {
  const file = path.resolve(options.path);
  const exists = await may(constants.F_OK, file);
  const problems = exists ? await existingProblems(options, file) : await newProblems(options, file);
  if (problems.length > 0) return problems;
  const columns = exists ? await readColumns(options, signal) : [];
  return targets.flatMap((spec) => targetProblems(spec, columns));
}

/** What ensureTarget() would run for each target, or throw. A missing file is not made. Throws what openFile() throws. */
export async function planFile(
  options: DuckdbOptions,
  targets: readonly TargetSpec[],
  signal: AbortSignal,
): Promise<readonly (readonly string[] | TailraceError)[]> {
  const columns = (await may(constants.F_OK, path.resolve(options.path))) ? await readColumns(options, signal) : [];
  return targets.map((spec) => {
    const [problem] = targetProblems(spec, columns);
    return problem ?? targetDdl(spec, columns);
  });
}

/** Beside the file stand its WAL and what does not fit into memory. */
async function existingProblems(options: DuckdbOptions, file: string): Promise<readonly TailraceError[]> {
  const problems: TailraceError[] = [];
  if (!(await may(constants.R_OK | constants.W_OK, file))) problems.push(notPermitted(options, file));
  const folder = path.dirname(file);
  if (!(await may(constants.W_OK | constants.X_OK, folder))) problems.push(notPermitted(options, folder));
  return problems;
}

/** Folders that are missing above it are made by the sink, in the nearest one that is there. */
async function newProblems(options: DuckdbOptions, file: string): Promise<readonly TailraceError[]> {
  let folder = path.dirname(file);
  while (!(await may(constants.F_OK, folder)) && folder !== path.dirname(folder)) folder = path.dirname(folder);
  return (await may(constants.W_OK | constants.X_OK, folder)) ? [] : [notPermitted(options, folder)];
}

function notPermitted({ path: file }: DuckdbOptions, place: string): TailraceError {
  const id = process.getuid?.();
  return new TailraceError("WAREHOUSE_PRIVILEGE", {
    user: id === undefined ? "of this process" : `with ID ${id}`,
    privilege: `write permission on ${place}`,
    warehouse: `duckdb ${file}`,
    grant: id === undefined ? `let it write to ${place}` : `chown ${id} ${place}`,
  });
}

async function may(mode: number, place: string): Promise<boolean> {
  return access(place, mode).then(
    () => true,
    () => false,
  );
}

async function readColumns(options: DuckdbOptions, signal: AbortSignal): Promise<readonly FoundColumn[]> {
  const file = await openFile(options, signal);
  try {
    // Else closing would move what a killed process has left in the WAL into the file.
    await file.connection.run("PRAGMA disable_checkpoint_on_shutdown");
    return (await file.connection.runAndReadAll(findColumns)).getRowObjects().map(foundColumn);
  } catch (cause) {
    throw new TailraceError("WAREHOUSE_REFUSED", { warehouse: `duckdb ${options.path}`, reason: reasonOf(cause) }, { cause });
  } finally {
    file.close();
  }
}

function targetProblems(spec: TargetSpec, columns: readonly FoundColumn[]): readonly TailraceError[] {
  try {
    targetDdl(spec, columns);
    return [];
  } catch (cause) {
    if (cause instanceof TailraceError) return [cause];
    throw cause;
  }
}
