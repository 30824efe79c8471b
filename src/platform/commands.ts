/** Starts programs for a connection: own process group, clean environment, nothing of ours above descriptor 2. */
import { spawn } from "node:child_process";
import type { ChildProcess, SpawnOptions } from "node:child_process";
import { accessSync, constants } from "node:fs";
import type { Socket } from "node:net";
import { performance } from "node:perf_hooks";
import { StringDecoder } from "node:string_decoder";
import { findIdentity } from "./identity.ts";
import type { Identity } from "./identity.ts";

/** A program and all that it gets from us. What is absent here it does not get. */
export interface Program {
  /** The file (absolute, or looked for in {@link CLEAN_PATH}) and its arguments. No shell reads them. */
  readonly argv: readonly [file: string, ...args: string[]];
  /** Added to the clean environment, which is PATH={@link CLEAN_PATH} and nothing else. */
  readonly environment?: Readonly<Record<string, string>>;
  /** Absent: ours. */
  readonly umask?: number;
  /** Added to our own; a step that the kernel does not allow is left out with a word on descriptor 2, as nice(1) does. */
  readonly nice?: number;
  /** By name; the supplementary groups are the user's. */
  readonly user?: string;
  /** By name; instead of the user's own. */
  readonly group?: string;
  readonly ignoresHangup?: boolean;
  /** Becomes descriptors 0 and 1, in blocking mode. Absent: both are /dev/null. The caller closes its own copy. */
  readonly connection?: Socket;
  /** Gets descriptor 2 line by line, bounded. Absent: /dev/null. The text is the program's: escape it. */
  readonly onErrorOutput?: (line: string) => void;
}

/** How a program ended: by an exit status or by a signal, one of the two. */
export interface ProgramEnd {
  readonly status: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly durationMs: number;
}

/** A program that has been started. */
export interface Running {
  readonly pid: number;
  /** Resolves when the program itself has ended, whatever it left running beside it. Never rejects. */
  readonly ended: Promise<ProgramEnd>;
  /** Signals the program and every process of its group. False: none is left, or they are no longer ours to signal. */
  kill(signal: NodeJS.Signals): boolean;
}

/** Whoever can start programs: this process, or later a privileged one on its behalf. */
export interface Programs {
  /** Rejects when the program could not be started; nothing of it runs then. */
  start(program: Program): Promise<Running>;
}

/** Where programs are looked for, by us and by the shell we start. */
export const CLEAN_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/** So much of descriptor 2 is kept of one program; the rest is read and dropped, so that the program never waits for us. */
const MAX_ERROR_OUTPUT_BYTES = 65_536;
const MAX_ERROR_LINE_LENGTH = 1024;

/** After the program's end, what it still has in descriptor 2 is waited for so long; a child of it may hold it for ever. */
const ERROR_OUTPUT_GRACE_MS = 500;

/**
 * Starts programs as children of this process.
 *
 * Node gives the child no descriptor but those it is told, because it opens all its own close-on-exec; what was inherited
 * from our own parent is another matter, see `closeInherited`. Dead children are reaped by Node; orphans of theirs
 * by process 1.
 */
export const localPrograms: Programs = { start: startProgram };

async function startProgram(program: Program): Promise<Running> {
  const identity =
    program.user === undefined && program.group === undefined ? undefined : await findIdentity(program);
  const [file, args, ids] = prepare(program, identity);
  const { connection, onErrorOutput } = program;
  if (connection?.destroyed === true) throw new Error("the client is gone");
  const ends: SpawnOptions["stdio"] = [
    connection ?? "ignore",
    connection ?? "ignore",
    onErrorOutput === undefined ? "ignore" : "pipe",
  ];
  const startedAt = performance.now();
  const child = spawn(file, args, {
    cwd: "/",
    env: { PATH: CLEAN_PATH, ...program.environment },
    stdio: ends,
    detached: true,
    ...ids,
  });
  const errorOutput = onErrorOutput === undefined ? undefined : readErrorOutput(child, onErrorOutput);
  const ended = waitForEnd(child, errorOutput, startedAt);
  const pid = await waitForStart(child);
  return { pid, ended, kill: (signal) => killGroup(pid, signal) };
}

/**
 * Puts umask, nice and identity before the program, each by a program that becomes the next one (exec), because Node can set
 * none of them for a child alone. Numbers are ours; the program's own words are only ever arguments.
 */
