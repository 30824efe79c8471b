/** Asks a running daemon over its control socket. */

import { request } from "node:http";

/** No daemon answers, or this user may not ask it; the message is one line for the user. */
export class NoDaemon extends Error {
  override readonly name = "NoDaemon";
}

/** What the daemon answered. */
export interface Answer {
  readonly status: number;
  readonly body: unknown;
}

/** How long, and how much, an answer may be. */
export interface AnswerBounds {
  readonly answerMs: number;
  readonly answerBytes: number;
}

const defaultBounds: AnswerBounds = { answerMs: 30_000, answerBytes: 256 * 1024 * 1024 };

/** Asks once. Rejects with `NoDaemon`. */
export async function askDaemon(
  socketPath: string,
  method: string,
  path: string,
  body?: Readonly<Record<string, unknown>>,
  { answerMs, answerBytes } = defaultBounds,
): Promise<Answer> {
  const text = body === undefined ? "" : JSON.stringify(body);
  try {
    const answer = await new Promise<{ status: number; text: string }>((resolve, reject) => {
      const asking = request(
        {
          socketPath,
          method,
          path,
          headers: { "content-type": "application/json", "content-length": Buffer.byteLength(text) },
          agent: false,
          signal: AbortSignal.timeout(answerMs),
        },
        (response) => {
          const chunks: Buffer[] = [];
          let length = 0;
          response.on("data", (chunk: Buffer) => {
            length += chunk.length;
            chunks.push(chunk);
            if (length > answerBytes) response.destroy(new Error("the answer has no end"));
          });
          response.on("error", reject);
          response.on("end", () => resolve({ status: response.statusCode ?? 0, text: textOf(chunks) }));
        },
      );
      asking.on("error", reject);
      // Who changes the protocol, or goes away in some other manner, has not answered; all of this is nothing once it has.
      asking.on("upgrade", (_response, socket) => {
        socket.destroy();
        reject(new Error("it speaks another protocol"));
      });
      asking.on("close", () => reject(new Error("it has closed the connection")));
      asking.end(text);
    });
    return { status: answer.status, body: JSON.parse(answer.text) as unknown };
  } catch (cause) {
    throw new NoDaemon(`no daemon answers on ${socketPath}: ${reasonOf(cause)}`, { cause });
  }
}

/** Whether the socket is there, and nobody listens on it any more. */
export function isNobody({ cause }: NoDaemon): boolean {
  return codeOf(cause) === "ECONNREFUSED";
}

function textOf(chunks: readonly Buffer[]): string {
  return Buffer.concat(chunks).toString();
}

function reasonOf(cause: unknown): string {
  const code = codeOf(cause);
  if (code === "ENOENT") return "there is no such socket; is tcpwrapd running, and with this configuration?";
  if (code === "ECONNREFUSED") return "nobody listens on it any more";
  if (code === "EPIPE" || code === "ECONNRESET")
    return "it has closed the connection; too many ask it at once";
  if (code === "EACCES") return "permission denied; the socket belongs to root or to control.group";
  return cause instanceof Error ? cause.message : String(cause);
}

function codeOf(cause: unknown): string | undefined {
  return cause instanceof Error && "code" in cause ? String(cause.code) : undefined;
}
