import assert from "node:assert/strict";
import { test } from "node:test";
import { commandsOf, isCommandOf } from "../../src/access/commands.ts";
import type { Command } from "../../src/access/types.ts";

const marks = { text: "m0123456789abcdef", number: 4503599627370497 };

/** A rule's options, what somebody asks for, and whether the rule has it. */
const rows: [options: string, asked: string | Command, isIn: boolean, because: string][] = [
  [" spawn /bin/echo hello", "/bin/echo hello", true, "as it is written"],
  [" spawn /bin/echo hello", "/bin/echo hello ; id", false, "more than is written"],
  [" spawn /bin/echo hello", "/bin/echo", false, "less than is written"],
  [" spawn /bin/echo %a %p %r", "/bin/echo 192.0.2.1 4711 60000", true, "expansions bring anything harmless"],
  [" spawn /bin/echo %a", "/bin/echo 192.0.2.1;id", false, "a semicolon means something to a shell"],
  [" spawn /bin/echo %a", "/bin/echo $(id)", false, "so do a dollar sign and a bracket"],
  [" spawn /bin/echo %a", "/bin/echo a b", false, "and a blank ends a word"],
  [
    " spawn (/bin/echo %c at %s) &",
    "(/bin/echo bob@host.example at sshd@192.0.2.2) &",
    true,
    "%c and %s, whole",
  ],
  [
    " spawn (/bin/echo %c at %s) &",
    "(/bin/echo host.example at sshd) &",
    true,
    "%c and %s without the part before or behind the @",
  ],
  [" spawn /bin/echo 100%%", "/bin/echo 100%", true, "a percent sign"],
  [" twist /bin/echo %h", "/bin/echo host.example", true, "twist"],
  [" aclexec /bin/one %a : spawn /bin/two", "/bin/one 192.0.2.1", true, "aclexec"],
  [" aclexec /bin/one %a : spawn /bin/two", "/bin/two", true, "what stands behind an aclexec"],
  [" spawn /bin/a : bad-option : spawn /bin/b", "/bin/a", true, "what stands before a mistake"],
  [" spawn /bin/a : bad-option : spawn /bin/b", "/bin/b", false, "what stands behind a mistake never runs"],
  [" user nobody : spawn /bin/id", "/bin/id", false, "not as root where the rule says nobody"],
  [" user nobody : spawn /bin/id", { line: "/bin/id", environment: {}, user: "nobody" }, true, "as nobody"],
  [
    " user nobody : spawn /bin/id",
    { line: "/bin/id", environment: {}, user: "root" },
    false,
    "as somebody else",
  ],
  [" spawn /bin/id", { line: "/bin/id", environment: {}, nice: -20 }, false, "with another niceness"],
  [
    " nice 2 : nice 3 : spawn /bin/id",
    { line: "/bin/id", environment: {}, nice: 5 },
    true,
    "with all that its rule adds to it",
  ],
  [" umask 077 : spawn /bin/id", { line: "/bin/id", environment: {}, umask: 0o77 }, true, "with its umask"],
  [" umask 077 : spawn /bin/id", "/bin/id", false, "without its umask"],
  [
    " user nobody.daemon : spawn /bin/id",
    { line: "/bin/id", environment: {}, user: "nobody", group: "daemon" },
    true,
    "with its group",
  ],
  [
    " user nobody.daemon : spawn /bin/id",
    { line: "/bin/id", environment: {}, user: "nobody", group: "root" },
    false,
    "with another group",
  ],
  [
    " spawn /bin/echo %a from %h",
    "/bin/echo 192.0.2.1 to host.example",
    false,
    "with other words between expansions",
  ],
  [
    " spawn /bin/echo %h %a",
    "/bin/echo host.example 192.0.2.1 x",
    false,
    "with a word behind the last expansion",
  ],
  [
    " setenv A %a : spawn /bin/id",
    { line: "/bin/id", environment: { A: "192.0.2.1" } },
    true,
    "with its environment",
  ],
  [
    " setenv A %a : spawn /bin/id",
    { line: "/bin/id", environment: { A: "x;y" } },
    false,
    "with a value that is none",
  ],
  [
    " spawn /bin/id",
    { line: "/bin/id", environment: { LD_PRELOAD: "/tmp/x.so" } },
    false,
    "with a variable that no rule has",
  ],
  [" allow", "/bin/id", false, "no command at all"],
  [" SPAWN /bin/id", "/bin/id", true, "keywords in capitals"],
];

for (const [options, asked, isIn, because] of rows) {
  const command: Command = typeof asked === "string" ? { line: asked, environment: {} } : asked;
  test(`${options.trim()} ${isIn ? "has" : "has not"} ${JSON.stringify(asked)}: ${because}`, () => {
    const found = commandsOf(options, marks).some((template) => isCommandOf(template, command, marks));
    assert.equal(found, isIn);
  });
}

test("a text made to be slow is not", () => {
  const [template] = commandsOf(` spawn ${"%a".repeat(1)}x${"%h ".repeat(40)}`, marks);
  assert.ok(template !== undefined);
  const startedAt = performance.now();
  isCommandOf(template, { line: `${"x".repeat(8000)}!`, environment: {} }, marks);
  assert.ok(performance.now() - startedAt < 5000);
});
