// One partition's batches on their way to its leader: which may be sent now, and what an answer changes. Pure: the writer sends.
//
// A producer id's batches have sequence numbers without gaps, and the broker refuses one that does not follow what it has: so
// several may be under way, and a lost one holds back those behind it. Two things it does not do, and this does (R-writer):
// - What it has nothing before it takes with any number. So the first batch travels alone until it has landed, and so does the
//   first after a refusal or a long pause: an overtaken one would be a hole that nobody sees.
// - It recognizes the last five batches that it was sent. So no more are under way, and after a refusal nothing is sent
//   before all of them were answered or given up; then they are sent again from the oldest on, with the same bytes.
import type { TopicPartition } from "../../core/event-log.ts";
import { sequenceAfter } from "../../core/record-batch.ts";

/** Batches of one partition under way: as many as a broker keeps of each producer id (Kafka's ProducerStateEntry). */
const IN_FLIGHT = 5;
/** After so long without a batch the next one travels alone, ms. A broker forgets a producer after a day (producer.id.expiration.ms), or what its operator says. */
const PROOF_MS = 60_000;

export class Lane<Entry extends { readonly count: number }> implements TopicPartition {
  readonly topic: string;
  readonly partition: number;
  /** In the order of the calls; the first `#inFlight` are under way. */
  readonly #waiting: Entry[] = [];
  #inFlight = 0;
  #nextSequence = 0;
  #proven = false;
  #landedAt = 0;
  #refused = false;
  #refusals = 0;
  #troubledSince: number | null = null;

  constructor({ topic, partition }: TopicPartition) {
    this.topic = topic;
    this.partition = partition;
  }

  /** Takes its place behind the others. Returns the sequence number of its first record. */
  add(entry: Entry): number {
    const sequence = this.#nextSequence;
    this.#nextSequence = sequenceAfter(sequence, entry.count);
    this.#waiting.push(entry);
    return sequence;
  }

  get inFlight(): number {
    return this.#inFlight;
  }

  /** Something was refused or lost, and nothing is sent until `mend`. */
  get refused(): boolean {
    return this.#refused;
  }

  /** Refusals and lost attempts since a batch has landed. */
  get refusals(): number {
    return this.#refusals;
  }

  /** How long nothing has landed because of refusals, ms. */
  troubledMs(now: number): number {
    return this.#troubledSince === null ? 0 : now - this.#troubledSince;
  }

  /** The batch that may be sent now. */
  next(now: number): Entry | null {
    if (this.#refused) return null;
    const most = this.#isProven(now) ? IN_FLIGHT : 1;
    return this.#inFlight < most ? (this.#waiting[this.#inFlight] ?? null) : null;
  }

  /** What `next` gave is under way. */
  sent(now: number): void {
    this.#proven = this.#isProven(now);
    this.#inFlight++;
  }

  /** The oldest one under way is in the log: returns it. null: an older one was refused, so this one is sent again too, and answered from the broker's memory. */
  landed(now: number): Entry | null {
    this.#inFlight--;
    if (this.#refused) return null;
    this.#proven = true;
    this.#landedAt = now;
    this.#refusals = 0;
    this.#troubledSince = null;
    return this.#waiting.shift() ?? null;
  }

  /** The oldest one under way was refused for now, or nobody knows what became of it. */
  refuse(now: number): void {
    this.#inFlight--;
    if (!this.#refused) this.stall(now);
  }

  /** What waits can't be sent for now: there is no leader, or no way to it. */
  stall(now: number): void {
    this.#refused = true;
    this.#refusals++;
    this.#troubledSince ??= now;
  }

  /** Everything that was under way is answered or given up: it is sent again from the oldest on, which travels alone. */
  mend(): void {
    if (this.#inFlight > 0) throw new RangeError(`${this.#inFlight} batches are still under way`);
    this.#refused = false;
    this.#proven = false;
  }

  /** Takes everything out. */
  clear(): Entry[] {
    return this.#waiting.splice(0);
  }

  #isProven(now: number): boolean {
    return this.#proven && (this.#inFlight > 0 || now - this.#landedAt < PROOF_MS);
  }
}
