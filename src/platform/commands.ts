/** Starts programs for a connection: own process group, clean environment, nothing of ours above descriptor 2. */
import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { access, constants } from "node:fs/promises";
import { Socket } from "node:net";
import { performance } from "node:perf_hooks";
import { StringDecoder } from "node:string_decoder";
import { findIdentity } from "./identity.ts";
import { CLEAN_PATH, findTools, prologue } from "./prologue.ts";

/** A program and all that it gets from us. What is absent here it does not get. */
export interface Program {
  /** The file (absolute, or looked for in {@link CLEAN_PATH}) and its arguments. No shell reads them. */
  readonly argv: readonly [file: string, ...args: string[]];
  /** Added to the clean environment, which is PATH={@link CLEAN_PATH} and nothing else (the shell adds PWD). */
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

/** The same, for a process that may end before them: it does not wait for what it has started, which goes on without it. */
export const outlivingPrograms: Programs = {
  start: (program) => startProgram(program, letGo),
};

const tools = findTools();

async function startProgram(
  program: Program,
  onStart: (child: ChildProcess) => void = () => undefined,
): Promise<Running> {
  const { argv, user, group, environment, connection, onErrorOutput } = program;
  await requireProgram(argv[0]);
  const identity = user === undefined && group === undefined ? {} : { identity: await findIdentity(program) };
  const {
    argv: [file, ...args],
    ...ids
  } = prologue(argv, { ...program, ...identity }, tools, process.geteuid?.() === 0);
  if (connection?.destroyed === true) throw new Error("the client is gone");
  const startedAt = performance.now();
  const child = spawn(file, args, {
    cwd: "/",
    env: { PATH: CLEAN_PATH, ...environment },
    stdio: [connection ?? "ignore", connection ?? "ignore", onErrorOutput === undefined ? "ignore" : "pipe"],
    detached: true,
    ...ids,
  });
  onStart(child);
  const errorOutput = onErrorOutput === undefined ? undefined : readErrorOutput(child, onErrorOutput);
  const ended = waitForEnd(child, errorOutput, startedAt);
  const pid = await waitForStart(child);
  return { pid, ended, kill: (signal) => killGroup(pid, signal) };
}

/** Neither the program nor its descriptor 2 keeps our event loop alive. */
function letGo(child: ChildProcess): void {
  child.unref();
  if (child.stderr instanceof Socket) child.stderr.unref();
}

/** The shell before the program would only tell by exit status 127 that there is none. */
async function requireProgram(file: string): Promise<void> {
  if (file.startsWith("/")) await access(file, constants.X_OK);
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
