/** The keys of the configuration file, with their defaults and units; the JSON Schema and the manual are made from this. */

import { z } from "zod";
import { parseNetworks } from "../identify/networks.ts";
import { type BackendEndpoint, type Parsed, parseBackend, parseListen } from "../listen/endpoint.ts";
import { parseSyslogAddress } from "../platform/syslog-address.ts";
import { checkService } from "./service-rules.ts";
import { durationPattern, parseDuration, parseSize, sizePattern } from "./units.ts";

const duration = z
  .union([z.literal(0), z.string().meta({ pattern: durationPattern })])
  .meta({ title: "duration" })
  .transform(
    checked((text) => parseDuration(String(text)), "is no duration", 'write "500ms", "5s", "2m", "1h" or 0'),
  )
  .describe('a duration: "500ms", "5s", "2m", "1h" or 0');

/** @param least bytes; a smaller one is an error, and so is one above `most` */
function size(least: string, most: string) {
  const [leastBytes, mostBytes] = [parseSize(least) ?? 0, parseSize(most) ?? 0];
  const hint = 'write "512B", "64KiB", "4MiB" or "1GiB"';
  return z
    .string({ error: ({ input }) => `${JSON.stringify(input)} is no size; ${hint}` })
    .meta({ pattern: sizePattern, title: "size" })
    .transform(checked(parseSize, "is no size", hint))
    .refine((bytes) => bytes >= leastBytes && bytes <= mostBytes, {
      error: `out of range; write a size from ${least} to ${most}`,
    });
}

const count = z.int().nonnegative();
const path = z.string().startsWith("/", 'write an absolute path, such as "/etc/hosts.allow"');

const listen = z
  .string()
  .transform(parsed(parseListen))
  .describe(
    '"address:port", "[v6]:port", "udp:address:port", "udp:[v6]:port", "unix:/path" or "systemd:NAME"',
  );
const backends = z
  .union([z.string(), z.array(z.string()).min(1)])
  .transform((texts, context): BackendEndpoint[] => [texts].flat().map((text) => readBackend(text, context)))
  .describe('"host:port", "[v6]:port", "unix:/path", or a list of them; "udp:host:port" for a UDP service');

/** The name of a service, which is also the daemon that the tables match on. */
export const serviceName = z
  .string()
  .regex(/^[A-Za-z0-9_][A-Za-z0-9_.+-]{0,126}$/, 'use letters, digits, "-", "_", "+" and ".", as in "sshd"');

const proxyProtocol = z.strictObject({
  acceptFrom: z
    .array(z.string())
    .superRefine(areNetworks)
    .default([])
    .describe(
      'networks whose PROXY header (version 1 or 2) is demanded and believed; "unix" for unix-socket peers',
    ),
  timeout: duration.prefault("3s").describe("time for a listed peer to send its header"),
  send: z.enum(["v1", "v2"]).optional().describe("tell the backend who its client is; it must expect that"),
});

const health = z.strictObject({
  fall: z
    .int()
    .positive()
    .default(1)
    .describe("dials that fail in a row before a backend of several rests, and the others are preferred"),
  rise: z
    .int()
    .positive()
    .default(1)
    .describe("dials that succeed in a row after a rest, one at a time, before it is preferred again"),
  sessions: z
    .enum(["keep", "cut"])
    .default("keep")
    .describe("the open sessions of a backend that has fallen: they go on, or are cut"),
});

