/** The text of a rule that has decided, for people: a decision itself has no need of it. */
import type { RuleReference } from "./types.ts";
import type { Tables } from "./tables.ts";

/** What was written, continuation lines joined; "" where these tables have no such rule. */
export function ruleText({ allow, deny }: Tables, { file, index }: RuleReference): string {
  const { rules } = file === allow.file ? allow : deny;
  return rules.text(index) ?? "";
}
