/** Makes the settings of one command from its flags, the environment and the configuration file. */

import { readFile } from "node:fs/promises";
import { resolve } from "node:path";
import type { Diagnostic } from "../access/types.ts";
import { type Layer, readConfiguration } from "../config/configuration.ts";
import { type Settings, standardOutput } from "../config/schema.ts";
import { printable } from "./printable.ts";

/** The flags that every command knows. */
export interface SharedFlags {
  readonly config?: string;
  readonly allowFile?: string;
  readonly denyFile?: string;
  readonly service?: readonly string[];
  readonly controlSocket?: string;
}

/** The flags that only `run` knows. */
export interface LogFlags {
  readonly logFormat?: string;
  readonly workers?: number;
}

/** Forms of the records on standard output. */
export const logFormats = ["json", "text", "pretty"] as const;

export type Environment = Readonly<Record<string, string | undefined>>;

/** Where the configuration is looked for when -c does not say; it need not be there. */
export const defaultConfigFile = "/etc/tcpwrapd/tcpwrapd.yaml";

/** A configuration that cannot be used; each diagnostic is one line for the user. */
export class ConfigurationError extends Error {
  readonly diagnostics: readonly Diagnostic[];

  constructor(diagnostics: readonly Diagnostic[]) {
    super(diagnostics.map(printDiagnostic).join("\n"));
    this.name = "ConfigurationError";
    this.diagnostics = diagnostics;
  }

  /** Nothing is wrong but what was given by flags. */
  get isAboutFlags(): boolean {
    return this.diagnostics.every(({ file }) => file.startsWith("--"));
  }
}

/** What a command works with. */
export interface ReadSettings {
  readonly settings: Settings;
  /** Tables whose text stands in the environment, by the name under which `settings.access` and the records know them. */
  readonly inlineTables: ReadonlyMap<string, string>;
  /** Path of the configuration file, whether or not there is one. */
  readonly configFile: string;
}

/**
 * Reads the settings: flags win over the environment, the environment over the file, the file over the defaults.
 *
 * @throws ConfigurationError when there is anything wrong with one of them
 */
export async function readSettings(
  flags: SharedFlags & LogFlags,
  environment: Environment,
): Promise<ReadSettings> {
  const name = flags.config ?? defaultConfigFile;
  const text = await readText(name, flags.config !== undefined);
  const layers: Layer[] = [
    ...servicesLayer("TCPWRAPD_SERVICES", (environment["TCPWRAPD_SERVICES"] ?? "").split(";")),
    ...pathLayer("--allow-file", "allow", flags.allowFile),
    ...pathLayer("--deny-file", "deny", flags.denyFile),
    ...servicesLayer("--service", flags.service ?? []),
    ...(flags.workers === undefined
      ? []
      : [{ origin: "--workers", keys: { process: { workers: flags.workers } } }]),
    ...(flags.controlSocket === undefined
      ? []
      : [{ origin: "--control-socket", keys: { control: { socket: resolve(flags.controlSocket) } } }]),
  ];
  const { settings, diagnostics } = readConfiguration(
    text === undefined ? undefined : { name, text },
    layers,
  );
  if (settings === undefined) throw new ConfigurationError(diagnostics);
  return {
    ...withInlineTables(withLogFormat(settings, flags, environment), flags, environment),
    configFile: resolve(name),
  };
}

/** `FILE:LINE:COL: severity code: message; hint`, without the numbers that are not known. */
export function printDiagnostic(diagnostic: Diagnostic): string {
  const { file, line, column, severity, code, message, hint } = diagnostic;
  const place = [file, ...(line > 0 ? [line] : []), ...(column === undefined ? [] : [column])].join(":");
  return printable(
    `${place}: ${severity} ${code}: ${message}${hint === undefined || hint === "" ? "" : `; ${hint}`}`,
  );
}

