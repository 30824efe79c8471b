import assert from "node:assert/strict";
import { test } from "node:test";
import { printDiagnostic } from "../../src/cli/settings.ts";
import { readConfiguration } from "../../src/config/configuration.ts";

const sshd = "services:\n  sshd:\n    listen: ['0.0.0.0:22']\n    backend: 127.0.0.1:2222\n";

test("configuration fills in every default, with durations in milliseconds and sizes in bytes", () => {
  const { settings } = readConfiguration({ name: "x.yaml", text: sshd }, []);
  assert.equal(settings?.access.allow, "/etc/hosts.allow");
  assert.equal(settings?.access.noMatch, "allow");
  assert.equal(settings?.names.timeout, 1000);
  assert.equal(settings?.services["sshd"]?.connectTimeout, 5000);
  assert.equal(settings?.services["sshd"]?.idleTimeout, 0);
  assert.equal(settings?.services["sshd"]?.halfClosedTimeout, 60_000);
  assert.equal(settings?.services["sshd"]?.decisionTimeout, 15_000);
  assert.deepEqual(settings?.log, [{ to: "stdout", format: "text", queue: 4_194_304, audit: false }]);
  assert.deepEqual(settings?.banners, { size: 65_536, timeout: 5000 });
  assert.deepEqual(settings?.limits, {
    connections: "auto",
    sessionBuffer: 1_048_576,
    buffers: 268_435_456,
    held: "auto",
    holdTime: 30_000,
    startsPerMinute: 3000,
  });
});

test("configuration may be empty: the flags may say it all", () => {
  assert.deepEqual(readConfiguration({ name: "x.yaml", text: "" }, []).settings?.services, {});
  assert.deepEqual(readConfiguration(undefined, []).settings?.services, {});
});

test("configuration is overlaid by the environment, and that by the flags", () => {
  const layer = (origin: string, format: string) => ({ origin, keys: { log: [{ to: "stdout", format }] } });
  const { settings } = readConfiguration({ name: "x.yaml", text: sshd }, [
    layer("TCPWRAPD_LOG_FORMAT", "json"),
    layer("--log-format", "pretty"),
    { origin: "--service", keys: { services: { sshd: { backend: "unix:/run/sshd" } } } },
  ]);
  assert.deepEqual(settings?.log, [{ to: "stdout", format: "pretty", queue: 4_194_304, audit: false }]);
  assert.deepEqual(settings?.services["sshd"]?.backend, [{ kind: "unix", path: "/run/sshd" }]);
  assert.deepEqual(settings?.services["sshd"]?.listen, [{ kind: "tcp", host: "0.0.0.0", port: 22 }]);
});

const rows: [because: string, text: string, line: RegExp][] = [
  [
    "a misspelt key names the one that was meant",
    "service: {}\n",
    /^x\.yaml:1:1: error unknown-key: unknown key "service" in the configuration; did you mean "services"\?$/m,
  ],
  [
    "a misspelt key deep down too",
    "names:\n  revers: always\n",
    /^x\.yaml:2:3: .*unknown key "revers" in "names"; did you mean "reverse"\?$/m,
  ],
  ["a key of a service too", sshd + "    idletimeot: 5s\n", /^x\.yaml:5:5: .*did you mean "idleTimeout"\?$/m],
  [
    "a key like nothing we know lists what there is",
    "names:\n  zzz: 1\n",
    /known here: reverse, forward, timeout/,
  ],
  [
    "a duration without a unit",
    sshd + "    idleTimeout: 5x\n",
    /^x\.yaml:5:18: error bad-value: .*"5x" is no duration; write "500ms"/m,
  ],
  ["a duration that no timer can wait", sshd + "    idleTimeout: 1000h\n", /is no duration/],
  [
    "a size without a unit",
    "limits:\n  buffers: 64MB\n",
    /^x\.yaml:2:12: error bad-value: .*"64MB" is no size; write "512B", "64KiB", "4MiB" or "1GiB"$/m,
  ],
  [
    "a size that would leave nothing",
    "limits: {sessionBuffer: 1KiB}\n",
    /^x\.yaml:1:25: error bad-value: "limits\.sessionBuffer": out of range; write a size from 16KiB to 1MiB$/m,
  ],
  ["a size that no number holds", "limits: {buffers: 999999999999GiB}\n", /is no size/],
  [
    "a missing backend",
    "services:\n  sshd:\n    listen: ['0.0.0.0:22']\n",
    /^x\.yaml:3:5: error bad-value: "services\.sshd": needs either "backend" or "exec"; write one of them$/m,
  ],
  [
    "a unix socket with a source",
    "services:\n  sshd:\n    listen: ['0.0.0.0:22']\n    backend: unix:/run/x.sock\n    source: client\n",
    /^x\.yaml:5:13: error bad-value: "services\.sshd\.source": a unix socket has no source address; use a TCP backend/m,
  ],
  [
    "a hand-over with a source",
    "services:\n  sshd:\n    listen: ['0.0.0.0:22']\n    exec: [/usr/sbin/sshd, -i]\n    source: client\n",
    /^x\.yaml:5:13: error bad-value: "services\.sshd\.source": "exec" needs no source/m,
  ],
  [
    "a backend twice",
    sshd.replace("127.0.0.1:2222", "['127.0.0.1:1', '127.0.0.1:2', '127.0.0.1:1']"),
    /^x\.yaml:4:\d+: .*"127\.0\.0\.1:1" stands twice in the list; leave it out$/m,
  ],
  ["a bad address", sshd.replace("0.0.0.0:22", "::1:22"), /^x\.yaml:3:14: .*write "\[::1\]:22"$/m],
  [
    "a service without a name that can be matched",
    "services:\n  'ss hd': {listen: ['0.0.0.0:22'], backend: '127.0.0.1:22'}\n",
    /bad-name: "ss hd"/,
  ],
  [
    "a list where a map belongs",
    "- a\n",
    /error bad-value: the configuration: invalid input: expected object, received array/,
  ],
];

