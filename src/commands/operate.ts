// The commands that tell a running service what to do: snapshot, pause, resume, reload.
import type { Paused, Unparked } from "../service/fleet.ts";
import type { Changes } from "../service/reload.ts";
import { askService, printAnswer } from "./service-client.ts";

export async function runSnapshot(
  { dir, source, table, where }: { readonly dir: string; readonly source: string; readonly table: string; readonly where: string | null },
  json: boolean,
): Promise<number> {
  const answer = await askService<{ readonly tables: readonly string[] }>(dir, "/snapshot", { source, table, where });
  return printAnswer(answer, json, ({ tables }) => [
    `a snapshot of ${tables.join(", ")} is asked for: source ${source} reads it while it streams`,
    `see it with: tailrace status ${dir}${process.stdout.isTTY ? " --watch" : ""}`,
  ]);
}

export async function runUnpark(
  { dir, source, table }: { readonly dir: string; readonly source: string; readonly table: string },
  json: boolean,
): Promise<number> {
  const answer = await askService<Unparked>(dir, "/unpark", { source, table });
  return printAnswer(answer, json, ({ tables, left }) => [
    ...tables.map(({ table: label, records, versioned }) => {
      const see = `see it with: tailrace status ${dir}`;
      if (versioned) return `${label} goes on as its next version, into which it is read, and what was parked with it; ${see}`;
      if (records === null) return `${label} is being unparked; ${see}`;
      return `${label} is unparked: ${records} records were drained into its topic, where its events go again`;
    }),
    ...left.map((label) => `${label} is parked still: source ${source} begins anew for that version; give the command again when it runs`),
  ]);
}

/** `table` "": the whole connector. */
export async function runPauseOrResume(
  which: "pause" | "resume",
  { dir, connector, table }: { readonly dir: string; readonly connector: string; readonly table: string },
  json: boolean,
): Promise<number> {
  const answer = await askService<Paused>(dir, `/${which}`, { connector, table });
  return printAnswer(answer, json, ({ tables, state, note }) => [
    tables.length > 0 ? `${which}d of ${connector}: ${tables.join(", ")}; ${note}` : `${connector} is ${state}; ${note}`,
  ]);
}

export async function runReload(dir: string, json: boolean): Promise<number> {
  const answer = await askService<Changes>(dir, "/reload", {});
  return printAnswer(answer, json, ({ added, changed, removed, unchanged, serviceChanged }) => [
    ...listed("started", added),
    ...listed("started again, changed", changed),
    ...listed("stopped, no longer there", removed),
    ...listed("not touched", unchanged),
    ...(serviceChanged ? ["kind: service has changed: that is taken up when the service is started again"] : []),
  ]);
}

function listed(what: string, names: readonly string[]): readonly string[] {
  return names.length === 0 ? [] : [`${what}: ${names.join(", ")}`];
}