const service = z
  .strictObject({
    daemon: serviceName
      .optional()
      .describe("the daemon name that the tables match on; default: the service's name"),
    listen: z
      .array(listen)
      .min(1, 'write at least one address, such as "0.0.0.0:22"')
      .describe(
        'where clients come in: "0.0.0.0:22", "[::]:22", "unix:/path", "systemd:NAME"; datagrams by "udp:0.0.0.0:69"',
      ),
    backend: backends
      .optional()
      .describe(
        'where allowed clients are joined to; of several, the first that answers; one "udp:host:port" makes it a UDP service',
      ),
    exec: z
      .tuple([path], z.string())
      .optional()
      .describe("instead of a backend: a program that gets the client's socket as 0 and 1, as from inetd"),
    refuse: z
      .enum(["reset", "close", "hold"])
      .default("reset")
      .describe(
        "how refused clients are ended: a reset at once, a clean end, or silence for limits.holdTime",
      ),
    refuseAfter: duration
      .prefault(0)
      .describe(
        "a refused client is ended so long after it came, or a multiple of it, so that the time does not tell what was asked about it; 0 = at once",
      ),
    source: z
      .enum(["own", "client"])
      .default("own")
      .describe(
        "the address that the backend sees: ours, or the client's own; the latter needs the package koffi, CAP_NET_RAW and a route",
      ),
    connectTimeout: duration.prefault("5s").describe("time to reach the backend"),
    idleTimeout: duration
      .prefault(0)
      .describe(
        "ends a session without a byte in either direction; 0 = never, and 1m for a UDP service, whose sessions have no other end",
      ),
    halfClosedTimeout: duration
      .prefault("1m")
      .describe(
        "ends a session whose backend has ended, when no byte has come from the client for so long since; 0 = never",
      ),
    maxAge: duration
      .prefault("0")
      .describe("ends a session so long after its client came, whatever it does; 0 = never"),
    keepAlive: duration
      .prefault("2h")
      .describe(
        "after so long without a byte the kernel asks whether a side is still there, ten times in ten seconds; 0 = never",
      ),
    drainTimeout: duration
      .optional()
      .describe(
        "in a drain, sessions of this service that are left after so long are cut; default: process.drainTimeout",
      ),
    decisionTimeout: duration
      .prefault("15s")
      .describe("everything between accept and verdict; then the client is refused"),
    maxConnections: count.default(5000).describe("clients of this service at once; more are refused"),
    maxPerSource: z
      .int()
      .positive()
      .optional()
      .describe(
        "sessions that one address (or IPv6 /64) may have at once on a UDP service; more are refused; default 256",
      ),
    maxPerBackend: z
      .int()
      .positive()
      .optional()
      .describe("sessions that each backend may have at once; one that is full is passed over for the next"),
    proxyProtocol: proxyProtocol.prefault({}),
    health: health.prefault({}),
  })
  .superRefine((keys, context) => {
    checkService(keys, (message, path = []) =>
      context.addIssue({ code: "custom", path: [...path], message }),
    );
  })
  .meta({ oneOf: [{ required: ["backend"] }, { required: ["exec"] }] });

const audit = z
  .boolean()
  .default(false)
  .describe("a client is let in only once its record is out; where this sink takes none, nobody comes in");

const queue = size("64KiB", "1GiB")
  .prefault("4MiB")
  .describe(
    "records that may wait in each worker while nobody takes them, 64KiB to 1GiB; more are lost, and counted; level info has three quarters of it",
  );

const stdoutLog = z.strictObject({
  to: z.literal("stdout"),
  format: z
    .enum(["json", "text", "pretty"])
    .default("text")
    .describe("one JSON object a line, the words of tcpd, or those in colour"),
  queue,
  audit,
});

/** Records on standard output where the file does not speak of it. */
export const standardOutput = stdoutLog.parse({ to: "stdout" });

const log = z.discriminatedUnion("to", [
  stdoutLog,
  z.strictObject({
    to: z.literal("syslog"),
    socket: z
      .string()
      .refine((text) => parseSyslogAddress(text) !== undefined, {
        error: 'no syslog address; write "/dev/log", "udp://host:514" or "tcp://host:514"',
      })
      .default("/dev/log")
      .describe("a datagram socket, udp://host:port or tcp://host:port"),
    facility: z
      .enum([
        ...([
          "kern",
          "user",
          "mail",
          "daemon",
          "auth",
          "syslog",
          "lpr",
          "news",
          "uucp",
          "cron",
          "authpriv",
          "ftp",
        ] as const),
        ...(["local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7"] as const),
      ])
      .default("daemon")
      .describe("facility of records whose rule names none by severity"),
    format: z
      .enum(["rfc3164", "rfc5424"])
      .default("rfc3164")
      .describe("the form of a message; local sockets want rfc3164"),
    queue,
    audit,
  }),
]);

