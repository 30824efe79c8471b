/** Writes a record down: as a line of text, as JSON, as a coloured line for people, or as a syslog message. */
import { pino } from "pino";
import { prettyFactory } from "pino-pretty";

import type { Severity } from "../access/types.ts";
import type { SyslogMessage } from "../platform/syslog.ts";
import { formatRfc3164, formatRfc5424, isoTime, priority, SYSLOG_LEVELS } from "../platform/syslog.ts";
import { connectionJson } from "./connection-json.ts";
import { escapeRaw, escapeWord } from "./escape.ts";
import type { Form } from "./queued-sink.ts";
import type { Fields, Level, LogRecord } from "./records.ts";
import { sentence } from "./words.ts";

/** The syslog level of each of ours, where no rule asks for another. */
const SYSLOG_LEVEL: Readonly<Record<Level, string>> = {
  debug: "debug",
  info: "info",
  warn: "warning",
  error: "err",
  fatal: "crit",
};

/** The level word that comes nearest to a syslog code, 0 to 7. */
const NEAREST_LEVEL = [
  "fatal",
  "fatal",
  "fatal",
  "error",
  "warn",
  "info",
  "info",
  "debug",
] as const satisfies readonly Level[];

/** `TIME TAG[PID]: SENTENCE`, time in UTC as RFC 3339 writes it. */
export function textForm(pid: number): Form {
  return (record) =>
    `${isoTime(record.timeMs)} ${escapeWord(record.tag)}[${pid}]: ${sentence(record.fields)}\n`;
}

/** For systemd's journal on standard output: `<LEVEL>TAG[PID]: SENTENCE`; the journal has the time. Source: sd-daemon(3). */
export function journalForm(pid: number): Form {
  return (record) =>
    `<${priority("kern", levelName(record))}>${escapeWord(record.tag)}[${pid}]: ${sentence(record.fields)}\n`;
}

/** One JSON object a line, written by pino or as pino writes it; `level` follows the rule's `severity`, which `severity` names in full. */
export function jsonForm(): Form {
  let line = "";
  let timeMs = 0;
  const logger = pino(
    {
      level: "trace",
      base: null,
      timestamp: () => `,"time":"${isoTime(timeMs)}"`,
      formatters: { level: (label) => ({ level: label }) },
    },
    {
      write: (written: string) => {
        line = written;
      },
    },
  );
  return (record) => {
    if (record.sentencesOnly === true) return undefined;
    const known = connectionJson(record);
    if (known !== undefined) return known;
    const { severity, fields } = record;
    timeMs = record.timeMs;
    if (severity === undefined) logger[record.level](fields);
    else
      logger[NEAREST_LEVEL[SYSLOG_LEVELS[severity.level] ?? 5] ?? record.level]({
        ...fields,
        severity: severityText(severity),
      });
    return escapeRaw(line);
  };
}

/** For people: the JSON form through pino-pretty. */
export function prettyForm(options: { readonly isColoured: boolean }): Form {
  const json = jsonForm();
  const pretty = prettyFactory({
    colorize: options.isColoured,
    singleLine: true,
    translateTime: "SYS:HH:MM:ss.l",
    messageKey: "sentence",
    ignore: "event,server,decisionMs,generation",
  });
  return (record) => {
    const line = json(record);
    if (line === undefined) return undefined;
    // pino-pretty writes the fields down again, and the raw characters with them.
    return escapeRaw(pretty({ ...(JSON.parse(line) as object), sentence: sentence(record.fields) }));
  };
}

export interface SyslogFormOptions {
  readonly format: "rfc3164" | "rfc5424";
  /** Used where the rule's `severity` names none. */
  readonly facility: string;
  readonly pid: number;
  /** Absent on a local socket. */
  readonly hostname?: string;
  readonly maxBytes: number;
}

/** One syslog message without framing; the rule's `severity` overrides facility and level. */
export function syslogForm(options: SyslogFormOptions): Form {
  const format = options.format === "rfc5424" ? formatRfc5424 : formatRfc3164;
  return (record) => {
    const message: SyslogMessage = {
      facility: record.severity?.facility ?? options.facility,
      level: levelName(record),
      timeMs: record.timeMs,
      ...(options.hostname === undefined ? undefined : { hostname: escapeWord(options.hostname) }),
      tag: escapeWord(record.tag),
      pid: options.pid,
      messageId: record.fields.event,
      data: options.format === "rfc5424" ? dataOf(record.fields) : [],
      text: sentence(record.fields),
    };
    return format(message, options.maxBytes);
  };
}

function levelName(record: LogRecord): string {
  return record.severity?.level ?? SYSLOG_LEVEL[record.level];
}

function severityText({ facility, level }: Severity): string {
  return facility === undefined ? level : `${facility}.${level}`;
}

/** The fields that a program wants beside tcpd's sentence. */
function dataOf(fields: Fields): [string, string][] {
  const data: [string, string][] = [];
  const add = (name: string, value: string | number | null | undefined): void => {
    if (value !== undefined && value !== null) data.push([name, escapeWord(String(value))]);
  };
  if ("id" in fields) add("id", fields.id);
  if ("service" in fields) add("service", fields.service);
  if ("client" in fields) add("client", fields.client.address);
  if ("rule" in fields && fields.rule !== undefined) add("rule", `${fields.rule.file}:${fields.rule.line}`);
  if ("reason" in fields) add("reason", fields.reason);
  if ("backend" in fields) add("backend", fields.backend);
  if ("cause" in fields) add("cause", fields.cause);
  if ("upBytes" in fields) add("upBytes", fields.upBytes);
  if ("downBytes" in fields) add("downBytes", fields.downBytes);
  if ("generation" in fields) add("generation", fields.generation);
  return data;
}
