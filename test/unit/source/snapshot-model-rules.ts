// What a source of the snapshot model is made of: the modules under test, and the rules that its runner keeps. A rule is
// taken out by its switch here; those of the modules by other source text (snapshot-model-mutants.ts).
import type { TableSnapshot } from "../../../src/source/snapshot-progress.ts";
import type { SnapshotWindow } from "../../../src/source/window.ts";

export type Modules = {
  readonly SnapshotWindow: typeof SnapshotWindow;
  readonly TableSnapshot: typeof TableSnapshot;
};

export type Rules = {
  /** R-window: by what a chunk's snapshot sees, not by where it was in the WAL. */
  readonly judgesByVisibility: boolean;
  /** R-window: a key change touches the key that the row had, and the one that it gets. */
  readonly touchesOldKey: boolean;
  readonly touchesNewKey: boolean;
  /** R-window: a mark's nonce is of this attempt; else it is the chunk's number in this session. */
  readonly uniqueNonces: boolean;
  /** R-window-start: what is in progress ends before the opening mark, and what came before that mark before a chunk. */
  readonly firstWait: boolean;
  readonly secondWait: boolean;
  /** R-window-start: until a fresh id has ended, not until a snapshot's xmax has: who is behind that may have begun. */
  readonly waitsForFreshXid: boolean;
  /** R-window-toast. */
  readonly rereads: boolean;
  readonly queuesRedelivered: boolean;
  readonly queueIsInState: boolean;
  /** R-sweep. */
  readonly sweeps: boolean;
  readonly opensByMark: boolean;
  /** A key change that comes before a snapshot's end is said does not put another one in its place. */
  readonly keepsUnsaid: boolean;
  readonly publicationChangeDiscards: boolean;
};

export const allRules: Rules = {
  judgesByVisibility: true,
  touchesOldKey: true,
  touchesNewKey: true,
  uniqueNonces: true,
  firstWait: true,
  secondWait: true,
  waitsForFreshXid: true,
  rereads: true,
  queuesRedelivered: true,
  queueIsInState: true,
  sweeps: true,
  opensByMark: true,
  keepsUnsaid: true,
  publicationChangeDiscards: true,
};
