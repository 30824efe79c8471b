/** Starts the built daemon as a process of its own, and reads the records it writes. */

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import {
  chmodSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { TestContext } from "node:test";
import { fileURLToPath } from "node:url";

/** One record as JSON; only the fields that tests look at. */
export interface LogLine {
  readonly event: string;
  readonly level: string;
  readonly id?: string;
  readonly service?: string;
  readonly client?: {
    readonly address: string;
    readonly port?: number;
    readonly name?: string;
    readonly user?: string;
  };
  readonly rule?: { readonly file: string; readonly line: number };
  readonly reason?: string;
  readonly cause?: string;
  readonly detail?: string;
  readonly upBytes?: number | null;
  readonly downBytes?: number | null;
  readonly generation?: number;
  readonly [other: string]: unknown;
}

export interface StartOptions {
  /** NAME → BACKEND; each listens on a free port of 127.0.0.1, unless `listen` says another place. */
  readonly services: Readonly<Record<string, string>>;
  readonly listen?: Readonly<Record<string, string>>;
  readonly allow?: string;
  readonly deny?: string;
  /** The configuration file, as YAML. */
  readonly yaml?: string;
  readonly args?: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
  /** A program that becomes the daemon, with its arguments: nsenter(1), setpriv(1). */
  readonly before?: readonly string[];
  /** A descriptor of ours that it gets as 3, or several from there on. */
  readonly passed?: number | readonly number[];
  /** Called every few milliseconds until it is ready. */
  readonly whileStarting?: (child: ChildProcess) => void;
  /** Another built program than dist/main.js. */
  readonly program?: string;
  /** Absent = one in its own folder. */
  readonly controlSocket?: string;
  /** Of the folder with the tables; absent = ours alone. */
  readonly folderMode?: number;
}

const program = fileURLToPath(new URL("../../dist/main.js", import.meta.url));

/** A running daemon with tables of its own; it is ended with the test. */
export class RunningDaemon {
  readonly folder: string;
  /** Where it is controlled. */
  readonly controlSocket: string;
  readonly allowFile: string;
  readonly denyFile: string;
  readonly process: ChildProcess;
  readonly records: LogLine[] = [];
  errors = "";
  readonly #waiting = new Set<() => void>();
  readonly #exited: Promise<number | null>;

  private constructor(folder: string, controlSocket: string, process: ChildProcess) {
    this.folder = folder;
    this.controlSocket = controlSocket;
    this.allowFile = join(folder, "hosts.allow");
    this.denyFile = join(folder, "hosts.deny");
    this.process = process;
    this.#exited = once(process, "exit").then(([code]) => code as number | null);
    if (process.stdout === null || process.stderr === null) throw new Error("no pipes to the daemon");
    createInterface({ input: process.stdout }).on("line", (line) => {
      this.records.push(JSON.parse(line) as LogLine);
      for (const look of this.#waiting) look();
    });
    process.stderr.on("data", (chunk: Buffer) => (this.errors += chunk.toString()));
  }

  /** Starts it and waits until it is ready. */
  static async start(t: TestContext, options: StartOptions): Promise<RunningDaemon> {
    const folder = mkdtempSync(join(tmpdir(), "tcpwrapd-run-"));
    if (options.folderMode !== undefined) chmodSync(folder, options.folderMode);
    if (options.allow !== undefined) writeFileSync(join(folder, "hosts.allow"), options.allow);
    if (options.deny !== undefined) writeFileSync(join(folder, "hosts.deny"), options.deny);
    writeFileSync(join(folder, "tcpwrapd.yaml"), options.yaml ?? "names: {reverse: needed}\n");
    const main = options.program ?? program;
    if (!existsSync(main)) throw new Error("dist/ is not built: npm run build");
    const services = Object.entries(options.services).flatMap(([name, backend]) => [
      "--service",
      `${name}=${options.listen?.[name] ?? "127.0.0.1:0"},${backend}`,
    ]);
    const files = ["--allow-file", join(folder, "hosts.allow"), "--deny-file", join(folder, "hosts.deny")];
    const controlSocket = options.controlSocket ?? join(folder, "control.sock");
    const args = [
      "run",
      "-c",
      join(folder, "tcpwrapd.yaml"),
      ...files,
      "--log-format",
      "json",
      "--control-socket",
      controlSocket,
      ...services,
    ];
    const [file, ...before] = [...(options.before ?? []), process.execPath];
    const child = spawn(file, [...before, main, ...args, ...(options.args ?? [])], {
      stdio: ["ignore", "pipe", "pipe", ...[options.passed ?? []].flat()],
      env: { ...process.env, ...options.environment },
    });
    const daemon = new RunningDaemon(folder, controlSocket, child);
    t.after(async () => {
      await daemon.#kill();
      rmSync(folder, { recursive: true, force: true });
    });
    const looks = setInterval(() => options.whileStarting?.(child), 5);
    const isReady = await Promise.race([
      daemon.find(({ event }) => event === "ready"),
      daemon.#exited,
    ]).finally(() => clearInterval(looks));
    if (typeof isReady !== "object" || isReady === null)
      throw new Error(`the daemon ended at once: ${daemon.errors}`);
    return daemon;
  }

  /** Ends the workers too: they outlive the supervisor for as long as they have sessions, and UDP has some for a minute. */
  async #kill(): Promise<void> {
    let workers: number[] = [];
    try {
      workers = this.workers();
    } catch {
      // The supervisor is gone already, and with it the way to them.
    }
    await this.end("SIGKILL");
    for (const pid of workers) {
      try {
        process.kill(pid, "SIGKILL");
      } catch {
        // It has ended by itself.
      }
    }
  }

  /** The port that the kernel gave to a service's only listener. */
  port(service: string): number {
    const ready = this.records.find(({ event }) => event === "ready");
    const [, port] = new RegExp(`${service} on \\S+:(\\d+)`).exec(ready?.detail ?? "") ?? [];
    if (port === undefined) throw new Error(`no port of ${service} in ${ready?.detail ?? "no ready record"}`);
    return Number(port);
  }

  /** The first record that fits, now or when it comes; rejects after twenty seconds, since a start may take long on a busy machine. */
  async find(fits: (record: LogLine) => boolean): Promise<LogLine> {
    return await new Promise((resolve, reject) => {
      const limit = setTimeout(() => {
        this.#waiting.delete(look);
        reject(
          new Error(
            `no such record among\n${this.records.map((record) => JSON.stringify(record)).join("\n")}\n${this.errors}`,
          ),
        );
      }, 20_000);
      // Each record is looked at once: a test under load has tens of thousands.
      let looked = 0;
      const look = (): void => {
        const found = this.records.slice(looked).find(fits);
        looked = this.records.length;
        if (found === undefined) return;
        clearTimeout(limit);
        this.#waiting.delete(look);
        resolve(found);
      };
      this.#waiting.add(look);
      look();
    });
  }

  /** Its configuration file. */
  get configFile(): string {
    return join(this.folder, "tcpwrapd.yaml");
  }

  /** The processes that serve: the workers, or the daemon itself where it has none. */
  workers(): number[] {
    const pid = this.process.pid ?? 0;
    const children = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim();
    return children === "" ? [pid] : children.split(" ").map(Number);
  }

  /** Descriptors that the first worker has open, who serves; a spare one may come at any time. */
  servingDescriptors(): number {
    return readdirSync(`/proc/${this.workers()[0]}/fd`).length;
  }

  /** Descriptors that the daemon and its workers have open. */
  descriptors(): number {
    const pids = new Set([this.process.pid ?? 0, ...this.workers()]);
    return [...pids].reduce((sum, pid) => sum + readdirSync(`/proc/${pid}/fd`).length, 0);
  }

  /** Sends a signal and waits for the end; the exit status, null when it was killed. */
  async end(signal: NodeJS.Signals): Promise<number | null> {
    this.process.kill(signal);
    return await this.#exited;
  }

  /** Waits for the end. */
  async exited(): Promise<number | null> {
    return await this.#exited;
  }
}
