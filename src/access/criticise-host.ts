/** What a careful reader would say about one host pattern: that it never matches, or matches whom its writer did not mean. */
import { maskWord, parseIpv6, parseQuad } from "./addresses.ts";
import type { TableCode } from "./codes.ts";
import type { Netgroups } from "./netgroup.ts";
import { atoi } from "./numbers.ts";
import { lowerCase } from "./text.ts";

/** A remark on a word. Texts are strings of bytes. */
export interface Remark {
  readonly code: TableCode;
  readonly message: string;
  readonly hint?: string;
}

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
    const quad = [24, 16, 8, 0].map((shift) => (words[3] >>> shift) & 255).join(".");
    const bits = mask === undefined ? "" : `/${Math.max(1, Number(mask) - 96)}`;
    const message = `"${word}" never matches: IPv4 clients are compared as IPv4`;
    return { code: "mapped-ipv4", message, hint: `write "${quad}${bits}"` };
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

function criticiseNet(word: string): Remark | undefined {
  const slash = word.indexOf("/");
  const [net, mask] = [word.slice(0, slash), word.slice(slash + 1)];
  const quad = parseQuad(net);
  if (quad === undefined) {
    const isShort = /^\d{1,3}(?:\.\d{1,3}){0,2}\.?$/.test(net);
    const whole = [...net.replace(/\.$/, "").split("."), "0", "0", "0"].slice(0, 4).join(".");
    const message = `"${word}" never matches: "${net}" is no network`;
    return { code: "bad-net-mask", message, ...(isShort && { hint: `write "${whole}/${mask}"` }) };
  }
  if (hasLeadingZero(net)) {
    const message = `"${word}": a number that begins with 0 is octal, so this is "${printQuad(quad)}/${mask}"`;
    return { code: "leading-zero", message, hint: "write the address without leading zeros" };
  }
  const written = parseQuad(mask);
  const bits = atoi(mask);
  if (written === undefined && (bits < 1 || bits > 32)) return criticiseLength(word, net, mask, bits);
  if (written === undefined && !/^\d+$/.test(mask)) {
    const message = `"${word}" is read as "${net}/${bits}"`;
    return { code: "bad-net-mask", message, hint: "leave a blank behind the length" };
  }
  const bitsOfMask = written ?? maskWord(bits, 0);
  if ((quad & bitsOfMask) >>> 0 !== quad) {
    const right = `${printQuad((quad & bitsOfMask) >>> 0)}/${mask}`;
    const message = `"${word}" has bits set below the mask`;
    return { code: "host-bits-set", message, hint: `write "${right}"` };
  }
  const isRow = (((~bitsOfMask >>> 0) + 1) & ~bitsOfMask) === 0;
  if (isRow) return undefined;
  return { code: "mask-not-contiguous", message: `the mask of "${word}" is no row of ones and then zeros` };
}

function criticiseLength(word: string, net: string, mask: string, bits: number): Remark {
  const message = `"${word}" never matches: a length is 1 to 32`;
  const code = "bad-net-mask";
  if (mask === "255.255.255.255") {
    const message = `"${word}" never matches: that mask does not read`;
    return { code, message, hint: `write "${net}"` };
  }
  return bits === 0 ? { code, message, hint: 'write "ALL"' } : { code, message };
}

function criticiseNumeric(word: string): Remark | undefined {
  const parts = word.replace(/^\.|\.$/g, "").split(".");
  if (parts.some((part) => part === "" || Number(part) > 255) || parts.length > 4) {
    return { code: "bad-address", message: `"${word}" is no IPv4 address, so it never matches` };
  }
  if (parts.some((part) => /^0\d/.test(part))) {
    const message = `"${word}" never matches: addresses have no leading zeros`;
    return { code: "leading-zero", message, hint: `write "${word.replace(/(^|\.)0+(?=\d)/g, "$1")}"` };
  }
  const isWhole = parts.length === 4;
  if (isWhole && parts.join(".") === word) return undefined;
  if (!isWhole && word.endsWith(".") && !word.startsWith(".")) return undefined;
  const message = `"${word}" is neither an address nor the beginning of one, so it never matches`;
  const hint = isWhole ? parts.join(".") : `${parts.join(".")}.`;
  return { code: isWhole ? "bad-address" : "partial-address", message, hint: `write "${hint}"` };
}

function criticiseName(word: string): Remark | undefined {
  const strange = /[^\w.*?-]/.exec(word)?.[0];
  if (strange !== undefined) {
    const message = `"${word}" never matches: no address and no host name has "${strange}"`;
    const isSeparator = /^[;|&+]$/.test(strange);
    const hint =
      strange > "\u007f" ? "write the name as DNS has it (xn--...)" : "separate patterns by blanks or commas";
    return { code: "bad-character", message, ...((isSeparator || strange > "\u007f") && { hint }) };
  }
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

function hasLeadingZero(quad: string): boolean {
  return /(^|\.)0[\dxX]/.test(quad);
}

function printQuad(quad: number): string {
  return [24, 16, 8, 0].map((shift) => (quad >>> shift) & 255).join(".");
}
