/** Finds rules that twist the clients of a service behind PROXY headers. */

import { matchList } from "../access/list.ts";
import { aboutRequest, matchDaemon } from "../access/match.ts";
import { writtenOptions } from "../access/option-text.ts";
import type { Rule, Table, Tables } from "../access/tables.ts";
import type { Diagnostic } from "../access/types.ts";
import type { Settings } from "../config/schema.ts";
import { remark } from "./check-configuration.ts";

/**
 * Remarks on each such rule, once for all of its services: to find the end of the header we read what the client says after it,
 * and bytes that are read cannot be given to a command with the socket.
 */
export function checkTwists(tables: Tables, services: Settings["services"]): Diagnostic[] {
  const behind = Object.entries(services).filter(
    ([, { proxyProtocol }]) => proxyProtocol.acceptFrom.length > 0,
  );
  if (behind.length === 0) return [];
  const found: Diagnostic[] = [];
  for (const table of [tables.allow, tables.deny]) {
    for (const rule of twists(table)) {
      const met = behind.filter(([name, service]) => mayMatch(rule, service.daemon ?? name, service, tables));
      if (met.length === 0) continue;
      const names = met.map(([name]) => `"${name}"`).join(", ");
      const message = `twist for ${names}, whose clients come behind PROXY headers: one that speaks first is reset, not served`;
      const hint =
        "write deny in place of twist, or let the proxy come to a service that the rule does not name";
      found.push(remark("twist-behind-proxy", { file: table.file, line: rule.line }, message, hint));
    }
  }
  return found;
}

function* twists({ rules }: Table): Generator<Rule> {
  for (let index = 0; index < rules.length; index++) {
    const { options } = rules.matched(index) ?? {};
    if (options === undefined) continue;
    const isTwist = writtenOptions(options).written.some(({ keyword }) => keyword === "twist");
    const rule = isTwist ? rules.at(index) : undefined;
    if (rule !== undefined) yield rule;
  }
}

/** Whether the rule is for that daemon, by whatever port and address of ours. */
function mayMatch(
  { daemons }: Rule,
  daemon: string,
  { listen }: Settings["services"][string],
  tables: Tables,
): boolean {
  return listen.some((endpoint) => {
    const server = { address: "unknown", ...("port" in endpoint && { port: endpoint.port }) };
    const about = aboutRequest(tables, { daemon, client: { address: "unknown" }, server });
    return matchList(daemons, ({ left }) => matchDaemon({ left }, about)) === true;
  });
}
