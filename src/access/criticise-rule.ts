/** What a careful reader would say about one rule: its lists, its daemons, its users and its options. */
import type { Criticism } from "./criticise.ts";
import { criticiseHost } from "./criticise-host.ts";
import { wholeUnsigned } from "./numbers.ts";
import { parseOptions, writtenOptions } from "./option-text.ts";
import type { Remark } from "./remark.ts";
import { indexOutsideBrackets, lowerCase } from "./text.ts";

/** A logical line with a colon. */
export interface RuleText {
  /** A string of bytes. */
  readonly text: string;
  readonly line: number;
  /** It is one physical line, so that a place in the text is a column. */
  readonly isPlain: boolean;
}

/** The daemons that are served. */
export interface Daemons {
  readonly names: readonly string[];
  readonly ports: readonly number[];
  /** The name that was meant by a misspelt one. */
  readonly nearest: (name: string) => string | undefined;
}

/** A rule, cut into its words. */
export interface RuleRead {
  /** Up to the first EXCEPT, in lower case. */
  readonly daemons: readonly string[];
  readonly clients: readonly string[];
  readonly hasExcept: boolean;
  readonly verdict: "allow" | "refuse" | "twist";
  readonly daemonWords: readonly Word[];
  readonly clientWords: readonly Word[];
  /** What stands after the second colon, and where; absent where there is none. */
  readonly options?: { readonly text: string; readonly at: number };
}

interface Word {
  readonly text: string;
  /** Where it stands in the rule, counted from 0. */
  readonly at: number;
}

type PlacedRemark = Remark & { readonly at: number };

/** Cuts a rule into its words, and tells what becomes of a client that it matches. */
export function readRule({ text }: RuleText, isAllowTable: boolean): RuleRead {
  const first = indexOutsideBrackets(text, ":");
  const second = first < 0 ? -1 : indexOutsideBrackets(text, ":", first + 1);
  const daemonWords = wordsOf(text, 0, first < 0 ? text.length : first);
  const clientWords = first < 0 ? [] : wordsOf(text, first + 1, second < 0 ? text.length : second);
  const options = second < 0 ? undefined : { text: text.slice(second + 1), at: second + 1 };
  const daemons = untilExcept(daemonWords);
  const clients = untilExcept(clientWords);
  return {
    daemons,
    clients,
    hasExcept: daemons.length < daemonWords.length || clients.length < clientWords.length,
    verdict: verdictOf(options?.text, isAllowTable),
    daemonWords,
    clientWords,
    ...(options && { options }),
  };
}

/** Remarks on a rule, each with its place. */
export function* criticiseRule(
  { text }: RuleText,
  read: RuleRead,
  criticism: Criticism,
): Generator<PlacedRemark> {
  const cut = unclosedBracket(text.slice(0, read.options?.at)) ?? bareIpv6(text);
  if (cut !== undefined) {
    yield cut;
    return; // the rest is cut at the wrong colons
  }
  yield* criticiseList("daemon", read.daemonWords, 0);
  for (const word of beforeComment(read.daemonWords)) yield* criticiseDaemon(word, criticism);
  yield* criticiseList("client", read.clientWords, text.length);
  for (const word of beforeComment(read.clientWords)) yield* criticiseClient(word, read, criticism);
  yield* criticiseOptions(read);
  const isForAll = read.daemons.includes("all") && read.clients.includes("all") && !read.hasExcept;
  if (isForAll && read.verdict === "allow") {
    const message = "this rule lets every client into every service";
    yield {
      at: 0,
      code: "everybody-allowed",
      message,
      hint: "name the services that are meant for everybody",
    };
  }
}

/** Longer than a daemon with an address behind it; the patterns below would take quadratic time. */
const MOST_OF_A_WORD = 500;

/** An IPv6 address that stands where a list should: "sshd: 2001:db8::1". */
function bareIpv6(text: string): PlacedRemark | undefined {
  if (!text.includes("::") && !/(?:[0-9a-f]{1,4}:){7}/i.test(text)) return undefined;
  const outside = text.replaceAll(/\[[^[\]]*\]/g, (inside) => "x".repeat(inside.length));
  for (const { 0: word, index: at } of outside.matchAll(/[^\s,]+/g)) {
    if (word.length > MOST_OF_A_WORD) continue;
    const [, lead = "", address = "", bits = ""] =
      /^([^:]*[g-z_@.][^:]*:)?([0-9a-f]*:[0-9a-f:]*:[0-9a-f.]*)(\/\d+)?$/i.exec(word) ?? [];
    if (address === "" || !/^(?:[0-9a-f]{0,4}:){2,7}[0-9a-f]{0,4}$/i.test(address)) continue;
    if (!address.includes("::") && address.split(":").length < 8) continue;
    const message = `"${address}${bits}" is cut at its first colon: an IPv6 address stands in brackets`;
    return { at: at + lead.length, code: "unbracketed-ipv6", message, hint: `write "[${address}]${bits}"` };
  }
  return undefined;
}