/** The whole file. `prefault` = the default is written as a person would write it, and read like any other text. */
export const schema = z.strictObject({
  access: z
    .strictObject({
      allow: path.default("/etc/hosts.allow").describe("the table that is asked first"),
      deny: path.default("/etc/hosts.deny").describe("the table that is asked second"),
      noMatch: z
        .enum(["allow", "refuse"])
        .default("allow")
        .describe("the verdict where no rule matches; tcpd allows"),
      strict: z
        .boolean()
        .default(false)
        .describe(
          "tables with an error, with a dead or dangerous rule (docs/diagnostics.md), or that others than root and we can write to, do not come into force: the old ones stay",
        ),
      missing: z
        .enum(["empty", "keep"])
        .default("empty")
        .describe("a table that is deleted while we run: empty as with tcpd, or the old rules stay"),
      recheck: z
        .enum(["keep", "cut"])
        .default("keep")
        .describe("open sessions that new tables would refuse: they go on, or are cut within a second"),
    })
    .prefault({}),
  names: z
    .strictObject({
      reverse: z
        .enum(["always", "needed", "never"])
        .default("always")
        .describe("look names up beside every decision, only when a rule asks, or never"),
      forward: z
        .boolean()
        .default(false)
        .describe("a host name in a rule also matches the addresses that the name itself has (DynDNS)"),
      timeout: duration.prefault("1s").describe("time for a whole reverse lookup with its forward check"),
      servers: z
        .array(z.string())
        .default([])
        .describe('DNS servers, "127.0.0.1:5353"; default: those of the system'),
      hostsFile: path.default("/etc/hosts").describe("asked before DNS"),
      inFlight: z
        .int()
        .positive()
        .default(1000)
        .describe(
          "lookups under way at once; those that only a record wants are left out when an eighth is taken",
        ),
      cache: z.int().positive().default(10_000).describe("addresses whose names are remembered"),
    })
    .prefault({}),
  ident: z
    .strictObject({ timeout: duration.prefault("3s").describe("time for a whole ident query (RFC 1413)") })
    .prefault({}),
  aclexec: z
    .strictObject({
      timeout: duration
        .prefault("5s")
        .describe("time for a command of aclexec; then it is killed, and the client refused"),
    })
    .prefault({}),
  banners: z
    .strictObject({
      size: size("1KiB", "16MiB")
        .prefault("64KiB")
        .describe(
          "what is sent of a banner at most, 1KiB to 16MiB; a longer file is cut at the end of a line",
        ),
      timeout: duration
        .prefault("5s")
        .describe(
          "time for a client to take its banner; then its connection ends; 0 = what it does not take at once",
        ),
    })
    .prefault({}),
  relay: z
    .enum(["auto", "fast", "reference"])
    .default("auto")
    .describe("how bytes are copied: past Node's streams, by them, or the first where this Node can"),
  services: z.record(serviceName, service).default({}).describe("what is listened for, and where it goes"),
  limits: z
    .strictObject({
      connections: z
        .union([z.literal("auto"), z.int().positive()])
        .default("auto")
        .describe(
          "clients of all services at once; auto: from the limits of descriptors and heap, with a reserve",
        ),
      sessionBuffer: size("16KiB", "1MiB")
        .prefault("1MiB")
        .describe(
          "the largest read buffer of each direction of a session by the fast relay, to which bulk traffic grows in steps of 16KiB, 256KiB and 1MiB",
        ),
      buffers: size("1MiB", "64GiB")
        .prefault("256MiB")
        .describe(
          "read buffers above 16KiB of all sessions of a worker by the fast relay, 1MiB to 64GiB; without one a session goes on with 16KiB",
        ),
      held: z
        .union([z.literal("auto"), count])
        .default("auto")
        .describe(
          'refused clients kept by "refuse: hold" or refuseAfter at once, in each worker; auto, and the most: a twentieth of the descriptors, 1000 at most',
        ),
      holdTime: duration
        .prefault("30s")
        .describe('how long "refuse: hold" keeps a client; then it is reset; 0 = not at all'),
      startsPerMinute: z
        .int()
        .positive()
        .default(3000)
        .describe(
          "programs that exec, twist and spawn may start for each service, and as many that aclexec may start for all of them",
        ),
    })
    .prefault({}),
  process: z
    .strictObject({
      workers: z
        .int()
        .min(0)
        .max(256)
        .default(1)
        .describe("processes that serve connections; 0 = everything in one process"),
      spare: z
        .boolean()
        .default(true)
        .describe(
          "with one worker: a second one waits to take its place at once; false saves the memory of a process",
        ),
      user: z
        .string()
        .min(1)
        .optional()
        .describe("who the workers run as when the daemon is started as root"),
      group: z.string().min(1).optional().describe("instead of the user's own group"),
      onRestart: z
        .enum(["keep", "drain"])
        .optional()
        .describe(
          "at SIGTERM: keep = leave at once, the workers serve their sessions to the end; drain = wait for them; default: keep under systemd, else drain",
        ),
      drainTimeout: duration
        .prefault(0)
        .describe("in a drain, sessions that are left after so long are cut; 0 = never"),
      drainSpread: duration
        .prefault(0)
        .describe(
          "in a drain, sessions that would be cut are cut one after another over the last so long of their time, so that not all clients come back at once",
        ),
    })
    .prefault({}),
  control: z
    .strictObject({
      socket: path
        .default("/run/tcpwrapd/control.sock")
        .describe("where the commands status, sessions, reload, drain, kick and confirm reach the daemon"),
      owner: z
        .string()
        .min(1)
        .optional()
        .describe("user that owns the socket; default: who started the daemon"),
      group: z.string().min(1).optional().describe("group that may use it too"),
    })
    .prefault({}),
  flood: z
    .strictObject({
      perSource: count
        .default(0)
        .describe(
          "refusals of one source and service written in full in a period, the rest as a number; 0 = all in full",
        ),
      perUdpService: count
        .default(100)
        .describe(
          "the same for a UDP service, whatever the sources, which can be forged; spawn runs for those in full only; 0 = all in full",
        ),
      period: duration.prefault("10s").describe("what a period is"),
    })
    .prefault({}),
  log: z
    .array(log)
    .prefault([{ to: "stdout", format: "text" }])
    .describe("where records go; several at once"),
});

