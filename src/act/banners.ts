/** Sends a rule's banner to the client: one file, expanded line by line. */
import { constants } from "node:fs";
import { open, stat } from "node:fs/promises";
import type { FileHandle } from "node:fs/promises";
import type { Socket } from "node:net";
import { expand, MAX_BANNER_LINE } from "../access/expand.ts";
import type { Fact, Request } from "../access/types.ts";
import { shownPath, systemPath } from "../platform/paths.ts";
import { systemWords } from "../platform/system-error.ts";

/** Finds one fact and gives the request with it; "unknown" at worst. */
export type FindFact = (fact: Fact, request: Request) => Promise<Request>;

/** "none": there is no file for this daemon, which is no fault. The last two end the connection. */
export type BannerOutcome = "sent" | "none" | "too_slow" | "too_long";

/** A banner and its bounds. */
export interface Banner {
  readonly directory: string;
  /** Its daemon names the file; its lines are expanded from it. */
  readonly request: Request;
  /** For a line with %n, %N or %u whose fact is not there yet. */
  readonly findFact: FindFact;
  /** Bytes of the file that are used; a longer one is cut at a line's end. */
  readonly maxBytes: number;
  /** The client has so long to take it. */
  readonly timeoutMs: number;
  /** Is told of a file that is there and cannot be used. */
  readonly warn: (message: string) => void;
}

/** Characters of a line that libwrap reads at once. */
const LINE_BUFFER = 8190;

/**
 * Sends DIRECTORY/DAEMON as hosts_options(5) says: NUL bytes at the start as they are, each line expanded, its LF made CR LF (a CR
 * before it stays), a last line without LF gets none.
 *
 * libwrap takes any daemon name; here one with "/" has no banner, so that no name leads out of the directory.
 *
 * Rejects only when `findFact` does.
 */
export async function sendBanner(banner: Banner, client: Socket): Promise<BannerOutcome> {
  const text = await readBanner(banner);
  if (text === undefined) return "none";
  const bytes = await fillIn(text, banner);
  if (bytes === undefined) return "too_long";
  return bytes.length === 0 || (await deliver(bytes, client, banner.timeoutMs)) ? "sent" : "too_slow";
}

async function readBanner({
  directory,
  request: { daemon },
  maxBytes,
  warn,
}: Banner): Promise<string | undefined> {
  const path = `${directory}/${daemon}`;
  if (daemon.includes("/")) {
    warn(`banners: "${daemon}" is no file name`);
    return undefined;
  }
  try {
    // O_NONBLOCK: a FIFO must not hold the thread that opens it.
    const file = await open(systemPath(path), constants.O_RDONLY | constants.O_NONBLOCK);
    try {
      return await readBounded(file, shownPath(path), maxBytes, warn);
    } finally {
      await file.close();
    }
  } catch (error) {
    // No file for this daemon is no fault; no directory is one.
    const isMissing = (error as NodeJS.ErrnoException).code === "ENOENT";
    const fault = isMissing ? await faultOf(directory) : `${shownPath(path)}: ${systemWords(error)}`;
    if (fault !== undefined) warn(`banners: ${fault}`);
    return undefined;
  }
}

async function readBounded(
  file: FileHandle,
  path: string,
  maxBytes: number,
  warn: (message: string) => void,
): Promise<string | undefined> {
  if (!(await file.stat()).isFile()) {
    warn(`banners: ${path}: not a file`);
    return undefined;
  }
  const buffer = Buffer.alloc(maxBytes + 1);
  let length = 0;
  for (;;) {
    const { bytesRead } = await file.read(buffer, length, buffer.length - length, null);
    length += bytesRead;
    if (bytesRead === 0 || length === buffer.length) break;
  }
  if (length <= maxBytes) return buffer.toString("latin1", 0, length);
  warn(`banners: ${path}: longer than ${maxBytes} bytes, cut`);
  return buffer.toString("latin1", 0, buffer.lastIndexOf("\n", maxBytes - 1) + 1);
}

/** Why a path cannot be looked at; undefined where it can. */
async function faultOf(path: string): Promise<string | undefined> {
  try {
    await stat(systemPath(path));
    return undefined;
  } catch (error) {
    return `${shownPath(path)}: ${systemWords(error)}`;
  }
}

async function fillIn(text: string, banner: Banner): Promise<Buffer | undefined> {
  const start = text.search(/[^\0]|$/);
  const pieces = [text.slice(0, start)];
  let { request } = banner;
  for (const line of linesOf(text.slice(start))) {
    let done = "";
    let expansion = expand(line, request, MAX_BANNER_LINE);
    // What stands before a %n or %u is not told the name or the user that is looked up for it.
    while (expansion.kind === "need") {
      for (const problem of expansion.problems) banner.warn(`banners: ${problem}`);
      done += expansion.done;
      request = await banner.findFact(expansion.fact, request);
      expansion = expand(expansion.rest, request, MAX_BANNER_LINE);
    }
    if (expansion.kind === "tooLong" || done.length + expansion.text.length > MAX_BANNER_LINE) {
      banner.warn(`banners: ${expansion.kind === "tooLong" ? expansion.problem : "expansion too long"}`);
      return undefined;
    }
    for (const problem of expansion.problems) banner.warn(`banners: ${problem}`);
    pieces.push(done, expansion.text);
    ({ request } = expansion);
  }
  return Buffer.from(pieces.join(""), "latin1");
}

/**
 * The lines as libwrap's buffers make them: cut every {@link LINE_BUFFER} characters; what follows a NUL is lost, the LF included; and
 * an LF after brackets that are not balanced stays LF, because the search for it steps over what is in brackets.
 */
function linesOf(text: string): string[] {
  const lines = text.match(new RegExp(`[^\n]{0,${LINE_BUFFER - 1}}\n|[^\n]{1,${LINE_BUFFER}}`, "g")) ?? [];
  return lines
    .map((line) => line.replace(/\0.*/s, ""))
    .map((line) => (isBalanced(line) ? line.replace(/\n$/, "\r\n") : line));
}

function isBalanced(line: string): boolean {
  return line.split("[").length === line.split("]").length;
}

/** False when the client does not take the bytes in time, or has gone. */
async function deliver(bytes: Buffer, client: Socket, timeoutMs: number): Promise<boolean> {
  if (client.destroyed) return false;
  return await new Promise((resolve) => {
    const limit = setTimeout(() => resolve(false), timeoutMs);
    client.write(bytes, (error) => {
      clearTimeout(limit);
      resolve(error === undefined || error === null);
    });
  });
}