function unclosedBracket(text: string): PlacedRemark | undefined {
  let depth = 0;
  let opened = 0;
  for (let at = 0; at < text.length; at++) {
    const char = text[at];
    if (char === "[" && depth++ === 0) opened = at;
    if (char === "]" && --depth < 0) return closing(at);
    // A colon inside one pair is an address; a list or an option behind an open one is not.
    if (depth > 0 && (char === " " || char === ",")) break;
  }
  if (depth <= 0) return undefined;
  const message = "this bracket is not closed: colons behind it do not end the list";
  return { at: opened, code: "unclosed-bracket", message, hint: 'write "[2001:db8::1]"' };
}

function closing(at: number): PlacedRemark {
  return { at, code: "unclosed-bracket", message: "this bracket was never opened" };
}

function* criticiseList(
  kind: "daemon" | "client",
  words: readonly Word[],
  end: number,
): Generator<PlacedRemark> {
  const comment = words.find(({ text }) => text.startsWith("#"));
  if (comment !== undefined) {
    const message = `"${comment.text}" and the words after it are patterns: there are no comments behind a rule`;
    yield { at: comment.at, code: "inline-comment", message, hint: "put the comment on a line of its own" };
  }
  const last = words.at(-1);
  if (last === undefined) {
    const message = `the ${kind} list is empty: the rule never matches`;
    yield { at: Math.max(0, end - 1), code: "empty-list", message, hint: 'write "ALL" for everything' };
  } else if (isExcept(last)) {
    const message = `the ${kind} list ends in "${last.text}", which excepts nothing`;
    yield { at: last.at, code: "empty-list", message };
  }
  const excepts = words.filter(isExcept);
  const tooMany = excepts[MOST_EXCEPT];
  if (tooMany === undefined) return;
  const message = `the ${kind} list has ${excepts.length} EXCEPT, each for what the one before it takes away`;
  yield {
    at: tooMany.at,
    code: "deep-except",
    message,
    hint: "write several rules, the first that matches counts",
  };
}

/** Exceptions inside each other that a reader can follow. */
const MOST_EXCEPT = 3;

function* criticiseDaemon({ text, at }: Word, { daemons, netgroups }: Criticism): Generator<PlacedRemark> {
  if (isExcept({ text, at })) return;
  const split = indexOutsideBrackets(text, "@", 1);
  const name = split < 0 ? text : text.slice(0, split);
  if (split >= 0) {
    const remark = criticiseHost(text.slice(split + 1), { netgroups, isAllowing: false });
    if (remark !== undefined) yield { ...remark, at: at + split + 1 };
  }
  const lower = lowerCase(name);
  if (["known", "local", "paranoid", "unknown"].includes(lower)) {
    const message = `"${name}" as a daemon ${lower === "known" ? "matches every one" : "is a name like any other"}`;
    const hint = lower === "known" ? 'write "ALL"' : "name a daemon";
    yield { at, code: "reserved-word", message, hint };
    return;
  }
  const looks = looksOf(name);
  if (looks !== undefined) {
    const base = name.slice(name.lastIndexOf("/") + 1);
    const hint = name.startsWith("/") && base !== "" ? `write "${base}"` : "write the name of the process";
    yield { at, code: "bad-daemon-name", message: `daemon name "${name}" ${looks}`, hint };
    return;
  }
  if (lower === "all" || /[*?]/.test(name) || daemons === undefined || daemons.names.length === 0) return;
  const port = wholeUnsigned(name);
  const isKnown =
    port === undefined
      ? daemons.names.some((each) => each.toLowerCase() === lower)
      : daemons.ports.includes(port);
  if (isKnown) return;
  const meant = port === undefined ? daemons.nearest(name) : undefined;
  const message =
    port === undefined
      ? `no configured service has the daemon name "${name}"`
      : `no configured service listens on port ${name}`;
  const hint =
    meant === undefined
      ? "the rule counts only for other programs that read this table"
      : `did you mean "${meant}"?`;
  yield { at, code: "unknown-daemon", message, hint };
}

