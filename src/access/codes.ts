/** The codes of everything that can be said about a table. They are stable: docs/diagnostics.md explains each. */

/** What a code means and what happens then, for the manual. */
interface CodeRow {
  readonly severity: "error" | "warning";
  readonly meaning: string;
}

/** One row per code, in the order in which a table is read. */
export const CODES = {
  "cannot-open": {
    severity: "error",
    meaning:
      "The table is there but cannot be read. hosts.allow then holds no rule; hosts.deny refuses everyone who reaches it.",
  },
  "byte-order-mark": {
    severity: "warning",
    meaning:
      "The file begins with a UTF-8 byte-order mark. It is skipped; for tcpd it is part of the first rule's daemon, which so never matches.",
  },
  "nul-byte": {
    severity: "warning",
    meaning: "A NUL byte: the rest of its line is lost and the next line is joined to it, as tcpd does.",
  },
  "missing-newline": {
    severity: "warning",
    meaning:
      "The last line has no newline. It is a rule like any other; tcpd ignores it, and in hosts.deny refuses everyone who reaches it.",
  },
  "line-too-long": {
    severity: "error",
    meaning:
      "A logical line is longer than 1 MiB. The rules above it work; at this place hosts.allow goes on to hosts.deny, and hosts.deny refuses.",
  },
  "missing-colon": { severity: "warning", meaning: "A line without a colon is no rule; it is skipped." },
  "list-missing": {
    severity: "warning",
    meaning: "A /file that a rule names is not there: the pattern matches nothing.",
  },
  "list-unreadable": {
    severity: "warning",
    meaning:
      "A /file cannot be read, is no regular file, or is larger than 64 MiB: the pattern matches nothing.",
  },
  "list-includes-itself": {
    severity: "error",
    meaning:
      "A /file names itself, perhaps through others. It is left out where it would begin again; tcpd crashes.",
  },
  "list-too-deep": {
    severity: "error",
    meaning: "More than 16 files inside each other. The file that is too many is left out.",
  },
  "missing-option-name": {
    severity: "error",
    meaning:
      "An option field is empty, often because of a colon at the end. A client that the rule matches is refused.",
  },
  "unknown-option": {
    severity: "error",
    meaning: "There is no such option. A client that the rule matches is refused.",
  },
  "missing-value": {
    severity: "error",
    meaning: "The option needs a value. A client that the rule matches is refused.",
  },
  "unexpected-value": {
    severity: "error",
    meaning: "The option takes no value. A client that the rule matches is refused.",
  },
  "option-not-last": {
    severity: "error",
    meaning: "allow, deny or twist is followed by another field. A client that the rule matches is refused.",
  },
  "bad-option-value": {
    severity: "error",
    meaning: "The option cannot have that value. A client that the rule matches is refused.",
  },
  "unknown-user": {
    severity: "error",
    meaning: "No user of that name. A client that the rule matches is refused.",
  },
  "unknown-group": {
    severity: "error",
    meaning: "No group of that name. A client that the rule matches is refused.",
  },
  "unknown-expansion": {
    severity: "warning",
    meaning: "There is no such %-sequence; it expands to nothing.",
  },
  "expansion-too-long": {
    severity: "error",
    meaning:
      "A command or value grew beyond 8191 characters when it was expanded. The client is refused; tcpd exits.",
  },
  "aclexec-failed": {
    severity: "warning",
    meaning: "The command of aclexec failed, so the client is refused.",
  },
} as const satisfies Record<string, CodeRow>;

/** A code of a table's diagnostic. */
export type TableCode = keyof typeof CODES;
