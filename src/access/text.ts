/** Tables are bytes. Inside the language a text is a string of bytes, one character each, so that nothing is lost. */

const CHUNK = 8192;

/** Up to so many bytes, one by one is faster. */
const SHORT = 48;

/** The bytes from `start` up to `end` as a string of bytes (Latin-1 in effect). */
export function byteString(bytes: Uint8Array, start: number, end: number): string {
  let text = "";
  if (end - start <= SHORT) {
    let at = start;
    // Eight at a time: a decision that meets a rule makes its text, and this is most of what it does.
    for (; at + 8 <= end; at += 8) {
      text += String.fromCharCode(
        bytes[at] ?? 0,
        bytes[at + 1] ?? 0,
        bytes[at + 2] ?? 0,
        bytes[at + 3] ?? 0,
        bytes[at + 4] ?? 0,
        bytes[at + 5] ?? 0,
        bytes[at + 6] ?? 0,
        bytes[at + 7] ?? 0,
      );
    }
    for (; at < end; at++) text += String.fromCharCode(bytes[at] ?? 0);
    return text;
  }
  for (let at = start; at < end; at += CHUNK) {
    // A spread call has an argument limit, hence the chunks.
    text += String.fromCharCode(...bytes.subarray(at, Math.min(at + CHUNK, end)));
  }
  return text;
}

/** A string of bytes as people and programs read it: UTF-8 decoded, bytes that are none replaced by U+FFFD. */
export function readable(text: string): string {
  if (isAscii(text)) return text;
  const bytes = new Uint8Array(text.length);
  for (let at = 0; at < text.length; at++) bytes[at] = text.charCodeAt(at);
  return new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes);
}

/**
 * A string of bytes as the name of a file: UTF-8 decoded; where it is none, each byte above ASCII is a lone surrogate (U+DC80 to
 * U+DCFF), so that two names never become one. `systemPath` turns them back.
 */
export function fileName(text: string): string {
  const name = readable(text);
  return name.includes("\ufffd") && asBytes(name) !== text ? text.replace(/[\x80-\xff]/g, toSurrogate) : name;
}

function toSurrogate(byte: string): string {
  return String.fromCharCode(0xdc00 + byte.charCodeAt(0));
}

/** Characters of a word that a sentence quotes, and of the sentence. */
const MOST_QUOTED = 200;
const MOST_OF_A_SENTENCE = 1000;

/** A sentence for people, with what it quotes cut short: a word of a table may be a megabyte. */
export function shorten(sentence: string): string {
  if (sentence.length <= MOST_QUOTED) return sentence;
  const text = sentence.replaceAll(QUOTED, '"$1..."');
  const beginning = BEGINNING.exec(text)?.[0];
  return beginning === undefined ? text : `${beginning}...`;
}

const BEGINNING = new RegExp(`^.{${MOST_OF_A_SENTENCE}}(?=.)`, "su");

const QUOTED = new RegExp(`"([^"]{${MOST_QUOTED}})[^"]+"`, "gu");

/** An ordinary string (a name of the configuration, say) as the string of bytes that a table would spell. */
export function asBytes(text: string): string {
  if (isAscii(text)) return text;
  const bytes = new TextEncoder().encode(text);
  return byteString(bytes, 0, bytes.length);
}

/** Bytes that tcpd keeps of what it is told of a connection. */
const MOST_OF_A_FACT = 127;

/** A daemon, a name, an address or a user as tcpd keeps it: cut, and without a character that does not fit whole. */
export function cutFact(fact: string): string {
  const bytes = asBytes(fact);
  if (bytes.length <= MOST_OF_A_FACT) return fact;
  return readable(bytes.slice(0, MOST_OF_A_FACT)).replace(/\ufffd$/u, "");
}

function isAscii(text: string): boolean {
  for (let at = 0; at < text.length; at++) if (text.charCodeAt(at) > 127) return false;
  return true;
}

/** Lower case of A to Z only, as strcasecmp(3) in the C locale compares. */
export function lowerCase(text: string): string {
  return hasUpperCase(text) ? text.replace(/[A-Z]+/g, (run) => run.toLowerCase()) : text;
}

function hasUpperCase(text: string): boolean {
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code >= 65 && code <= 90) return true;
  }
  return false;
}

/** White space as isspace(3) has it in the C locale. Where a text has no character, its code is NaN, which is none. */
export function isSpace(code: number): boolean {
  return code === 32 || (code >= 9 && code <= 13);
}

/** Where `char` stands in `text` outside brackets, from `from` on; -1 if nowhere. Depth counts from zero at `from`. */
export function indexOutsideBrackets(text: string, char: string, from = 0): number {
  let depth = 0;
  const wanted = char.charCodeAt(0);
  for (let at = from; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code === wanted && depth === 0) return at;
    if (code === 91) depth++;
    else if (code === 93) depth--;
  }
  return -1;
}

/** Takes the white space off both ends, as isspace(3) has it. A loop: `/\s+$/` takes quadratic time on blanks. */
export function trim(text: string): string {
  let start = 0;
  let end = text.length;
  while (isSpace(text.charCodeAt(start))) start++;
  while (isSpace(text.charCodeAt(end - 1))) end--;
  return text.slice(start, end);
}
