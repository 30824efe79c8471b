/** Says a record in tcpd's words, so that what reads the logs of tcpd reads ours. */
import { escapePhrase, escapeWord } from "./escape.ts";
import type { ConnectionFields, DiagnosticFields, Fields, RefuseFields, TablesFields } from "./records.ts";

/**
 * Says what happened in one sentence on one line.
 *
 * A client is `user@name`, `user@address`, `name` or `address`: user and name only where a rule asked for them, and an
 * unknown or paranoid name gives way to the address. Everything from outside is escaped.
 *
 * @returns printable ASCII, no line end. Source: tcpd(8); the words of accept, refuse and twist are tcpd's own.
 */
export function sentence(fields: Fields): string {
  switch (fields.event) {
    case "accept":
      return `connect from ${who(fields)} (${escapeWord(fields.client.address)})`;
    case "refuse":
      return `refused connect from ${who(fields)} (${escapeWord(fields.client.address)})${why(fields)}`;
    case "twist":
      return `twist ${who(fields)} to ${escapePhrase(fields.command)}`;
    case "end":
      return (
        `closed ${who(fields)} (${escapeWord(fields.client.address)}): ${fields.cause}, ` +
        `${bytes(fields.upBytes)} up, ${bytes(fields.downBytes)} down, ${(fields.durationMs / 1000).toFixed(3)} s`
      );
    case "tables":
      return tables(fields);
    case "ready":
    case "draining":
    case "stopped":
      return fields.detail === undefined ? fields.event : `${fields.event}: ${escapePhrase(fields.detail)}`;
    case "diagnostic":
      return diagnostic(fields);
    case "lost":
      return `lost ${fields.lines} ${fields.lines === 1 ? "line" : "lines"}`;
    case "suppressed":
      return (
        `suppressed ${fields.refusals} ${fields.refusals === 1 ? "record" : "records"} of refused connects ` +
        `from ${escapeWord(fields.client.address)} in ${fields.periodMs / 1000} s`
      );
  }
}

function who({ client }: ConnectionFields): string {
  const { address, name, user } = client;
  const host = escapeWord(name === undefined || name === "unknown" || name === "paranoid" ? address : name);
  return user === undefined || user === "unknown" ? host : `${escapeWord(user)}@${host}`;
}

/** Where no rule refused, tcpd has no words for it: the reason follows its sentence. */
function why({ reason, detail }: RefuseFields): string {
  if (reason === "rule") return "";
  return detail === undefined ? `: ${reason}` : `: ${reason}, ${escapePhrase(detail)}`;
}

function bytes(count: number | null): string {
  return count === null ? "bytes unknown" : `${count} bytes`;
}

function tables(fields: TablesFields): string {
  const wrong = fields.diagnosticsTotal ?? fields.diagnostics.length;
  return (
    `tables generation ${fields.generation}: ${fields.allow.rules} allow rules, ${fields.deny.rules} deny rules` +
    (wrong === 0 ? "" : `, ${wrong} ${wrong === 1 ? "diagnostic" : "diagnostics"}`)
  );
}

function diagnostic(fields: DiagnosticFields): string {
  const place = [fields.file, fields.line, fields.column].filter((part) => part !== undefined && part !== 0);
  const where = place.length === 0 ? "" : `${escapePhrase(place.join(":"))}: `;
  const hint = fields.hint === undefined ? "" : `; ${escapePhrase(fields.hint)}`;
  return `${where}${escapeWord(fields.code)}: ${escapePhrase(fields.message)}${hint}`;
}
