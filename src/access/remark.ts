/** What the checker says about one word, before its place is known. */
import type { TableCode } from "./codes.ts";

/** A remark on a word. Texts are strings of bytes. */
export interface Remark {
  readonly code: TableCode;
  readonly message: string;
  readonly hint?: string;
}
