// What a process costs, from the outside: CPU time and memory as Linux counts them (proc_pid_stat(5), proc_pid_status(5)).
import { readFileSync } from "node:fs";

/** Ticks of utime and stime a second: USER_HZ, which is 100 on every Linux that Node runs on. */
const TICKS_PER_SECOND = 100;
const SAMPLE_MS = 20;

type Sample = { readonly atMs: number; readonly cpuSeconds: number };

/** Samples a process until stopped or until it is gone. */
export class ProcessMeter {
  /** Largest anonymous resident memory seen, bytes. */
  peakRssAnonBytes = 0;
  readonly #pid: number;
  readonly #samples: Sample[] = [];
  readonly #timer: NodeJS.Timeout;

  constructor(pid: number) {
    this.#pid = pid;
    this.#timer = setInterval(() => this.#sample(), SAMPLE_MS);
    this.#sample();
  }

  /** Seconds of CPU between two moments (ms since 1970), to the nearest samples. */
  cpuSeconds(fromMs: number, toMs: number): number {
    return this.#at(toMs) - this.#at(fromMs);
  }

  /** Seconds of CPU since the process began, as last seen. */
  get totalCpuSeconds(): number {
    return this.#samples.at(-1)?.cpuSeconds ?? 0;
  }

  stop(): void {
    this.#sample();
    clearInterval(this.#timer);
  }

  #at(ms: number): number {
    return this.#samples.findLast(({ atMs }) => atMs <= ms)?.cpuSeconds ?? this.#samples[0]?.cpuSeconds ?? 0;
  }

  #sample(): void {
    try {
      this.#samples.push({ atMs: Date.now(), cpuSeconds: cpuOf(this.#pid).own });
      const anon = /^RssAnon:\s+(\d+) kB/m.exec(readFileSync(`/proc/${this.#pid}/status`, "latin1"))?.[1];
      this.peakRssAnonBytes = Math.max(this.peakRssAnonBytes, Number(anon ?? 0) * 1024);
    } catch {
      clearInterval(this.#timer); // it has ended
    }
  }
}

/** Seconds of CPU of a process's children, those that have ended among them: of a postmaster, all of PostgreSQL. */
export function childrenCpuSeconds(pid: number): number {
  const alive = readFileSync(`/proc/${pid}/task/${pid}/children`, "latin1").split(" ").filter(Boolean);
  let seconds = cpuOf(pid).ended;
  for (const child of alive) {
    try {
      seconds += cpuOf(Number(child)).own;
    } catch {
      // it has ended since: too late for this sum
    }
  }
  return seconds;
}

/** Seconds of CPU of a process, and of those of its children that it has waited for. */
function cpuOf(pid: number): { readonly own: number; readonly ended: number } {
  // "pid (comm) state …": comm may hold anything, so fields are counted from its end; utime, stime, cutime and cstime are 14 to 17.
  const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
  const [utime = 0, stime = 0, cutime = 0, cstime = 0] = stat
    .slice(stat.lastIndexOf(")") + 2)
    .split(" ")
    .slice(11, 15)
    .map(Number);
  return { own: (utime + stime) / TICKS_PER_SECOND, ended: (cutime + cstime) / TICKS_PER_SECOND };
}