function* criticiseClient(
  { text, at }: Word,
  { verdict }: RuleRead,
  { netgroups, hasNoNames, followsNames }: Criticism,
): Generator<PlacedRemark> {
  if (isExcept({ text, at })) return;
  const isAllowing = verdict === "allow";
  const split = indexOutsideBrackets(text, "@", 1);
  const host = text.slice(split + 1);
  if (split >= 0) {
    const user = text.slice(0, split);
    const looks = looksOf(user);
    const isReserved = ["local", "paranoid"].includes(lowerCase(user));
    if (looks !== undefined || isReserved) {
      const message = `user name "${user}" ${looks ?? "is a keyword for hosts, and here a name like any other"}`;
      yield { at, code: "bad-user-name", message };
    } else if (isAllowing && !/^(?:all|unknown)$/i.test(user)) {
      const message = `"${text}" trusts the user name that the client's own machine tells`;
      yield { at, code: "ident-trusted", message, hint: "name only machines whose owner you trust" };
    }
  }
  const remark = criticiseHost(host, { netgroups, isAllowing });
  if (remark !== undefined) yield { ...remark, at: at + split + 1 };
  else if (hasNoNames === true && asksName(host, followsNames === true)) {
    const message = `"${host}" asks for a name, and names.reverse is "never"`;
    yield { at: at + split + 1, code: "names-never", message, hint: "write reverse: needed" };
  }
}

function* criticiseOptions({ options }: RuleRead): Generator<PlacedRemark> {
  if (options === undefined) return;
  const { written: keywords, isWhole } = writtenOptions(parseOptions(options.text));
  if (!isWhole) return; // what is wrong with them says who reads them
  const lastCommand = keywords.findLastIndex(({ keyword }) => COMMANDS.has(keyword));
  for (const { keyword, at } of keywords.slice(lastCommand + 1)) {
    if (!FOR_COMMANDS.has(keyword)) continue;
    const message = `"${keyword}" has no effect: it is for commands after it in the rule, and there is none`;
    yield { at: options.at + at, code: "option-without-effect", message };
  }
}

const COMMANDS = new Set(["spawn", "twist", "aclexec"]);
const FOR_COMMANDS = new Set(["nice", "umask", "setenv", "user", "group"]);

function verdictOf(options: string | undefined, isAllowTable: boolean): RuleRead["verdict"] {
  const { written, isWhole } = writtenOptions(options === undefined ? [] : parseOptions(options));
  if (!isWhole) return "refuse"; // a client that meets an error is refused
  const last = written.at(-1)?.keyword;
  if (last === "allow" || last === "twist") return last;
  if (last === "deny") return "refuse";
  return isAllowTable ? "allow" : "refuse";
}

/** A name of a process or user that looks like something else. */
function looksOf(name: string): string | undefined {
  if (name.startsWith("@")) return 'begins with "@"';
  if (name.startsWith("/")) return 'begins with "/"';
  if (name.startsWith(".")) return "begins with a dot";
  if (name.endsWith(".")) return "ends in a dot";
  return undefined;
}

function asksName(host: string, followsNames: boolean): boolean {
  if (/^(?:known|local|unknown|paranoid)$/i.test(host) || host.startsWith("@")) return true;
  if (/^(?:all)$/i.test(host) || /^[\d/[]/.test(host) || host.startsWith("/")) return false;
  return !followsNames || /^\.|[*?]/.test(host);
}

function wordsOf(text: string, from: number, to: number): Word[] {
  return Array.from(text.slice(from, to).matchAll(/[^ \t,\r\n]+/g), ({ 0: word, index }) => ({
    text: word,
    at: from + index,
  }));
}

function untilExcept(words: readonly Word[]): string[] {
  const end = words.findIndex(isExcept);
  return words.slice(0, end < 0 ? words.length : end).map(({ text }) => lowerCase(text));
}

/** What stands behind a # was meant as a comment; it has had its remark. */
function beforeComment(words: readonly Word[]): readonly Word[] {
  const end = words.findIndex(({ text }) => text.startsWith("#"));
  return end < 0 ? words : words.slice(0, end);
}

function isExcept({ text }: Word): boolean {
  return text.length === 6 && text.toUpperCase() === "EXCEPT";
}
