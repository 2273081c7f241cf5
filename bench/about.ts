// Where and of what the figures are: for the JSON file and the chart.
import { readFile } from "node:fs/promises";
import { availableParallelism } from "node:os";
import type pg from "pg";
import { version } from "../src/core/version.ts";
import { KAFKA } from "../test/support/kafka.ts";
import type { MavenProgram } from "../test/support/maven-cache.ts";
import { REGISTRY } from "../test/support/registry.ts";
import type { ChartBar, ChartData, ChartTime } from "./chart.ts";
import { CONNECTOR } from "./connect-worker.ts";
import type { Options } from "./options.ts";
import type { Ranked } from "./race.ts";
import type { Servers } from "./servers.ts";
import type { VisibleReport } from "./visible.ts";

export type About = {
  readonly at: string;
  readonly rows: number;
  readonly repeats: number;
  readonly cores: number;
  /** Of what took part, by name. */
  readonly versions: Readonly<Record<string, string>>;
};

export async function aboutRun(options: Options, { kafka, debezium }: Servers, client: pg.Client): Promise<About> {
  const { rows } = await client.query<{ server_version: string }>("SHOW server_version");
  const versions: Record<string, string> = {
    Tailrace: version,
    "Node.js": process.versions.node,
    PostgreSQL: rows[0]?.server_version ?? "unknown",
  };
  if (kafka !== null) versions.Kafka = await versionOf(KAFKA);
  if (debezium.length > 0) versions.Debezium = await versionOf(CONNECTOR);
  if (kafka !== null) versions.Apicurio = await versionOf(REGISTRY);
  return { at: new Date().toISOString(), rows: options.rows, repeats: options.repeats, cores: availableParallelism(), versions };
}

/** A pom of ours has the version of what it fetches. */
async function versionOf({ pom, name }: MavenProgram): Promise<string> {
  const found = /<version>([^<]+)<\/version>/.exec(await readFile(pom, "utf8"))?.[1];
  if (found === undefined) throw new Error(`the pom of ${name} has no version`);
  return found;
}

/** What is drawn: one race, and the times; without the second of an equal pair. */
export function chartData(
  about: About,
  race: { readonly about: string; readonly rows: number; readonly results: readonly Ranked[] } | null,
  visible: readonly VisibleReport[],
): ChartData {
  const drawn = <T extends { readonly name: string }>(all: readonly T[]): readonly T[] =>
    all.filter(({ name }) => !name.endsWith("_again"));
  const bars: readonly ChartBar[] = drawn(race?.results ?? []);
  const times: readonly ChartTime[] = drawn(visible);
  const { at, cores, repeats, versions } = about;
  const rows = race === null ? [] : [`${race.rows.toLocaleString("en-US")} rows`];
  const machine = `${cores} ${cores === 1 ? "core" : "cores"} for all of them`;
  const runs = repeats === 1 ? "one run" : `medians of ${repeats} interleaved repeats`;
  return {
    title: "Tailrace beside others: one machine, one run",
    about: [
      [at.slice(0, 10), machine, ...rows, runs].join(" · "),
      Object.entries(versions)
        .map(([name, of]) => `${name} ${of}`)
        .join(" · "),
    ],
    barsAbout: race === null ? "" : `${race.about.slice(0, 1).toUpperCase()}${race.about.slice(1)}`,
    bars,
    times,
  };
}
