import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import type { Fact, Request } from "../../src/access/types.ts";
import type { LookupOptions } from "../../src/identify/lookups.ts";
import { Lookups } from "../../src/identify/lookups.ts";
import type { Answerer, DnsServer } from "../support/dns-server.ts";
import { fromTable, startDns } from "../support/dns-server.ts";

const zone = fromTable({
  "1.2.0.192.in-addr.arpa PTR": [{ type: "PTR", data: "client.example" }],
  "client.example A": [{ type: "A", data: "192.0.2.1" }],
  "2.2.0.192.in-addr.arpa PTR": [{ type: "PTR", data: "server.example" }],
  "server.example A": [{ type: "A", data: "192.0.2.2" }],
});
const request: Request = {
  daemon: "sshd",
  client: { address: "192.0.2.1", port: 40000 },
  server: { address: "192.0.2.2", port: 22 },
};
const patience = new AbortController().signal;

async function withLookups(
  options: Partial<LookupOptions>,
  use: (lookups: Lookups, server: DnsServer) => Promise<void>,
  answer: Answerer = zone,
): Promise<void> {
  const server = await startDns(answer);
  const lookups = new Lookups({
    reverse: "needed",
    timeoutMs: 1000,
    servers: [server.address],
    hostsFile: "",
    identTimeoutMs: 1000,
    ...options,
  });
  try {
    await use(lookups, server);
  } finally {
    lookups.close();
    await server.close();
  }
}

test("find adds the client's name, and how it was found", () =>
  withLookups({}, async (lookups) => {
    const found = await lookups.find({ kind: "clientName" }, request, patience);
    assert.deepEqual(found, {
      ...request,
      client: { ...request.client, name: "client.example", nameStatus: "ok" },
    });
  }));

test("find adds the server's name: the reverse name of the local address", () =>
  withLookups({}, async (lookups) => {
    const found = await lookups.find({ kind: "serverName" }, request, patience);
    assert.equal(found.server.name, "server.example");
    assert.equal(found.client.name, undefined);
  }));

test("find asks nothing for a name that is already there", () =>
  withLookups({}, async (lookups, server) => {
    const named = { ...request, client: { address: "localhost", name: "unknown" } };
    assert.deepEqual(await lookups.find({ kind: "clientName" }, named, patience), named);
    assert.deepEqual(server.asked, []);
  }));

test("find asks nothing when names are never looked up: every name is unknown", () =>
  withLookups({ reverse: "never" }, async (lookups, server) => {
    const found = await lookups.find({ kind: "clientName" }, request, patience);
    assert.deepEqual(found.client, { ...request.client, name: "unknown" });
    assert.deepEqual(server.asked, []);
  }));

test("find adds unknown when the signal has come", () =>
  withLookups({}, async (lookups) => {
    const found = await lookups.find({ kind: "clientName" }, request, AbortSignal.abort());
    assert.deepEqual([found.client.name, found.client.nameStatus], ["unknown", "timeout"]);
  }));

test("find gives an aclexec question back as it came: it is not the network's", () =>
  withLookups({}, async (lookups) => {
    const fact: Fact = { kind: "aclexec", command: { line: "true", environment: {} } };
    assert.equal(await lookups.find(fact, request, patience), request);
  }));

test("ahead finds the name beside the decision, and a decision that needs it waits for the same answer", () =>
  withLookups({ reverse: "always" }, async (lookups, server) => {
    const ahead = lookups.ahead(request);
    const found = await lookups.find({ kind: "clientName" }, request, patience);
    assert.deepEqual(await ahead, found);
    assert.equal(server.asked.filter(({ type }) => type === "PTR").length, 1);
  }));

test("ahead gives a name that is remembered at once, and looks again when its time is over", () => {
  let nowMs = 0;
  return withLookups({ reverse: "always", now: () => nowMs }, async (lookups) => {
    const found = await lookups.ahead(request);
    assert.ok(found?.client.name !== undefined);
    for (const laterMs of [999, 1000, 1999]) {
      nowMs = laterMs;
      assert.deepEqual(lookups.ahead(request), found);
    }
    nowMs = 3_600_000;
    assert.ok(lookups.ahead(request) instanceof Promise);
  });
});

test("ahead gives a name that stands in the hosts file at once, and asks nobody", async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "hosts-"));
  t.after(() => rmSync(folder, { recursive: true }));
  const hostsFile = join(folder, "hosts");
  writeFileSync(hostsFile, "192.0.2.1 bastion.example\n");
  await withLookups({ reverse: "always", hostsFile }, async (lookups, server) => {
    const found = lookups.ahead(request);
    assert.ok(found !== undefined && !(found instanceof Promise));
    assert.deepEqual([found.client.name, found.client.nameStatus], ["bastion.example", "ok"]);
    assert.deepEqual(server.asked, []);
  });
});

for (const reverse of ["needed", "never"] as const) {
  test(`ahead asks nothing with names.reverse ${reverse}`, () =>
    withLookups({ reverse }, async (lookups, server) => {
      assert.equal(lookups.ahead(request), undefined);
      assert.deepEqual(server.asked, []);
    }));
}

test("F6: ahead is skipped while many look-ups are under way; a needed one is not", () =>
  withLookups(
    { reverse: "always", maxInFlight: 16, timeoutMs: 200 },
    async (lookups) => {
      const client = (last: number): Request => ({ ...request, client: { address: `192.0.2.${last}` } });
      const waiting = [101, 102].map(
        async (last) => await (lookups.ahead(client(last)) ?? assert.fail("skipped")),
      );
      await Promise.resolve();
      assert.equal(lookups.ahead(client(103)), undefined);
      const needed = lookups.find({ kind: "clientName" }, client(104), patience);
      assert.equal((await needed).client.nameStatus, "timeout");
      assert.ok((await Promise.all(waiting)).every((found) => found.client.nameStatus === "timeout"));
    },
    () => undefined,
  ));

test("F6: with DNS silent ahead asks one question at a time; an answer opens it again", async () => {
  let isSilent = true;
  await withLookups(
    { reverse: "always", maxInFlight: 80, timeoutMs: 100 },
    async (lookups) => {
      let last = 0;
      const next = () => lookups.ahead({ ...request, client: { address: `198.51.100.${++last}` } });
      const started = () => Array.from({ length: 20 }, next).filter((each) => each instanceof Promise);
      const atFirst = started();
      assert.equal(atFirst.length, 10);
      await Promise.all(atFirst);
      while (started().length > 1) await new Promise((resolve) => setTimeout(resolve, 50)); // the first ones still hold places
      isSilent = false;
      for (;;) {
        const found = await next();
        if (found?.client.nameStatus === "nxdomain") break;
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
      assert.equal(started().length, 10);
    },
    () => (isSilent ? undefined : { rcode: 3 }),
  );
});
