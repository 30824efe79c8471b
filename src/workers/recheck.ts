/** Asks newer tables about a client that older ones have let in. */

import { decide } from "../access/decide.ts";
import type { Tables } from "../access/tables.ts";
import type { Request } from "../access/types.ts";
import type { Lookups } from "../identify/lookups.ts";

/**
 * True where these tables would refuse the client. Never rejects but for the signal's reason.
 *
 * @param judged what it was let in for, with all that was found out then
 * @param lookups absent = nothing more can be found out, which refuses
 */
export async function isRefused(
  judged: Request,
  tables: Tables,
  lookups: Pick<Lookups, "find"> | undefined,
  signal: AbortSignal,
): Promise<boolean> {
  for (let request = judged; ;) {
    const step = decide(tables, request);
    if (step.kind !== "need") return step.kind === "refuse";
    // A command of aclexec is not run again for a session that is open: it would be asked about a client that it let in.
    if (step.fact.kind === "aclexec")
      request = { ...request, commands: [...(request.commands ?? []), "succeeded"] };
    else if (lookups === undefined) return true;
    else request = await lookups.find(step.fact, request, signal);
  }
}
