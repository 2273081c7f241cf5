// R-epoch: the source's durable memory, one record per process in the compacted topic `<prefix>.state`. The key carries
// the process's generation, so that a late write of a dead process replaces only that process's own record. Written by the source, read by sinks too.
import { TailraceError, reasonOf } from "./errors.ts";
import type { EventLog, EncodedBatch, LogWriter, TopicSpec } from "./event-log.ts";
import { formatLsn, parseLsn, type Lsn } from "./lsn.ts";
import { RecordBatchWriter } from "./record-batch.ts";
import type { SnapshotRecord } from "./snapshot-record.ts";
import type { TableLayout } from "./table-layout.ts";
import type { TableName } from "./table.ts";

export type TopicState = {
  readonly name: string;
  readonly id: string;
  readonly partitions: number;
  /** The table whose events it holds. */
  readonly table: { readonly schema: string; readonly name: string };
  /** R-version: left out for the first. */
  readonly version?: number;
};

/** R-version: a table whose events go to another topic, and targets, than those of its name. */
export type VersionedTable = {
  readonly table: TableName;
  /** 2 or higher. */
  readonly version: number;
  /** Text form of a sequence: its events up to here, and no others, are in the topics of versions before. */
  readonly after: string;
  /** What had changed, and the registry's words. */
  readonly difference: string;
  readonly words: string;
};

/** R-park: a table whose events go to a topic of their own until an operator unparks it. Offsets are by partition. */
export type ParkedTable = {
  readonly table: TableName;
  readonly topic: { readonly name: string; readonly id: string; readonly partitions: number };
  /** Ends of its own topic when it was parked: what stands there from then on was drained into it. */
  readonly ownFrom: readonly number[];
  /** Ends of the parked topic then: what stands before is of an earlier parking. */
  readonly from: readonly number[];
  /** The ids that its events there have been written with, oldest first; a key's is null for a table without one. */
  readonly schemas: readonly { readonly key: number | null; readonly value: number }[];
  /** What had changed, the registry's words, and the commands that let it pass. */
  readonly difference: string;
  readonly words: string;
  readonly commands: string;
};

export type SourceState = {
  /** Grows by one with every process (session) that takes the source over. */
  readonly generation: number;
  /** Grows with every record of a generation. */
  readonly number: number;
  readonly epoch: number;
  readonly systemId: string;
  readonly timeline: number;
  readonly slot: string;
  /** `making`: the slot is being made, nothing of this epoch was published yet. `over`: snapshot.mode initial_only, and all is read. */
  readonly phase: "making" | "streaming" | "over";
  /** Publication names and stream options (R-options). */
  readonly options: string;
  /** R-publication: JSON of the fingerprint; "" while `making`. */
  readonly publication: string;
  /** The slot may be confirmed up to here, not further. */
  readonly acknowledged: Lsn;
  /** Commit LSN of the last transaction known to be published. */
  readonly published: Lsn;
  /** Id of the topic of barriers; null in records from before it was kept. */
  readonly barriers: string | null;
  readonly topics: readonly TopicState[];
  /** The unfinished ones; null: this source makes none (snapshot.mode no_data). */
  readonly snapshots: readonly SnapshotRecord[] | null;
  /** R-silent-ddl: of the captured tables, as last looked at; a snapshot that a difference asked for stands in `snapshots`. */
  readonly layouts: readonly TableLayout[];
  readonly parked: readonly ParkedTable[];
  /** R-version: the present version of each table that has come to have a second one. */
  readonly versions: readonly VersionedTable[];
  /** R-version: the topics of versions before. Nothing is written to them; sinks read them to their ends. */
  readonly retired: readonly TopicState[];
};

/** R-version: 1 for a table that has none. */
export function versionOf(versions: readonly VersionedTable[], { schema, name }: TableName): number {
  return versions.find(({ table }) => table.schema === schema && table.name === name)?.version ?? 1;
}

/** A record holds about 500 bytes a table, and up to 1 MiB of queued keys a table that is being repaired. */
const LARGEST_STATE_BYTES = 32 * 1024 * 1024;

export function stateTopic(prefix: string): string {
  return `${prefix}.state`;
}

export function stateTopicSpec(prefix: string, replication: number): TopicSpec {
  const configs = { "cleanup.policy": "compact", "max.message.bytes": String(LARGEST_STATE_BYTES) };
  return { name: stateTopic(prefix), partitions: 1, replication, configs };
}

/**
 * The state that counts, of all records: the newest generation's last one, with the highest epoch and, within it, the
 * highest LSNs of any process: one that is dead may have acknowledged after its successor read the state. What some
 * records make stands for them among later ones.
 */
