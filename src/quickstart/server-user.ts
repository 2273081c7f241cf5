// PostgreSQL refuses to run as root. When we are root (in a container, on a build machine), its processes run as a user
// without rights, and its files stand where that user can reach them.
import { readFile, realpath, stat } from "node:fs/promises";
import path from "node:path";

export type ServerUser = { readonly name: string; readonly uid: number; readonly gid: number };

/** In this order: `nobody` is on every system, the others are made for such work. */
const CANDIDATES = ["nobody", "postgres", "daemon"];

/** The user to run the server as, or null to run it as ourselves. `owner` is the uid of an existing cluster's files. */
export async function serverUser(owner: number | null): Promise<ServerUser | null> {
  if (process.getuid?.() !== 0) return null;
  const users = parsePasswd(await readFile("/etc/passwd", "utf8"));
  const found =
    owner !== null && owner !== 0
      ? users.find(({ uid }) => uid === owner)
      : CANDIDATES.map((name) => users.find((user) => user.name === name && user.uid !== 0)).find((user) => user !== undefined);
  if (found !== undefined) return found;
  throw new Error(
    owner !== null && owner !== 0
      ? `the cluster's files belong to user ${owner}, who is not in /etc/passwd; delete them to start anew`
      : `PostgreSQL can't run as root, and none of the users ${CANDIDATES.join(", ")} exists; run this as an ordinary user`,
  );
}

/** passwd(5): name:password:uid:gid:… per line. */
function parsePasswd(text: string): ServerUser[] {
  return text.split("\n").flatMap((line) => {
    const [name, , uid, gid] = line.split(":");
    if (name === undefined || name === "" || uid === undefined || gid === undefined) return [];
    return [{ name, uid: Number(uid), gid: Number(gid) }];
  });
}

/** Whether `user` can enter `folder`, which exists: every folder on the way needs the x bit that applies to that user. */
export async function canEnter(user: ServerUser, folder: string): Promise<boolean> {
  for (let at = await realpath(folder); ; at = path.dirname(at)) {
    const { mode, uid, gid } = await stat(at);
    const bit = uid === user.uid ? 0o100 : gid === user.gid ? 0o010 : 0o001;
    if ((mode & bit) === 0) return false;
    if (at === path.dirname(at)) return true;
  }
}