/** What a YAML file can do to its reader. */
const hostile: typeof rows = [
  ["a key twice", "names: {}\nnames: {}\n", /^x\.yaml:2:1: error yaml-syntax: map keys must be unique$/m],
  ["a tab", "names:\n\treverse: always\n", /^x\.yaml:2:1: error yaml-syntax: tabs/m],
  [
    "an alias without its anchor",
    "\nnames: {reverse: *x}\n",
    /^x\.yaml:2:18: error yaml-syntax: unresolved alias/m,
  ],
  [
    "a billion laughs",
    "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: [*c,*c,*c,*c]\n",
    /^x\.yaml:4:14: error yaml-syntax: excessive alias count/m,
  ],
  [
    "the name of the prototype",
    "__proto__: {x: 1}\n",
    /^x\.yaml:1:1: error unknown-key: unknown key "__proto__"/m,
  ],
  [
    "the name of the prototype as a service",
    `${sshd}  __proto__:\n    listen: ['0.0.0.0:23']\n    backend: 127.0.0.1:2223\n`,
    /^x\.yaml:5:3: error unknown-key: unknown key "__proto__"/m,
  ],
  [
    "inside a service",
    `${sshd}    __proto__: {maxConnections: 1}\n`,
    /^x\.yaml:5:5: .*unknown key "__proto__"/m,
  ],
  [
    "a key of a service twice",
    `${sshd}    backend: 127.0.0.1:1\n`,
    /^x\.yaml:5:5: .*: map keys must be unique$/m,
  ],
  ["a key that is a list", `${sshd}    ? [a]\n    : 1\n`, /^x\.yaml:5:7: error yaml-syntax: /m],
  [
    "keys from an anchor",
    "names: &n {}\nident: {<<: *n}\n",
    /^x\.yaml:2:9: error unknown-key: unknown key "<<"/m,
  ],
  [
    "a tab before a key of a service",
    `${sshd}\tmaxConnections: 1\n`,
    /^x\.yaml:5:1: error yaml-syntax: tabs/m,
  ],
  [
    "another document",
    "names: {}\n---\nnames: {}\n",
    /^x\.yaml:2:1: error yaml-syntax: source contains multiple/m,
  ],
  ["a tag", "names: !!js/function x\n", /^x\.yaml:1:8: error yaml-syntax: unresolved tag/m],
  ...[
    "1e999",
    "99999999999999999999",
    "0x7fffffffffffffffff",
    ".inf",
    ".nan",
    "1.5",
    "-1",
    "9".repeat(10_000),
  ].map((number): (typeof rows)[number] => [
    `the number ${number.slice(0, 20)}`,
    `${sshd}    maxConnections: ${number}\n`,
    /^x\.yaml:5:21: error bad-value: "services\.sshd\.maxConnections"/m,
  ]),
];
for (const [because, text, line] of hostile) {
  test(`L5: configuration is refused with the place: ${because}`, () => {
    const { settings, diagnostics } = readConfiguration({ name: "x.yaml", text }, []);
    assert.equal(settings, undefined);
    assert.match(diagnostics.map(printDiagnostic).join("\n"), line);
  });
}

