/** Options: hosts_options(5), and tcpd's error texts. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { withLate } from "../../src/access/expand.ts";
import { OPTIONS } from "../../src/access/option-rows.ts";
import { parseOptions, splitOptions } from "../../src/access/option-text.ts";
import { applyOptions, checkOptions, placeProblem, type Applied } from "../../src/access/options.ts";
import type { Command, Request } from "../../src/access/types.ts";

const request: Request = {
  daemon: "sshd",
  client: { address: "192.0.2.1", name: "host.test" },
  server: { address: "198.51.100.1", name: "unknown" },
  user: "bob",
  commands: ["succeeded", "succeeded"],
};
const accounts = { users: new Set(["root", "nobody"]), groups: new Set(["nogroup"]) };

const verdicts: [options: string, verdict: Applied["verdict"], because: string][] = [
  ["allow", "allow", "allow"],
  [" DENY \r", "refuse", "deny, in any case, blanks trimmed"],
  ["severity info", "default", "no verdict of its own"],
  ["severity info: allow", "allow", "after others"],
  ["twist cat", "twist", "a command serves the client"],
  ["aclexec true", "default", "a command that succeeds changes nothing"],
  ["aclexec true : deny", "refuse", "nor does it stop the rest"],
];
for (const [options, verdict, because] of verdicts) {
  test(`"${options}": ${because}`, () => {
    const result = apply(options);
    assert.deepEqual([result.verdict, result.problems], [verdict, []]);
  });
}

const errors: [options: string, message: string, because: string][] = [
  ["", "missing option name", "an empty field"],
  ["allow:", 'option "allow" must be at end', "a colon at the end counts as a field"],
  ["severity info::allow", "missing option name", "an empty field in the middle"],
  ["=x", "missing option name", "a value without a name"],
  ["bogus", 'bad option name: "bogus"', "no such option"],
  ["bogus : allow", 'bad option name: "bogus"', "a verdict behind it does not help"],
  ["/bin/true", 'bad option name: "/bin/true"', "the classic shell-command syntax"],
  ["Spawn", 'option "Spawn" requires value', "a value is missing"],
  ["spawn =", 'option "spawn" requires value', "an empty one counts as missing"],
  ["keepalive yes", 'option "keepalive" requires no value', "one too many"],
  ["allow=1", 'option "allow" requires no value', "in any form"],
  ["deny 1", 'option "deny" requires no value', "nor for deny"],
  ["group", 'option "group" requires value', "none for a group"],
  ["deny : severity info", 'option "deny" must be at end', "nothing may follow a verdict"],
  ["twist a:b", 'option "twist" must be at end', "nor twist"],
  ["severity local8.info", 'bad syslog facility or severity: "local8"', "the facility is looked at first"],
  ["severity mail.none", 'bad syslog facility or severity: "none"', "then the level"],
  ["severity mail", 'bad syslog facility or severity: "mail"', "one word is a level"],
  ["severity mail .info", 'bad syslog facility or severity: "mail "', "no blanks around the dot"],
  ["severity .info", 'bad syslog facility or severity: ""', "no empty half"],
  ["severity = = info", 'bad syslog facility or severity: "= info"', "a second = is part of the value"],
  ["linger -1", 'bad linger value: "-1"', "no negative seconds"],
  ["linger 5s", 'bad linger value: "5s"', "nothing behind the digits"],
  ["rfc931 0", 'bad rfc931 timeout: "0"', "not no time"],
  ["rfc931 x", 'bad rfc931 timeout: "x"', "a number"],
  ["nice x", 'bad nice value: "x"', "a number"],
  ["umask 8", 'bad umask value: "8"', "octal"],
  ["umask 1000", 'bad umask value: "1000"', "nine bits"],
  ["umask -1", 'bad umask value: "-1"', "no sign that makes it large"],
  ["setenv A=B", "memory allocation failure", "setenv(3) takes no = in a name, and tcpd calls that so"],
  ["setenv %q", "memory allocation failure", "nor an empty name"],
  ["user nosuch", 'unknown user: "nosuch"', "a user must exist"],
  ["user 0", 'unknown user: "0"', "by name"],
  ["user nosuch.nosuch", 'unknown group: "nosuch"', "the group is looked at first"],
  ["user .nosuch", 'unknown group: "nosuch"', "without a user too"],
  ["user nobody.", 'unknown group: ""', "and must be there behind the dot"],
  ["group root", 'unknown group: "root"', "a group must exist"],
];
for (const [options, message, because] of errors) {
  test(`"${options}" refuses with ${message}: ${because}`, () => {
    const result = apply(options);
    assert.equal(result.verdict, "error");
    const last = result.problems.at(-1);
    assert.deepEqual([last?.severity, last?.message], ["error", message]);
    assert.deepEqual(
      checkOptions(options, accounts).find(({ severity }) => severity === "error")?.message,
      message,
    );
  });
}

const severities: [value: string, expected: Applied["severity"]][] = [
  ["info", { level: "info" }],
  ["mail.notice", { facility: "mail", level: "notice" }],
  ["LOCAL7.Debug", { facility: "local7", level: "debug" }],
  ["kern.err", { level: "err" }],
  ["authpriv.warn", { facility: "authpriv", level: "warning" }],
  ["ftp.error", { facility: "ftp", level: "err" }],
  ["syslog.panic", { facility: "syslog", level: "emerg" }],
];
for (const [value, expected] of severities) {
  test(`severity ${value}`, () => assert.deepEqual(apply(`severity ${value}`).severity, expected));
}
test("every facility and level of syslog(3) that a daemon may use is known", () => {
  const facilities =
    "user mail daemon auth lpr news uucp cron authpriv ftp syslog local0 local1 local2 local3 local4 local5 local6";
  for (const facility of facilities.split(" ")) {
    for (const level of "emerg alert crit err warning notice info debug".split(" ")) {
      assert.deepEqual(apply(`severity ${facility}.${level}`).severity, { facility, level });
    }
  }
});
test("any blanks part a severity from its name", () => {
  assert.deepEqual(apply("severity =\t  info").severity, { level: "info" });
});
test("the last severity counts", () => {
  assert.deepEqual(apply("severity mail.info: severity err").severity, { level: "err" });
});

test("keyword and value are parted by a blank, one equals sign, or both", () => {
  for (const form of [
    "linger 5",
    "linger=5",
    "linger = 5",
    "linger =5",
    "linger= 5",
    "linger\t5",
    " linger   5 ",
  ]) {
    assert.deepEqual(apply(form).effects, [{ kind: "linger", seconds: 5 }], form);
  }
});

test("fields are parted at colons, but for those behind a backslash", () => {
  assert.deepEqual(splitOptions("a:b"), ["a", "b"]);
  assert.deepEqual(splitOptions("a\\:b"), ["a:b"]);
  assert.deepEqual(splitOptions("a\\\\:b:"), ["a\\:b", ""]);
  assert.deepEqual(splitOptions("\\:\\:"), ["::"]);
  assert.deepEqual(splitOptions("a:\\:b:c"), ["a", ":b", "c"]);
  assert.deepEqual(splitOptions(":"), ["", ""]);
});

test("effects come in the order of the options, and stay when a later option fails", () => {
  const { effects, verdict } = apply("keepalive: banners /etc/b : linger 0 : spawn echo %h %c : bogus");
  assert.equal(verdict, "error");
  assert.deepEqual(effects, [
    { kind: "keepalive" },
    { kind: "banners", directory: "/etc/b" },
    { kind: "linger", seconds: 0 },
    { kind: "spawn", command: { line: "echo host.test bob@host.test", environment: {} } },
  ]);
});

test("a command carries what the options before it have set, and no more", () => {
  const before = "setenv A %a : setenv B  b b  : setenv A 2 : umask 027 : nice : user nobody.nogroup";
  const { effects } = apply(`spawn one : ${before} : spawn two : nice -5 : setenv A : spawn three`);
  const commands = effects.map((effect) => (effect.kind === "spawn" ? effect.command : undefined));
  const two: Command = {
    line: "two",
    environment: { A: "2", B: "b b" },
    umask: 0o27,
    nice: 10,
    user: "nobody",
    group: "nogroup",
  };
  assert.deepEqual(commands, [
    { line: "one", environment: {} },
    two,
    { ...two, line: "three", nice: 5, environment: { A: "", B: "b b" } },
  ]);
});

const steps: [options: string, nice: number, because: string][] = [
  ["nice 2: nice 3", 5, "each adds to what is there"],
  ["nice 2: nice", 12, "10 where no number is given"],
  ["nice 25: nice -3", 16, "more than 19 is 19, each time"],
  ["nice -30: nice 5", -15, "less than -20 is -20"],
  ["nice 3: nice -3", 0, "and nothing is left"],
];
for (const [options, nice, because] of steps)
  test(`${options}: ${because}`, () => assert.equal(twisted(`${options}: twist x`)?.nice, nice));

const variables: [value: string, name: string, content: string, because: string][] = [
  ["A\v b", "A", "b", "white space of any kind is taken off the name"],
  ["A\vB b", "A\vB", "b", "but only a blank, a tab, a CR or a LF ends it"],
  ["A \v\f b \v", "A", "b", "as off the value"],
  ["A\vb", "A\vb", "", "so this is one name"],
];
for (const [value, name, content, because] of variables)
  test(`setenv ${JSON.stringify(value)}: ${because}`, () =>
    assert.deepEqual(twisted(`setenv ${value}: twist x`)?.environment, { [name]: content }));

test("group alone sets no user, and user alone no group", () => {
  assert.deepEqual(twisted("group nogroup: twist x"), { line: "x", environment: {}, group: "nogroup" });
  assert.deepEqual(twisted("user nobody: twist x"), { line: "x", environment: {}, user: "nobody" });
});

test("without a list of accounts every name passes", () => {
  assert.equal(
    applied(applyOptions(parseOptions("user nosuch.nosuch"), request, undefined)).verdict,
    "default",
  );
});

test("a name that JavaScript knows is a name like any other", () => {
  assert.deepEqual(
    Object.entries(twisted("setenv __proto__ 1: setenv constructor 2: twist x")?.environment ?? {}),
    [
      ["__proto__", "1"],
      ["constructor", "2"],
    ],
  );
});

test("the text of a command is UTF-8 again", () => {
  const utf8 = Buffer.from("echo caf\u00e9 %h").toString("latin1");
  assert.equal(twisted(`twist ${utf8}`)?.line, "echo caf\u00e9 host.test");
});

test("difference 11: a command gets U+FFFD for a byte that is no UTF-8, and so does its environment", () => {
  assert.deepEqual(twisted("setenv A\xe4 \xe4: twist echo \xe4"), {
    line: "echo \ufffd",
    environment: { "A\ufffd": "\ufffd" },
  });
  assert.deepEqual(apply("banners /\xe4").effects, [{ kind: "banners", directory: "/\udce4" }]);
});

test("difference 7: twist works although we are resident", () => {
  const { verdict, twist } = apply("severity mail.info: twist /bin/echo %u\\: no");
  assert.deepEqual([verdict, twist?.line], ["twist", "/bin/echo bob: no"]);
});

test("aclexec asks for its outcome in the order of the commands, and the first failure refuses", () => {
  const options = "setenv A 1 : aclexec one %h : aclexec two : allow";
  const ask = (commands: Request["commands"]) =>
    applyOptions(
      parseOptions(options),
      commands === undefined ? withoutCommands() : { ...request, commands },
      accounts,
    );
  const one = { line: "one host.test", environment: { A: "1" } };
  assert.deepEqual(ask(undefined), { kind: "need", fact: { kind: "aclexec", command: one } });
  assert.deepEqual(ask(["succeeded"]), {
    kind: "need",
    fact: { kind: "aclexec", command: { ...one, line: "two" } },
  });
  assert.equal(applied(ask(["succeeded", "succeeded"])).verdict, "allow");
  for (const commands of [["failed"], ["succeeded", "failed"]] as const) {
    const { verdict, problems } = applied(ask(commands));
    const which = commands.length === 1 ? "one host.test" : "two";
    assert.deepEqual(
      [verdict, problems],
      ["refuse", [{ severity: "warning", code: "aclexec-failed", message: `aclexec failed: "${which}"` }]],
    );
  }
});

test("rfc931 asks for the user within its time, once", () => {
  const { user: _, ...fresh } = request;
  const asks: [string, object][] = [
    ["rfc931", { kind: "user", isLate: true }],
    ["rfc931 5", { kind: "user", isLate: true, withinMs: 5000 }],
    ["setenv U %u", { kind: "user", isLate: true }],
    ["spawn %n", { kind: "clientName", isLate: true }],
  ];
  for (const [options, fact] of asks) {
    const unnamed = { ...fresh, client: { address: "192.0.2.1" } };
    assert.deepEqual(applyOptions(parseOptions(options), unnamed, accounts), { kind: "need", fact });
    assert.equal(apply(options).verdict, "default");
  }
});

const order: [options: string, commands: string[], because: string][] = [
  ["spawn %h %n %h", ["192.0.2.1 host.test host.test"], "a look-up counts from its place on"],
  ["spawn %h: spawn %n: spawn %h", ["192.0.2.1", "host.test", "host.test"], "from option to option"],
  ["spawn %c: spawn %u: spawn %c", ["192.0.2.1", "bob", "bob@192.0.2.1"], "the user"],
  ["spawn %c: rfc931: spawn %c", ["192.0.2.1", "bob@192.0.2.1"], "by rfc931"],
  [
    "spawn %H %s: spawn %N %H %s",
    ["198.51.100.1 sshd@198.51.100.1", "s.test s.test sshd@s.test"],
    "the server",
  ],
  ["spawn %h %c: spawn %u: spawn %n %c", ["192.0.2.1 192.0.2.1", "bob", "host.test bob@host.test"], "both"],
  ["spawn %h %H %c", ["192.0.2.1 198.51.100.1 192.0.2.1"], "and nowhere if nobody asks"],
];
for (const [options, lines, because] of order) {
  test(`${options}: what stands before a look-up has no answer of it: ${because}`, () => {
    const answers = {
      clientName: { client: { address: "192.0.2.1", name: "host.test" } },
      serverName: { server: { address: "198.51.100.1", name: "s.test" } },
      user: { user: "bob" },
    };
    let asked: Request = {
      daemon: "sshd",
      client: { address: "192.0.2.1" },
      server: { address: "198.51.100.1" },
    };
    for (;;) {
      const result = applyOptions(parseOptions(options), asked, accounts);
      if (result.kind === "applied") {
        assert.deepEqual(
          result.effects.map((effect) => effect.kind === "spawn" && effect.command.line),
          lines,
        );
        return;
      }
      const { fact } = result;
      if (fact.kind === "aclexec") return assert.fail("no option asks for it");
      asked = withLate(Object.assign(asked, answers[fact.kind]), fact);
    }
  });
}

test("a banner is told what is late at its place", () => {
  const late: Request = { ...request, late: ["clientName", "user"] };
  const result = applyOptions(
    parseOptions("banners /a: spawn %n: banners /b: rfc931: banners /c"),
    late,
    undefined,
  );
  assert.deepEqual(
    applied(result).effects.filter(({ kind }) => kind === "banners"),
    [
      { kind: "banners", directory: "/a", late: ["clientName", "user"] },
      { kind: "banners", directory: "/b", late: ["user"] },
      { kind: "banners", directory: "/c", late: [] },
    ],
  );
});

test("an unknown %-sequence is a warning, an endless one an error", () => {
  assert.deepEqual(apply("spawn a%qb").problems, [
    { severity: "warning", code: "unknown-expansion", message: "unrecognized %q" },
  ]);
  const [problem] = apply(`spawn ${"%h".repeat(2000)}`).problems;
  assert.deepEqual([problem?.severity, problem?.code], ["error", "expansion-too-long"]);
});

const codes: [options: string, code: string][] = [
  ["", "missing-option-name"],
  ["bogus", "unknown-option"],
  ["spawn", "missing-value"],
  ["keepalive 1", "unexpected-value"],
  ["allow: deny", "option-not-last"],
  ["umask 9", "bad-option-value"],
  ["user nosuch", "unknown-user"],
  ["group nosuch", "unknown-group"],
];
for (const [options, code] of codes) {
  test(`what is wrong with "${options}" is called ${code}`, () => {
    assert.equal(apply(options).problems[0]?.code, code);
    assert.equal(checkOptions(options, accounts)[0]?.code, code);
  });
}

test("the place of a problem is that of its rule, with a column where both have one", () => {
  const [problem] = checkOptions("allow :  umask 9 ", accounts).slice(1);
  assert.ok(problem);
  const { at, ...rest } = problem;
  assert.equal(at, 9);
  const placed = { file: "f", line: 3, ...rest };
  assert.deepEqual(placeProblem(problem, "f", 3), placed);
  assert.deepEqual(placeProblem(problem, "f", 3, 20), { ...placed, column: 29 });
  assert.deepEqual(placeProblem(rest, "f", 3, 20), placed);
  assert.equal(placeProblem({ ...rest, message: "\xc3\xa9" }, "f", 3).message, "\u00e9");
});

test("checkOptions finds every problem, runs nothing and waits for nothing", () => {
  const found = checkOptions("bogus: umask 9 : spawn %q : rfc931 : aclexec x : twist y : allow", accounts);
  assert.deepEqual(
    found.map(({ code }) => code),
    ["unknown-option", "bad-option-value", "unknown-expansion", "option-not-last"],
  );
  assert.deepEqual(checkOptions("aclexec x : spawn %n %N %u : allow", accounts), []);
  assert.equal(checkOptions("spawn %q %q %z: spawn %q", accounts).length, 3, "each once in its option");
});

test("every option has a manual line, and those that end a rule are allow, deny and twist", () => {
  for (const { keyword, manual } of OPTIONS) assert.ok(manual.length > 10, keyword);
  assert.deepEqual(
    OPTIONS.filter(({ mustBeLast }) => mustBeLast).map(({ keyword }) => keyword),
    ["allow", "deny", "twist"],
  );
  const keywords =
    "severity allow deny spawn twist aclexec keepalive linger rfc931 banners nice setenv umask user group";
  assert.deepEqual(
    OPTIONS.map(({ keyword }) => keyword),
    keywords.split(" "),
  );
});

test("blanks take linear time", () => {
  assert.equal(apply(`spawn ${" ".repeat(1 << 20)}x`).effects.length, 1);
  assert.equal(apply(`spawn x${" ".repeat(1 << 20)}y`).problems[0]?.code, "expansion-too-long");
  assert.equal(apply(`umask x${" ".repeat(1 << 20)}y`).problems[0]?.code, "bad-option-value");
});

function withoutCommands(): Request {
  const { commands: _, ...rest } = request;
  return rest;
}

function apply(options: string): Applied {
  return applied(applyOptions(parseOptions(options), request, accounts));
}

function twisted(options: string): Command | undefined {
  return apply(options).twist;
}

function applied(result: ReturnType<typeof applyOptions>): Applied {
  if (result.kind === "need") return assert.fail(`it asks for ${result.fact.kind}`);
  return result;
}
