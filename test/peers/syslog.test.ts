/** Our syslog messages as a real rsyslogd understands them, over its local socket, UDP and TCP. */
import assert from "node:assert/strict";
import type { ChildProcess } from "node:child_process";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { connect, createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

import { FACILITIES, SYSLOG_LEVELS } from "../../src/platform/syslog.ts";
import { Journal } from "../../src/record/journal.ts";
import type { LogRecord } from "../../src/record/records.ts";
import { openSinks } from "../../src/record/sinks.ts";
import type { SyslogSettings } from "../../src/record/sinks.ts";
import { temporaryFolder } from "../support/unix-receiver.ts";

const TEMPLATE =
  "%pri%|%syslogfacility-text%|%syslogseverity-text%|%hostname%|%syslogtag%|%programname%|%procid%|%msgid%|%structured-data%|%msg%";

interface Line {
  readonly pri: number;
  readonly facility: string;
  readonly level: string;
  readonly hostname: string;
  readonly tag: string;
  readonly program: string;
  readonly pid: string;
  readonly messageId: string;
  readonly data: string;
  readonly text: string;
}

/** A real rsyslogd with a folder of its own. */
class Rsyslogd {
  readonly socket: string;
  readonly port: number;
  readonly #folder: string;
  #process: ChildProcess | undefined;

  private constructor(folder: string, port: number) {
    this.#folder = folder;
    this.port = port;
    this.socket = join(folder, "log");
    writeFileSync(
      join(folder, "rsyslog.conf"),
      `global(workDirectory="${folder}" maxMessageSize="8k")
       module(load="imuxsock" SysSock.Use="off")
       input(type="imuxsock" Socket="${this.socket}" RateLimit.Interval="0" UseSpecialParser="off" ParseHostname="off")
       module(load="imudp")
       input(type="imudp" address="127.0.0.1" port="${port}")
       module(load="imtcp")
       input(type="imtcp" address="127.0.0.1" port="${port}")
       template(name="fields" type="string" string="${TEMPLATE}\\n")
       action(type="omfile" file="${join(folder, "out")}" template="fields")
      `,
    );
  }

  static async start(context: TestContext): Promise<Rsyslogd> {
    const daemon = new Rsyslogd(temporaryFolder(context), await freePort());
    await daemon.start();
    context.after(() => daemon.stop());
    return daemon;
  }

  async start(): Promise<void> {
    const folder = this.#folder;
    this.#process = spawn("rsyslogd", ["-n", "-i", join(folder, "pid"), "-f", join(folder, "rsyslog.conf")], {
      stdio: ["ignore", "inherit", "inherit"],
    });
    await once(this.#process, "spawn");
    // The TCP listener is the last input to open.
    await this.#until(() => existsSync(this.socket) && canConnect(this.port), "the listeners of rsyslogd");
  }

  async stop(): Promise<void> {
    const running = this.#process;
    if (running === undefined || running.exitCode !== null || running.signalCode !== null) return;
    running.kill();
    await once(running, "exit");
  }

  signal(name: NodeJS.Signals): void {
    this.#process?.kill(name);
  }

  /** Waits until so many lines of ours have arrived. */
  async lines(count: number): Promise<Line[]> {
    let found: Line[] = [];
    await this.#until(() => {
      found = this.#read();
      return found.length >= count;
    }, `${count} lines`);
    return found;
  }

  #read(): Line[] {
    const path = join(this.#folder, "out");
    if (!existsSync(path)) return [];
    return readFileSync(path, "latin1")
      .split("\n")
      .slice(0, -1)
      .map((line) => {
        const [
          pri,
          facility = "",
          level = "",
          hostname = "",
          tag = "",
          program = "",
          pid = "",
          messageId = "",
          data = "",
          ...text
        ] = line.split("|");
        return {
          pri: Number(pri),
          facility,
          level,
          hostname,
          tag,
          program,
          pid,
          messageId,
          data,
          text: text.join("|"),
        };
      })
      .filter(({ program }) => program !== "rsyslogd");
  }

  /** Another program's progress cannot be waited for but by looking again. */
  async #until(isTrue: () => boolean | Promise<boolean>, what: string): Promise<void> {
    const limit = performance.now() + 40_000;
    for (;;) {
      const begun = performance.now();
      if (await isTrue()) return;
      assert.ok(begun < limit, `${what}: not within 40 seconds`);
      await sleep(20 + 2 * (performance.now() - begun)); // what looks must not take the time of what it waits for
    }
  }
}

