// A server that neither answers nor closes its connections: SIGSTOP, until thawed.
import { query } from "./databases.ts";

export type Frozen = Disposable & { thaw(): void };

/** Stops the processes where they are; they go on when thawed or disposed of. */
export function freeze(pids: readonly number[]): Frozen {
  for (const pid of pids) process.kill(pid, "SIGSTOP");
  let frozen = true;
  const thaw = (): void => {
    if (frozen) for (const pid of pids) signal(pid);
    frozen = false;
    process.off("exit", thaw);
  };
  process.once("exit", thaw); // what is stopped can't be asked to end
  return { thaw, [Symbol.dispose]: thaw };
}

/** Every process of a PostgreSQL server: the postmaster alone would leave its children at work. */
export async function postgresPids(server: { readonly url: string; readonly pid: number | null }): Promise<readonly number[]> {
  if (server.pid === null) throw new Error("the server does not run");
  const children = await query<{ pid: number }>(server.url, "SELECT pid FROM pg_stat_activity WHERE pid <> pg_backend_pid()");
  return [server.pid, ...children.map(({ pid }) => pid)];
}

function signal(pid: number): void {
  try {
    process.kill(pid, "SIGCONT");
  } catch {
    // It has ended meanwhile.
  }
}
