/** %-expansions of commands, environment and banners, made harmless to a shell. */
import { asBytes, lowerCase } from "./text.ts";
import type { Endpoint, Fact, LateFact, Request } from "./types.ts";

/** The result of an expansion; `problems` are sentences for the log. */
export type Expansion =
  /** `request`: what is known behind the text, late facts that it asked for among it. */
  | {
      readonly kind: "text";
      readonly text: string;
      readonly problems: readonly string[];
      readonly request: Request;
    }
  /** `done` is expanded already, by what was known until now; `rest` is what a caller goes on with who keeps that. */
  | {
      readonly kind: "need";
      readonly fact: Exclude<Fact, { kind: "aclexec" }>;
      readonly done: string;
      readonly rest: string;
      readonly problems: readonly string[];
    }
  /** Longer than may be. tcpd ends its process here; a rule that meets it refuses the client (difference 9). */
  | { readonly kind: "tooLong"; readonly problem: string };

/** Bytes that the value of an option may grow to: its buffer in tcpd holds 8192, the last two of which stay free. */
export const MAX_EXPANSION = 8190;

/** The same of a line of a banner, with its CR LF: that buffer is twice as large. */
export const MAX_BANNER_LINE = 16_382;

/** The sequences that look a fact up: behind them it is known. */
const ASKING: ReadonlyMap<string, LateFact> = new Map([
  ["n", "clientName"],
  ["N", "serverName"],
  ["u", "user"],
]);

/**
 * Replaces every `%x` of a text: %a %A address, %h %H name if known already or else address, %n %N name, %c client with
 * user if known already, %s daemon with server, %d daemon, %u user, %p process id, %r %R port, %% a percent sign.
 *
 * What comes from outside keeps only characters that mean nothing to a shell, the rest become `_`; the text around it
 * is left as it is. %n, %N and %u ask for their fact when the request does not hold it yet; no other does, and
 * before the place that asked a fact that came late is not known. An unknown
 * letter expands to nothing, with a problem; a lone % at the end stays. Single pass. Source: hosts_access(5) % EXPANSIONS.
 *
 * @param text a string of bytes (one character each) or plain ASCII
 * @param mostBytes what it may grow to
 */
export function expand(text: string, asked: Request, mostBytes: number = MAX_EXPANSION): Expansion {
  const problems: string[] = [];
  let request = asked;
  let result = "";
  let at = 0;
  while (at < text.length) {
    const percent = text.indexOf("%", at);
    if (percent < 0 || percent === text.length - 1) {
      result += text.slice(at);
      break;
    }
    result += text.slice(at, percent);
    const letter = text.charAt(percent + 1);
    const fact = ASKING.get(letter);
    if (fact !== undefined) request = known(request, fact);
    const value = expansionOf(letter, request);
    if (typeof value === "object")
      return { kind: "need", fact: value, done: result, rest: text.slice(percent), problems };
    if (value === undefined) problems.push(`unrecognized %${letter}`);
    else result += value;
    if (result.length > mostBytes) break;
    at = percent + 2;
  }
  if (result.length <= mostBytes) return { kind: "text", text: result, problems, request };
  return { kind: "tooLong", problem: `expansion too long: ${result.slice(0, 30)}...` };
}

/**
 * The request with a note that it holds a fact which the options of a rule have asked for; for who adds that fact. tcpd runs
 * options one by one, so what stands before the one that asks does not know the answer.
 */
export function withLate(request: Request, fact: Fact): Request {
  if (fact.kind === "aclexec" || fact.isLate !== true || isLate(request, fact.kind)) return request;
  return { ...request, late: [...(request.late ?? []), fact.kind] };
}

/** Whether a fact has come late, and its place is not reached yet. */
function isLate({ late }: Request, fact: LateFact): boolean {
  return late?.includes(fact) ?? false;
}

/** The request from the place on where a fact was asked for. */
export function known(request: Request, fact: LateFact): Request {
  return isLate(request, fact)
    ? { ...request, late: request.late?.filter((each) => each !== fact) ?? [] }
    : request;
}

function expansionOf(
  letter: string,
  request: Request,
): string | Exclude<Fact, { kind: "aclexec" }> | undefined {
  const { client, server } = request;
  const user = isLate(request, "user") ? undefined : request.user;
  const clientHost = isLate(request, "clientName") ? client.address : nameOrAddress(client);
  const serverHost = isLate(request, "serverName") ? server.address : nameOrAddress(server);
  switch (letter) {
    case "a":
      return harmless(client.address);
    case "A":
      return harmless(server.address);
    case "h":
      return harmless(clientHost);
    case "H":
      return harmless(serverHost);
    case "n":
      return client.name === undefined ? { kind: "clientName" } : harmless(client.name);
    case "N":
      return server.name === undefined ? { kind: "serverName" } : harmless(server.name);
    case "u":
      return user === undefined ? { kind: "user" } : harmless(user);
    case "c":
      return harmless(isKnown(user) ? `${user}@${clientHost}` : clientHost);
    case "s":
      return harmless(withServer(request.daemon, serverHost));
    case "d":
      return harmless(request.daemon);
    case "p":
      return String(request.processId ?? 0);
    case "r":
      return String(client.port ?? 0);
    case "R":
      return String(server.port ?? 0);
    case "%":
      return "%";
    default:
      return undefined;
  }
}

function withServer(daemon: string, host: string): string {
  return isKnown(host) ? `${daemon}@${host}` : daemon;
}

function nameOrAddress({ name, address }: Endpoint): string {
  return isKnownName(name) ? name : address;
}

/** Whether a fact says anything: "unknown" in any case is none, even where an ident server has said it. */
export function isKnown(fact: string | undefined): fact is string {
  return fact !== undefined && lowerCase(fact) !== "unknown";
}

/** The same of a name, which may also lead to somebody else. */
export function isKnownName(name: string | undefined): name is string {
  return isKnown(name) && lowerCase(name) !== "paranoid";
}

/** As many `_` as a character has bytes. */
function harmless(text: string): string {
  return asBytes(text).replace(/[^A-Za-z0-9!@%\-_=+:,./]/g, "_");
}
