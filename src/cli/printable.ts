/** Makes text from outside fit for a terminal. */

/** Text as it is, but control characters, which could draw over what is there, as \xHH. */
export function printable(text: string): string {
  return text
    .trimEnd()
    .replaceAll(
      /[\u0000-\u001f\u007f-\u009f\u2028\u2029]/g,
      (control) => `\\x${control.charCodeAt(0).toString(16).padStart(2, "0")}`,
    );
}
