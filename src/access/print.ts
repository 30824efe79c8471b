/** Tables and patterns as text again. */
import type { ClientPattern, DaemonPattern, HostPattern, TextPattern } from "./pattern.ts";
import type { Rule, Table } from "./tables.ts";
import type { Words } from "./addresses.ts";
import type { List } from "./list.ts";

/** Prints a table so that reading it again gives the same decisions; each rule on one line. A string of bytes. */
export function printTable({ rules }: Table): string {
  return Array.from(rules, (rule) => `${guarded(printRule(rule))}\n`).join("");
}

/** Prints one rule in its plainest form: single blanks, lower case, no continuation. A string of bytes. */
export function printRule({ daemons, clients, options }: Rule): string {
  const lists = `${printList(daemons, printDaemon)} : ${printList(clients, printClient)}`;
  return options === undefined ? lists : `${lists} :${options}`;
}

/** A blank before what would begin a comment or a byte-order mark, and after what would join the next line. */
function guarded(line: string): string {
  const start = /^[#\xef]/.test(line) ? " " : "";
  return line.endsWith("\\") ? `${start}${line} ` : start + line;
}

function printList<Pattern>(list: List<Pattern>, print: (pattern: Pattern) => string): string {
  return list.map((part) => part.map(print).join(" ")).join(" EXCEPT ");
}

function printDaemon({ left, server }: DaemonPattern): string {
  const name = typeof left === "number" ? String(left) : printText(left);
  return server === undefined ? name : `${name}@${printHost(server)}`;
}

function printClient({ host, user }: ClientPattern): string {
  return user === undefined ? printHost(host) : `${printText(user)}@${printHost(host)}`;
}

function printHost(pattern: HostPattern): string {
  switch (pattern.kind) {
    case "netgroup":
      return `@${pattern.group}`;
    case "file":
      return pattern.path;
    case "KNOWN":
    case "LOCAL":
      return pattern.kind;
    case "net4":
      return `${printQuad(pattern.net)}/${printMask(pattern.mask)}`;
    case "net6":
      return `[${printWords(pattern.net)}]/${pattern.bits}`;
    case "text":
      return printText(pattern.pattern);
    case "dead":
  }
  return "0.0.0.0/0";
}

function printText(pattern: TextPattern): string {
  switch (pattern.kind) {
    case "all":
      return "ALL";
    case "known":
      return "KNOWN";
    case "ipv6":
      return `[${printWords(pattern.words)}]`;
    case "exact":
    case "suffix":
    case "prefix":
    case "glob":
      return pattern.text;
    case "never":
  }
  return "[]";
}

/** A mask of all ones has no dotted form that is taken, and a length of 0 none at all. */
function printMask(mask: number): string {
  return mask === 0xffffffff ? "32" : printQuad(mask);
}

function printQuad(quad: number): string {
  return [quad >>> 24, (quad >>> 16) & 255, (quad >>> 8) & 255, quad & 255].join(".");
}

function printWords(words: Words): string {
  return words.map((word) => `${(word >>> 16).toString(16)}:${(word & 0xffff).toString(16)}`).join(":");
}
