/** What a careful reader would say about one host pattern: that it never matches, or matches whom its writer did not mean. */
import { parseIpv6, parseQuad } from "./addresses.ts";
import { criticiseNet, hintOf, inIpv4, withoutZeros } from "./criticise-net.ts";
import type { Netgroups } from "./netgroup.ts";
import { atoi } from "./numbers.ts";
import type { Remark } from "./remark.ts";
import { asBytes, lowerCase, readable } from "./text.ts";

/** What the reader knows of the place where the pattern stands. */
export interface HostContext {
  readonly netgroups: Netgroups;
  /** The rule lets its clients in. */
  readonly isAllowing: boolean;
}

const KEYWORDS = new Set(["all", "known", "local", "unknown", "paranoid"]);

/** A remark on a host pattern; undefined where there is nothing to say. Linear in its length. */
export function criticiseHost(word: string, { netgroups, isAllowing }: HostContext): Remark | undefined {
  const lower = lowerCase(word);
  if (lower === "paranoid" && isAllowing) {
    const message = `"${word}" lets clients in whose name does not lead back to their address`;
    return { code: "paranoid-allowed", message, hint: "it belongs into a rule that refuses" };
  }
  if (KEYWORDS.has(lower)) return undefined;
  if (lower === "fail")
    return { code: "old-keyword", message: `"${word}" is no keyword`, hint: "use EXCEPT" };
  if (word.startsWith("!")) {
    const message = `"${word}": there is no negation by "!", so the pattern never matches`;
    return { code: "negation", message, hint: `write "ALL EXCEPT ${word.slice(1)}"` };
  }
  if (word.startsWith("@")) return criticiseNetgroup(word, netgroups);
  if (word.startsWith("/")) return undefined;
  if (/[[\]]/.test(word)) return criticiseBracketed(word);
  if (word.includes("/")) return criticiseNet(word);
  if (/^[\d.]+$/.test(word)) return criticiseNumeric(word);
  return criticiseName(word);
}

function criticiseNetgroup(word: string, netgroups: Netgroups): Remark | undefined {
  if (netgroups.has(word.slice(1))) return undefined;
  return { code: "unknown-netgroup", message: `there is no netgroup "${word.slice(1)}" in /etc/netgroup` };
}

function criticiseBracketed(word: string): Remark | undefined {
  const [, inside, mask] = /^\[([^[\]]*)\](?:\/(.*))?$/s.exec(word) ?? [];
  if (inside === undefined) {
    const message = `"${word}" has a bracket that is not closed, or text around it, so it never matches`;
    return { code: "bad-ipv6", message, hint: 'write "[2001:db8::1]" or "[2001:db8::]/32"' };
  }
  const words = parseIpv6(inside, () => true);
  if (words === undefined) return criticiseNoIpv6(word, inside);
  if (words[0] === 0 && words[1] === 0 && words[2] === 0xffff) {
    const message = `"${word}" never matches: IPv4 clients are compared as IPv4`;
    return { code: "mapped-ipv4", message, ...hintOf(inIpv4(words[3], mask)) };
  }
  if (mask === undefined) return undefined;
  const bits = atoi(mask);
  if (bits < 0 || bits > 128) {
    return { code: "bad-net-mask", message: `"${word}" never matches: a length is 0 to 128` };
  }
  if (/^\d+$/.test(mask)) return undefined;
  const message = `"${word}" is read as "[${inside}]/${bits}"`;
  return { code: "bad-net-mask", message, hint: "write the length as a number and nothing behind it" };
}

function criticiseNoIpv6(word: string, inside: string): Remark {
  const message = `"${word}" is no IPv6 address, so it never matches`;
  const [, net = "", bits = ""] = /^([0-9a-f:.]+)\/(\d+)$/i.exec(inside) ?? [];
  if (net !== "") return { code: "bad-ipv6", message, hint: `write "[${net}]/${bits}"` };
  if (parseQuad(inside) !== undefined) return { code: "bad-ipv6", message, hint: `write "${inside}"` };
  return { code: "bad-ipv6", message };
}

