/** What an error of Node's resolver says about a name. */

import type { NameStatus } from "../access/types.ts";

/** "nxdomain" where DNS says that there is nothing, also where the name has only records of another kind. */
export function statusOf(error: unknown): Exclude<NameStatus, "ok" | "paranoid"> {
  const code = error instanceof Error && "code" in error ? error.code : undefined;
  switch (code) {
    case "ENOTFOUND": // NXDOMAIN
    case "ENODATA": // the name is there, but no record of this kind
      return "nxdomain";
    case "ETIMEOUT":
      return "timeout";
    case "ESERVFAIL":
      return "servfail";
    case "EREFUSED":
      return "refused";
    default: // EBADRESP, EFORMERR, ECONNREFUSED, ECANCELLED: no answer that tells anything
      return "error";
  }
}
