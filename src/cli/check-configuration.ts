/** What can be said about a configuration that reads well: services that would meet themselves, or nothing. */

import { accessSync, constants, statSync } from "node:fs";
import { userInfo } from "node:os";
import type { Diagnostic } from "../access/types.ts";
import type { Place } from "../config/configuration.ts";
import type { ServiceSettings, Settings } from "../config/schema.ts";
import { printEndpoint } from "../listen/endpoint.ts";
import { ownAddresses } from "../platform/interfaces.ts";
import { CHECK_CODES, type CheckCode } from "./check-codes.ts";
import { comesTo } from "./comes-to.ts";
import { missingForSources, wantsSources } from "./sources.ts";

/** Where a key stands; what did not come from a file has a place too. */
export type Locate = (path: readonly (string | number)[]) => Place;

/** Remarks on the services. Never rejects. */
export async function checkConfiguration(settings: Settings, locate: Locate): Promise<Diagnostic[]> {
  const services = Object.entries(settings.services);
  const own = ownAddresses();
  return [
    ...listenedTwice(services, locate),
    ...services.flatMap(([name, service]) => [
      ...loops(name, service, services, own, locate),
      ...targetMissing(name, service, locate),
      ...proxyToSshd(name, service, locate),
    ]),
    ...(wantsSources(settings) ? await sources(settings, locate) : []),
  ];
}

/** A diagnostic of `check`. */
export function remark(code: CheckCode, place: Place, message: string, hint?: string): Diagnostic {
  const { severity } = CHECK_CODES[code];
  return { ...place, severity, code, message, ...(hint !== undefined && { hint }) };
}

type Named = readonly [name: string, service: ServiceSettings];

function listenedTwice(services: readonly Named[], locate: Locate): Diagnostic[] {
  const seen = new Map<string, string>();
  const found: Diagnostic[] = [];
  for (const [name, { listen }] of services) {
    for (const [index, endpoint] of listen.entries()) {
      const place = printEndpoint(endpoint);
      const isAnyPort = endpoint.kind === "tcp" && endpoint.port === 0;
      const other = isAnyPort ? undefined : seen.get(place);
      if (!isAnyPort) seen.set(place, other ?? name);
      if (other === undefined) continue;
      const message = `"${name}" and "${other}" both listen on "${place}"`;
      found.push(remark("listen-twice", locate(["services", name, "listen", index]), message));
    }
  }
  return found;
}

function loops(
  name: string,
  { backend = [] }: ServiceSettings,
  services: readonly Named[],
  own: ReadonlySet<string>,
  locate: Locate,
): Diagnostic[] {
  return backend.flatMap((target) => {
    const meets = services.find(([, { listen }]) =>
      listen.some((endpoint) => comesTo(endpoint, target, own)),
    );
    if (meets === undefined) return [];
    const message = `the backend "${printEndpoint(target)}" is where "${meets[0]}" listens itself`;
    const hint = "let the program behind listen on another port, or on another address";
    return [remark("backend-is-listener", locate(["services", name, "backend"]), message, hint)];
  });
}

function targetMissing(name: string, { backend = [], exec }: ServiceSettings, locate: Locate): Diagnostic[] {
  const found = backend.flatMap((target) => {
    if (target.kind !== "unix" || isSocket(target.path)) return [];
    const message = `there is no socket at "${target.path}"`;
    const hint = "start the program behind, or correct the path";
    return [remark("backend-missing", locate(["services", name, "backend"]), message, hint)];
  });
  if (exec === undefined || isExecutable(exec[0])) return found;
  const message = `"${exec[0]}" cannot be executed`;
  return [...found, remark("program-missing", locate(["services", name, "exec"]), message)];
}

function proxyToSshd(
  name: string,
  { daemon = name, proxyProtocol: { send } }: ServiceSettings,
  locate: Locate,
): Diagnostic[] {
  if (daemon !== "sshd" || send === undefined) return [];
  const message = "sshd does not speak the PROXY protocol";
  const hint = "write exec: [/usr/sbin/sshd, -i] in place of backend, or source: client";
  return [remark("sshd-no-proxy", locate(["services", name, "proxyProtocol", "send"]), message, hint)];
}

async function sources(settings: Settings, locate: Locate): Promise<Diagnostic[]> {
  const [name = ""] = Object.entries(settings.services).find(([, { source }]) => source === "client") ?? [];
  const place = locate(["services", name, "source"]);
  return (await missingForSources(settings)).map(({ code, message, hint }) => {
    const found = remark(`source-${code}`, place, `source: client cannot work: ${message}`, hint);
    // Who asks need not be who serves.
    const isOther = code === "capability" && userInfo().uid !== 0;
    if (isOther) return { ...found, severity: "warning", message: `${message}, for the user who checks` };
    return code === "unverified" ? { ...found, message } : found;
  });
}

function isSocket(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isSocket() === true;
}

/** Whether a program can be started. */
export function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch {
    return false;
  }
}
