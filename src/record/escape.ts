/** Makes what came from outside harmless in a line of text: one line always, and no words that could pass for ours. */

/** Printable ASCII but space, quotes, backslash, parentheses and "@". */
const NOT_IN_A_WORD = /[^!#-&*-?A-[\]-_a-~]/gu;
/** Printable ASCII but quotes and backslash. */
const NOT_IN_A_PHRASE = /[^ !#-[\]-~]/gu;

/** Characters that JSON may carry raw, but that some readers take for the end of a line or for a command to a terminal. */
const RAW_IN_JSON = /[\u007f-\u009f\u2028\u2029]/gu;

/** Longer texts from outside are cut here, in characters; host names and user names are far shorter. */
const MAX_WORD = 256;
const MAX_PHRASE = 2048;

/**
 * Escapes a name, a user or an address: no space, quote, backslash, bracket of a sentence or "@" gets through, so a
 * user called "x (192.0.2.1)" cannot pass for an address in the eyes of a log parser.
 *
 * @returns printable ASCII without spaces; other bytes as \xHH of their UTF-8; "-" for the empty text
 */
export function escapeWord(text: string): string {
  if (text === "") return "-";
  return shorten(text, MAX_WORD).replace(NOT_IN_A_WORD, hex);
}

/**
 * Escapes a text of several words, such as a command or the message of an error.
 *
 * @returns printable ASCII; quotes and backslashes with a backslash before them, all else as \xHH of its UTF-8
 */
export function escapePhrase(text: string): string {
  return shorten(text, MAX_PHRASE).replace(NOT_IN_A_PHRASE, (one) =>
    one === '"' || one === "\\" ? `\\${one}` : hex(one),
  );
}

/** Escapes what JSON leaves raw and a reader of lines may trip over; the text stays the same JSON. */
export function escapeRaw(json: string): string {
  return json.replace(RAW_IN_JSON, (one) => `\\u${one.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

function shorten(text: string, max: number): string {
  return text.length > max ? `${text.slice(0, max)}...` : text;
}

function hex(one: string): string {
  let escaped = "";
  for (const byte of Buffer.from(one)) escaped += `\\x${byte.toString(16).padStart(2, "0")}`;
  return escaped;
}
