/** Rules that wait for an ident server as long as a service gives the whole decision. */

import { matchList } from "../access/list.ts";
import { aboutRequest, matchDaemon } from "../access/match.ts";
import { wholeInt } from "../access/numbers.ts";
import { writtenOptions } from "../access/option-text.ts";
import type { Rule, Table, Tables } from "../access/tables.ts";
import type { Diagnostic, Endpoint } from "../access/types.ts";
import type { ServiceSettings } from "../config/schema.ts";
import { remark } from "./check-configuration.ts";

type Services = Readonly<Record<string, ServiceSettings>>;

/** Remarks on `rfc931 SECONDS`, one a rule. */
export function checkIdent(tables: Tables, services: Services): Diagnostic[] {
  return [tables.allow, tables.deny].flatMap((table) => [...slowRules(table, tables, services)]);
}

function* slowRules({ file, rules }: Table, tables: Tables, services: Services): Generator<Diagnostic> {
  for (let index = 0; index < rules.length; index++) {
    const { options, line = 0 } = rules.matched(index) ?? {};
    if (options === undefined) continue;
    // The first one asks; what stands behind it finds the answer there.
    const asking = writtenOptions(options).written.find(({ keyword }) => keyword === "rfc931");
    const seconds = wholeInt(asking?.value ?? "") ?? 0;
    const rule = seconds > 0 ? rules.at(index) : undefined;
    if (rule === undefined) continue;
    const found = Object.entries(services).find(
      ([name, service]) => seconds * 1000 >= service.decisionTimeout && isAbout(rule, name, service, tables),
    );
    if (found === undefined) continue;
    const [name, { decisionTimeout }] = found;
    const message = `rfc931 waits ${seconds} s, and "${name}" gives the whole decision ${decisionTimeout / 1000} s`;
    const hint = "write fewer seconds, or a longer decisionTimeout";
    yield remark("ident-outlasts-decision", { file, line }, message, hint);
  }
}

/** Whether the daemon list of a rule has a service, as far as it can be told without a client. */
function isAbout(
  { daemons }: Rule,
  name: string,
  { daemon = name, listen }: ServiceSettings,
  tables: Tables,
): boolean {
  const client: Endpoint = { address: "unknown", name: "unknown" };
  return listen.some((endpoint) => {
    const server = endpoint.kind === "tcp" ? { ...client, port: endpoint.port } : client;
    const about = aboutRequest(tables, { daemon, client, server });
    return matchList(daemons, (pattern) => matchDaemon(pattern, about)) === true;
  });
}
