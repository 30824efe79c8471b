import assert from "node:assert/strict";
import { test } from "node:test";
import { parseBackend, parseListen, printEndpoint } from "../../src/listen/endpoint.ts";

const good: [text: string, parse: typeof parseListen, endpoint: object][] = [
  ["127.0.0.1:22", parseListen, { kind: "tcp", host: "127.0.0.1", port: 22 }],
  ["0.0.0.0:0", parseListen, { kind: "tcp", host: "0.0.0.0", port: 0 }],
  ["[::]:3306", parseListen, { kind: "tcp", host: "::", port: 3306 }],
  ["[fe80::1%lo]:22", parseListen, { kind: "tcp", host: "fe80::1%lo", port: 22 }],
  ["unix:/run/x.sock", parseListen, { kind: "unix", path: "/run/x.sock" }],
  ["systemd:ssh", parseListen, { kind: "systemd", name: "ssh" }],
  ["udp:0.0.0.0:69", parseListen, { kind: "udp", host: "0.0.0.0", port: 69 }],
  ["udp:[::]:69", parseListen, { kind: "udp", host: "::", port: 69 }],
  ["udp:127.0.0.1:0", parseListen, { kind: "udp", host: "127.0.0.1", port: 0 }],
  ["udp:boot.example.org:69", parseBackend, { kind: "udp", host: "boot.example.org", port: 69 }],
  ["db.example.org:3306", parseBackend, { kind: "tcp", host: "db.example.org", port: 3306 }],
  ["unix:/run/a,b.sock", parseBackend, { kind: "unix", path: "/run/a,b.sock" }],
];
for (const [text, parse, endpoint] of good) {
  test(`endpoint ${text} is read, and printed as it was written`, () => {
    const parsed = parse(text);
    assert.ok("value" in parsed);
    assert.deepEqual(parsed.value, endpoint);
    assert.equal(printEndpoint(parsed.value), text);
  });
}

const bad: [text: string, parse: typeof parseListen, hint: RegExp][] = [
  ["::1:22", parseListen, /write "\[::1\]:22"/],
  ["127.0.0.1", parseListen, /"127\.0\.0\.1:22"/],
  ["::1", parseListen, /"\[::1\]:22"/],
  ["localhost:22", parseListen, /listen on an address of this machine/],
  ["127.0.0.1:65536", parseListen, /1 to 65535/],
  ["127.0.0.1:-1", parseListen, /1 to 65535/],
  ["127.0.0.1:0", (text) => parseBackend(text), /1 to 65535/],
  ["[127.0.0.1]:22", parseListen, /127\.0\.0\.1:22/],
  [":22", parseListen, /127\.0\.0\.1:22/],
  ["", parseListen, /127\.0\.0\.1:22/],
  ["unix:relative.sock", parseListen, /unix:\/run/],
  [`unix:/${"x".repeat(107)}`, parseListen, /107 bytes/],
  ["systemd:", parseListen, /FileDescriptorName/],
  ["udp:localhost:69", parseListen, /"udp:127\.0\.0\.1:69" or "udp:\[::\]:69"/],
  ["udp:0.0.0.0", parseListen, /"udp:127\.0\.0\.1:69"/],
  ["udp:::1:69", parseListen, /"udp:\[::1\]:69"/],
  ["udp:0.0.0.0:70000", parseListen, /1 to 65535/],
  ["udp:127.0.0.1:0", (text) => parseBackend(text), /1 to 65535/],
  ["host name:22", (text) => parseBackend(text), /127\.0\.0\.1:22/],
];
for (const [text, parse, hint] of bad) {
  test(`endpoint "${text.slice(0, 30)}" is an error with a hint`, () => {
    const parsed = parse(text);
    assert.ok("error" in parsed);
    assert.match(parsed.hint, hint);
  });
}
