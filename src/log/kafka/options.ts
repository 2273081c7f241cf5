// How the brokers are reached, said once and turned into the options of both client libraries.
import { connect as connectTcp } from "node:net";
import type { Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import type { ConnectionOptions as TlsOptions } from "node:tls";
import type { ConnectionOptions, SASLMechanismValue } from "@platformatic/kafka";
import kafkajs from "kafkajs";
import type { Kafka, KafkaConfig, SASLOptions } from "kafkajs";
import { reasonOf, TailraceError } from "../../core/errors.ts";
import type { Log } from "../../core/log.ts";
import { mendRequestQueue } from "./request-queue.ts";

export type SaslMechanism = "plain" | "scram-sha-256" | "scram-sha-512";

export type Compression = "none" | "lz4" | "zstd";

export type KafkaOptions = {
  /** host:port, at least one. */
  readonly brokers: readonly string[];
  /** Stands in the brokers' request logs and quotas. */
  readonly clientId: string;
  /** Asked at every connect, so that a rotated certificate needs no restart; null: no TLS. */
  readonly ssl: (() => Certificates) | null;
  /** The credentials are asked at every connect and kept no longer. What they throw becomes LOG_LOGIN with its message. */
  readonly sasl: { readonly mechanism: SaslMechanism; readonly credentials: () => Credentials } | null;
  /** Of the batches that are written; absent: none. zstd is in Node.js 22.15 and later. What is read may have any codec. */
  readonly compression?: Compression;
  /** Where the libraries' own words go, at debug level; null drops them. */
  readonly log: Log | null;
};

/** PEM texts. Without `ca` Node's own authorities count; `cert` and `key` are the client's. */
export type Certificates = Pick<TlsOptions, "ca" | "cert" | "key">;

/** A user's name and password; never logged. */
export type Credentials = { readonly username: string; readonly password: string };

/** A broker that does not take a connection within this is tried no longer, ms. */
export const CONNECT_MS = 5_000;
/** A request that is not answered within this has failed, ms. Above REPLICATE_MS, so that the broker's own verdict comes first. */
export const REQUEST_MS = 20_000;
/** How long a leader waits for the in-sync replicas of an append, ms. */
export const REPLICATE_MS = 15_000;

const { Kafka: KafkaClient, logLevel } = kafkajs;

/** What a @platformatic/kafka connection needs, to be looked at anew at every connect. Throws LOG_LOGIN when the certificates can't be had. */
export function connectionOptions(options: KafkaOptions): ConnectionOptions {
  const { ssl, sasl } = named(options);
  return {
    connectTimeout: CONNECT_MS,
    requestTimeout: REQUEST_MS,
    ...(ssl === null ? {} : { tls: freshTls(ssl) }),
    ...(sasl === null
      ? {}
      : {
          sasl: {
            mechanism: sasl.mechanism.toUpperCase() as SASLMechanismValue,
            username: () => sasl.credentials().username,
            password: () => sasl.credentials().password,
          },
        }),
  };
}

export type KafkajsClient = {
  readonly kafka: Kafka;
  /** Ends every connection at once, and refuses new ones: kafkajs itself waits for a dead broker's answers. */
  readonly destroy: () => void;
};

/** A kafkajs client whose sockets are ours to close. It prints nothing and retries for a few seconds only. */
export function kafkajsClient(options: KafkaOptions): KafkajsClient {
  mendRequestQueue();
  const { ssl, sasl, log } = named(options);
  const sockets = new Set<Socket>();
  let destroyed = false;
  const config: KafkaConfig = {
    clientId: options.clientId,
    brokers: [...options.brokers],
    connectionTimeout: CONNECT_MS,
    authenticationTimeout: CONNECT_MS,
    requestTimeout: REQUEST_MS,
    retry: { retries: 4, initialRetryTime: 100, maxRetryTime: 2_000 },
    logLevel: log === null ? logLevel.NOTHING : logLevel.INFO,
    logCreator: () => (entry) => {
      const { message, timestamp: _, ...fields } = entry.log;
      log?.debug({ ...fields, kafkajs: entry.namespace }, message);
    },
    socketFactory: ({ host, port, onConnect }) => {
      const socket =
        ssl === null
          ? connectTcp({ host, port, noDelay: true }, onConnect)
          : connectTls({ host, port, servername: serverName(host), ...ssl() }, onConnect);
      socket.setKeepAlive(true, 60_000);
      sockets.add(socket);
      socket.on("error", () => undefined); // kafkajs may have let go of it
      socket.once("close", () => sockets.delete(socket));
      if (destroyed) socket.destroy(new Error("the log is closed"));
      return socket;
    },
    ...(ssl === null ? {} : { ssl: true }),
    ...(sasl === null ? {} : { sasl: freshSasl(sasl) }),
  };
  const destroy = (): void => {
    destroyed = true;
    // Without an error kafkajs hears nothing of it, and the timer of a connection that it takes for open keeps the process for ever.
    for (const socket of sockets) socket.destroy(new Error("the log is closed"));
  };
  return { kafka: new KafkaClient(config), destroy };
}

/** The same options, whose functions throw LOG_LOGIN with the words of what they threw. */
function named(options: KafkaOptions): KafkaOptions {
  const { ssl, sasl } = options;
  return {
    ...options,
    ssl: ssl === null ? null : asLogin(ssl),
    sasl: sasl === null ? null : { mechanism: sasl.mechanism, credentials: asLogin(sasl.credentials) },
  };
}

function asLogin<T>(ask: () => T): () => T {
  return () => {
    try {
      return ask();
    } catch (cause) {
      throw new TailraceError("LOG_LOGIN", { reason: reasonOf(cause) }, { cause });
    }
  };
}

/**
 * tls.connect is given a spread of this object, which asks each getter then. What can't be had at a reconnect stays as it was:
 * the library connects inside callbacks, where an exception would end the process.
 */
function freshTls(ssl: () => Certificates): TlsOptions {
  let last = ssl();
  const now = (): Certificates => {
    try {
      last = ssl();
    } catch {
      // the handshake says whether the old ones still do
    }
    return last;
  };
  return Object.defineProperties<TlsOptions>(
    {},
    {
      ca: { enumerable: true, get: () => now().ca },
      cert: { enumerable: true, get: () => now().cert },
      key: { enumerable: true, get: () => now().key },
    },
  );
}

/** kafkajs keeps the object and reads its properties at every authentication; it also writes a property of its own into it. */
function freshSasl({ mechanism, credentials }: NonNullable<KafkaOptions["sasl"]>): SASLOptions {
  return {
    mechanism,
    get username() {
      return credentials().username;
    },
    get password() {
      return credentials().password;
    },
  };
}

/** Server Name Indication takes names only (RFC 6066, 3). */
function serverName(host: string): string {
  return /^[\d.]+$|:/.test(host) ? "" : host;
}