async function canConnect(port: number): Promise<boolean> {
  const probe = connect(port, "127.0.0.1");
  try {
    await once(probe, "connect");
    return true;
  } catch {
    return false;
  } finally {
    probe.destroy();
  }
}

async function freePort(): Promise<number> {
  const probe = createServer().listen(0, "127.0.0.1");
  await once(probe, "listening");
  const { port } = probe.address() as AddressInfo;
  probe.close();
  await once(probe, "close");
  return port;
}

const accept: LogRecord = {
  timeMs: Date.now(),
  level: "info",
  tag: "sshd",
  fields: {
    event: "accept",
    service: "sshd",
    daemon: "sshd",
    id: "1m81",
    client: { address: "192.0.2.1", port: 4000, name: "host.example", user: "bob" },
    server: { address: "192.0.2.9", port: 22 },
    rule: { file: "/etc/hosts.allow", line: 3 },
    backend: "127.0.0.1:2222",
    decisionMs: 1,
  },
};
const context = { pid: 4711, hostname: "gate", environment: {} };

function settings(socket: string, format: SyslogSettings["format"]): SyslogSettings {
  return { to: "syslog", socket, facility: "daemon", format };
}

const ways: [way: string, address: (daemon: Rsyslogd) => string, hasHost: boolean][] = [
  ["the local socket", (daemon) => daemon.socket, false],
  ["UDP", (daemon) => `udp://127.0.0.1:${daemon.port}`, true],
  ["TCP", (daemon) => `tcp://127.0.0.1:${daemon.port}`, true],
];
for (const [way, address, hasHost] of ways) {
  for (const format of ["rfc3164", "rfc5424"] as const) {
    test(`K1: rsyslogd reads every facility and level, tag, pid and text right over ${way} as ${format}`, async (t) => {
      const daemon = await Rsyslogd.start(t);
      const [sink] = openSinks([settings(address(daemon), format)], context);
      assert.ok(sink);
      const expected: number[] = [];
      for (const [facility, high] of Object.entries(FACILITIES)) {
        for (const [level, low] of Object.entries(SYSLOG_LEVELS)) {
          expected.push(high * 8 + low);
          sink.write({ ...accept, severity: { facility, level } });
          // UDP has no back-pressure: leave the receiver a turn now and then.
          if (way === "UDP") await sleep(1);
        }
      }
      const lines = await daemon.lines(expected.length);
      const sorted = (numbers: number[]): number[] => numbers.sort((one, other) => one - other);
      assert.deepEqual(sorted(lines.map(({ pri }) => pri)), sorted(expected));
      for (const line of lines) {
        assert.equal(line.program, "sshd");
        assert.equal(line.text.trimStart(), "connect from bob@host.example (192.0.2.1)");
        assert.equal(line.pid, "4711");
        assert.equal(line.tag, "sshd[4711]" + (format === "rfc3164" ? ":" : ""));
        if (hasHost) assert.equal(line.hostname, "gate");
        if (format === "rfc5424") {
          assert.equal(line.messageId, "accept");
          assert.equal(
            line.data,
            '[tcpwrapd@32473 id="1m81" service="sshd" client="192.0.2.1" rule="/etc/hosts.allow:3" backend="127.0.0.1:2222"]',
          );
        }
      }
      await sink.close(1000);
      assert.equal(sink.state().lostLines, 0);
    });
  }
}

