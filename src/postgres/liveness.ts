// When to tell the server that we are alive, and when to believe that it is not. Pure: time is a parameter, monotonic ms.

export type Limits = {
  /** Longest time between two status updates of ours. */
  readonly keepaliveMs: number;
  /** Silence after which the server is given up; null: never. */
  readonly silenceMs: number | null;
};

export type Activity = {
  /** Last byte from the server. */
  readonly received: number;
  /** Since when we have been reading: bytes that wait in the socket prove nothing against the server. null: paused. */
  readonly listening: number | null;
  /** Last status update of ours. */
  readonly sent: number;
};

/** Often enough that an idle source's acknowledged LSN is fresh to whoever watches the slot; seldom enough to cost nothing. */
const KEEPALIVE_MS = 10_000;

/**
 * From the server's wal_sender_timeout. Its own keepalives come only when we have been silent for half of that, so each
 * status update asks for an answer, and silence is counted against those answers. 0 means that no timeout is wanted: the
 * server may decode for as long as it takes, and only the socket's keepalive finds a dead peer.
 */
export function limitsFor(walSenderTimeoutMs: number): Limits {
  if (!(walSenderTimeoutMs > 0)) return { keepaliveMs: KEEPALIVE_MS, silenceMs: null };
  return { keepaliveMs: Math.min(KEEPALIVE_MS, walSenderTimeoutMs / 3), silenceMs: walSenderTimeoutMs };
}

/** What a tick should do. A false `reconnect` costs the redelivery of what is not acknowledged, a late one only time. */
export function liveness(now: number, at: Activity, limits: Limits): "fine" | "keepalive" | "reconnect" {
  if (limits.silenceMs !== null && at.listening !== null && now - Math.max(at.received, at.listening) > limits.silenceMs)
    return "reconnect";
  return now - at.sent >= limits.keepaliveMs ? "keepalive" : "fine";
}