export function mergeStates(records: readonly SourceState[]): SourceState | null {
  const newest = records.reduce<SourceState | null>((best, state) => (best === null || isNewer(state, best) ? state : best), null);
  if (newest === null) return null;
  const epoch = Math.max(...records.map((state) => state.epoch));
  const sameEpoch = records.filter((state) => state.epoch === epoch);
  const highest = (of: (state: SourceState) => Lsn): Lsn => sameEpoch.map(of).reduce((a, b) => (a > b ? a : b));
  return { ...newest, epoch, acknowledged: highest((state) => state.acknowledged), published: highest((state) => state.published) };
}

function isNewer(a: SourceState, b: SourceState): boolean {
  return a.generation !== b.generation ? a.generation > b.generation : a.number > b.number;
}

/** Offsets at the end of the state topic that are read first. Only where no state stands there is the whole topic read. */
const RECENT_OFFSETS = 1000;
const READ_BYTES = 1 << 20;

/** What was read of the state topic: all before `next`, which makes `state`. Whoever looks again goes on from there. */
export type StateLook = {
  /** The topic's; another one is a topic that was made again. */
  readonly topicId: string;
  readonly next: number;
  readonly state: SourceState | null;
};

/**
 * The state, null when the topic is absent or empty. The end of the topic is enough: each process begins with a record
 * that has merged everything before it. Throws LOG_CORRUPT for a record that can't be read.
 */
export async function readState(log: EventLog, prefix: string, signal: AbortSignal): Promise<SourceState | null> {
  return (await lookAtState(log, prefix, null, signal))?.state ?? null;
}

/**
 * The same for those who look often: reads only what has come since `last`. A record has all tables of the source, and
 * a thousand of them are megabytes. null: there is no topic.
 */
export async function lookAtState(log: EventLog, prefix: string, last: StateLook | null, signal: AbortSignal): Promise<StateLook | null> {
  const topic = stateTopic(prefix);
  const [found] = await log.topics([topic], signal);
  const [range] = found === undefined ? [] : await log.offsets(topic, signal);
  if (found === undefined || range === undefined) return null;
  const { start, end } = range;
  // A log that ends before what was read is another one, whatever its id says.
  const known = last !== null && last.topicId === found.id && last.next <= end ? last : null;
  const from = Math.max(start, known?.next ?? end - RECENT_OFFSETS);
  let look = await readOn(log, topic, { topicId: found.id, next: from, state: known?.state ?? null }, end, signal);
  if (look.state === null && from > start) look = await readOn(log, topic, { ...look, next: start }, end, signal);
  return look;
}

/** Merges page by page: all records of a large source at once are more than a small process holds. */
async function readOn(log: EventLog, topic: string, from: StateLook, end: number, signal: AbortSignal): Promise<StateLook> {
  let { next, state } = from;
  while (next < end) {
    const fetched = await log.read({ topic, partition: 0, offset: next }, READ_BYTES, signal);
    for (const { value, offset } of fetched.records) {
      if (value !== null) state = mergeStates([...(state === null ? [] : [state]), parseState(value, topic, offset)]);
    }
    if (fetched.next <= next) break;
    next = fetched.next;
  }
  return { ...from, next, state };
}

/** Appends a state record; resolves when it is durable. */
export async function writeState(writer: LogWriter, prefix: string, state: SourceState, signal: AbortSignal): Promise<void> {
  const key = Buffer.from(JSON.stringify({ generation: state.generation }));
  const value = Buffer.from(
    JSON.stringify({ ...state, acknowledged: formatLsn(state.acknowledged), published: formatLsn(state.published) }),
  );
  const batch = new RecordBatchWriter();
  batch.append(key, 0, key.length, value, 0, value.length);
  const encoded: EncodedBatch = { topic: stateTopic(prefix), partition: 0, bytes: batch.finish(Date.now()), count: 1 };
  await writer.append([encoded], signal);
}

/** A state as JSON has it. */
type Written = Omit<
  SourceState,
  "acknowledged" | "published" | "barriers" | "snapshots" | "layouts" | "parked" | "versions" | "retired"
> & {
  readonly acknowledged: string;
  readonly published: string;
  readonly barriers?: string;
  readonly snapshots?: SourceState["snapshots"];
  readonly layouts?: SourceState["layouts"];
  readonly parked?: SourceState["parked"];
  readonly versions?: SourceState["versions"];
  readonly retired?: SourceState["retired"];
};

function parseState(value: Buffer, topic: string, offset: number): SourceState {
  try {
    const raw = JSON.parse(value.toString()) as Written;
    const { barriers = null, snapshots = null, layouts = [], parked = [], versions = [], retired = [] } = raw;
    const [acknowledged, published] = [parseLsn(raw.acknowledged), parseLsn(raw.published)];
    return { ...raw, acknowledged, published, barriers, snapshots, layouts, parked, versions, retired };
  } catch (cause) {
    throw new TailraceError("LOG_CORRUPT", { topic, partition: 0, offset, reason: reasonOf(cause) }, { cause });
  }
}
