/** docs/diagnostics.md: every code that can be said of a table, a configuration or a machine. */
import { CODES, isGrave } from "../../src/access/codes.ts";
import { CHECK_CODES } from "../../src/cli/check-codes.ts";

/** The page. */
export function diagnosticsPage(): string {
  return `# Diagnostics

Every remark has a place, a severity and one of these codes. The codes do not change.

    FILE:LINE:COLUMN: severity code: message; hint

\`tcpwrapd check\` finds them all. \`run\` and \`match\` say only what reading a table finds by itself: the codes down to \`unknown-expansion\`.
Line and column of a remark about a whole file or a whole line are 1.

## Tables

An \`error\` means that somebody is refused or that a part of the table does not work; a \`warning\` that the text may not mean what its
writer thought. Where a rule has a broken option, the clients that the rule matches are refused and nobody else; tcpd tells its log when
such a client comes, the checker tells beforehand. With \`access.strict\` a table is not loaded while it has a remark that says so in the last
column: a dead or a dangerous rule, or a file that others can change. The latter is what sshd's StrictModes asks: every file, folder and
symbolic link on the way belongs to root or to the user that the daemon runs as (\`process.user\`), and nobody else can write to it; a folder
with the sticky bit, such as /tmp, is good enough for a file that is there. Once it is mended the tables come into force by themselves.

| code | severity | meaning | strict |
| ---- | -------- | ------- | ------ |
${Object.entries(CODES).map(row).join("\n")}

## Configuration, files and machine

| code | severity | meaning |
| ---- | -------- | ------- |
${Object.entries(CHECK_CODES)
  .map(([code, { severity, meaning }]) => `| \`${code}\` | ${severity} | ${meaning} |`)
  .join("\n")}
`;
}

function row([code, { severity, meaning }]: [string, { severity: string; meaning: string }]): string {
  return `| \`${code}\` | ${severity} | ${meaning} | ${isGrave({ code, severity }) ? "refused" : ""} |`;
}
