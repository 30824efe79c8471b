/** Leads the daemon from start to stop: it owns the listening sockets and the policy, the workers serve what comes in. */

import { setTimeout as pause } from "node:timers/promises";
import { isDeepStrictEqual } from "node:util";
import type { ControlApi, LastReload, ListedSession, ReloadOutcome } from "./control/api.ts";
import type { OlderWorkers } from "./control/older.ts";
import { type Front, Fronts, printFront } from "./fronts.ts";
import type { KeptSockets } from "./kept-sockets.ts";
import { withMoreTime } from "./platform/more-time.ts";
import type { Notifier } from "./platform/systemd.ts";
import {
  type DrainLimits,
  drainLimits,
  endless,
  type Inherited,
  type ListenPlan,
  listenPlans,
  longestLimitMs,
  type Policy,
} from "./policy.ts";
import type { Journal } from "./record/journal.ts";
import { sessionsLeft, statusLine, statusOf } from "./status.ts";
import type { TablesNews } from "./workers/orders.ts";
import { Workforce, type WorkforceOptions } from "./workers/workforce.ts";

/** What the daemon is made of; everything that touches the machine is handed in. */
export interface DaemonOptions {
  readonly policy: Policy;
  /** Reads the policy anew. Rejects with an error whose message says what is wrong, and where. */
  readonly readPolicy: () => Promise<Policy>;
  readonly journal: Journal;
  readonly startWorker: WorkforceOptions["start"];
  /** Whether workers have processes of their own; without, their listeners close our sockets. */
  readonly hasProcesses: boolean;
  /** Sockets that the service manager holds for us. */
  readonly inherited: Inherited;
  /** Sockets of a daemon before us that it has kept for us. */
  readonly kept: KeptSockets;
  readonly notifier: Notifier;
  /** What else must be there before we say that we are ready, such as the control socket. */
  readonly beforeReady: (api: ControlApi) => Promise<void>;
  readonly older: OlderWorkers;
  readonly version: string;
  readonly pid: number;
  /** Where the policy is read from, for whoever asks which daemon this is. */
  readonly configFile: string;
}

/** Bounds how long records may keep us from ending. */
const flushMs = 2000;

/** So long the service manager may take to let a port go. */
const dropMs = 5000;

/** Keys that are read at the start only. */
const startKeys = ["process", "control", "log", "flood", "relay"] as const;

/** A reload that is undone unless it is confirmed. */
interface Unconfirmed {
  /** What comes back: the policy, and the tables of this generation. */
  readonly policy: Policy;
  readonly generation: number;
  readonly timer: NodeJS.Timeout;
  readonly untilMs: number;
}

/** A running daemon: it is ready when `start` has resolved. */
export class Daemon implements ControlApi {
  readonly #options: DaemonOptions;
  readonly #workforce: Workforce;
  readonly #fronts: Fronts;
  readonly #startedAtMs = Date.now();
  /** By the clock that nobody sets. */
  readonly #startedAt = performance.now();
  #policy: Policy;
  #state: "starting" | "serving" | "draining" = "starting";
  #unconfirmed: Unconfirmed | undefined;
  #lastReload: LastReload | undefined;
  #refusedReloads = 0;
  /** Reloads, one after another; and the one that has not begun yet, which whoever comes now shares. */
  #work: Promise<unknown> = Promise.resolve();
  #waiting: Promise<ReloadOutcome> | undefined;
  #askDrain: () => void = () => undefined;
  #isDrainAsked = false;

  /** Resolves when somebody has asked over the control socket for a drain. */
  readonly drainAsked: Promise<void>;

