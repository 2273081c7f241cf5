// R-slot: whether the server still has the history that this source has published. Pure.
import { TailraceError } from "../core/errors.ts";
import { formatLsn, parseLsn, type Lsn } from "../core/lsn.ts";

/** Where a timeline ended and the next one went on. */
export type TimelineSwitch = { readonly timeline: number; readonly at: Lsn };

/* History file ::= { parent_timeline TAB switch_lsn TAB reason LF } with comment lines that start with '#'
 * PostgreSQL manual, "Streaming Replication Protocol", TIMELINE_HISTORY, and access/transam/timeline.c. */
export function parseTimelineHistory(content: string): readonly TimelineSwitch[] {
  const switches: TimelineSwitch[] = [];
  for (const line of content.split("\n")) {
    if (/^\s*(#|$)/.test(line)) continue;
    const match = /^\s*(\d+)\s+([0-9A-Fa-f]+\/[0-9A-Fa-f]+)/.exec(line);
    if (match === null) throw new TailraceError("STREAM_PROTOCOL", { reason: `timeline history line ${JSON.stringify(line)}` });
    switches.push({ timeline: Number(match[1]), at: parseLsn(match[2] ?? "") });
  }
  return switches;
}

/** Where `timeline` was left for a newer one; null when it is no ancestor of the timeline that the history is of. */
export function switchPoint(history: readonly TimelineSwitch[], timeline: number): Lsn | null {
  return history.find((entry) => entry.timeline === timeline)?.at ?? null;
}

/** The cluster as the source's state remembers it. `published`: commit LSN of the last published transaction; 0: none was. */
export type KnownCluster = { readonly systemIdentifier: string; readonly timeline: number; readonly published: Lsn };

export type SeenCluster = {
  readonly systemIdentifier: string;
  readonly timeline: number;
  readonly walEnd: Lsn;
  /** Of the seen timeline; empty for timeline 1. */
  readonly history: readonly TimelineSwitch[];
};

/**
 * What is wrong with another system identifier than before: ANOTHER_DATABASE, or, of the one that the operator has said to be
 * meant (postgres.system_id; null: none), ANOTHER_HISTORY. null when it is the same.
 */
export function identityProblem(before: string, now: string, meant: string | null): TailraceError | null {
  if (now === before) return null;
  const reason = `its system identifier is ${now}, it was ${before}`;
  return meant === now
    ? new TailraceError("ANOTHER_HISTORY", { reason: `${reason}, and postgres.system_id says that it is meant` })
    : new TailraceError("ANOTHER_DATABASE", { reason, id: now });
}

/** ANOTHER_DATABASE, ANOTHER_HISTORY or WAL_REWOUND when what was published is not in this server's past; null when all of it is. */
export function clusterProblem(known: KnownCluster, seen: SeenCluster, meant: string | null = null): TailraceError | null {
  const other = identityProblem(known.systemIdentifier, seen.systemIdentifier, meant);
  if (other !== null) return other;
  // A switch of timelines alone loses nothing: only what was published after the switch point never happened here.
  const end = seen.timeline === known.timeline ? seen.walEnd : switchPoint(seen.history, known.timeline);
  if (end === null)
    return new TailraceError("ANOTHER_HISTORY", {
      reason: `its timeline ${seen.timeline} does not go on from timeline ${known.timeline}`,
    });
  // A commit LSN (BEGIN's final_lsn) is where the commit record begins: WAL that ends right there does not have it.
  if (known.published > 0n && end <= known.published)
    return new TailraceError("WAL_REWOUND", { end: formatLsn(end), published: formatLsn(known.published) });
  return null;
}
