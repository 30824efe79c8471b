/**
 * Rewrites /etc/resolv.conf under a running `Lookups`, and prints after how many milliseconds the new server was asked.
 *
 * Runs in a network and mount namespace of its own: port 53 of 127.0.0.1 and 127.0.0.2, and /etc/resolv.conf, are the test's.
 */

import { renameSync, writeFileSync } from "node:fs";
import type { Request } from "../../src/access/types.ts";
import { Lookups } from "../../src/identify/lookups.ts";
import { startDns } from "./dns-server.ts";

const answerWith = (name: string) => (question: { name: string; type: string }) =>
  question.type === "PTR"
    ? { records: [{ type: "PTR", data: name } as const] }
    : { records: question.type === "A" ? [{ type: "A", data: "192.0.2.1" } as const] : [] };

const before = await startDns(answerWith("before.example"), 53, "127.0.0.1");
const after = await startDns(answerWith("after.example"), 53, "127.0.0.2");
const lookups = new Lookups({
  reverse: "needed",
  timeoutMs: 500,
  servers: [],
  hostsFile: "",
  identTimeoutMs: 100,
});
const request: Request = { daemon: "t", client: { address: "192.0.2.1" }, server: { address: "127.0.0.1" } };
const ask = async (): Promise<string | undefined> =>
  (await lookups.find({ kind: "clientName" }, request, new AbortController().signal)).client.name;

const first = await ask();
const replace = process.argv[2] === "rename";
const text = "nameserver 127.0.0.2\n";
if (replace) {
  writeFileSync("/etc/resolv.conf.new", text);
  renameSync("/etc/resolv.conf.new", "/etc/resolv.conf");
} else {
  writeFileSync("/etc/resolv.conf", text);
}
const start = performance.now();
let name = first;
while (name !== "after.example" && performance.now() - start < 20_000) {
  await new Promise((resolve) => setTimeout(resolve, 50));
  name = await ask();
}
const noticedMs = Math.round(performance.now() - start);
lookups.close();
await before.close();
await after.close();
process.stdout.write(JSON.stringify({ first, name, noticedMs }));