function criticiseNumeric(word: string): Remark | undefined {
  const parts = word.replace(/^\.|\.$/g, "").split(".");
  if (parts.some((part) => part === "" || Number(part) > 255) || parts.length > 4) {
    return { code: "bad-address", message: `"${word}" is no IPv4 address, so it never matches` };
  }
  if (parts.some((part) => /^0\d/.test(part))) {
    const message = `"${word}" never matches: addresses have no leading zeros`;
    return { code: "leading-zero", message, hint: `write "${withoutZeros(word)}"` };
  }
  const isWhole = parts.length === 4;
  if (isWhole && parts.join(".") === word) return undefined;
  if (!isWhole && word.endsWith(".") && !word.startsWith(".")) return undefined;
  const message = `"${word}" is neither an address nor the beginning of one, so it never matches`;
  const hint = isWhole ? parts.join(".") : `${parts.join(".")}.`;
  return { code: isWhole ? "bad-address" : "partial-address", message, hint: `write "${hint}"` };
}

function criticiseName(word: string): Remark | undefined {
  if (/[^\w.*?-]/.test(word)) return criticiseCharacter(word);
  if (/^[\d.*?]+$/.test(word) && /\d/.test(word)) {
    const message = `"${word}" is compared with the client's name too, which its own DNS chooses`;
    const beginning = /^((?:\d+\.){1,3})\*(?:\.\*)*$/.exec(word)?.[1];
    return { code: "pattern-matches-names", message, ...(beginning && { hint: `write "${beginning}"` }) };
  }
  if (!word.endsWith(".")) return undefined;
  const message = `"${word}" matches every name that begins so, and the client's own DNS chooses its name`;
  return {
    code: "name-ends-in-dot",
    message,
    hint: `write "${word.slice(0, -1)}", or ".${word.slice(0, -1)}" for a domain`,
  };
}

/** A character that no name has: a letter of another alphabet, a separator, or what no editor shows. */
function criticiseCharacter(word: string): Remark {
  const text = readable(word);
  const strange = asBytes(text) === word ? (/[^\w.*?-]/u.exec(text)?.[0] ?? "") : undefined;
  const shown = strange === undefined ? "bytes that are no UTF-8" : shownCharacter(strange);
  const message = `"${word}" never matches: no address and no host name has ${shown}`;
  const code = "bad-character";
  if (strange === undefined || (strange > "\u007f" && /[\p{L}\p{M}\p{N}]/u.test(strange))) {
    const name = strange === undefined ? undefined : nameForDns(text);
    return { code, message, hint: name === undefined ? AS_DNS_HAS_IT : `write "${name}"` };
  }
  if (/^\p{C}$/u.test(strange)) return { code, message, hint: "take it away: editors do not show it" };
  if (/^[;|&+\p{Z}\uff0c\u3001]$/u.test(strange))
    return { code, message, hint: "separate patterns by blanks or commas" };
  return strange > "\u007f" ? { code, message, hint: AS_DNS_HAS_IT } : { code, message };
}

const AS_DNS_HAS_IT = "write the name as DNS has it (xn--...)";

/** With its number, where a reader could take it for another one; by its number alone, where there is nothing to see. */
function shownCharacter(char: string): string {
  const number = `U+${(char.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, "0")}`;
  if (/[\p{C}\p{Z}]/u.test(char)) return number;
  return char > "\u007f" ? `"${asBytes(char)}" (${number})` : `"${char}"`;
}

/** A name with every label in letters that DNS knows (A-labels, RFC 5890); undefined where one has no such form. */
function nameForDns(text: string): string | undefined {
  const labels = text.split(".").map((label) => (/^[\w*?-]*$/.test(label) ? label : aLabel(label)));
  return labels.includes(undefined) ? undefined : labels.join(".");
}

function aLabel(label: string): string | undefined {
  if (label.length > 63 || !/^[\w\p{L}\p{M}\p{N}-]+$/u.test(label)) return undefined;
  // Throws for letters that are not assigned, say.
  const url = URL.canParse(`http://${label}`) ? new URL(`http://${label}`) : undefined;
  return url?.hostname.startsWith("xn--") === true ? url.hostname : undefined;
}
