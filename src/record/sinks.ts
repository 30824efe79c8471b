/** Opens the sinks that the configuration asks for. */
import type { Outlet } from "../platform/outlet.ts";
import { describeDescriptor, openDescriptor } from "../platform/standard-output.ts";
import { parseSyslogAddress } from "../platform/syslog-address.ts";
import { openStreamSyslog, openUdpSyslog, openUnixSyslog } from "../platform/syslog-outlets.ts";
import { journalForm, jsonForm, prettyForm, syslogForm, textForm } from "./forms.ts";
import type { Form } from "./queued-sink.ts";
import { QueuedSink } from "./queued-sink.ts";
import type { Sink } from "./sink.ts";

/** What every sink has. */
interface CommonSettings {
  /** Connections wait for these records, and are refused where they cannot be written. Absent = no. */
  readonly audit?: boolean;
  /** Characters that may wait; absent = the sink's own limit. */
  readonly queue?: number;
}

/** Records on standard output. */
export interface StdoutSettings extends CommonSettings {
  readonly to: "stdout";
  readonly format: "json" | "text" | "pretty";
}

/** Records to a syslog receiver. */
export interface SyslogSettings extends CommonSettings {
  readonly to: "syslog";
  /** A path such as /dev/log, `udp://host:port` or `tcp://host:port`; 514 where the port is left out. */
  readonly socket: string;
  readonly facility: string;
  readonly format: "rfc3164" | "rfc5424";
}

export type SinkSettings = StdoutSettings | SyslogSettings;

/** What the sinks must know of the process that they are in. */
export interface SinkContext {
  readonly pid: number;
  readonly hostname: string;
  readonly environment: Readonly<Record<string, string | undefined>>;
}

const STDOUT = 1;

/** Longest message: what receivers take by default on a local socket or a stream, and what the RFCs let them cut on UDP. */
const MAX_BYTES = 8192;
const MAX_UDP_BYTES = { rfc3164: 1024, rfc5424: 2048 } as const;

/**
 * Opens one sink for each entry, in their order. Nothing is connected yet; a receiver that is away is tried when there
 * is something to say.
 *
 * @throws never for what is away; for a `socket` that is none of the three kinds, which the configuration has checked
 */
export function openSinks(settings: readonly SinkSettings[], context: SinkContext): Sink[] {
  return settings.map((one) => (one.to === "stdout" ? openStdout(one, context) : openSyslog(one, context)));
}

function openStdout(settings: StdoutSettings, context: SinkContext): Sink {
  return new QueuedSink({
    name: "standard output",
    form: stdoutForm(settings.format, context),
    outlet: openDescriptor(STDOUT),
    ...common(settings),
  });
}

function stdoutForm(format: StdoutSettings["format"], { pid, environment }: SinkContext): Form {
  const kind = describeDescriptor(STDOUT, environment);
  if (format === "json") return jsonForm();
  if (format === "text") return kind === "journal" ? journalForm(pid) : textForm(pid);
  // NO_COLOR: no-color.org
  return prettyForm({ isColoured: kind === "terminal" && (environment["NO_COLOR"] ?? "") === "" });
}

function openSyslog(settings: SyslogSettings, context: SinkContext): Sink {
  const address = parseSyslogAddress(settings.socket);
  if (address === undefined) throw new Error(`"${settings.socket}" is no syslog address`);
  const { format, facility } = settings;
  const isLocal = address.kind === "unix";
  return new QueuedSink({
    name: `syslog ${settings.socket}`,
    form: syslogForm({
      format,
      facility,
      pid: context.pid,
      maxBytes: address.kind === "udp" ? MAX_UDP_BYTES[format] : MAX_BYTES,
      ...(isLocal ? undefined : { hostname: context.hostname }),
    }),
    outlet: isLocal ? openUnixSyslog(address.path) : openRemote(address, format),
    ...common(settings),
  });
}

function openRemote(
  { kind, host, port }: { kind: "udp" | "tcp"; host: string; port: number },
  format: SyslogSettings["format"],
): Outlet {
  if (kind === "udp") return openUdpSyslog(host, port);
  return openStreamSyslog({ host, port }, format === "rfc5424" ? "octet-counting" : "newline");
}

function common({ audit = false, queue }: CommonSettings): { isAudit: boolean; maxQueued?: number } {
  return { isAudit: audit, ...(queue !== undefined && { maxQueued: queue }) };
}
