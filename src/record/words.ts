/** Says a record in tcpd's words, so that what reads the logs of tcpd reads ours. */
import { isKnown, isKnownName } from "../access/expand.ts";
import { escapePhrase, escapeWord } from "./escape.ts";
import type {
  ConnectionFields,
  DiagnosticFields,
  Fields,
  LifeFields,
  RefuseFields,
  TablesFields,
} from "./records.ts";

/**
 * Says what happened in one sentence on one line.
 *
 * A client is `user@name`, `user@address`, `name` or `address`: user and name only where a rule asked for them, and an
 * unknown or paranoid name gives way to the address. Everything from outside is escaped.
 *
 * @returns printable ASCII, no line end. Source: tcpd(8); the words of accept, refuse and twist are tcpd's own.
 */
export function sentence(fields: Fields): string {
  // The table has a row for each event, and the row takes the fields of its own event.
  return (SENTENCES[fields.event] as (fields: Fields) => string)(fields);
}

const SENTENCES: {
  readonly [Event in Fields["event"]]: (fields: Fields & { readonly event: Event }) => string;
} = {
  accept: (fields) => `connect from ${who(fields)} (${escapeWord(fields.client.address)})`,
  refuse: (fields) =>
    `refused connect from ${who(fields)} (${escapeWord(fields.client.address)})${why(fields)}`,
  twist: (fields) => `twist ${who(fields)} to ${escapePhrase(fields.command)}`,
  end: (fields) =>
    `closed ${who(fields)} (${escapeWord(fields.client.address)}): ${fields.cause}, ` +
    `${bytes(fields.upBytes)} up, ${bytes(fields.downBytes)} down, ${(fields.durationMs / 1000).toFixed(3)} s` +
    (fields.detail === undefined ? "" : `: ${escapePhrase(fields.detail)}`),
  tables,
  ready: life,
  draining: life,
  stopped: life,
  diagnostic,
  lost: ({ lines }) => `lost ${lines} ${lines === 1 ? "line" : "lines"}`,
  suppressed: ({ refusals, client, periodMs }) =>
    `suppressed ${refusals} ${refusals === 1 ? "record" : "records"} of refused connects from ${escapeWord(client.address)} in ${periodMs / 1000} s`,
};

function who({ client }: ConnectionFields): string {
  const { address, name, user } = client;
  const host = escapeWord(isKnownName(name) ? name : address);
  return isKnown(user) ? `${escapeWord(user)}@${host}` : host;
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

function life({ event, detail }: LifeFields): string {
  return detail === undefined ? event : `${event}: ${escapePhrase(detail)}`;
}

function diagnostic(fields: DiagnosticFields): string {
  const place = [fields.file, fields.line, fields.column].filter((part) => part !== undefined && part !== 0);
  const where = place.length === 0 ? "" : `${escapePhrase(place.join(":"))}: `;
  const hint = fields.hint === undefined ? "" : `; ${escapePhrase(fields.hint)}`;
  return `${where}${escapeWord(fields.code)}: ${escapePhrase(fields.message)}${hint}`;
}
