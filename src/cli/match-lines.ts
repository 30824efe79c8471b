/** `match --stdin`: one question in, one answer out, as JSON lines. */

import { z } from "zod";
import { cutFact } from "../access/text.ts";
import type { Endpoint, Request } from "../access/types.ts";
import { type Decided, printJson } from "./match-print.ts";

/** Decides a request in which every fact is given. */
export type Ask = (request: Request) => Decided;

const word = z.string().max(4096).nullish();

const question = z.strictObject({
  daemon: z.string().max(4096).nullish(),
  clientName: word,
  clientAddr: word,
  user: word,
  serverName: word,
  serverAddr: word,
  serverPort: z.int().min(0).max(65535).nullish(),
});

/** The answer to one line: a verdict, or `{"error": …}` where the line is no question. */
export function answerLine(line: string, ask: Ask): string {
  let parsed: unknown;
  try {
    parsed = JSON.parse(line);
  } catch (cause) {
    return JSON.stringify({ error: `no JSON: ${cause instanceof Error ? cause.message : String(cause)}` });
  }
  const checked = question.safeParse(parsed);
  if (!checked.success) {
    const [issue] = checked.error.issues;
    return JSON.stringify({
      error: `${issue?.path.join(".") ?? ""}: ${issue?.message ?? "no question"}`.replace(/^: /, ""),
    });
  }
  const { daemon, clientName, clientAddr, user, serverName, serverAddr, serverPort } = checked.data;
  const request: Request = {
    daemon: given(daemon),
    client: endpoint(clientAddr, clientName),
    server: {
      ...endpoint(serverAddr, serverName),
      ...(typeof serverPort === "number" && { port: serverPort }),
    },
    user: given(user),
  };
  return printJson(ask(request));
}

/** What is not given, or empty, is not known, and is not looked up. */
function endpoint(address: string | null | undefined, name: string | null | undefined): Endpoint {
  return { address: given(address), name: given(name) };
}

function given(fact: string | null | undefined): string {
  return fact === null || fact === undefined || fact === "" ? "unknown" : cutFact(fact);
}
