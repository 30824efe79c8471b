/** `tcpwrapd check`: reads configuration and tables as tcpdchk meant to, and says what a careful reader would. */

import { readFileSync } from "node:fs";
import { OPTIONS } from "../access/option-rows.ts";
import type { Diagnostic } from "../access/types.ts";
import { placesIn } from "../config/configuration.ts";
import { readWhole } from "../config/files.ts";
import { type Loaded, loadTables } from "../config/load.ts";
import { nearest } from "../config/nearest.ts";
import type { Settings } from "../config/schema.ts";
import { interfaceNames } from "../platform/interfaces.ts";
import { nisDomain } from "../platform/nis-domain.ts";
import { shownPath } from "../platform/paths.ts";
import { checkConfiguration, type Locate } from "./check-configuration.ts";
import { checkFiles } from "./check-files.ts";
import { checkIdent } from "./check-ident.ts";
import { checkNames } from "./check-names.ts";
import { type CheckReport, printReport, printReportJson } from "./check-print.ts";
import { checkTwists } from "./check-twist.ts";
import type { AddCommand, Io } from "./io.ts";
import {
  ConfigurationError,
  defaultConfigFile,
  type ReadSettings,
  readSettings,
  type SharedFlags,
} from "./settings.ts";
import { withSharedFlags } from "./shared-flags.ts";

/** Nothing to say; warnings only; errors. */
const checkStatus = { clean: 0, warnings: 1, errors: 2 } as const;

interface CheckFlags extends SharedFlags {
  readonly strict: boolean;
  readonly json: boolean;
  readonly resolve: boolean;
}

/** Adds the command. */
export const checkCommand: AddCommand = (parser, io, exit) =>
  parser.command(
    "check",
    "read the configuration and the tables, and say what is wrong or strange",
    (command) =>
      withSharedFlags(command)
        .option("strict", { type: "boolean", default: false, describe: "warnings count as errors" })
        .option("json", { type: "boolean", default: false, describe: "one JSON object" })
        .option("resolve", {
          type: "boolean",
          default: false,
          describe: "ask DNS about the host names in rules too",
        })
        .example("$0 check", "before a restart, and after an edit")
        .example(
          "$0 check --allow-file new.allow --deny-file new.deny --strict",
          "tables that are not in use yet",
        )
        .example("$0 check --json | jq .diagnostics", "for programs"),
    async (flags) => {
      const asked = flags as unknown as CheckFlags;
      const report = await check(asked, io);
      const hasColours = io.output.isTTY === true && (io.environment["NO_COLOR"] ?? "") === "";
      io.output.write(asked.json ? printReportJson(report) : printReport(report, hasColours));
      exit(statusOf(report, asked.strict));
    },
  );

function statusOf({ errors, warnings }: CheckReport, isStrict: boolean): number {
  if (errors > 0 || (isStrict && warnings > 0)) return checkStatus.errors;
  return warnings > 0 ? checkStatus.warnings : checkStatus.clean;
}

async function check(flags: CheckFlags, io: Io): Promise<CheckReport> {
  try {
    return await checkAll(await readSettings(flags, io.environment), flags);
  } catch (cause) {
    if (!(cause instanceof ConfigurationError)) throw cause;
    // Without the configuration nobody knows which tables count, unless they are named.
    if (flags.allowFile === undefined || flags.denyFile === undefined) return reportOf(cause.diagnostics);
    const { allowFile, denyFile } = flags;
    const read = await readSettings({ config: "/dev/null", allowFile, denyFile }, {});
    return await checkAll(read, flags, cause.diagnostics);
  }
}

async function checkAll(
  { settings, inlineTables }: ReadSettings,
  flags: CheckFlags,
  before: readonly Diagnostic[] = [],
): Promise<CheckReport> {
  const loaded = load(settings, inlineTables);
  const { tables, paths } = loaded;
  const config = configOf(flags);
  const locate = locator(config);
  const files = await checkFiles({
    tables: [tables.allow, tables.deny],
    named: namedTables(settings, flags, locate),
    paths,
    config: config?.name,
    user: settings.process.user,
  });
  const order = [...(config === undefined ? [] : [config.name]), ...paths.map(shownPath)];
  const diagnostics = [
    ...before,
    ...(await checkConfiguration(settings, locate)),
    ...inOrder(
      [
        ...loaded.diagnostics.map(withMeant),
        ...files,
        ...checkTwists(tables, settings.services),
        ...checkIdent(tables, settings.services),
        ...(flags.resolve ? await checkNames(tables, settings) : []),
      ],
      order,
    ),
  ];
  return reportOf(diagnostics, settings, loaded);
}

