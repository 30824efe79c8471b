/** Writes the records that every connection has as JSON, byte for byte as the form of pino's lines has them, in a third of the time. */
import { isoTime } from "../platform/syslog.ts";
import { escapeRaw } from "./escape.ts";
import type { AcceptFields, EndFields, LogRecord, RefuseFields, RulePlace, Side } from "./records.ts";

/**
 * The line of an accept, a refuse or an end.
 *
 * pino asks each field what it is; here that is known. The test compares the two on random records.
 *
 * @returns undefined for what comes seldom: other events, a rule's `severity`, datagrams, a PROXY header, names in the tables
 */
export function connectionJson({ timeMs, level, fields, severity }: LogRecord): string | undefined {
  if (severity !== undefined || !("server" in fields)) return undefined;
  const { event, service, daemon, id, client, server, transport, proxy } = fields;
  if (event === "twist" || transport !== undefined || proxy !== undefined) return undefined;
  if (client.forwardNames !== undefined) return undefined;
  const known = knownOf(service);
  return (
    `{"level":"${level}","time":"${isoTime(timeMs)}","event":"${event}",${names(known, service, daemon)}` +
    `,"id":${json(id)},"client":${side(client)}${serverSide(known, server)}${rest(fields, known)}}\n`
  );
}

/** What was written of a service lately, as one piece each: it is nearly always the same, and many small pieces are slow to join. */
interface Known {
  daemon?: string;
  names: string;
  server?: Side;
  serverSide: string;
  rule?: RulePlace;
  rulePlace: string;
}

const known = new Map<string, Known>();

/** More than anybody has services; beyond it they are forgotten. */
const maxKnown = 1000;

function knownOf(service: string): Known {
  const found = known.get(service);
  if (found !== undefined) return found;
  if (known.size >= maxKnown) known.clear();
  const made: Known = { names: "", serverSide: "", rulePlace: "" };
  known.set(service, made);
  return made;
}

function names(of: Known, service: string, daemon: string): string {
  if (of.daemon !== daemon) {
    of.daemon = daemon;
    of.names = whole(`"service":${json(service)},"daemon":${json(daemon)}`);
  }
  return of.names;
}

function serverSide(of: Known, server: Side): string {
  const last = of.server;
  const isSame =
    last?.address === server.address &&
    last.port === server.port &&
    last.name === server.name &&
    last.nameStatus === server.nameStatus;
  if (!isSame) {
    of.server = server;
    of.serverSide = whole(`,"server":${side(server)}`);
  }
  return of.serverSide;
}

function rulePlace(of: Known, place: RulePlace | undefined): string {
  if (place === undefined) return "";
  if (of.rule?.file !== place.file || of.rule.line !== place.line) {
    of.rule = place;
    of.rulePlace = whole(`,"rule":{"file":${json(place.file)},"line":${number(place.line)}}`);
  }
  return of.rulePlace;
}

/** V8 keeps what was put together as its pieces; this makes one piece of them. */
function whole(text: string): string {
  return Buffer.from(text).toString();
}

/** What follows the two sides. */
function rest(fields: AcceptFields | RefuseFields | EndFields, of: Known): string {
  switch (fields.event) {
    case "accept":
      return (
        `${rulePlace(of, fields.rule)},"backend":${json(fields.backend)},"decisionMs":${number(fields.decisionMs)}` +
        optionalNumber("generation", fields.generation)
      );
    case "refuse":
      return (
        `${rulePlace(of, fields.rule)},"reason":"${fields.reason}"${optionalText("detail", fields.detail)}` +
        `,"decisionMs":${number(fields.decisionMs)}${optionalNumber("generation", fields.generation)}`
      );
    case "end":
      return (
        `,"upBytes":${number(fields.upBytes)},"downBytes":${number(fields.downBytes)}` +
        `,"durationMs":${number(fields.durationMs)},"cause":"${fields.cause}"${optionalText("detail", fields.detail)}`
      );
  }
}

/** In the order in which a side is made; one that is made otherwise would be written otherwise. */
function side(of: Side & { readonly user?: string }): string {
  return (
    `{"address":${json(of.address)}${optionalNumber("port", of.port)}${optionalText("name", of.name)}` +
    `${optionalText("nameStatus", of.nameStatus)}${optionalText("user", of.user)}}`
  );
}

function optionalText(name: string, text: string | undefined): string {
  return text === undefined ? "" : `,"${name}":${json(text)}`;
}

function optionalNumber(name: string, value: number | undefined): string {
  return value === undefined ? "" : `,"${name}":${number(value)}`;
}

function number(value: number | null): string {
  return value === null || !Number.isFinite(value) ? "null" : String(value);
}

/** Nothing in it has to be escaped, neither by JSON nor for those who read the line. */
const plain = /^[ !#-[\]-~]*$/;

function json(text: string): string {
  return plain.test(text) ? `"${text}"` : escapeRaw(JSON.stringify(text));
}