const tftp = (keys: string) => `services:\n  tftp:\n    ${keys.split("; ").join("\n    ")}\n`;
rows.push(
  [
    "a TCP address of a UDP service",
    tftp("listen: ['udp:[::]:69', '0.0.0.0:69']; backend: udp:127.0.0.1:6969"),
    /^x\.yaml:3:29: error bad-value: .*cannot listen on "0\.0\.0\.0:69"; write "udp:0\.0\.0\.0:69", or give TCP a service/m,
  ],
  [
    "a TCP backend of a UDP service",
    tftp("listen: ['udp:0.0.0.0:69']; backend: 127.0.0.1:6969"),
    /^x\.yaml:4:14: .*cannot send to "127\.0\.0\.1:6969"; write "udp:127\.0\.0\.1:6969"$/m,
  ],
  [
    "a UDP backend of a TCP listener",
    tftp("listen: ['0.0.0.0:69']; backend: udp:127.0.0.1:6969"),
    /^x\.yaml:3:14: .*cannot listen on "0\.0\.0\.0:69"/m,
  ],
  [
    "several UDP backends",
    tftp("listen: ['udp:0.0.0.0:69']; backend: ['udp:127.0.0.1:1', 'udp:127.0.0.1:2']"),
    /^x\.yaml:4:14: .*has one backend/m,
  ],
  [
    "a program behind UDP",
    tftp("listen: ['udp:0.0.0.0:69']; exec: [/usr/sbin/in.tftpd]"),
    /^x\.yaml:4:11: .*"exec" cannot be given datagrams, .*; let the program listen by itself/m,
  ],
  [
    "a PROXY header for datagrams",
    tftp("listen: ['udp:0.0.0.0:69']; backend: udp:127.0.0.1:1; proxyProtocol: {send: v2}"),
    /^x\.yaml:5:27: .*a UDP service has no PROXY headers; leave "proxyProtocol" out$/m,
  ],
  [
    "a PROXY header from in front of datagrams",
    tftp("listen: ['udp:0.0.0.0:69']; backend: udp:127.0.0.1:1; proxyProtocol: {acceptFrom: [10.0.0.0/8]}"),
    /^x\.yaml:5:33: .*a UDP service has no PROXY headers/m,
  ],
  [
    "refused datagrams that are held",
    tftp("listen: ['udp:0.0.0.0:69']; backend: udp:127.0.0.1:1; refuse: hold"),
    /^x\.yaml:5:13: .*nothing can be "hold"; leave "refuse" out$/m,
  ],
  [
    "refused datagrams that are waited with",
    tftp("listen: ['udp:0.0.0.0:69']; backend: udp:127.0.0.1:1; refuseAfter: 2s"),
    /^x\.yaml:5:18: .*; leave "refuseAfter" out$/m,
  ],
  [
    "the health of a backend of datagrams",
    tftp("listen: ['udp:0.0.0.0:69']; backend: udp:127.0.0.1:1; health: {fall: 3}"),
    /^x\.yaml:5:13: .*only backends of connections have a health; leave "health" out$/m,
  ],
  ["a limit of UDP for TCP", sshd + "    maxPerSource: 5\n", /^x\.yaml:5:19: .*only UDP services have it/m],
);
for (const [because, text, line] of rows) {
  test(`configuration is refused with the place: ${because}`, () => {
    const { settings, diagnostics } = readConfiguration({ name: "x.yaml", text }, []);
    assert.equal(settings, undefined);
    assert.match(diagnostics.map(printDiagnostic).join("\n"), line);
  });
}

test("configuration names the flag when the flag is wrong", () => {
  const keys = { services: { sshd: { listen: ["127.0.0.1:22"], backend: "nowhere" } } };
  const { diagnostics } = readConfiguration(undefined, [{ origin: "--service", keys }]);
  assert.match(
    diagnostics.map(printDiagnostic).join("\n"),
    /^--service: error bad-value: .*"nowhere" is no address/,
  );
});

test("configuration takes UDP services, from the flags too", () => {
  const keys = { services: { tftp: { listen: ["udp:0.0.0.0:69"], backend: "udp:127.0.0.1:6969" } } };
  const { settings } = readConfiguration(undefined, [{ origin: "--service", keys }]);
  const { listen, backend, maxPerSource } = settings?.services["tftp"] ?? {};
  assert.deepEqual(listen, [{ kind: "udp", host: "0.0.0.0", port: 69 }]);
  assert.deepEqual(backend, [{ kind: "udp", host: "127.0.0.1", port: 6969 }]);
  assert.equal(maxPerSource, undefined);
});

test("configuration takes one backend or several", () => {
  const text = "services: {a: {listen: ['0.0.0.0:1'], backend: [127.0.0.1:2, unix:/x]}}\n";
  const { settings } = readConfiguration({ name: "x.yaml", text }, []);
  assert.deepEqual(settings?.services["a"]?.backend, [
    { kind: "tcp", host: "127.0.0.1", port: 2 },
    { kind: "unix", path: "/x" },
  ]);
});