function load({ access, names, services }: Settings, inline: ReadonlyMap<string, string>): Loaded {
  const served = Object.entries(services);
  const daemons = served.map(([name, { daemon = name }]) => daemon);
  const ports = served.flatMap(([, { listen }]) =>
    listen.flatMap((endpoint) => (endpoint.kind === "tcp" ? [endpoint.port] : [])),
  );
  return loadTables({
    ...access,
    interfaces: interfaceNames(),
    domain: nisDomain(),
    criticism: {
      noMatch: access.noMatch,
      daemons: { names: daemons, ports, nearest: (name) => nearest(name, daemons) },
      hasNoNames: names.reverse === "never",
      followsNames: names.forward,
    },
    read: (path, maxBytes) => {
      const text = inline.get(path);
      if (text !== undefined) return { kind: "text", bytes: new TextEncoder().encode(text) };
      return readWhole(path, maxBytes).source;
    },
  });
}

/** The configuration file, where there is one. */
function configOf({ config }: SharedFlags): { readonly name: string; readonly text: string } | undefined {
  const name = config ?? defaultConfigFile;
  try {
    return { name, text: readFileSync(name, "utf8") };
  } catch {
    return undefined; // the default need not be there, and another one has been read already
  }
}

/** What the file does not have came from a flag or the environment. */
function locator(config: { readonly name: string; readonly text: string } | undefined): Locate {
  const find = config === undefined ? () => undefined : placesIn(config.name, config.text);
  return (path) => find(path) ?? find(path.slice(0, -1)) ?? { file: "configuration", line: 0 };
}

function namedTables({ access }: Settings, flags: SharedFlags, locate: Locate): ReadonlySet<string> {
  const isInFile = (key: string): boolean => locate(["access", key]).file !== "configuration";
  return new Set([
    ...(flags.allowFile !== undefined || isInFile("allow") ? [access.allow] : []),
    ...(flags.denyFile !== undefined || isInFile("deny") ? [access.deny] : []),
  ]);
}

/** With the option that was meant by a misspelt one. */
function withMeant(diagnostic: Diagnostic): Diagnostic {
  if (diagnostic.code !== "unknown-option") return diagnostic;
  const [, word = ""] = /"(.*)"/.exec(diagnostic.message) ?? [];
  const meant = nearest(
    word,
    OPTIONS.map(({ keyword }) => keyword),
  );
  if (meant !== undefined) return { ...diagnostic, hint: `did you mean "${meant}"?` };
  return /^[(/]/.test(word) ? { ...diagnostic, hint: `write "spawn ${word} ..."` } : diagnostic;
}

/** As a reader meets them: file by file, line by line. */
function inOrder(diagnostics: readonly Diagnostic[], files: readonly string[]): Diagnostic[] {
  const rank = new Map(files.map((file, index) => [file, index]));
  const rankOf = ({ file }: Diagnostic): number => rank.get(file) ?? files.length;
  return [...diagnostics].sort(
    (one, other) =>
      rankOf(one) - rankOf(other) || one.line - other.line || (one.column ?? 0) - (other.column ?? 0),
  );
}

function reportOf(diagnostics: readonly Diagnostic[], settings?: Settings, loaded?: Loaded): CheckReport {
  const count = (severity: Diagnostic["severity"]): number =>
    diagnostics.filter((each) => each.severity === severity).length;
  return {
    errors: count("error"),
    warnings: count("warning"),
    tables:
      loaded === undefined
        ? []
        : [
            { file: loaded.tables.allow.file, rules: loaded.allowRules },
            { file: loaded.tables.deny.file, rules: loaded.denyRules },
          ],
    services: Object.keys(settings?.services ?? {}),
    diagnostics,
  };
}
