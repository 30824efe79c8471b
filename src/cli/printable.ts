/** Makes text from outside fit for a terminal. */

/** Text as it is, but what could draw over what is there, or turn it around, by its number: \xHH, or \u{HHHH}. */
export function printable(text: string): string {
  return text.trimEnd().replaceAll(/[\p{Cc}\p{Cf}\u2028\u2029]/gu, (hidden) => {
    const number = (hidden.codePointAt(0) ?? 0).toString(16);
    return number.length <= 2 ? `\\x${number.padStart(2, "0")}` : `\\u{${number}}`;
  });
}

/** The same of a text that may be a megabyte: its beginning. */
export function printableBeginning(text: string): string {
  const beginning = BEGINNING.exec(text)?.[0];
  return beginning === undefined ? printable(text) : `${printable(beginning)}...`;
}

const BEGINNING = /^.{500}(?=.)/su;
