// R-dead: which keys have an open dead letter. Their events with unchanged columns join it until a complete one comes.
import type { DeadLetter, OpenKey } from "../core/warehouse.ts";

/** Highest sequences (text form) of a key's open letters: of all, and of those that no snapshot closes ("" without any). */
type Open = { last: string; lastDead: string };

export class OpenLetters {
  readonly #topics = new Map<string, Map<string, Open>>();

  constructor(keys: readonly OpenKey[]) {
    for (const { topic, keyBytes, last, lastDead } of keys) this.#add(topic, keyBytes, last, lastDead);
  }

  /** Keys whose letters nothing closes but an event to come. */
  get size(): number {
    return this.#count(({ lastDead }) => lastDead !== "");
  }

  /** Keys whose row a snapshot brings (AWAITS_SNAPSHOT). */
  get awaiting(): number {
    return this.#count(({ lastDead }) => lastDead === "");
  }

  /** `key`, here and below: its keyName(). */
  has(topic: string, key: string): boolean {
    return this.#topics.get(topic)?.has(key) ?? false;
  }

  /** Whether all that the key's letters need is on its way in a snapshot. */
  isAwaiting(topic: string, key: string): boolean {
    return this.#topics.get(topic)?.get(key)?.lastDead === "";
  }

  /** A letter without a key is nobody's to join. */
  open({ topic, keyBytes, sequence, code }: OpenLetter): void {
    if (keyBytes === null) return;
    this.#add(topic, keyBytes, sequence, code === "AWAITS_SNAPSHOT" ? "" : sequence);
  }

  /** Whether any key of the topic has one. */
  areIn(topic: string): boolean {
    return (this.#topics.get(topic)?.size ?? 0) > 0;
  }

  /** Whether the key had one. */
  close(topic: string, key: string): boolean {
    return this.#topics.get(topic)?.delete(key) ?? false;
  }

  /** Closes the keys all of whose letters are below `sequence` (text form): of a TRUNCATE, or of a sweep's opening. */
  closeBelow(topic: string, sequence: string): void {
    const keys = this.#topics.get(topic);
    if (keys === undefined) return;
    for (const [key, { last, lastDead }] of keys) {
      if (last < sequence) keys.delete(key);
      else if (lastDead < sequence) keys.set(key, { last, lastDead: "" });
    }
  }

  #add(topic: string, keyBytes: Buffer, sequence: string, dead: string): void {
    const keys = this.#topics.get(topic) ?? new Map<string, Open>();
    this.#topics.set(topic, keys);
    const key = keyName(keyBytes);
    const { last = "", lastDead = "" } = keys.get(key) ?? {};
    keys.set(key, { last: last > sequence ? last : sequence, lastDead: lastDead > dead ? lastDead : dead });
  }

  #count(which: (open: Open) => boolean): number {
    let count = 0;
    for (const keys of this.#topics.values()) for (const open of keys.values()) if (which(open)) count += 1;
    return count;
  }
}

/** The bytes of a key as a map's key. `start`: where they begin. */
export function keyName(bytes: Buffer, start = 0): string {
  return bytes.toString("latin1", start);
}

type OpenLetter = Pick<DeadLetter, "topic" | "keyBytes" | "sequence" | "code">;
