// The socket of a connection to PostgreSQL: it reads into one buffer.
import { Socket, type OnReadOpts, type SocketConstructorOpts } from "node:net";

/** Of a read at most. */
const READ_BYTES = 64 * 1024;

/** Node.js takes it of a socket's constructor too (manual, "Net"); its type declarations lack that. */
type ReadingOptions = SocketConstructorOpts & { readonly onread: OnReadOpts };

/**
 * By default each read of a socket makes a buffer of 64 KiB, and a paused socket reads on until its high-water mark is full. This one
 * reads into the same buffer again and again, and a paused one reads nothing more. Under TLS, whose socket reads by itself from the
 * one below, nothing is different.
 */
export class ReadingSocket extends Socket {
  /**
   * Whether those who listen to data keep none of it behind their call: they get the socket's own bytes then, and copies otherwise,
   * since pg's parser keeps halves of messages.
   */
  lends = false;

  constructor() {
    const buffer = Buffer.allocUnsafeSlow(READ_BYTES);
    let give: (bytes: Buffer) => void = () => undefined;
    const onread: OnReadOpts = {
      buffer,
      callback: (count) => {
        give(buffer.subarray(0, count));
        return true; // read on
      },
    };
    super({ onread } as ReadingOptions);
    give = (bytes) => this.emit("data", this.lends ? bytes : Buffer.from(bytes));
  }
}
