// Who waits until what the publisher has received so far is durable, its barrier or not.
import type { TailraceError } from "../core/errors.ts";

type Appended = { readonly appended: boolean };

export class FlushWaits {
  #waits: { readonly rounds: readonly Appended[]; readonly resolve: () => void; readonly reject: (error: TailraceError) => void }[] = [];

  /** Resolves when every one of these rounds is appended, after look(); rejects with what reject() is given. */
  async until(rounds: readonly Appended[]): Promise<void> {
    await new Promise<void>((resolve, reject) => this.#waits.push({ rounds, resolve, reject }));
  }

  /** A round has been appended. */
  look(): void {
    if (this.#waits.length === 0) return;
    const over = this.#waits.filter(({ rounds }) => rounds.every(({ appended }) => appended));
    this.#waits = this.#waits.filter((wait) => !over.includes(wait));
    for (const { resolve } of over) resolve();
  }

  reject(error: TailraceError): void {
    for (const { reject } of this.#waits.splice(0)) reject(error);
  }
}
