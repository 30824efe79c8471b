/** Makes sure that `source: client` can work before a client depends on it. */

import { isIP } from "node:net";
import type { Settings } from "../config/schema.ts";
import { BackendNames } from "../relay/backend-names.ts";
import {
  type BackendOfTransparent,
  checkTransparent,
  type MissingForTransparent,
} from "../relay/transparent-check.ts";

/** `source: client` is asked for, and cannot work here. */
export class SourceError extends Error {
  override readonly name = "SourceError";
  readonly hint: string;

  constructor(message: string, hint: string) {
    super(`source: client cannot work: ${message}`);
    this.hint = hint;
  }
}

/**
 * Rejects with a `SourceError` where a service has `source: client` and this machine certainly lacks something for it: nobody is
 * then carried under our own address instead. What nobody can be asked about (there is no ip(8), say) is let pass.
 *
 * @param isDropped whether this process gives up its rights and serves by itself afterwards
 */
export async function requireSources(settings: Settings, isDropped: boolean): Promise<void> {
  if (!wantsSources(settings)) return;
  if (isDropped) {
    const message =
      "with process.workers 0 and process.user nobody is left with the right to make such sockets";
    throw new SourceError(message, "write process: {workers: 1}");
  }
  const missing = (await missingForSources(settings)).filter(({ code }) => code !== "unverified");
  if (missing.length === 0) return;
  throw new SourceError(
    missing.map(({ message }) => message).join(", "),
    `type or write: ${missing.map(({ hint }) => hint).join("; ")}`,
  );
}

/** Whether any service has `source: client`. */
export function wantsSources({ services }: Pick<Settings, "services">): boolean {
  return Object.values(services).some(({ source }) => source === "client");
}

/** What this machine lacks for the services with `source: client`. Never rejects. */
export async function missingForSources({
  services,
  names,
}: Pick<Settings, "services" | "names">): Promise<readonly MissingForTransparent[]> {
  const concerned = Object.values(services).filter(({ source }) => source === "client");
  const lookups = new BackendNames(names);
  try {
    const backends: BackendOfTransparent[] = [];
    for (const endpoint of concerned.flatMap(({ backend = [] }) => backend)) {
      if (endpoint.kind !== "tcp") continue;
      const { host, port } = endpoint;
      // A name that leads nowhere today is tried again by each dial.
      const addresses = isIP(host) === 0 ? await lookups.resolve(host).catch(() => []) : [host];
      backends.push(...addresses.map((address) => ({ address, port })));
    }
    return await checkTransparent({ backends });
  } finally {
    lookups.close();
  }
}
