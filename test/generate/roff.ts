/** Text for man(7): what must be escaped, and the few macros that our pages are made of. */

/** Safe anywhere in a line: backslashes, hyphens that are typed, and a dot or quote that would begin a request. */
export function roff(text: string): string {
  return text
    .replaceAll("\\", String.raw`\e`)
    .replaceAll("-", String.raw`\-`)
    .replaceAll("^", String.raw`\(ha`)
    .replaceAll("~", String.raw`\(ti`)
    .replace(/^[.']/gm, String.raw`\&$&`);
}

/** A tagged paragraph. */
export function tagged(tag: string, text: string): string {
  return `.TP\n.B ${roff(tag)}\n${text}\n`;
}

/** Sets `text` in place of the line `.\" @NAME@` of a page's frame. */
export function fillIn(frame: string, name: string, text: string): string {
  const mark = `.\\" @${name}@\n`;
  if (!frame.includes(mark)) throw new Error(`the frame of the page has no line ${mark}`);
  return frame.replace(mark, () => text);
}
