/** What the kernel is told about the sockets of a session, and what becomes of bytes that come in an unusual way. */

import assert from "node:assert/strict";
import { before, test } from "node:test";
import { RunningDaemon } from "../support/daemon.ts";
import { ask, open, startBackend } from "../support/peers.ts";
import { needPrograms, run } from "../support/program.ts";

before(() => needPrograms("/usr/bin/perl", "/bin/ss"));

/** Asks the kernel about each TCP connection of another process, by copies of its descriptors. Source: pidfd_getfd(2). */
const noDelays = `use Socket qw(:DEFAULT IPPROTO_TCP TCP_NODELAY);
  $pid = $ARGV[0] + 0; ($process = syscall(434, $pid, 0)) >= 0 or die "pidfd_open: $!";
  for (</proc/$pid/fd/*>) {
    readlink =~ /^socket:/ or next;
    /(\\d+)$/; ($copy = syscall(438, $process, $1 + 0, 0)) >= 0 or die "pidfd_getfd: $!";
    open(my $socket, "+<&=", $copy) or die $!;
    $peer = getpeername($socket) or next; $local = getsockname($socket);
    sockaddr_family($local) == AF_INET or next;
    $ports = join " ", "local=" . (sockaddr_in($local))[0], "peer=" . (sockaddr_in($peer))[0];
    print "$ports no-delay=", unpack("i", getsockopt($socket, IPPROTO_TCP, TCP_NODELAY)), "\n";
  }`;

for (const relay of ["fast", "reference"]) {
  test(`D11: no-delay is set on both sides, by the ${relay} relay`, async (t) => {
    const backend = await startBackend(t);
    const daemon = await RunningDaemon.start(t, {
      services: { sshd: backend.address },
      yaml: `names: {reverse: never}\nrelay: ${relay}\nprocess: {workers: 0}\n`,
      allow: "",
      deny: "",
    });
    const port = daemon.port("sshd");
    assert.equal(await ask(await open(t, port), "x"), "x");
    const { out, err } = await run("/usr/bin/perl", ["-e", noDelays, String(daemon.workers()[0])]);
    const ofDaemon = out.trim().split("\n").sort();
    const towards = (side: "local" | "peer", at: string): string[] =>
      ofDaemon.filter((line) => line.includes(`${side}=${at} `));
    assert.match(towards("local", String(port)).join(), /^\S+ \S+ no-delay=1$/, `${out}${err}`);
    assert.match(towards("peer", backend.address.split(":")[1] ?? "").join(), /^\S+ \S+ no-delay=1$/, out);
  });

  test(`D11: bytes that come with the handshake or one by one are all there, by the ${relay} relay`, async (t) => {
    const backend = await startBackend(t);
    const daemon = await RunningDaemon.start(t, {
      services: { sshd: backend.address },
      yaml: `names: {reverse: never}\nrelay: ${relay}\n`,
      allow: "",
      deny: "",
    });
    // MSG_FASTOPEN sends the bytes with the SYN where the kernel allows it, and right behind it elsewhere.
    const program = `use Socket; socket(S, AF_INET, SOCK_STREAM, 0); $to = sockaddr_in($ARGV[0], inet_aton("127.0.0.1"));
      setsockopt(S, IPPROTO_TCP, 1, 1); send(S, "fast", 0x20000000, $to) or die $!;
      for (1..200) { send(S, "x", 0) } shutdown(S, 1); while (sysread(S, $b, 1000)) { print $b }`;
    const { out, err } = await run("/usr/bin/perl", ["-e", program, String(daemon.port("sshd"))]);
    assert.equal(out, `fast${"x".repeat(200)}`, err);
    assert.equal((await daemon.find(({ event }) => event === "end")).upBytes, 204);
  });

  test(`D11: the urgent byte is dropped, every other one is there, by the ${relay} relay`, async (t) => {
    const backend = await startBackend(t);
    const daemon = await RunningDaemon.start(t, {
      services: { sshd: backend.address },
      yaml: `names: {reverse: never}\nrelay: ${relay}\n`,
      allow: "",
      deny: "",
    });
    const program = `use Socket; socket(S, AF_INET, SOCK_STREAM, 0); connect(S, sockaddr_in($ARGV[0], inet_aton("127.0.0.1"))) or die $!;
      send(S, "before", 0); sysread(S, $b, 100); print $b; send(S, "!", MSG_OOB); send(S, "after", 0); shutdown(S, 1);
      while (sysread(S, $b, 1000)) { print $b }`;
    const { out, err } = await run("/usr/bin/perl", ["-e", program, String(daemon.port("sshd"))]);
    assert.equal(out, "beforeafter", err);
  });

  test(`D12: the kernel looks for both sides of a session that lasts, by the ${relay} relay`, async (t) => {
    const backend = await startBackend(t);
    const daemon = await RunningDaemon.start(t, {
      services: {},
      yaml: `names: {reverse: never}\nrelay: ${relay}\nservices: {sshd: {listen: ["127.0.0.1:0"], backend: "${backend.address}", keepAlive: 3m}}\n`,
      allow: "",
      deny: "",
    });
    const port = daemon.port("sshd");
    const session = await open(t, port);
    assert.equal(await ask(session, "hello"), "hello");
    const backendPort = backend.address.split(":")[1];
    const asked = async (filter: string): Promise<boolean> =>
      /timer:\(keepalive,2min\d+sec,0\)/.test((await run("/bin/ss", ["-tnoH", filter])).out);
    const isSet = async (): Promise<boolean> =>
      (await asked(`sport = :${port}`)) && (await asked(`dport = :${backendPort}`));
    assert.equal(await isSet(), false);
    const until = Date.now() + 15_000;
    while (!(await isSet())) {
      assert.ok(Date.now() < until, "no keep-alive within 15 s");
      await new Promise((resolve) => setTimeout(resolve, 500));
    }
    assert.equal(await ask(session, "still there"), "still there");
  });
}

test("D11: a program that gets the socket gets the urgent byte too", async (t) => {
  const program =
    'use Socket; $r = ""; vec($r, 0, 1) = 1; select(undef, undef, $r, 5); recv(STDIN, $b, 1, MSG_OOB); print "urgent: $b\\n"';
  const daemon = await RunningDaemon.start(t, {
    services: {},
    yaml: `names: {reverse: never}\nservices: {sshd: {listen: ["127.0.0.1:0"], exec: ["/usr/bin/perl", "-e", ${JSON.stringify(program)}]}}\n`,
    allow: "",
    deny: "",
  });
  const client = `use Socket; socket(S, AF_INET, SOCK_STREAM, 0); connect(S, sockaddr_in($ARGV[0], inet_aton("127.0.0.1"))) or die $!;
    send(S, "!", MSG_OOB); while (sysread(S, $b, 1000)) { print $b }`;
  const { out } = await run("/usr/bin/perl", ["-e", client, String(daemon.port("sshd"))]);
  assert.equal(out, "urgent: !\n");
});
