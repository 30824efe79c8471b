/** What a careful reader would say about a network: that it does not read, or is not the one that was meant. */
import { maskWord, parseQuad } from "./addresses.ts";
import { atoi } from "./numbers.ts";
import type { Remark } from "./remark.ts";

/** A remark on an IPv4 network with its mask; undefined where there is nothing to say. Linear in its length. */
export function criticiseNet(word: string): Remark | undefined {
  const slash = word.indexOf("/");
  const [net, mask] = [word.slice(0, slash), word.slice(slash + 1)];
  if (hasLeadingZero(net) || (mask.includes(".") && hasLeadingZero(mask)))
    return criticiseZeros(word, net, mask);
  const quad = parseQuad(net);
  if (quad === undefined) {
    const isShort = /^\d{1,3}(?:\.\d{1,3}){0,2}\.?$/.test(net);
    const message = `"${word}" never matches: "${net}" is no network`;
    return { code: "bad-net-mask", message, ...(isShort && hintOf(meantNetwork(net, mask))) };
  }
  const bits = atoi(mask);
  const ones = parseQuad(mask) ?? (bits >= 1 && bits <= 32 ? maskWord(bits, 0) : undefined);
  if (ones === undefined) return criticiseMask(word, net, mask);
  if (parseQuad(mask) === undefined && !/^\d+$/.test(mask)) {
    const message = `"${word}" is read as "${net}/${bits}"`;
    return { code: "bad-net-mask", message, hint: "leave a blank behind the length" };
  }
  if ((quad & ones) >>> 0 !== quad) {
    const message = `"${word}" has bits set below the mask`;
    return { code: "host-bits-set", message, ...hintOf(meantNetwork(net, mask)) };
  }
  const isRow = (((~ones >>> 0) + 1) & ~ones) === 0;
  if (isRow) return undefined;
  return { code: "mask-not-contiguous", message: `the mask of "${word}" is no row of ones and then zeros` };
}

/** A network in which a number begins with 0: that the number is octal is seldom meant. */
function criticiseZeros(word: string, net: string, mask: string): Remark {
  const code = "leading-zero";
  const rule = /0x/i.test(word) ? "with 0x is hexadecimal" : "with 0 is octal";
  const meant = meantNetwork(net, mask);
  const hint = meant === undefined ? "write the address without leading zeros" : `write "${meant}"`;
  const [quad, ones] = [parseQuad(net), onesOf(mask)];
  if (quad === undefined || ones === undefined) {
    const message = `"${word}" never matches: it does not read, and a number that begins ${rule}`;
    return { code, message, hint };
  }
  const read = `${printQuad(quad)}/${mask.includes(".") ? printQuad(ones) : atoi(mask)}`;
  const end = (quad & ones) >>> 0 === quad ? "" : ", which never matches: it has bits set below the mask";
  const message = `"${word}": a number that begins ${rule}, so this is "${read}"${end}`;
  if (end !== "" || read === meant) return { code, message, hint };
  return {
    code,
    message,
    hint: meant === undefined ? `write "${read}"` : `${hint}, or "${read}" if that is meant`,
  };
}

/** A mask that is none. */
function criticiseMask(word: string, net: string, mask: string): Remark {
  const code = "bad-net-mask";
  if (mask === "255.255.255.255") {
    const message = `"${word}" never matches: that mask does not read`;
    return { code, message, hint: `write "${net}"` };
  }
  if (/^\d+$/.test(mask)) {
    const message = `"${word}" never matches: a length is 1 to 32`;
    return atoi(mask) === 0 ? { code, message, hint: 'write "ALL"' } : { code, message };
  }
  const message = `"${word}" never matches: "${mask}" is no mask, which is a length of 1 to 32 or four numbers`;
  const isShort = /^\d{1,3}(?:\.\d{1,3}){1,2}\.?$/.test(mask);
  return { code, message, ...(isShort && hintOf(meantNetwork(net, fourParts(mask)))) };
}

/** What somebody has meant to whom all numbers are decimal and host bits nothing; undefined where that reads no better. */
function meantNetwork(net: string, mask: string): string | undefined {
  const [quad, plainMask] = [parseQuad(withoutZeros(fourParts(net))), withoutZeros(mask)];
  const ones = onesOf(plainMask);
  return quad === undefined || ones === undefined
    ? undefined
    : `${printQuad((quad & ones) >>> 0)}/${plainMask}`;
}

/** A mask as a number; undefined where it does not read. */
function onesOf(mask: string): number | undefined {
  const isLength = /^\d+$/.test(mask) && Number(mask) >= 1 && Number(mask) <= 32;
  return isLength ? maskWord(Number(mask), 0) : parseQuad(mask);
}

/** The beginning of an address filled up. */
function fourParts(text: string): string {
  return [...text.replace(/\.$/, "").split("."), "0", "0", "0"].slice(0, 4).join(".");
}

/** Numbers as somebody writes them to whom all are decimal. */
export function withoutZeros(text: string): string {
  return text.replace(/(^|\.)0+(?=\d)/g, "$1");
}

/** A hint to write something else, where there is something. */
export function hintOf(meant: string | undefined): Pick<Remark, "hint"> {
  return meant === undefined ? {} : { hint: `write "${meant}"` };
}

/** The last 32 bits of a mapped address or prefix, as a pattern of their own; undefined where it is wider than IPv4. */
export function inIpv4(quad: number, mask: string | undefined): string | undefined {
  if (mask === undefined) return printQuad(quad);
  const bits = /^\d+$/.test(mask) ? Number(mask) - 96 : Number.NaN;
  if (bits === 0) return "0.0.0.0/0.0.0.0";
  return bits >= 1 && bits <= 32 ? `${printQuad((quad & maskWord(bits, 0)) >>> 0)}/${bits}` : undefined;
}

function hasLeadingZero(quad: string): boolean {
  return /(^|\.)0[\dxX]/.test(quad);
}

function printQuad(quad: number): string {
  return [24, 16, 8, 0].map((shift) => (quad >>> shift) & 255).join(".");
}
