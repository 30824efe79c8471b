/** The codes of what `check` says beyond the tables: of the configuration, the files and the machine. They are stable. */

/** What a code means, for the manual. */
interface CodeRow {
  readonly severity: "error" | "warning";
  readonly meaning: string;
}

/** One row per code. */
export const CHECK_CODES = {
  unreadable: {
    severity: "error",
    meaning: "The configuration file cannot be read. Nothing starts without it.",
  },
  "yaml-syntax": { severity: "error", meaning: "The configuration file is no YAML." },
  "unknown-key": {
    severity: "error",
    meaning: "There is no such key; the hint names the one that was meant.",
  },
  "missing-key": { severity: "error", meaning: "A key that must be there is not." },
  "bad-name": { severity: "error", meaning: "A service has a name that no table could match." },
  "bad-value": { severity: "error", meaning: "A key cannot have that value; the hint says which it can." },
  "bad-service": {
    severity: "error",
    meaning: "--service or TCPWRAPD_SERVICES does not read as NAME=LISTEN,BACKEND.",
  },
  "no-service": { severity: "error", meaning: "run has nothing to serve. check does not ask for a service." },
  "no-tables": {
    severity: "error",
    meaning: "There is no table, and the image (TCPWRAPD_TABLES=required) does not start without.",
  },
  "listen-twice": { severity: "error", meaning: "Two services listen at the same place." },
  "backend-is-listener": {
    severity: "error",
    meaning: "A backend is a place where we listen ourselves: connections would go round in a circle.",
  },
  "backend-missing": {
    severity: "warning",
    meaning: "The unix socket of a backend is not there, or is no socket. It may come later.",
  },
  "program-missing": {
    severity: "error",
    meaning: "The program of exec is not there, or cannot be executed.",
  },
  "sshd-no-proxy": {
    severity: "warning",
    meaning: "sshd does not speak the PROXY protocol: it takes the header for a broken client.",
  },
  "twist-behind-proxy": {
    severity: "warning",
    meaning:
      "A rule twists the clients of a service behind PROXY headers: one that speaks first is reset, not served.",
  },
  "source-package": { severity: "error", meaning: "source: client needs the package koffi." },
  "source-capability": { severity: "error", meaning: "source: client needs CAP_NET_RAW." },
  "source-route": {
    severity: "error",
    meaning: "source: client needs a table that makes every address local.",
  },
  "source-rule": {
    severity: "error",
    meaning: "source: client needs a rule that leads the backend's answers to that table.",
  },
  "source-sysctl": {
    severity: "error",
    meaning: "source: client with answers led by a mark needs another setting of the kernel.",
  },
  "source-unverified": {
    severity: "warning",
    meaning: "Nobody could be asked whether answers find their way back.",
  },
  "table-missing": {
    severity: "warning",
    meaning: "A table that the configuration or a flag names is not there. It counts as empty.",
  },
  "unreadable-for-user": { severity: "error", meaning: "The user of process.user cannot read a table." },
  "banners-missing": {
    severity: "warning",
    meaning: "The directory of banners is not there: nothing is sent.",
  },
  "command-missing": {
    severity: "warning",
    meaning: "The program of a command is not there, or cannot be executed.",
  },
  "ident-outlasts-decision": {
    severity: "warning",
    meaning:
      "rfc931 waits as long as the service's decisionTimeout, or longer: a client whose machine does not answer is refused by that limit, where tcpd goes on with the user unknown.",
  },
  "unresolved-name": {
    severity: "warning",
    meaning: "With --resolve: a host name in a rule has no address.",
  },
  "name-not-confirmed": {
    severity: "warning",
    meaning:
      "With --resolve: the address of a host name in a rule leads to another name, so the rule does not match it.",
  },
} as const satisfies Record<string, CodeRow>;

/** A code of `check`. */
export type CheckCode = keyof typeof CHECK_CODES;
