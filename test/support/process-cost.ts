// What a process costs, seen from outside: CPU time and memory as Linux counts them (proc_pid_stat(5), proc_pid_status(5)).
import { readFileSync } from "node:fs";

/** Ticks of utime and stime a second: USER_HZ, which is 100 on every Linux that Node runs on. */
const TICKS_PER_SECOND = 100;
const SAMPLE_MS = 10;

/** Seconds of CPU, user's and system's, since the process began. Throws when it is gone. */
export function cpuSeconds(pid: number): number {
  // "pid (comm) state …": comm may hold anything, so fields are counted from its end; utime and stime are 14 and 15.
  const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
  const [utime, stime] = stat
    .slice(stat.lastIndexOf(")") + 2)
    .split(" ")
    .slice(11, 13);
  return (Number(utime) + Number(stime)) / TICKS_PER_SECOND;
}

/** Watches a process until it is disposed of or the process is gone. */
export class ProcessCost implements Disposable {
  /** As last seen. */
  cpuSeconds = 0;
  /** Anonymous resident memory, the largest seen. */
  peakAnonBytes = 0;
  readonly #pid: number;
  readonly #timer: NodeJS.Timeout;

  constructor(pid: number) {
    this.#pid = pid;
    this.#timer = setInterval(() => this.#sample(), SAMPLE_MS);
    this.#sample();
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }

  #sample(): void {
    try {
      this.cpuSeconds = cpuSeconds(this.#pid);
      const kilobytes = /^RssAnon:\s+(\d+) kB/m.exec(readFileSync(`/proc/${this.#pid}/status`, "latin1"))?.[1];
      this.peakAnonBytes = Math.max(this.peakAnonBytes, Number(kilobytes ?? 0) * 1024);
    } catch {
      clearInterval(this.#timer); // it has ended
    }
  }
}
