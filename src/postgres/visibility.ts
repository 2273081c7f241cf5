// What a session sees of the transactions of the stream. Pure.

/** What a session sees: pg_current_snapshot(). Transaction ids of 64 bits, as safe integers (xid8, manual "System Information Functions"). */
export type Visibility = {
  /** All below have ended. */
  readonly xmin: number;
  /** None from here on had begun. */
  readonly xmax: number;
  /** Those between that were in progress. */
  readonly inProgress: ReadonlySet<number>;
};

/** The text form `xmin:xmax:xip,xip,…`; throws RangeError on any other. */
export function parseVisibility(text: string): Visibility {
  const match = /^(\d+):(\d+):([\d,]*)$/.exec(text);
  if (match === null) throw new RangeError(`not a snapshot: ${text}`);
  const inProgress = (match[3] ?? "").split(",").filter((xid) => xid !== "");
  return { xmin: Number(match[1]), xmax: Number(match[2]), inProgress: new Set(inProgress.map(Number)) };
}

const XIDS = 2 ** 32;

/** The 64-bit id, nearest to `near`, of a transaction whose lower 32 bits the stream has brought. */
export function widenXid(xid: number, near: number): number {
  return near + ((xid - (near % XIDS)) | 0);
}

/** Whether a session with this snapshot sees what a transaction of the stream (32 bits, committed) has done. */
export function sees(visibility: Visibility, xid: number): boolean {
  const wide = widenXid(xid, visibility.xmax);
  return wide < visibility.xmin || (wide < visibility.xmax && !visibility.inProgress.has(wide));
}
