/** The syslog protocol: facilities, levels, and one message as RFC 3164 or RFC 5424 writes it. */

/** Facility codes. Source: RFC 5424 table 1; the names are those of syslog.conf(5), `security` and the like included. */
export const FACILITIES: Readonly<Record<string, number>> = {
  kern: 0,
  user: 1,
  mail: 2,
  daemon: 3,
  auth: 4,
  security: 4,
  syslog: 5,
  lpr: 6,
  news: 7,
  uucp: 8,
  cron: 9,
  authpriv: 10,
  ftp: 11,
  local0: 16,
  local1: 17,
  local2: 18,
  local3: 19,
  local4: 20,
  local5: 21,
  local6: 22,
  local7: 23,
};

/** Severity codes. Source: RFC 5424 table 2; `panic`, `error` and `warn` are older names that syslog.conf(5) still knows. */
export const SYSLOG_LEVELS: Readonly<Record<string, number>> = {
  emerg: 0,
  panic: 0,
  alert: 1,
  crit: 2,
  err: 3,
  error: 3,
  warning: 4,
  warn: 4,
  notice: 5,
  info: 6,
  debug: 7,
};

/** One message before it has a form. All texts are printable ASCII already. */
export interface SyslogMessage {
  readonly facility: string;
  readonly level: string;
  readonly timeMs: number;
  /** Absent on a local socket, where the receiver knows it better. */
  readonly hostname?: string;
  readonly tag: string;
  readonly pid: number;
  /** RFC 5424 only: the kind of message. */
  readonly messageId: string;
  /** RFC 5424 only: what a program can read. */
  readonly data: readonly (readonly [name: string, value: string])[];
  readonly text: string;
}

/** Appended to a message that had to be shortened. */
export const SHORTENED = " [shortened]";

/** Ours by RFC 5612: the number for documentation, since nobody has registered one for tcpwrapd. */
const STRUCTURED_DATA_ID = "tcpwrapd@32473";

const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"] as const;

/**
 * The number in front of a message: facility times eight plus level.
 *
 * @returns unknown names count as daemon and notice, so that a message is never lost for its name
 */
export function priority(facility: string, level: string): number {
  return (FACILITIES[facility] ?? 3) * 8 + (SYSLOG_LEVELS[level] ?? 5);
}

/**
 * One message as syslog(3) writes it: `<PRI>Mmm dd hh:mm:ss [HOST] TAG[PID]: TEXT`, in local time.
 *
 * @param maxBytes a longer one is cut at a space, and says so. Source: RFC 3164 section 4.1
 */
export function formatRfc3164(message: SyslogMessage, maxBytes: number): string {
  const host = message.hostname === undefined ? "" : ` ${message.hostname}`;
  const head = `<${priority(message.facility, message.level)}>${bsdTime(message.timeMs)}${host} ${message.tag}[${message.pid}]: `;
  return shorten(head + message.text, maxBytes, head.length);
}

/**
 * One message as RFC 5424 writes it, with structured data that a program can read.
 *
 * @param maxBytes a longer one is cut in its text at a space, and says so; structured data is whole or not there at all
 */
export function formatRfc5424(message: SyslogMessage, maxBytes: number): string {
  const start =
    `<${priority(message.facility, message.level)}>1 ${isoTime(message.timeMs)} ` +
    `${message.hostname ?? "-"} ${message.tag} ${message.pid} ${message.messageId} `;
  const data = structuredData(message.data);
  const head = `${start}${start.length + data.length > maxBytes / 2 ? "-" : data} `;
  return shorten(head + message.text, maxBytes, head.length);
}

/**
 * Cuts a line of ASCII at a space, so that no field is split, and marks it.
 *
 * @param keep characters from the start that stay whole, if there is room for them
 */
export function shorten(line: string, maxBytes: number, keep = 0): string {
  if (line.length <= maxBytes) return line;
  const room = Math.max(0, maxBytes - SHORTENED.length);
  const end = Math.min(room, Math.max(keep, line.lastIndexOf(" ", room)));
  return line.slice(0, end).trimEnd() + SHORTENED;
}

let bsdSecond = -1;
let bsdText = "";

/** `Mmm dd hh:mm:ss`, the same text for all messages of a second. */
function bsdTime(timeMs: number): string {
  const second = Math.floor(timeMs / 1000);
  if (second === bsdSecond) return bsdText;
  const date = new Date(timeMs);
  const clock = [date.getHours(), date.getMinutes(), date.getSeconds()].map((part) =>
    String(part).padStart(2, "0"),
  );
  bsdSecond = second;
  bsdText = `${MONTHS[date.getMonth()] ?? ""} ${String(date.getDate()).padStart(2, " ")} ${clock.join(":")}`;
  return bsdText;
}

let isoMs = Number.NaN;
let isoText = "";

/** RFC 3339 in UTC, the same text for all messages of a millisecond. */
export function isoTime(timeMs: number): string {
  if (timeMs !== isoMs) {
    isoText = new Date(timeMs).toISOString();
    isoMs = timeMs;
  }
  return isoText;
}

/** Source: RFC 5424 section 6.3; `"`, `\` and `]` are escaped in values. */
function structuredData(pairs: SyslogMessage["data"]): string {
  if (pairs.length === 0) return "-";
  const params = pairs.map(([name, value]) => ` ${name}="${value.replace(/["\\\]]/g, "\\$&")}"`);
  return `[${STRUCTURED_DATA_ID}${params.join("")}]`;
}
