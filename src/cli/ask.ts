/** What the commands that talk to a running daemon have in common: finding it, asking it, and saying that there is none. */

import { realpathSync } from "node:fs";
import { resolve } from "node:path";
import type { Argv } from "yargs";
import { schema } from "../config/schema.ts";
import type { Status } from "../control/api.ts";
import { type Answer, askDaemon, NoDaemon } from "../control/client.ts";
import { exitStatus } from "./exit-status.ts";
import type { Io } from "./io.ts";
import { ConfigurationError, readSettings, type SharedFlags } from "./settings.ts";
import { withSharedFlags } from "./shared-flags.ts";

/** The flags of these commands. */
export interface AskFlags extends SharedFlags {
  readonly json: boolean;
}

/** One question, and how its answer is printed for a person. */
export interface Question {
  readonly method: "GET" | "POST" | "DELETE";
  readonly path: string;
  readonly body?: Readonly<Record<string, unknown>>;
  readonly print: (body: unknown) => string;
  /** The exit status where the daemon says no. */
  readonly refusedStatus?: number;
  /** The daemon reads the configuration for it, so where there is no daemon, what is wrong with the file is worth telling. */
  readonly readsConfiguration?: true;
}

/** The daemon's "no" to a question that was well put; there is no number for it in sysexits.h. */
const saidNo = 1;

/** The shared flags, and --json. */
export function withAskFlags<Flags>(parser: Argv<Flags>): Argv<Flags & AskFlags> {
  return withSharedFlags(parser).option("json", {
    type: "boolean",
    default: false,
    describe: "print the daemon's answer as it is",
  });
}

/** Asks, prints, and gives the exit status. Rejects with a `ConfigurationError` only where the question `readsConfiguration`. */
export async function ask(question: Question, flags: AskFlags, io: Io): Promise<number> {
  let answer: Answer;
  try {
    const socket = await socketOf(flags, io);
    if (question.method !== "GET") await requireMeant(flags, socket);
    answer = await askDaemon(socket, question.method, question.path, question.body);
  } catch (cause) {
    if (!(cause instanceof NoDaemon)) throw cause;
    if (question.readsConfiguration) await readSettings(flags, io.environment);
    io.errors.write(`tcpwrapd: ${cause.message}\n`);
    return exitStatus.unavailable;
  }
  const { status, body } = answer;
  if (status !== 200) {
    if (flags.json) io.output.write(`${JSON.stringify(body)}\n`);
    else io.errors.write(`tcpwrapd: ${errorOf(body)}\n`);
    return status < 500 ? (question.refusedStatus ?? saidNo) : exitStatus.internal;
  }
  io.output.write(flags.json ? `${JSON.stringify(body)}\n` : question.print(body));
  return exitStatus.ok;
}

/** A configuration that cannot be read must not hide a daemon that runs with an older one. */
export async function socketOf(flags: SharedFlags, io: Io): Promise<string> {
  if (flags.controlSocket !== undefined) return flags.controlSocket;
  try {
    const { settings } = await readSettings(flags, io.environment);
    return settings.control.socket;
  } catch (cause) {
    if (!(cause instanceof ConfigurationError)) throw cause;
    io.errors.write(`tcpwrapd: the configuration cannot be used, so the default control socket is asked\n`);
    return schema.parse({}).control.socket;
  }
}

/**
 * Nothing is to be done to another daemon than the one whose configuration -c names: its socket may stand in a flag of its unit, and
 * the one that is asked may be that of all others.
 *
 * @throws NoDaemon where the daemon has another configuration
 */
async function requireMeant({ config }: SharedFlags, socket: string): Promise<void> {
  if (config === undefined) return;
  const { status, body } = await askDaemon(socket, "GET", "/v1/status");
  if (status !== 200) throw new NoDaemon(errorOf(body));
  const { pid, configuration } = body as Status;
  if (realPath(configuration) === realPath(config)) return;
  throw new NoDaemon(
    `the daemon on ${socket} (process ${pid}) runs with ${configuration}, not with ${resolve(config)}: nothing was done; name the socket of the one that you mean with --control-socket, or leave -c out`,
  );
}

/** Where a path leads; of one that leads nowhere, itself. */
function realPath(path: string): string {
  try {
    return realpathSync(path);
  } catch {
    return resolve(path);
  }
}

function errorOf(body: unknown): string {
  return typeof body === "object" && body !== null && "error" in body
    ? String(body.error)
    : "no reason given";
}