/** The configuration with every default filled in, durations in milliseconds and sizes in bytes. */
export type Settings = z.output<typeof schema>;

/** One service as configured. */
export type ServiceSettings = z.output<typeof service>;

function checked<Input, Value>(parse: (input: Input) => Value | undefined, wrong: string, hint: string) {
  return (input: Input, context: z.RefinementCtx<Input>): Value => {
    const value = parse(input);
    if (value !== undefined) return value;
    context.issues.push({ code: "custom", input, message: `"${String(input)}" ${wrong}; ${hint}` });
    return z.NEVER;
  };
}

/** A function declaration, so that the schema above can use it. */
function readBackend(text: string, context: Pick<z.RefinementCtx, "issues">): BackendEndpoint {
  return parsed((one) => parseBackend(one))(text, context);
}

function parsed<Value>(parse: (text: string) => Parsed<Value>) {
  return (text: string, context: Pick<z.RefinementCtx, "issues">): Value => {
    const result = parse(text);
    if ("value" in result) return result.value;
    context.issues.push({ code: "custom", input: text, message: `${result.error}; ${result.hint}` });
    return z.NEVER;
  };
}

function areNetworks(texts: readonly string[], context: z.RefinementCtx): void {
  for (const { text, message, hint } of parseNetworks(texts).problems) {
    context.addIssue({
      code: "custom",
      path: [texts.indexOf(text)],
      message: hint === undefined ? message : `${message}; ${hint}`,
    });
  }
}