function prepare(
  program: Program,
  identity: Identity | undefined,
): [file: string, args: string[], ids: { uid?: number; gid?: number }] {
  const statements: string[] = [];
  if (program.ignoresHangup === true) statements.push("trap '' HUP");
  if (program.umask !== undefined) statements.push(`umask ${octal(program.umask)}`);
  const before: string[] = [];
  const nice = program.nice === undefined ? undefined : findTool("nice");
  // nice first: lowering it takes the privilege that the new identity gives up.
  if (nice !== undefined && program.nice !== undefined)
    before.push(nice, "-n", String(Math.trunc(program.nice)));
  const ids: { uid?: number; gid?: number } = {};
  if (identity !== undefined) {
    const setpriv = findTool("setpriv");
    if (setpriv !== undefined && identity.needsRoot && isRoot())
      before.push(setpriv, ...privileges(identity));
    else if (identity.needsRoot) {
      // Node empties the supplementary groups before it changes the ids: fewer rights than asked for, never more.
      if (identity.uid !== undefined) ids.uid = identity.uid;
      ids.gid = identity.gid;
    }
  }
  const argv = [...before, ...program.argv];
  if (statements.length > 0) argv.unshift("/bin/sh", "-c", `${statements.join("; ")}; exec "$@"`, "sh");
  const [file = "", ...args] = argv;
  return [file, args, ids];
}

function privileges(identity: Identity): string[] {
  const groups = identity.groups.length === 0 ? "--clear-groups" : `--groups=${identity.groups.join(",")}`;
  const user = identity.uid === undefined ? [] : [`--reuid=${identity.uid}`];
  return [...user, `--regid=${identity.gid}`, groups, "--"];
}

function octal(umask: number): string {
  return (umask & 0o777).toString(8).padStart(4, "0");
}

function isRoot(): boolean {
  return process.geteuid?.() === 0;
}

const tools = new Map<string, string | undefined>();

function findTool(name: string): string | undefined {
  if (!tools.has(name))
    tools.set(
      name,
      CLEAN_PATH.split(":")
        .map((folder) => `${folder}/${name}`)
        .find(isExecutable),
    );
  return tools.get(name);
}

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

async function waitForEnd(
  child: ChildProcess,
  errorOutput: Promise<void> | undefined,
  startedAt: number,
): Promise<ProgramEnd> {
  const end = await new Promise<ProgramEnd>((resolve) => {
    child.once("exit", (status, signal) => {
      resolve({ status, signal, durationMs: Math.round(performance.now() - startedAt) });
    });
  });
  const grace = setTimeout(() => child.stderr?.destroy(), ERROR_OUTPUT_GRACE_MS);
  await errorOutput;
  clearTimeout(grace);
  return end;
}

async function waitForStart(child: ChildProcess): Promise<number> {
  return await new Promise((resolve, reject) => {
    child.once("spawn", () => resolve(child.pid ?? 0));
    child.on("error", reject);
  });
}

/** Resolves when all of it has been told. */
async function readErrorOutput(child: ChildProcess, onErrorOutput: (line: string) => void): Promise<void> {
  const decoder = new StringDecoder("utf8");
  let left = MAX_ERROR_OUTPUT_BYTES;
  let unfinished = "";
  child.stderr?.on("error", () => child.stderr?.destroy());
  child.stderr?.on("data", (chunk: Buffer) => {
    if (left < 0) return;
    const lines = (unfinished + decoder.write(chunk.subarray(0, left))).split("\n");
    left -= chunk.length;
    if (left < 0) lines.push(`more than ${MAX_ERROR_OUTPUT_BYTES} bytes, the rest is dropped`, "");
    unfinished = (lines.pop() ?? "").slice(0, MAX_ERROR_LINE_LENGTH);
    for (const line of lines) if (line !== "") onErrorOutput(line.slice(0, MAX_ERROR_LINE_LENGTH));
  });
  await new Promise<void>((resolve) => {
    child.stderr?.once("close", resolve);
  });
  if (unfinished !== "") onErrorOutput(unfinished);
}

function killGroup(pid: number, signal: NodeJS.Signals): boolean {
  try {
    return process.kill(-pid, signal);
  } catch {
    return false; // ESRCH: all have ended; EPERM: they run as somebody else now and we are not root
  }
}
