/** What `access.strict` reads tables with. */

import { isGrave } from "../access/codes.ts";
import type { Diagnostic } from "../access/types.ts";
import { findIdentity } from "../platform/identity.ts";
import { interfaceNames } from "../platform/interfaces.ts";
import { nisDomain } from "../platform/nis-domain.ts";
import { type BackgroundOptions, loadTablesInBackground } from "./load-background.ts";
import type { Settings } from "./schema.ts";
import { findWriters } from "./writers.ts";

/** What is known of names; undefined where nobody is strict. */
export function strictOf({
  access,
  names,
}: Pick<Settings, "access" | "names">): BackgroundOptions["criticism"] | undefined {
  if (!access.strict) return undefined;
  return { hasNoNames: names.reverse === "never", followsNames: names.forward };
}

/** Why the tables on disk would not be taken; none where nobody is strict. */
export async function graveTables(
  settings: Pick<Settings, "access" | "names" | "process">,
  inline: ReadonlyMap<string, string>,
): Promise<readonly Diagnostic[]> {
  const criticism = strictOf(settings);
  if (criticism === undefined) return [];
  const { allow, deny, noMatch } = settings.access;
  const interfaces = interfaceNames();
  const { diagnostics, paths } = await loadTablesInBackground({
    allow,
    deny,
    noMatch,
    interfaces,
    domain: nisDomain(),
    inline,
    criticism,
  });
  const { user } = settings.process;
  const identity = user === undefined ? undefined : await findIdentity({ user }).catch(() => undefined);
  return [...diagnostics.filter(isGrave), ...findWriters(paths, identity?.uid)];
}
