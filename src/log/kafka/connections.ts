// Connections of @platformatic/kafka, kept in view so that they can be cut: the library itself waits for a dead broker.
import type { Broker, Connection } from "@platformatic/kafka";
import { settled } from "./bounded.ts";
import { ConnectionPool } from "./library.ts";
import { connectionOptions } from "./options.ts";
import type { KafkaOptions } from "./options.ts";

export type Pool = { readonly pool: ConnectionPool; readonly connections: Set<Connection> };

/** A pool that opens connections as they are asked for, each with the credentials of then. */
export function openPool(options: KafkaOptions): Pool {
  const pool = new ConnectionPool(options.clientId, connectionOptions(options));
  return { pool, connections: watchConnections(pool) };
}

/** How long a connection may take to send what it has, ms. */
const FLUSH_MS = 500;

/** Never throws. */
export async function closePool({ pool, connections }: Pool): Promise<void> {
  await settled(pool.close(), FLUSH_MS);
  destroyAll(connections);
}

/**
 * The open connections of a pool. Each gets a listener for errors: the pool's own hears one only, and the second (a reset
 * after a refused login) would end the process as an unhandled 'error' event.
 */
export function watchConnections(pool: ConnectionPool): Set<Connection> {
  const open = new Set<Connection>();
  pool.on("connecting", ({ connection }) => {
    open.add(connection);
    connection.on("error", () => undefined);
    connection.once("close", () => open.delete(connection));
  });
  return open;
}

/** Ends connections at once: closing waits for a dead broker to take what is still to be sent. */
export function destroyAll(connections: ReadonlySet<Connection>): void {
  for (const connection of connections) (connection.socket as Connection["socket"] | undefined)?.destroy();
}

/** `host:port`; IPv6 in brackets, which the library can't take apart. */
export function hostAndPort(broker: string): Broker {
  const colon = broker.lastIndexOf(":");
  const host = broker.slice(0, colon).replace(/^\[(.*)\]$/, "$1");
  return { host, port: Number(broker.slice(colon + 1)) };
}
