/** Keeps a container from being an open door because its volume was forgotten. */

import { existsSync } from "node:fs";
import type { Settings } from "../config/schema.ts";
import { ConfigurationError, type Environment } from "./settings.ts";

/**
 * Refuses to go on without any table, where the environment says TCPWRAPD_TABLES=required, as our image does.
 *
 * To libwrap "no tables" means that everybody may come in. A machine had them in /etc for thirty years; an image has none, and
 * one that ships some would decide for people who never read them.
 *
 * @param inlineTables tables that stand in the environment itself
 * @throws ConfigurationError
 */
export function requireTables(
  { allow, deny }: Settings["access"],
  inlineTables: ReadonlyMap<string, string>,
  environment: Environment,
  isOpen: boolean,
): void {
  if (isOpen || environment["TCPWRAPD_TABLES"] !== "required") return;
  if ([allow, deny].some((table) => inlineTables.has(table) || existsSync(table))) return;
  const message = `there is no table (nor ${deny}), so everybody would be let in`;
  const hint = "mount a folder with your tables, or say --open if that is meant";
  throw new ConfigurationError([
    { file: allow, line: 0, severity: "error", code: "no-tables", message, hint },
  ]);
}
