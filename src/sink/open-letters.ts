// R-dead: which keys have an open dead letter. Their events with unchanged columns join it until a complete one comes.
import type { DeadLetter } from "../core/warehouse.ts";

export class OpenLetters {
  readonly #keys = new Map<string, Set<string>>();

  constructor(letters: readonly Pick<DeadLetter, "topic" | "keyBytes">[]) {
    for (const { topic, keyBytes } of letters) if (keyBytes !== null) this.open(topic, keyBytes.toString("latin1"));
  }

  get size(): number {
    let size = 0;
    for (const keys of this.#keys.values()) size += keys.size;
    return size;
  }

  has(topic: string, key: string): boolean {
    return this.#keys.get(topic)?.has(key) ?? false;
  }

  open(topic: string, key: string): void {
    const keys = this.#keys.get(topic);
    if (keys === undefined) this.#keys.set(topic, new Set([key]));
    else keys.add(key);
  }

  /** Whether the key had one. */
  close(topic: string, key: string): boolean {
    return this.#keys.get(topic)?.delete(key) ?? false;
  }
}
