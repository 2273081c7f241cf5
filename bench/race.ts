// Contestants against one another: interleaved repeats over the same rows, and how much two equal ones differ.
import type pg from "pg";
import { median, type Contestant, type Measured } from "./contestant.ts";

/** Who runs against whom, over rows that `fill` writes when all are prepared. */
export type Race = {
  readonly name: string;
  readonly about: string;
  readonly rows: number;
  /** What the figure of the server's CPU is of. */
  readonly server: string;
  readonly entries: readonly Entry[];
  /** Before anybody has a slot. */
  readonly before: (repeat: number) => Promise<void>;
  readonly fill: (repeat: number) => Promise<void>;
  readonly after: () => Promise<void>;
};

export type Entry = { readonly name: string; readonly title: string; readonly contestant: (slot: string) => Contestant };
export type Ranked = Measured & Pick<Entry, "name" | "title"> & { readonly runs: readonly Measured[] };

/** What two runs of the same differ by, as a share of the slower one: less than this means nothing in its race. */
export type Noise = { readonly of: string; readonly rowsPerSecond: number; readonly cpuSecondsPerMillion: number };

const AGAIN = "_again";

/** The entries with an equal of the first among `names` at their end, under a name of its own. */
export function withPair(entries: readonly Entry[], names: readonly string[]): readonly Entry[] {
  const found = names.map((name) => entries.find((entry) => entry.name === name)).find((entry) => entry !== undefined);
  return found === undefined ? entries : [...entries, { ...found, name: `${found.name}${AGAIN}`, title: `${found.title}, again` }];
}

/** The two equal ones among results; null without a pair. */
export function pairOf<T extends { readonly name: string }>(results: readonly T[]): readonly [T, T] | null {
  const again = results.find(({ name }) => name.endsWith(AGAIN));
  const first = results.find(({ name }) => `${name}${AGAIN}` === again?.name);
  return again === undefined || first === undefined ? null : [first, again];
}

/** What two figures differ by, as a share of the lesser. */
export function difference(a: number, b: number): number {
  return a === b ? 0 : Math.abs(a - b) / Math.min(a, b);
}

/** Of a race's results; null without a pair. */
export function noiseOf(ranked: readonly Omit<Ranked, "runs">[]): Noise | null {
  const pair = pairOf(ranked);
  if (pair === null) return null;
  const [first, again] = pair;
  return {
    of: first.title,
    rowsPerSecond: difference(first.rowsPerSecond, again.rowsPerSecond),
    cpuSecondsPerMillion: difference(first.cpuSecondsPerMillion, again.cpuSecondsPerMillion),
  };
}

/** In each repeat another one comes first: whoever does finds a cache that the others warm, or does not. */
export function inTurn<T>(all: readonly T[], repeat: number): readonly T[] {
  const turn = all.length === 0 ? 0 : (repeat - 1) % all.length;
  return [...all.slice(turn), ...all.slice(0, turn)];
}

/** Medians of interleaved repeats. */
export async function runRace(race: Race, repeats: number, client: pg.Client, say: (text: string) => void): Promise<readonly Ranked[]> {
  const { name: raceName, about, rows, entries } = race;
  const measured = new Map<Entry, Measured[]>(entries.map((entry) => [entry, []]));
  for (let repeat = 1; repeat <= repeats; repeat++) {
    const all = inTurn(entries, repeat).map((entry) => ({
      entry,
      contestant: entry.contestant(`bench_${raceName}_${entry.name}_${repeat}`),
    }));
    say(`${about}, repeat ${repeat} of ${repeats}: ${rows} rows`);
    await race.before(repeat);
    for (const { contestant } of all) await contestant.warmUp?.();
    for (const { contestant } of all) await contestant.prepare();
    await race.fill(repeat);
    await client.query("CHECKPOINT");
    const { rows: end } = await client.query<{ lsn: string }>("SELECT pg_current_wal_lsn() AS lsn");
    for (const { entry, contestant } of all) {
      const result = await contestant.run(rows, end[0]?.lsn ?? "0/0");
      measured.get(entry)?.push(result);
      say(`${entry.title}: ${result.rowsPerSecond} rows/s, ${result.cpuSecondsPerMillion.toFixed(2)} s CPU per 1M`);
    }
    for (const { contestant } of all) await contestant.tidy();
  }
  await race.after();
  return entries.map((entry) => {
    const runs = measured.get(entry) ?? [];
    return { name: entry.name, title: entry.title, ...median(runs), runs };
  });
}
