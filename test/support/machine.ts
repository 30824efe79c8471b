/** A machine of its own with a real systemd as process 1: a container over a throw-away copy of this machine's files. */
import { spawn, spawnSync } from "node:child_process";
import {
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";

/** What a command inside the machine came to. */
export interface Said {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Time to boot; half a second is usual. */
const bootMs = 60_000;

/** What commands inside find; nothing of ours, so that a test does not lean on the shell that runs it. */
const environment = [
  "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
  "HOME=/root",
  "LANG=C.UTF-8",
  "SYSTEMD_PAGER=",
  "SYSTEMD_COLORS=0",
];

/**
 * A booted machine.
 *
 * Its files are those of this machine under a layer in memory, so that every installed package is there and nothing that is done in it
 * stays. It boots to a target of ours with the journal and D-Bus, none of this machine's services, and a loopback of its own.
 */
export class Machine {
  readonly #folder: string;
  readonly #groups: readonly string[];
  readonly #leader: number;
  #cursor = "";
  /** The top of its files, seen from outside. */
  readonly root: string;

  private constructor(folder: string, groups: readonly string[], leader: number) {
    this.#folder = folder;
    this.#groups = groups;
    this.#leader = leader;
    this.root = join(folder, "top/root");
  }

  /** Boots one. `prepare` may write into its files before; `binds` are shown inside read-only, FROM:TO. */
  static async boot({
    prepare,
    binds = [],
  }: { prepare?: (root: string) => void; binds?: readonly string[] } = {}): Promise<Machine> {
    if (process.getuid?.() !== 0) throw new Error("a booted systemd needs root");
    if (!existsSync("/usr/bin/systemd-nspawn")) throw new Error("systemd-nspawn is missing: test/peers.sh");
    const folder = mkdtempSync(join(tmpdir(), "tcpwrapd-machine-"));
    const top = join(folder, "top");
    const root = join(top, "root");
    mkdirSync(top);
    must("mount", ["-t", "tmpfs", "-o", "size=512m,mode=0755", "tcpwrapd", top]);
    for (const name of ["upper", "work", "root"]) mkdirSync(join(top, name));
    const layers = `lowerdir=/,upperdir=${top}/upper,workdir=${top}/work`;
    must("mount", ["-t", "overlay", "-o", layers, "tcpwrapd", root]);
    const groups = controlGroups().map((each) => join(each, folder.slice(folder.lastIndexOf("/") + 1)));
    try {
      for (const group of groups) mkdirSync(group);
      writeFileSync(join(root, "etc/systemd/system/test.target"), target);
      for (const file of ["etc/machine-id", "etc/resolv.conf"]) rmSync(join(root, file), { force: true });
      writeFileSync(join(root, "etc/machine-id"), "");
      prepare?.(root);
      const nspawn = start(folder, root, groups, binds);
      return new Machine(folder, groups, await booted(nspawn, folder));
    } catch (cause) {
      await remove(folder, groups, undefined);
      throw cause;
    }
  }

  /** Runs a command inside, and waits for it. */
  run(command: string, ...args: readonly string[]): Said {
    const { status, stdout, stderr, error } = spawnSync("nsenter", this.#inside(command, args), {
      encoding: "utf8",
      timeout: 120_000,
      maxBuffer: 64 * 1024 * 1024,
    });
    if (error !== undefined) throw error;
    return { status, stdout, stderr };
  }

  /** As `run`, and what it printed; anything but status 0 is an error. */
  must(command: string, ...args: readonly string[]): string {
    const { status, stdout, stderr } = this.run(command, ...args);
    if (status !== 0) throw new Error(`${command} ${args.join(" ")}: status ${status}\n${stdout}${stderr}`);
    return stdout;
  }

  /** Starts a command inside and leaves it running; its pipes are the caller's. */
  start(command: string, ...args: readonly string[]): ReturnType<typeof spawn> {
    return spawn("nsenter", this.#inside(command, args), { stdio: ["pipe", "pipe", "pipe"] });
  }

  /** One property of a unit. */
  property(unit: string, name: string): string {
    return this.must("systemctl", "show", "--property", name, "--value", unit).trim();
  }

  /** What a unit has written since the last `turnPage`, oldest first. */
  journal(unit: string, output = "cat"): string {
    const since = this.#cursor === "" ? [] : [`--after-cursor=${this.#cursor}`];
    return this.must("journalctl", "--no-pager", "--quiet", "--output", output, "--unit", unit, ...since);
  }

  /** The journal begins here from now on. */
  turnPage(): void {
    this.must("journalctl", "--sync");
    const shown = this.must("journalctl", "--no-pager", "--quiet", "--lines", "1", "--show-cursor");
    this.#cursor = /^-- cursor: (.+)$/m.exec(shown)?.[1] ?? "";
  }

  /** Asks again and again until `isSo`; the journal of `unit` is in the error when that takes longer than `withinMs`. */
  async until(what: string, isSo: () => boolean, unit: string, withinMs = 20_000): Promise<void> {
    const end = Date.now() + withinMs;
    while (!isSo()) {
      if (Date.now() > end) throw new Error(`not within ${withinMs} ms: ${what}\n${this.journal(unit)}`);
      await wait(50);
    }
  }

  /** Switches it off, and removes what it was made of. */
  async stop(): Promise<void> {
    await remove(this.#folder, this.#groups, this.#leader);
  }

  #inside(command: string, args: readonly string[]): string[] {
    return ["-t", String(this.#leader), "-a", "--", "env", "-i", ...environment, command, ...args];
  }
}

const target = `[Unit]
Description=Machine of a test
Requires=sysinit.target
Wants=dbus.socket
After=sysinit.target dbus.socket
AllowIsolate=yes
`;

/** The places where a systemd inside keeps its groups: both of them where this machine has the old and the new tree. */
function controlGroups(): string[] {
  return [
    ...["/sys/fs/cgroup/systemd", "/sys/fs/cgroup/unified"].filter((each) => existsSync(each)),
    ...(existsSync("/sys/fs/cgroup/cgroup.controllers") ? ["/sys/fs/cgroup"] : []),
  ];
}

/** Starts systemd-nspawn in groups of its own: with --keep-unit it makes those of the machine below the ones it is in. */
function start(folder: string, root: string, groups: readonly string[], binds: readonly string[]): number {
  const enter = groups.map((group) => `echo $$ >'${group}/cgroup.procs'`).join(" && ");
  const log = openSync(`${folder}/console`, "w");
  // prettier-ignore
  const flags = [
    "--quiet", `--directory=${root}`, "--register=no", "--keep-unit", "--private-network",
    "--link-journal=no", "--resolv-conf=off", "--timezone=off", "--console=pipe",
    ...binds.map((bind) => `--bind-ro=${bind}`), "--boot", "--", "systemd.unit=test.target",
  ];
  const child = spawn("sh", ["-c", `${enter} && exec systemd-nspawn "$@"`, "sh", ...flags], {
    stdio: ["ignore", log, log],
    detached: true,
  });
  closeSync(log);
  child.unref();
  if (child.pid === undefined) throw new Error("systemd-nspawn could not be started");
  return child.pid;
}

/** Waits until the target is reached; gives process 1 as this machine numbers it. */
async function booted(nspawn: number, folder: string): Promise<number> {
  for (const end = Date.now() + bootMs; Date.now() < end; await wait(50)) {
    if (!isAlive(nspawn)) break;
    const leader = children(nspawn).find((pid) => readOr(`/proc/${pid}/comm`).trim() === "systemd");
    if (leader === undefined) continue;
    const asked = ["-t", String(leader), "-a", "--", "systemctl", "is-active", "--quiet", "test.target"];
    if (spawnSync("nsenter", asked, { stdio: "ignore" }).status === 0) return leader;
  }
  throw new Error(`systemd did not boot:\n${readOr(`${folder}/console`)}`);
}

async function remove(folder: string, groups: readonly string[], leader: number | undefined): Promise<void> {
  if (leader !== undefined && isAlive(leader)) {
    // SIGRTMIN+4: poweroff.target. Process 1 takes all others of its namespace with it.
    spawnSync("kill", ["-s", "RTMIN+4", String(leader)]);
    for (let tries = 0; tries < 200 && isAlive(leader); tries++) await wait(50);
    if (isAlive(leader)) process.kill(leader, "SIGKILL");
    for (let tries = 0; tries < 100 && isAlive(leader); tries++) await wait(50);
  }
  spawnSync("umount", ["-l", `${folder}/top/root`]);
  spawnSync("umount", ["-l", `${folder}/top`]);
  for (const group of groups) spawnSync("find", [group, "-depth", "-type", "d", "-exec", "rmdir", "{}", ";"]);
  rmSync(folder, { recursive: true, force: true });
}

/** A zombie has ended. */
function isAlive(pid: number): boolean {
  const [, state = "Z"] = /^State:\s*(\S)/m.exec(readOr(`/proc/${pid}/status`)) ?? [];
  return state !== "Z";
}

function children(pid: number): number[] {
  return readOr(`/proc/${pid}/task/${pid}/children`)
    .split(" ")
    .filter((each) => each !== "")
    .map(Number);
}

function readOr(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}

function must(command: string, args: readonly string[]): void {
  const { status, stderr, error } = spawnSync(command, args, { encoding: "utf8" });
  if (status !== 0) throw new Error(`${command} ${args.join(" ")}: ${error?.message ?? stderr}`);
}