test("K2: records wait while rsyslogd is away, arrive when it is back, and what was lost is told as a number", async (t) => {
  const daemon = await Rsyslogd.start(t);
  const [sink] = openSinks([{ ...settings(daemon.socket, "rfc3164"), queue: 8000 }], context);
  assert.ok(sink);
  const journal = new Journal({ sinks: [sink] });
  journal.ready();
  await daemon.lines(1);
  await daemon.stop();
  for (let number = 0; number < 1000; number++)
    journal.warn({ code: "test-line", message: `number ${number}` });
  await new Promise(setImmediate);
  const { queuedLines, lostLines } = sink.state();
  assert.equal(queuedLines + lostLines, 1000);
  assert.ok(lostLines > 0 && queuedLines > 0);
  await daemon.start();
  const lines = await daemon.lines(1 + queuedLines + 1);
  assert.equal(lines.at(-1)?.text.trim(), `lost ${lostLines} lines`);
  assert.match(lines.at(-2)?.text ?? "", / test-line: number \d+$/);
  await journal.close(1000);
});

test("K3: an rsyslogd that is stopped holds nobody up, and gets the rest when it goes on", async (t) => {
  const daemon = await Rsyslogd.start(t);
  const [sink] = openSinks([settings(daemon.socket, "rfc3164")], context);
  assert.ok(sink);
  const journal = new Journal({ sinks: [sink] });
  journal.ready();
  await daemon.lines(1);
  daemon.signal("SIGSTOP");
  const begun = performance.now();
  for (let number = 0; number < 20_000; number++)
    journal.warn({ code: "test-line", message: `number ${number}` });
  await new Promise(setImmediate);
  assert.ok(performance.now() - begun < 10_000, "20,000 records in less than ten seconds");
  const before = process.cpuUsage();
  await sleep(500);
  const used = process.cpuUsage(before);
  assert.ok(
    used.user + used.system < 400_000,
    `${used.user + used.system} µs of processor time in 500 ms of waiting`,
  );
  daemon.signal("SIGCONT");
  const lines = await daemon.lines(20_001);
  assert.equal(lines.at(-1)?.text.trim(), "test-line: number 19999");
  await journal.close(1000);
});

test("K6: hostile names are one line each to rsyslogd", async (t) => {
  const daemon = await Rsyslogd.start(t);
  const [sink] = openSinks([settings(daemon.socket, "rfc3164")], context);
  assert.ok(sink);
  const journal = new Journal({ sinks: [sink] });
  const names = ["x\n<0>kernel: panic", "\0", "é\u2028", 'a" (6.6.6.6)', "x".repeat(10_000)];
  for (const name of names) {
    const entry = journal.open({
      service: "sshd",
      daemon: "sshd",
      client: { address: "192.0.2.1", name },
      server: { address: "192.0.2.9" },
    });
    entry.refused({ reason: "rule" });
  }
  const lines = await daemon.lines(names.length);
  assert.equal(lines.length, names.length);
  for (const line of lines) {
    assert.equal(line.pri, 28);
    assert.match(line.text, /^ ?refused connect from [!-~]+ \(192\.0\.2\.1\)$/);
  }
  await journal.close(1000);
});

test("K10: a missing syslog socket does not hurt another sink, which is told of it", async (t) => {
  const daemon = await Rsyslogd.start(t);
  const journal = new Journal({
    sinks: openSinks(
      [settings(`${daemon.socket}.none`, "rfc3164"), settings(daemon.socket, "rfc3164")],
      context,
    ),
  });
  journal.ready();
  const lines = await daemon.lines(2);
  assert.equal(lines[0]?.text.trim(), "ready");
  assert.match(
    lines[1]?.text ?? "",
    / log-sink-down: syslog .*\.none takes no records: No such file or directory$/,
  );
  await journal.close(100);
});
