// R-ack: which LSN PostgreSQL may forget. Events leave in rounds (one append each); a transaction may span several
// rounds and a round may hold several transactions. A round counts as durable when its events and its barrier are.
// Nothing here does I/O or reads a clock.
import { maxLsn, type Lsn } from "../core/lsn.ts";

export type Round = {
  /** End LSN of the last transaction that this round and the ones before it hold completely; null when it completes none. */
  readonly endLsn: Lsn | null;
  readonly durable: boolean;
};

export type Outstanding = {
  /** In the order in which they were cut. */
  readonly rounds: readonly Round[];
  /** Between BEGIN and COMMIT. */
  readonly open: boolean;
  /** Events or commits received that no round holds yet. */
  readonly unsent: boolean;
  /** The server's last keepalive: everything before it was sent to us. */
  readonly keepalive: Lsn;
  readonly acked: Lsn;
};

/** The LSN to acknowledge: never below `acked`, never past a change that is not durable. */
export function ackable(outstanding: Outstanding): Lsn {
  let lsn = outstanding.acked;
  for (const round of outstanding.rounds) {
    if (!round.durable) return lsn; // what is durable behind it waits
    if (round.endLsn !== null) lsn = maxLsn(lsn, round.endLsn);
  }
  // Nothing outstanding: idle tables must not hold WAL back. An open transaction is delivered anew from its start.
  return outstanding.open || outstanding.unsent ? lsn : maxLsn(lsn, outstanding.keepalive);
}
