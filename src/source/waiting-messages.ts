// Messages of the stream that wait, as copies, while something about them is found out.
import { TailraceError, type ErrorPlace } from "../core/errors.ts";

type Message = { readonly bytes: Buffer; readonly walHigh: number; readonly walLow: number };

export type WaitingOptions = {
  /** Bounds what waits by pausing the stream. */
  readonly stalled: (waiting: boolean) => void;
  /** Takes a message that has waited; it may have those behind it wait in its turn. */
  readonly take: (bytes: Buffer, start: number, end: number, walHigh: number, walLow: number) => void;
  /** None waits any more of those that did, or what one of them needs is asked for. */
  readonly goesOn: () => void;
  readonly failed: (error: TailraceError) => void;
};

export class WaitingMessages {
  readonly #options: WaitingOptions;
  #messages: Message[] | null = null;

  constructor(options: WaitingOptions) {
    this.#options = options;
  }

  get isWaiting(): boolean {
    return this.#messages !== null;
  }

  /** Has a copy of the message in `bytes[start, end)` wait behind the others. Only while isWaiting. */
  push(bytes: Buffer, start: number, end: number, walHigh: number, walLow: number): void {
    this.#messages?.push({ bytes: Buffer.from(bytes.subarray(start, end)), walHigh, walLow });
  }

  /** Messages wait until the promise has settled. `place`: of its error, by which the stream ends. */
  until<T>(promise: Promise<T>, settled: (value: T) => void, place: ErrorPlace): void {
    const { stalled, take, goesOn, failed } = this.#options;
    this.#messages = [];
    stalled(true);
    promise.then(
      (value) => {
        settled(value);
        const messages = this.#messages ?? [];
        this.#messages = null;
        for (const { bytes, walHigh, walLow } of messages) take(bytes, 0, bytes.length, walHigh, walLow);
        goesOn();
        if (!this.isWaiting) stalled(false); // one of them may be a RELATION to resolve in its turn
      },
      (cause: unknown) => failed(TailraceError.from(cause, place)),
    );
  }
}
