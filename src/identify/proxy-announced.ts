/** The last check of an announced client: is it an address that a client can have? */

import type { Endpoint } from "../access/types.ts";
import type { Scope } from "./addresses.ts";
import { parseAddress, scopeOf } from "./addresses.ts";
import type { Parsed, ProxyHeader, ProxyLimits } from "./proxy-types.ts";
import { refusal } from "./proxy-types.ts";

/** No connection comes from or goes to these: whoever announces them is broken, or hopes for a rule that lets them in. */
const neverClients: readonly Scope[] = ["unspecified", "multicast"];

/** The header with its endpoints, or the refusal of an address that nobody may announce. */
export function announced(
  header: Pick<ProxyHeader, "version" | "tlvs"> & { readonly client: Endpoint; readonly server: Endpoint },
  length: number,
  { refuse = neverClients }: ProxyLimits,
): Parsed {
  for (const side of ["client", "server"] as const) {
    const address = parseAddress(header[side].address);
    const scope = address && scopeOf(address);
    if (scope === undefined || refuse.includes(scope)) {
      return refusal("refused_address", `the announced ${side} address is ${scope ?? "none"}`);
    }
  }
  return { kind: "header", header: { ...header, origin: "announced" }, length };
}
