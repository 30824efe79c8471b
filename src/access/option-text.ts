/** From the text of a rule's options to what is to be run, once for each rule. */
import { optionError, OPTIONS, type OptionProblem, type OptionRow } from "./option-rows.ts";
import { isSpace, trim } from "./text.ts";

/** One option as it stands in the text. What is wrong with it counts only when its turn comes. */
export interface ParsedOption {
  /** Where its field begins behind its blanks in the text of the options, counted from 0. */
  readonly at: number;
  /** A keyword with its value, a string of bytes not expanded yet; or what is wrong with it. */
  readonly content: { readonly row: OptionRow; readonly value: string } | OptionProblem;
}

const BY_KEYWORD = new Map(OPTIONS.map((option) => [option.keyword, option]));

/**
 * Reads the options of a rule, up to the first mistakes: a client meets the first one only, and a line may hold a million.
 *
 * @param text what stands after the second colon, a string of bytes
 */
export function parseOptions(text: string, mostMistakes = 1): readonly ParsedOption[] {
  const options: ParsedOption[] = [];
  let mistakes = 0;
  for (const { text: field, at, isLast } of fieldsOf(text)) {
    const content = parseField(field, isLast);
    options.push({ at, content });
    if ("code" in content && ++mistakes >= mostMistakes) break;
  }
  return options;
}

/** One option that reads well, as it is written. */
export interface WrittenOption {
  readonly keyword: string;
  /** Not expanded yet. */
  readonly value: string;
  /** Where its field begins in the text of the options, counted from 0. */
  readonly at: number;
}

/** The options of a rule up to the first that is wrong: for a client, nothing after it counts. */
export function writtenOptions(options: readonly ParsedOption[]): {
  readonly written: readonly WrittenOption[];
  readonly isWhole: boolean;
} {
  const written: WrittenOption[] = [];
  for (const { at, content } of options) {
    if ("code" in content) return { written, isWhole: false };
    written.push({ keyword: content.row.keyword, value: content.value, at });
  }
  return { written, isWhole: true };
}

/** Cuts an options text at its colons; a backslash right before a colon makes it text. */
export function splitOptions(text: string): string[] {
  return Array.from(fieldsOf(text), (field) => field.text);
}

/** The fields of an options text, and where each begins behind its blanks. */
function* fieldsOf(
  text: string,
): Generator<{ readonly text: string; readonly at: number; readonly isLast: boolean }> {
  let field = "";
  let from = 0;
  let start = 0;
  for (let colon = text.indexOf(":"); colon >= 0; colon = text.indexOf(":", colon + 1)) {
    if (text.charAt(colon - 1) === "\\") {
      field += `${text.slice(from, colon - 1)}:`;
    } else {
      yield { text: field + text.slice(from, colon), at: behindBlanks(text, start), isLast: false };
      start = colon + 1;
      field = "";
    }
    from = colon + 1;
  }
  // The newline of the line makes the last field one even where nothing stands after the last colon.
  yield { text: field + text.slice(from), at: behindBlanks(text, start), isLast: true };
}

function behindBlanks(text: string, from: number): number {
  let at = from;
  while (isSpace(text.charCodeAt(at))) at++;
  return at;
}

function parseField(field: string, isLast: boolean): ParsedOption["content"] {
  const { keyword, value } = keywordAndValue(field);
  if (keyword === "") return optionError("missing-option-name", "missing option name");
  const row = BY_KEYWORD.get(keyword.toLowerCase());
  if (row === undefined) return optionError("unknown-option", `bad option name: "${keyword}"`);
  if (value === "" && row.value === "required")
    return optionError("missing-value", `option "${keyword}" requires value`);
  if (value !== "" && row.value === "none") {
    return optionError("unexpected-value", `option "${keyword}" requires no value`);
  }
  if (!isLast && row.mustBeLast) return optionError("option-not-last", `option "${keyword}" must be at end`);
  return { row, value };
}

/** `k v`, `k=v`, `k = v` are equal; one `=` is dropped, a second is part of the value. */
function keywordAndValue(field: string): { keyword: string; value: string } {
  const text = trim(field);
  const end = text.search(/[= \t\r\n]/);
  if (end < 0) return { keyword: text, value: "" };
  const rest = text.slice(end).replace(/^[ \t\r\n]*/, "");
  return {
    keyword: text.slice(0, end),
    value: rest.startsWith("=") ? rest.slice(1).replace(/^[ \t\r\n]*/, "") : rest,
  };
}
