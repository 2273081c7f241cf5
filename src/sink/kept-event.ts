// An event that was folded, kept until its flush: if its row is refused it becomes a dead letter, with its bytes.
import type { LogRecord } from "../core/event-log.ts";

/**
 * Knows where the bytes stand, and not by two Buffers: of each of 100,000 events that live until the flush they are more
 * for the garbage collector than the rest of the fold.
 */
export class KeptEvent {
  readonly offset: number;
  /** Text form. */
  readonly sequence: string;
  readonly #keys: ArrayBufferLike | null;
  readonly #keyAt: number;
  readonly #keyLength: number;
  readonly #values: ArrayBufferLike | null;
  readonly #valueAt: number;
  readonly #valueLength: number;

  constructor({ offset, key, value }: Pick<LogRecord, "offset" | "key" | "value">, sequence: string) {
    this.offset = offset;
    this.sequence = sequence;
    this.#keys = key?.buffer ?? null;
    this.#keyAt = key?.byteOffset ?? 0;
    this.#keyLength = key?.byteLength ?? 0;
    this.#values = value?.buffer ?? null;
    this.#valueAt = value?.byteOffset ?? 0;
    this.#valueLength = value?.byteLength ?? 0;
  }

  get key(): Buffer | null {
    return this.#keys === null ? null : Buffer.from(this.#keys, this.#keyAt, this.#keyLength);
  }

  get value(): Buffer | null {
    return this.#values === null ? null : Buffer.from(this.#values, this.#valueAt, this.#valueLength);
  }
}
