// R-tombstone: a tombstone is for older events of its key, which stand before its delete in the same partition. Retention cuts
// partitions from their beginning: once each of them begins above it, nothing can be replayed that it would keep out.
import { schemaIdOf } from "../avro/decoder.ts";
import { deadline } from "../core/deadline.ts";
import type { EventLog, LogRecord, OffsetRange } from "../core/event-log.ts";
import { formatSequence, SEQUENCE_HEADER } from "../core/sequence.ts";
import { tableLabel } from "../core/table.ts";
import { EXPIRED_ROWS, type Expiry } from "../core/warehouse.ts";
import type { Decoders } from "./decoders.ts";
import type { Route } from "./routes.ts";

/** How often the beginnings of the topics are looked at, ms. Retention cuts by segments, hours apart. */
const LOOK_EVERY_MS = 600_000;
/** One look may take so long, ms: it asks for all topics, and reads a record of each partition. */
const LOOK_MS = 60_000;
/** One record is wanted. */
const READ_BYTES = 1024;

/** The first sequence (text form) in a partition; `empty`: it has no record; `unknown`: also that nothing may be concluded. */
export type First = { readonly sequence: string } | "empty" | "unknown";

/** Per target below which sequence nothing stands in any of its topics' partitions. Targets of which nothing can be said are not there. */
export function expiriesOf(routes: readonly Route[], firsts: (topic: string) => readonly First[]): readonly Expiry[] {
  const hard = routes.filter(({ deletes }) => deletes === "hard"); // soft deletes leave their rows
  const targets = new Map(hard.map(({ target }) => [tableLabel(target), target]));
  return [...targets].flatMap(([label, target]) => {
    const found = hard.filter((route) => tableLabel(route.target) === label).flatMap(({ topic }) => firsts(topic.name));
    if (found.includes("unknown")) return [];
    const sequences = found.flatMap((first) => (typeof first === "string" ? [] : [first.sequence]));
    const [sequence] = sequences.sort();
    return sequence === undefined ? [] : [{ target, sequence }];
  });
}

/** Looks now and then, beside the flushes, and reads only where something was cut since. */
export class Expiries implements AsyncDisposable {
  readonly #log: EventLog;
  readonly #decoders: Decoders;
  readonly #everyMs: number;
  readonly #ended = new AbortController();
  /** What was read last, and where the topic's partitions began then. */
  readonly #known = new Map<string, { readonly starts: string; readonly firsts: readonly First[] }>();
  #routes: readonly Route[] = [];
  #looking: Promise<void> | null = null;
  #next = -Infinity;
  #due: readonly Expiry[] = [];

  /** `decoders`: of nobody else, it looks while records are being folded. */
  constructor(log: EventLog, decoders: Decoders, everyMs = LOOK_EVERY_MS) {
    this.#log = log;
    this.#decoders = decoders;
    this.#everyMs = everyMs;
  }

  /** From now on these are all that concern the sink. Looks at once, of them nothing is known yet. `now`: performance.now(). */
  route(routes: readonly Route[], now: number): void {
    this.#routes = routes;
    this.#due = [];
    this.#next = -Infinity;
    this.due(now);
  }

  /** What the next flush may take, as last seen; looks again when it is time, without being waited for. `now`: performance.now(). */
  due(now: number): readonly Expiry[] {
    if (now >= this.#next && this.#looking === null && !this.#ended.signal.aborted) {
      this.#next = now + this.#everyMs;
      this.#looking = this.#look(this.#routes).finally(() => (this.#looking = null));
    }
    return this.#due;
  }

  /** A flush with `expiries` is durable; `expired`: the tombstones that went with each. Where more may be left, the next one takes them. */
  done(expiries: readonly Expiry[], expired: readonly number[]): void {
    const over = expiries.filter((_, index) => (expired[index] ?? 0) < EXPIRED_ROWS);
    this.#due = this.#due.filter((expiry) => !over.includes(expiry));
  }

  /** Ends a look that is under way. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#ended.abort();
    await this.#looking;
  }

  /** What can't be asked now is asked the next time. */
  async #look(routes: readonly Route[]): Promise<void> {
    using bound = deadline(LOOK_MS, this.#ended.signal);
    const firsts = new Map<string, readonly First[]>();
    for (const { topic, deletes } of routes) if (deletes === "hard") firsts.set(topic.name, await this.#firsts(topic.name, bound.signal));
    if (routes === this.#routes) this.#due = expiriesOf(routes, (topic) => firsts.get(topic) ?? ["unknown"]);
  }

  async #firsts(topic: string, signal: AbortSignal): Promise<readonly First[]> {
    try {
      const ranges = await this.#log.offsets(topic, signal);
      const starts = ranges.map(({ start }) => start).join();
      // From whose beginning nothing was cut, all of it can be replayed.
      if (ranges.some(({ start, end }) => start === 0 && end > 0)) return ["unknown"];
      const known = this.#known.get(topic);
      if (known?.starts === starts) return known.firsts;
      const firsts: First[] = [];
      for (const range of ranges) firsts.push(await this.#first(range, signal));
      this.#known.set(topic, { starts, firsts });
      return firsts;
    } catch {
      return ["unknown"]; // whoever merges the records says what is wrong with them
    }
  }

  async #first({ topic, partition, start, end }: OffsetRange, signal: AbortSignal): Promise<First> {
    if (start >= end) return "empty";
    const { records } = await this.#log.read({ topic, partition, offset: start }, READ_BYTES, signal);
    return records[0] === undefined ? "unknown" : { sequence: await this.#sequence(records[0], signal) };
  }

  async #sequence({ value, headers }: LogRecord, signal: AbortSignal): Promise<string> {
    if (value === null) return headers.find(([name]) => name === SEQUENCE_HEADER)?.[1].toString() ?? "";
    const id = schemaIdOf(value);
    const { decoder } = this.#decoders.known(id) ?? (await this.#decoders.learn(id, signal));
    return formatSequence(decoder.readSequence(value));
  }
}
