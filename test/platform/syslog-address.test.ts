import assert from "node:assert/strict";
import { test } from "node:test";

import type { SyslogAddress } from "../../src/platform/syslog-address.ts";
import { parseSyslogAddress } from "../../src/platform/syslog-address.ts";

const rows: [text: string, address: SyslogAddress | undefined, because: string][] = [
  ["/dev/log", { kind: "unix", path: "/dev/log" }, "a path"],
  ["udp://192.0.2.1:5514", { kind: "udp", host: "192.0.2.1", port: 5514 }, "an address with a port"],
  [
    "tcp://loghost.example",
    { kind: "tcp", host: "loghost.example", port: 514 },
    "a name, and the usual port",
  ],
  ["udp://[2001:db8::1]:514", { kind: "udp", host: "2001:db8::1", port: 514 }, "IPv6 in brackets"],
  ["tcp://[::1]", { kind: "tcp", host: "::1", port: 514 }, "IPv6 without a port"],
  ["udp://2001:db8::1", undefined, "IPv6 without brackets could be a port"],
  ["udp://host:0", undefined, "no such port"],
  ["udp://host:65536", undefined, "no such port"],
  ["udp://host:", undefined, "a colon without a port"],
  ["udp://", undefined, "no host"],
  ["http://host", undefined, "another protocol"],
  ["udp://host/path", undefined, "more than an address"],
  ["dev/log", undefined, "a path that depends on where we run"],
  ["", undefined, "nothing"],
];
for (const [text, address, because] of rows) {
  test(`"${text}": ${because}`, () => assert.deepEqual(parseSyslogAddress(text), address));
}
