/** Lists of words with EXCEPT, and the answer of a list that may have to wait for a fact. */
import type { Fact } from "./types.ts";

/**
 * A list, cut at each EXCEPT: `w x EXCEPT y EXCEPT z` has three parts. It reads "w or x, and not (y, and not z)".
 * An empty part matches nothing.
 */
export type List<Pattern> = readonly (readonly Pattern[])[];

/** Yes, no, or the fact without which nobody can tell. */
export type Answer = boolean | Fact;

/** Cuts the text of a list into its parts and reads each word. Separators are space, tab, comma, CR and LF. */
export function parseList<Pattern>(text: string, parse: (word: string) => Pattern): List<Pattern> {
  const parts: Pattern[][] = [[]];
  for (const word of words(text)) {
    if (word.length === 6 && word.toUpperCase() === "EXCEPT") parts.push([]);
    else parts.at(-1)?.push(parse(word));
  }
  return parts;
}

/** The words of a list. */
export function words(text: string): string[] {
  return text.split(/[ \t,\r\n]+/).filter((word) => word !== "");
}

/**
 * Does a list match? Words after the first one that matches in a part are not looked at, and a later part only if
 * every part before it has matched: so no fact is asked for that tcpd would not have looked up.
 *
 * EXCEPT leans to the right, so the answer hangs on how many parts match in a row from the left: it is yes when that
 * number is odd. Counting them needs no recursion, however deep the nest. Source: hosts_access(5) OPERATORS.
 */
export function matchList<Pattern>(list: List<Pattern>, match: (pattern: Pattern) => Answer): Answer {
  let inARow = 0;
  for (const part of list) {
    const answer = matchAny(part, match);
    if (answer === false) break;
    if (answer !== true) return answer;
    inARow++;
  }
  return inARow % 2 === 1;
}

/** Does one of the patterns match? They are asked in order. */
export function matchAny<Pattern>(patterns: readonly Pattern[], match: (pattern: Pattern) => Answer): Answer {
  for (const pattern of patterns) {
    const answer = match(pattern);
    if (answer !== false) return answer;
  }
  return false;
}