async function readText(file: string, isAskedFor: boolean): Promise<string | undefined> {
  try {
    return await readFile(file, "utf8");
  } catch (cause) {
    const code = cause instanceof Error && "code" in cause ? String(cause.code) : String(cause);
    if (code === "ENOENT" && !isAskedFor) return undefined;
    const hint =
      code === "ENOENT"
        ? "name the file with -c FILE, or leave -c out"
        : "the daemon must be able to read it";
    throw new ConfigurationError([
      {
        file,
        line: 0,
        severity: "error",
        code: "unreadable",
        message: `cannot read the configuration: ${code}`,
        hint,
      },
    ]);
  }
}

/** "sshd=0.0.0.0:22,127.0.0.1:2222" as keys; the same name twice adds a place to listen. */
function servicesLayer(origin: string, words: readonly string[]): Layer[] {
  const services: Record<string, { listen: string[]; backend: string }> = {};
  for (const word of words.map((each) => each.trim()).filter((each) => each !== "")) {
    const [, name = "", listen = "", backend = ""] = /^([^=]+)=([^,]+),(.+)$/.exec(word) ?? [];
    // A service called "__proto__" would be none.
    if (name === "" || name === "__proto__") {
      const message = `"${word}" does not read as NAME=LISTEN,BACKEND`;
      const hint = "write for example sshd=0.0.0.0:22,127.0.0.1:2222";
      throw new ConfigurationError([
        { file: origin, line: 0, severity: "error", code: "bad-service", message, hint },
      ]);
    }
    services[name] = { listen: [...(services[name]?.listen ?? []), listen.trim()], backend: backend.trim() };
  }
  return Object.keys(services).length === 0 ? [] : [{ origin, keys: { services } }];
}

/** The form of the records on standard output; other places that the file names stay. */
function withLogFormat(settings: Settings, flags: LogFlags, environment: Environment): Settings {
  const fromEnvironment = environment["TCPWRAPD_LOG_FORMAT"];
  const wanted = flags.logFormat ?? (fromEnvironment === "" ? undefined : fromEnvironment);
  if (wanted === undefined) return settings;
  const format = logFormats.find((each) => each === wanted);
  if (format === undefined) {
    const message = `"${wanted}" is no form of records`;
    const hint = `write one of ${logFormats.join(", ")}`;
    const origin = flags.logFormat === undefined ? "TCPWRAPD_LOG_FORMAT" : "--log-format";
    throw new ConfigurationError([
      { file: origin, line: 0, severity: "error", code: "bad-value", message, hint },
    ]);
  }
  const others = settings.log.filter(({ to }) => to !== "stdout");
  const here = settings.log.filter(({ to }) => to === "stdout");
  const { queue } = here[0] ?? standardOutput;
  const audit = here.some((each) => each.audit);
  return { ...settings, log: [{ to: "stdout", format, queue, audit }, ...others] };
}

function pathLayer(origin: string, key: "allow" | "deny", path: string | undefined): Layer[] {
  return path === undefined ? [] : [{ origin, keys: { access: { [key]: resolve(path) } } }];
}

/** TCPWRAPD_ALLOW and TCPWRAPD_DENY hold the text of a table, for containers without a volume. */
function withInlineTables(
  settings: Settings,
  flags: SharedFlags,
  environment: Environment,
): Omit<ReadSettings, "configFile"> {
  const inlineTables = new Map<string, string>();
  const access = { ...settings.access };
  const allow = flags.allowFile === undefined ? environment["TCPWRAPD_ALLOW"] : undefined;
  const deny = flags.denyFile === undefined ? environment["TCPWRAPD_DENY"] : undefined;
  if (allow !== undefined) {
    access.allow = "TCPWRAPD_ALLOW";
    inlineTables.set(access.allow, allow);
  }
  if (deny !== undefined) {
    access.deny = "TCPWRAPD_DENY";
    inlineTables.set(access.deny, deny);
  }
  return { settings: { ...settings, access }, inlineTables };
}
