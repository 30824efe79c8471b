/** What can be said about the unit files without a systemd. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

function lines(unit: string): string[] {
  return readFileSync(new URL(`../../systemd/${unit}`, import.meta.url), "utf8").split("\n");
}

/** Directives of a unit or drop-in: key → values in order. */
function directives(unit: string): Map<string, string[]> {
  const found = new Map<string, string[]>();
  for (const line of lines(unit)) {
    const [, key, value = ""] = /^([A-Za-z]+)=(.*)$/.exec(line) ?? [];
    if (key !== undefined) found.set(key, [...(found.get(key) ?? []), value]);
  }
  return found;
}

test("the unit for one daemon per instance is the unit for one daemon, but for its names", () => {
  const named = lines("tcpwrapd.service").map((line) =>
    line
      .replace("hosts.allow and hosts.deny", "hosts.allow and hosts.deny, for %i")
      .replace(
        "/etc/tcpwrapd/tcpwrapd.yaml",
        "/etc/tcpwrapd/%i.yaml --control-socket /run/tcpwrapd-%i/control.sock",
      )
      .replace(/^RuntimeDirectory=tcpwrapd$/, "RuntimeDirectory=tcpwrapd-%i"),
  );
  const [, ...template] = lines("tcpwrapd@.service");
  assert.deepEqual(template, named);
});

test("the relay's unit restarts what has failed, and not what somebody has drained", () => {
  const unit = directives("tcpwrapd.service");
  assert.deepEqual(unit.get("Restart"), ["on-failure"]);
  assert.deepEqual(unit.get("RestartPreventExitStatus"), ["64 78"]);
});

for (const unit of ["tcpwrapd.service", "tcpwrapd@.service"]) {
  test(`G5: ${unit} is reloaded by a command that waits for the outcome, with the flags of the start`, () => {
    const [start = ""] = directives(unit).get("ExecStart") ?? [];
    assert.deepEqual(directives(unit).get("ExecReload"), [start.replace(" run ", " reload ")]);
  });
}

test("J9: the relay's unit names the one switch that Node cannot bear, and has it off", () => {
  const unit = directives("tcpwrapd.service");
  assert.equal(unit.has("MemoryDenyWriteExecute"), false);
  assert.match(lines("tcpwrapd.service").join("\n"), /^# .*MemoryDenyWriteExecute=/m);
});

test("the drop-in for hand-over undoes only what the relay's unit does", () => {
  const unit = directives("tcpwrapd.service");
  const undone = [...directives("hand-over.conf").keys()].filter((key) => !unit.has(key));
  assert.deepEqual(undone, []);
});

for (const dropIn of ["hand-over.conf", "source-client.conf"]) {
  test(`the drop-in ${dropIn} gives a reason before it undoes anything`, () => {
    const [, ...body] = lines(dropIn).join("\n").split("[Service]\n");
    const paragraphs = body.join("").split(/\n(?=# )/);
    for (const paragraph of paragraphs) assert.match(paragraph, /^# .+[.]\n[A-Za-z]+=/);
  });
}

test("the drop-in for source: client adds one capability to those of the relay's unit", () => {
  const unit = directives("tcpwrapd.service");
  for (const [key, [value = ""]] of directives("source-client.conf"))
    assert.equal(value, `${unit.get(key)?.[0] ?? ""} CAP_NET_RAW`, key);
});

test("the socket unit of the TFTP example names datagram sockets, as its configuration must", () => {
  const read = (name: string) =>
    readFileSync(new URL(`../../config/examples/tftp/${name}`, import.meta.url), "utf8");
  const unit = read("tcpwrapd-tftp.socket");
  const [, name = ""] = /^FileDescriptorName=(.+)$/m.exec(unit) ?? [];
  assert.ok(read("tcpwrapd.yaml").includes(`systemd:${name}"`));
  assert.match(unit, /^ListenDatagram=/m);
  assert.doesNotMatch(unit, /^ListenStream=/m);
});

test("the socket unit names its sockets, as the configuration must", () => {
  const socket = directives("tcpwrapd.socket");
  const [name] = socket.get("FileDescriptorName") ?? [];
  const example = readFileSync(
    new URL("../../config/examples/socket-activation.yaml", import.meta.url),
    "utf8",
  );
  assert.ok(name !== undefined && example.includes(`systemd:${name}`));
});
