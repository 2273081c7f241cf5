// Where the parts are wired together: the connectors of a configuration over one log and one registry, with their metrics,
// their HTTP server and their control socket. One log, one registry and one server a process.
import path from "node:path";
import type { LoadedConfig } from "./config/config.ts";
import type { EventLog } from "./core/event-log.ts";
import type { Log } from "./core/log.ts";
import { version } from "./core/version.ts";
import { openLog, openRegistry, type Registry } from "./parts.ts";
import { registryRoutes } from "./registry/routes.ts";
import { controlRoutes, controlSocket } from "./service/control.ts";
import { Fleet } from "./service/fleet.ts";
import { Pauses } from "./service/pauses.ts";
import type { Changes } from "./service/reload.ts";
import type { ServiceStatus } from "./service/status.ts";
import type { FlushReport } from "./sink/parts.ts";
import { openControlServer } from "./telemetry/control-server.ts";
import { openHttpServer } from "./telemetry/http.ts";
import { createMetrics } from "./telemetry/metrics.ts";

export type ServiceOptions = {
  readonly logger: Log;
  /** Called after each flush of a sink. */
  readonly onFlush?: (sink: string, report: FlushReport) => void;
  /** How it may be told what to do while it runs; without it there is no socket, and pauses last as long as the process. */
  readonly control?: {
    /** Holds the socket and what is paused; made when missing. */
    readonly dataFolder: string;
    /** Reads the configuration again. Throws ConfigError. */
    readonly reload: () => Promise<LoadedConfig>;
  };
};

/** How long a graceful stop may take before it is forced, ms. */
export const STOP_MS = 10_000;
/** Left for closing log and server after the connectors were forced, ms. */
const FORCE_EARLY_MS = 1_500;

export class Service {
  readonly httpAddress: string;
  readonly #fleet: Fleet;
  /** In the order in which they are closed. */
  readonly #doors: readonly AsyncDisposable[];
  #stopping: Promise<void> | null = null;

  private constructor(httpAddress: string, fleet: Fleet, doors: readonly AsyncDisposable[]) {
    this.httpAddress = httpAddress;
    this.#fleet = fleet;
    this.#doors = doors;
  }

  /**
   * Starts everything; connectors that can't work yet wait by themselves. Throws HTTP_ADDRESS, CONTROL_SOCKET, PAUSES_UNREADABLE,
   * LOG_LOCKED, LOG_UNREACHABLE (embedded log).
   */
  static async start(config: LoadedConfig, options: ServiceOptions): Promise<Service> {
    const { control, logger } = options;
    const opened: AsyncDisposable[] = [];
    const keep = <T extends AsyncDisposable>(part: T): T => {
      opened.unshift(part);
      return part;
    };
    try {
      const metrics = createMetrics({ version });
      const pauses = control === undefined ? Pauses.none() : await Pauses.load(path.join(control.dataFolder, "paused.json"));
      const log: EventLog = keep(await openLog(config.service, logger));
      const { registry, embedded, close }: Registry = await openRegistry(config.service, metrics);
      keep({ [Symbol.asyncDispose]: close });
      const fleet = new Fleet(config, {
        log,
        registry,
        logger,
        metrics,
        pauses,
        onFlush: options.onFlush ?? (() => undefined),
        reload: control?.reload ?? (async () => config),
      });
      if (control !== undefined)
        keep(await openControlServer({ path: controlSocket(control.dataFolder), log: logger, routes: controlRoutes(fleet) }));
      const http = keep(
        await openHttpServer({
          listen: config.service.http.listen,
          log: logger,
          metrics,
          notReady: () => fleet.notReady(),
          status: () => fleet.status(),
          ...(embedded === null ? {} : { registry: registryRoutes(embedded) }),
        }),
      );
      fleet.begin();
      return new Service(http.url, fleet, opened);
    } catch (cause) {
      for (const part of opened) await part[Symbol.asyncDispose]();
      throw cause;
    }
  }

  status(): ServiceStatus {
    return this.#fleet.status();
  }

  /** Takes the configuration up as it is now. Throws ConfigError, and then nothing has changed. */
  async reload(): Promise<Changes> {
    return this.#fleet.reload();
  }

  /** Flushes, acknowledges, releases slots and closes; forced after `ms`. Calling it again waits for the same stop. */
  async stop(ms = STOP_MS): Promise<void> {
    this.#stopping ??= this.#stop(ms);
    return this.#stopping;
  }

  async #stop(ms: number): Promise<void> {
    await this.#fleet.stop(Math.max(0, ms - FORCE_EARLY_MS));
    for (const door of this.#doors) await door[Symbol.asyncDispose]();
  }
}