  private constructor(options: DaemonOptions) {
    const { policy, startWorker, journal, hasProcesses } = options;
    this.#options = options;
    this.#policy = policy;
    this.#fronts = new Fronts(hasProcesses, options.kept);
    this.#workforce = new Workforce({
      size: Math.max(1, policy.settings.process.workers),
      start: startWorker,
      // Where there are several, the others accept meanwhile.
      hasSpare: hasProcesses && policy.settings.process.spare && policy.settings.process.workers === 1,
      journal,
      onNews: () => this.#tellStatus(),
    });
    this.drainAsked = new Promise((resolve) => {
      this.#askDrain = resolve;
    });
  }

  /**
   * Binds every listening socket, starts the workers with the first tables, and says that it is ready.
   *
   * @throws an error named "ListenError" when one of the sockets cannot be had; the others are closed again
   */
  static async start(options: DaemonOptions): Promise<Daemon> {
    const daemon = new Daemon(options);
    await daemon.#start();
    return daemon;
  }

  /** Whether `drainAsked` has resolved, or is about to. */
  get isDrainAsked(): boolean {
    return this.#isDrainAsked;
  }

  /** Where each service listens, as the kernel says: "sshd on 127.0.0.1:2222". */
  get addresses(): readonly string[] {
    return Array.from(this.#fronts.all.values(), printFront);
  }

  /** Asks the event loop of every worker; see `Workforce.answered`. For the service manager's watchdog. */
  async answers(withinMs: number): Promise<boolean> {
    return await this.#workforce.answered(withinMs);
  }

  /** Stops to accept, and resolves when the last session has ended by itself, or by `stop`. */
  async finish(): Promise<void> {
    const { journal, notifier } = this.#options;
    const limits = drainLimits(this.#policy.settings);
    const limitMs = limits.allMs;
    const left = await this.#leave(true, limits);
    // Each worker keeps the time by itself as well, in case that we do not live so long; we end one that does not.
    const limit = limitMs > 0 && left > 0 ? setTimeout(() => void this.stop(), limitMs) : undefined;
    const ended = this.#workforce.ended();
    // A stop that the service manager began has its limit, which stands where we set none; of a drain it knows nothing.
    const longestMs = longestLimitMs(limits);
    if (this.#isDrainAsked) await withMoreTime(notifier, ended);
    else if (longestMs > 0) await withMoreTime(notifier, endedWithin(ended, longestMs));
    await ended;
    clearTimeout(limit);
    journal.stopped();
    await journal.close(flushMs);
  }

  /** Stops to accept, and leaves the sessions to the workers, which end after the last one. */
  async handOver(): Promise<void> {
    const { journal, notifier } = this.#options;
    // What the service manager keeps goes to the next daemon, with the files of unix sockets.
    const left = await this.#leave(!notifier.isHeard, endless);
    this.#workforce.letGo();
    journal.stopped(`${left} sessions go on in their workers`);
    await journal.close(flushMs);
  }

  /** Ends every session at once; `finish` resolves soon after. */
  async stop(): Promise<void> {
    await this.#workforce.stop();
  }

  /** Reads the policy anew and puts it in force, or keeps the old one and says why. A storm of calls makes two reloads. */
  async reload(confirmMs?: number): Promise<ReloadOutcome> {
    if (confirmMs === undefined && this.#waiting !== undefined) return await this.#waiting;
    const outcome = this.#work.then(() => {
      if (this.#waiting === outcome) this.#waiting = undefined;
      return this.#reload(confirmMs);
    });
    this.#work = outcome;
    if (confirmMs === undefined) this.#waiting = outcome;
    return await outcome;
  }

  async confirm(): Promise<boolean> {
    if (this.#unconfirmed === undefined) return false;
    clearTimeout(this.#unconfirmed.timer);
    this.#unconfirmed = undefined;
    await this.#workforce.confirm();
    const message = `generation ${this.#workforce.tables?.generation ?? 0} of the tables is confirmed`;
    this.#options.journal.diagnose("info", { code: "confirmed", message });
    return true;
  }

  async status() {
    const { version, pid, configFile: configuration, older } = this.#options;
    const [reports, olderWorkers] = await Promise.all([this.#workforce.reports(), older.reports()]);
    const state = this.#state === "draining" ? "draining" : "serving";
    const unconfirmed = this.#unconfirmed;
    return statusOf(
      {
        version,
        pid,
        configuration,
        state,
        lost: this.#workforce.lost,
        startedAtMs: this.#startedAtMs,
        uptimeMs: Math.round(performance.now() - this.#startedAt),
        fronts: [...this.#fronts.all.values()],
        tables: this.#workforce.tables,
        ...(unconfirmed !== undefined && { unconfirmed: { untilMs: unconfirmed.untilMs } }),
        ...(this.#lastReload !== undefined && { lastReload: this.#lastReload }),
        refusedReloads: this.#refusedReloads,
        olderWorkers: olderWorkers.map((each) => ({
          pid: each.pid,
          sessions: each.sessions?.length ?? null,
        })),
      },
      reports,
    );
  }

  async sessions(): Promise<ListedSession[]> {
    const { older } = this.#options;
    const [ours, others] = await Promise.all([this.#workforce.reports(), older.reports()]);
    const listed = [
      ...ours.flatMap(({ sessions }) => sessions),
      ...others.flatMap(({ pid, sessions = [] }) => sessions.map((each) => ({ ...each, olderWorker: pid }))),
    ];
    // Ids sort by the time of accept.
    return listed.sort((one, other) => (one.id < other.id ? -1 : 1));
  }

  async tables() {
    return this.#workforce.tables ?? { generation: 0, allowRules: 0, denyRules: 0, diagnostics: [] };
  }

  async drain(): Promise<number> {
    this.#isDrainAsked = true;
    this.#askDrain();
    // What the workers tell by themselves comes a moment late.
    const reports = await this.#workforce.reports();
    return reports.reduce((sum, { sessions }) => sum + sessions.length, 0);
  }

  async kick(id: string): Promise<boolean> {
    return (await this.#workforce.kick(id)) || (await this.#options.older.kick(id));
  }

  async #start(): Promise<void> {
    const { journal, notifier } = this.#options;
    const plans = listenPlans(this.#policy.settings, this.#options.inherited);
    try {
      const opened = await this.#openFirst(plans);
      await this.#workforce.start({ policy: this.#policy, routes: routesOf(plans) }, opened);
      await this.#options.kept.keep(opened);
      await this.#options.beforeReady(this);
    } catch (cause) {
      await this.#workforce.leave(endless);
      this.#workforce.kill();
      this.#fronts.close(this.#fronts.all.values());
      throw cause;
    }
    this.#state = "serving";
    journal.ready(this.addresses.join(", "));
    await notifier.ready(this.#statusLine());
  }

  /** A socket that was kept and is not wanted any more may be in the way of a new one until the service manager has closed it. */
  async #openFirst(plans: readonly ListenPlan[]): Promise<readonly Front[]> {
    const patienceMs = this.#options.kept.drop(plans) ? dropMs : 0;
    return (await this.#fronts.open(plans, patienceMs)).opened;
  }

  async #reload(confirmMs: number | undefined): Promise<ReloadOutcome> {
    const { journal, notifier } = this.#options;
    if (this.#state === "draining") return { reloaded: false, reason: "the daemon is about to end" };
    notifier.reloading();
    try {
      const before = this.#policy;
      const policy = await this.#options.readPolicy();
      const isFirstWindow = confirmMs !== undefined && this.#unconfirmed === undefined;
      const base = isFirstWindow ? await this.#workforce.keepBase() : 0;
      if (isFirstWindow && base === 0)
        throw new Error("no worker is there that could keep the tables of now");
      const outcome = await this.#swap(policy);
      const window = confirmMs === undefined ? {} : this.#openWindow(before, base, confirmMs);
      const { opened, closed, needsRestart } = outcome;
      const changes = [
        ...opened.map((front) => `opened ${front}`),
        ...closed.map((front) => `closed ${front}`),
        ...needsRestart.map((key) => `"${key}" needs a restart`),
      ];
      const message = `reloaded; ${changes.length === 0 ? "no listener changes" : changes.join(", ")}`;
      journal.diagnose(needsRestart.length > 0 ? "warn" : "info", { code: "reloaded", message });
      this.#lastReload = { at: new Date().toISOString(), ok: true };
      return { reloaded: true, ...outcome, ...window };
    } catch (cause) {
      if (this.#unconfirmed === undefined) this.#workforce.forgetBase();
      const reason = reasonOf(cause);
      const message = `reload refused, everything stays as it was: ${reason}`;
      journal.diagnose("error", { code: "reload-refused", message });
      this.#lastReload = { at: new Date().toISOString(), ok: false, reason };
      this.#refusedReloads += 1;
      return { reloaded: false, reason };
    } finally {
      // Both are said even where the reload failed: the manager waits for the second word.
      await notifier.ready(this.#statusLine());
    }
  }

  /** Puts a policy in force: new sockets first, then the policy, then the old sockets; every step before the last is taken back. */
  async #swap(policy: Policy) {
    const before = this.#policy;
    const plans = listenPlans(policy.settings, this.#options.inherited);
    const oldRoutes = [...this.#fronts.all].map(([key, { plan }]) => [key, plan.service] as const);
    const { opened, closed } = await this.#fronts.open(plans);
    const routes = new Map([...oldRoutes, ...routesOf(plans)]);
    try {
      await this.#workforce.configure({ policy, routes });
      for (const front of opened) await this.#workforce.listen(front);
    } catch (cause) {
      for (const front of opened) await this.#workforce.unlisten(front);
      this.#fronts.close(opened);
      await this.#workforce.configure({ policy: before, routes: new Map(oldRoutes) });
      throw cause;
    }
    await this.#options.kept.keep(opened);
    this.#options.kept.forget(closed);
    for (const front of closed) await this.#workforce.unlisten(front);
    this.#fronts.close(closed);
    this.#fronts.rename(plans);
    this.#policy = policy;
    return {
      opened: opened.map(printFront),
      closed: closed.map(printFront),
      needsRestart: startKeys.filter(
        (key) => !isDeepStrictEqual(policy.settings[key], this.#options.policy.settings[key]),
      ),
    };
  }

  #openWindow(before: Policy, base: number, confirmMs: number): { confirmWithinMs: number } {
    const open = this.#unconfirmed;
    clearTimeout(open?.timer);
    this.#unconfirmed = {
      // A window that is open already keeps what it would bring back.
      policy: open?.policy ?? before,
      generation: open?.generation ?? base,
      timer: setTimeout(() => void (this.#work = this.#work.then(() => this.#undo())), confirmMs),
      untilMs: Date.now() + confirmMs,
    };
    return { confirmWithinMs: confirmMs };
  }

  async #undo(): Promise<void> {
    const { journal } = this.#options;
    const undone = this.#unconfirmed;
    if (undone === undefined || this.#state === "draining") return;
    this.#unconfirmed = undefined;
    const refused = this.#workforce.tables?.generation ?? 0;
    const { generation: base } = undone;
    try {
      await this.#swap(undone.policy);
      const now = await this.#workforce.goBack();
      const message = `not confirmed in time: ${takenBack(refused, base, now)}`;
      journal.diagnose("error", { code: "unconfirmed", message });
    } catch (cause) {
      const reason = cause instanceof Error ? cause.message : String(cause);
      const message = `not confirmed in time, but what was before does not come back: ${reason}`;
      journal.diagnose("error", { code: "unconfirmed", message });
    }
  }

  async #leave(closesSockets: boolean, limits: DrainLimits): Promise<number> {
    const { kept, notifier } = this.#options;
    this.#state = "draining";
    clearTimeout(this.#unconfirmed?.timer);
    await this.#work;
    // Not before: a reload that was under way says at its end that we are ready, and gives new sockets into keeping.
    notifier.stopping();
    if (closesSockets) kept.forget(this.#fronts.all.values());
    this.#tellDropped();
    const left = await this.#workforce.leave(limits);
    if (closesSockets) this.#fronts.close(this.#fronts.all.values());
    this.#options.journal.draining(sessionsLeft(left));
    this.#tellStatus();
    return left;
  }

  /** Nobody is left who would take anything back: the next daemon reads the files. */
  #tellDropped(): void {
    const dropped =
      this.#unconfirmed !== undefined
        ? "the last reload is neither confirmed nor undone"
        : this.#workforce.holds
          ? "tables that nobody has confirmed are taken back"
          : undefined;
    if (dropped === undefined) return;
    const message = `the daemon ends while ${dropped}: the next one takes the configuration and the tables as the files are`;
    this.#options.journal.diagnose("error", { code: "unconfirmed", message });
  }

  #tellStatus(): void {
    if (this.#state !== "starting") this.#options.notifier.status(this.#statusLine());
  }

  #statusLine(): string {
    const { sessions, tables } = this.#workforce;
    return statusLine(sessions, tables, this.#state === "draining", this.#lastReload);
  }
}

/** Resolves when work has ended, or so much time has passed. */
async function endedWithin(work: Promise<void>, ms: number): Promise<void> {
  const late = new AbortController();
  await Promise.race([work, pause(ms, undefined, { signal: late.signal }).catch(() => undefined)]);
  late.abort();
}

/** What a reload that nobody has confirmed has come to. */
function takenBack(refused: number, base: number, now: TablesNews | undefined): string {
  const files = "the files are as they were, and count when one of them changes";
  const back = `generation ${refused} of the tables is taken back`;
  if (now === undefined)
    return `${back}, those of generation ${base} come into force with the next worker, as none is there now; ${files}`;
  if (now.isHeld !== true || now.generation === base) {
    const same = now.generation === base ? " still" : `, as generation ${now.generation}`;
    return `the configuration before is in force again; the tables are those of generation ${base}${same}`;
  }
  return `${back}, those of generation ${base} are in force again as generation ${now.generation}; ${files}`;
}

/** What is wrong, and what to do about it where that is known. */
function reasonOf(cause: unknown): string {
  if (!(cause instanceof Error)) return String(cause);
  return "hint" in cause ? `${cause.message}; ${String(cause.hint)}` : cause.message;
}

function routesOf(plans: readonly ListenPlan[]): Map<string, string> {
  return new Map(plans.map(({ key, service }) => [key, service]));
}
