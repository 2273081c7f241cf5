// A TCP proxy before a broker or a registry: it cuts and refuses connections, and loses answers together with theirs.
import { once } from "node:events";
import { connect, createServer } from "node:net";
import type { AddressInfo, Socket } from "node:net";

export class Proxy implements AsyncDisposable {
  readonly #server = createServer((client) => this.#accept(client));
  readonly #clients = new Set<Socket>();
  #target: number | null = null;
  #toLose = 0;
  #silent = false;
  #address: string | null = null;

  /** Listens on a free port; connections go nowhere before `target` is set. */
  static async start(): Promise<Proxy> {
    const proxy = new Proxy();
    proxy.#server.listen(0, "127.0.0.1");
    await once(proxy.#server, "listening");
    return proxy;
  }

  get address(): string {
    return `127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** host:port on this machine. */
  set target(address: string | undefined) {
    this.#target = Number(address?.split(":")[1]);
  }

  /** The next `count` answers do not arrive: their connections are cut instead, after the broker has done its work. */
  loseAnswers(count: number): void {
    this.#toLose = count;
  }

  get toLose(): number {
    return this.#toLose;
  }

  /** While `silent`, nothing passes in either direction, and nothing is cut. */
  set silent(silent: boolean) {
    this.#silent = silent;
    for (const client of this.#clients) this.#listen(client);
  }

  cut(): void {
    for (const client of this.#clients) client.destroy();
  }

  /** Cuts, and refuses connections until open(). */
  async close(): Promise<void> {
    this.#address = this.address;
    this.#server.close();
    this.cut();
    await once(this.#server, "close");
  }

  /** On the same port as before. */
  async open(): Promise<void> {
    this.#server.listen(Number(this.#address?.split(":")[1]), "127.0.0.1");
    await once(this.#server, "listening");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#server.listening) await this.close();
  }

  #accept(client: Socket): void {
    this.#clients.add(client);
    const broker = connect(this.#target ?? 0, "127.0.0.1");
    for (const [from, to] of [
      [client, broker],
      [broker, client],
    ] as const) {
      from.on("error", () => undefined);
      from.on("close", () => to.destroy());
    }
    client.on("close", () => this.#clients.delete(client));
    client.on("data", (bytes) => broker.write(bytes));
    broker.on("data", (bytes) => {
      if (this.#toLose === 0) client.write(bytes);
      else {
        this.#toLose--;
        client.destroy();
      }
    });
    this.#listen(client);
  }

  #listen(client: Socket): void {
    if (this.#silent) client.pause();
    else client.resume();
  }
}
