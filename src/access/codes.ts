/** The codes of everything that can be said about a table. They are stable: docs/diagnostics.md explains each. */

/** What a code means and what happens then, for the manual. */
interface CodeRow {
  readonly severity: "error" | "warning";
  readonly meaning: string;
  /** A warning of a dead or dangerous rule: with `access.strict` such a table is not loaded. Every error is one. */
  readonly isGrave?: true;
}

/** One row per code, in the order in which a table is read. */
export const CODES = {
  "cannot-open": {
    severity: "error",
    meaning:
      "The table is there but cannot be read. hosts.allow then holds no rule; hosts.deny refuses everyone who reaches it.",
  },
  "table-is-directory": {
    severity: "warning",
    isGrave: true,
    meaning: "A table is a directory. It counts as empty, as with tcpd: hosts.deny then refuses nobody.",
  },
  "byte-order-mark": {
    severity: "warning",
    meaning:
      "The file begins with a UTF-8 byte-order mark. It is skipped; for tcpd it is part of the first rule's daemon, which so never matches.",
  },
  "nul-byte": {
    severity: "warning",
    isGrave: true,
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
      "A logical line is longer than 1 MiB. A daemon that has rules from before keeps them. At its start the rules above the line work; at this place hosts.allow goes on to hosts.deny, and hosts.deny refuses.",
  },
  "missing-colon": {
    severity: "warning",
    isGrave: true,
    meaning: "A line without a colon is no rule; it is skipped.",
  },
  "list-missing": {
    severity: "warning",
    isGrave: true,
    meaning: "A /file that a rule names is not there: the pattern matches nothing.",
  },
  "list-unreadable": {
    severity: "warning",
    isGrave: true,
    meaning:
      "A /file cannot be read, is a directory or no regular file, or is larger than 64 MiB: the pattern matches nothing.",
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
    meaning:
      "No user of that name in /etc/passwd (other name services are not asked). A client that the rule matches is refused.",
  },
  "unknown-group": {
    severity: "error",
    meaning:
      "No group of that name in /etc/group (other name services are not asked). A client that the rule matches is refused.",
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
  "comment-continued": {
    severity: "warning",
    isGrave: true,
    meaning: "A comment ends in a backslash, so the next line is part of the comment.",
  },
  "indented-comment": {
    severity: "warning",
    isGrave: true,
    meaning: "A # that does not stand in the first column begins no comment: the line is a rule.",
  },
  "inline-comment": {
    severity: "warning",
    isGrave: true,
    meaning: "There are no comments behind a rule or in a /file: the # and all words after it are patterns.",
  },
  "empty-list": {
    severity: "warning",
    isGrave: true,
    meaning:
      "A list is empty, so that the rule never matches; or it ends in EXCEPT, which then excepts nothing.",
  },
  "deep-except": {
    severity: "warning",
    meaning:
      "More than three EXCEPT in one list. Each takes away from what the one before it takes away: who is meant is hard to tell.",
  },
  "unclosed-bracket": {
    severity: "warning",
    isGrave: true,
    meaning:
      "A bracket is not closed. Colons after it do not end the list, so options are taken for patterns.",
  },
  "unbracketed-ipv6": {
    severity: "warning",
    isGrave: true,
    meaning:
      "An IPv6 address without brackets: its first colon ends the list, and the rest is taken for options.",
  },
  "bad-ipv6": {
    severity: "warning",
    isGrave: true,
    meaning: "What stands in brackets is no IPv6 address: the pattern never matches.",
  },
  "mapped-ipv4": {
    severity: "warning",
    isGrave: true,
    meaning:
      "IPv4 addresses are compared as IPv4, never in the form ::ffff:192.0.2.1: the pattern never matches them.",
  },
  "bad-net-mask": {
    severity: "warning",
    isGrave: true,
    meaning:
      "A network or its mask does not read: the pattern never matches, or is not the network that was meant.",
  },
  "host-bits-set": {
    severity: "warning",
    isGrave: true,
    meaning: "The network has bits set below its mask: the pattern never matches.",
  },
  "mask-not-contiguous": {
    severity: "warning",
    meaning: "The mask is no row of ones followed by zeros. It is applied bit by bit.",
  },
  "leading-zero": {
    severity: "warning",
    isGrave: true,
    meaning:
      "A part of an address or a mask begins with 0: in a network it is octal, in an address it never matches.",
  },
  "partial-address": {
    severity: "warning",
    isGrave: true,
    meaning:
      "The beginning of an IPv4 address without a final dot (or its end with a dot before it) never matches.",
  },
  "bad-address": {
    severity: "warning",
    isGrave: true,
    meaning: "Digits and dots that are no IPv4 address: the pattern never matches.",
  },
  "pattern-matches-names": {
    severity: "warning",
    isGrave: true,
    meaning:
      "A pattern for addresses with * or ? is compared with the host name too, which the client's own DNS chooses.",
  },
  "name-ends-in-dot": {
    severity: "warning",
    isGrave: true,
    meaning:
      "A host name pattern that ends in a dot matches names that begin so, and those the client's own DNS chooses.",
  },
  "bad-character": {
    severity: "warning",
    isGrave: true,
    meaning: "A character that no address and no host name has: the pattern never matches.",
  },
  negation: {
    severity: "warning",
    isGrave: true,
    meaning: "There is no negation by an exclamation mark: the pattern never matches.",
  },
  "old-keyword": {
    severity: "warning",
    isGrave: true,
    meaning: "FAIL has been no keyword since 1995: it is taken for a host name.",
  },
  "list-except": {
    severity: "warning",
    isGrave: true,
    meaning: "EXCEPT has no meaning in a /file: it and the words after it are patterns like the others.",
  },
  "unknown-netgroup": {
    severity: "warning",
    isGrave: true,
    meaning: "There is no such netgroup in /etc/netgroup: the pattern matches nothing.",
  },
  "paranoid-allowed": {
    severity: "warning",
    isGrave: true,
    meaning: "A rule lets clients in whose name does not lead back to their address.",
  },
  "ident-trusted": {
    severity: "warning",
    meaning:
      "A rule lets clients in by a user name. The client's own machine says it, so its owner can say any.",
  },
  "bad-user-name": {
    severity: "warning",
    isGrave: true,
    meaning: "A user name that looks like a netgroup, a file, a domain or a keyword: it means none of these.",
  },
  "names-never": {
    severity: "warning",
    isGrave: true,
    meaning: "A rule asks for a host name, but with names.reverse: never no client has one.",
  },
  "bad-daemon-name": {
    severity: "warning",
    isGrave: true,
    meaning:
      "A daemon name that looks like a path, a netgroup or a domain: only the name of a process is meant there.",
  },
  "reserved-word": {
    severity: "warning",
    isGrave: true,
    meaning: "A keyword for clients as a daemon name: KNOWN matches every daemon, the others none.",
  },
  "unknown-daemon": {
    severity: "warning",
    meaning: "No configured service has that daemon name, or that port: the rule counts for none of them.",
  },
  "option-without-effect": {
    severity: "warning",
    meaning:
      "nice, umask, setenv, user and group are for the commands after them in the same rule, and there is none.",
  },
  "rule-never-matches": {
    severity: "warning",
    isGrave: true,
    meaning:
      "Rules above it, in its own table or in hosts.allow, match all its clients first, with another verdict.",
  },
  "rule-redundant": {
    severity: "warning",
    meaning: "Rules above it match all its clients first, and have the same verdict.",
  },
  "everybody-allowed": {
    severity: "warning",
    isGrave: true,
    meaning: "A rule lets every client into every service, so that no rule after it counts.",
  },
  "open-by-default": {
    severity: "warning",
    meaning: "A client that no rule names is let in. Most tables want ALL: ALL at the end of hosts.deny.",
  },
  "nobody-allowed": {
    severity: "warning",
    meaning: "A service that refuses every client: no rule lets anybody in.",
  },
  "world-writable": {
    severity: "warning",
    isGrave: true,
    meaning:
      "Everybody on this machine can write to a table, a /file, the configuration, or a folder on the way to one.",
  },
  "group-writable": {
    severity: "warning",
    isGrave: true,
    meaning: "A group can write to one of these.",
  },
  "foreign-owner": {
    severity: "warning",
    isGrave: true,
    meaning:
      "One of these, or a symbolic link on the way, belongs to somebody else than root and the user that the daemon runs as.",
  },
  "aclexec-failed": {
    severity: "warning",
    meaning: "The command of aclexec failed, so the client is refused.",
  },
} as const satisfies Record<string, CodeRow>;

/** A code of a table's diagnostic. */
export type TableCode = keyof typeof CODES;

/** Whether a diagnostic is about a dead or dangerous rule, or a table that does not work. */
export function isGrave({ severity, code }: { readonly severity: string; readonly code: string }): boolean {
  const row: CodeRow | undefined = Object.hasOwn(CODES, code) ? CODES[code as TableCode] : undefined;
  return severity === "error" || row?.isGrave === true;
}
