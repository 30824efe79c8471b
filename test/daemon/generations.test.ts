/** A decision that waits for a name while the rules change ends by the rules that it began with, and its record says so. */

import assert from "node:assert/strict";
import { renameSync, writeFileSync } from "node:fs";
import { test } from "node:test";
import { control } from "../support/control.ts";
import { RunningDaemon } from "../support/daemon.ts";
import { startDns } from "../support/dns-server.ts";
import { startBackend, talk } from "../support/peers.ts";

/** Its name is asked for, and comes when the test lets it. */
const slow = "127.0.0.3";
/** The second generation of each row decides about this one without a name. */
const other = "127.0.0.4";

/** Changes the rules of a running daemon. */
type Change = (daemon: RunningDaemon, yaml: string) => Promise<void>;

const editAllow =
  (text: string): Change =>
  async ({ allowFile }) => {
    writeFileSync(`${allowFile}.new`, text);
    renameSync(`${allowFile}.new`, allowFile);
  };

const reloadWith =
  (more: string): Change =>
  async (daemon, yaml) => {
    writeFileSync(daemon.configFile, yaml.replace("timeout: 10s", `timeout: 10s${more}`));
    assert.equal((await control(daemon, "POST", "/v1/reload")).status, 200);
  };

/** Both at once: the lookups that the decision waits for belong to a policy that is no longer in force. */
const both: Change = async (daemon, yaml) => {
  await editAllow(`sshd: ${other}\n`)(daemon, yaml);
  await reloadWith(", hostsFile: /dev/null")(daemon, yaml);
};

const rows: [
  how: string,
  allow: string,
  change: Change,
  first: "accept" | "refuse",
  then: "accept" | "refuse",
][] = [
  [
    "an edit that lets it in no more",
    "sshd: slow.example\n",
    editAllow(`sshd: ${other}\n`),
    "accept",
    "refuse",
  ],
  [
    "an edit that lets it in from now on",
    "sshd: fast.example\n",
    editAllow(`sshd: ${slow} ${other}\n`),
    "refuse",
    "accept",
  ],
  ["an edit and a reload with other lookups", "sshd: slow.example\n", both, "accept", "refuse"],
];

for (const [how, allow, change, first, then] of rows) {
  test(`G9: a decision that waits for DNS during ${how} ends by the generation that it began with`, async (t) => {
    let answer: () => void = () => undefined;
    const until = new Promise<void>((resolve) => (answer = resolve));
    let heard: () => void = () => undefined;
    const asked = new Promise<void>((resolve) => (heard = resolve));
    const dns = await startDns(({ type }) => {
      heard();
      return type === "PTR"
        ? { records: [{ type: "PTR", data: "slow.example" }], until }
        : { records: type === "A" ? [{ type: "A", data: slow }] : [] };
    });
    t.after(() => dns.close());
    const backend = await startBackend(t);
    const yaml = `names: {reverse: needed, servers: ["${dns.address}"], timeout: 10s}\nservices: {sshd: {listen: ["127.0.0.1:0"], backend: "${backend.address}"}}\n`;
    const daemon = await RunningDaemon.start(t, { services: {}, yaml, allow, deny: "ALL: ALL\n" });
    const port = daemon.port("sshd");
    const waiting = talk(port, { say: "by the old rules", from: slow });
    await asked;
    await change(daemon, yaml);
    assert.equal((await talk(port, { say: "by the new rules", from: other })).text, "by the new rules");
    const isOf = (address: string) => (record: { event: string; client?: { address: string } }) =>
      record.client?.address === address && ["accept", "refuse"].includes(record.event);
    const now = (await daemon.find(isOf(other))).generation ?? 0;
    assert.ok(now > 1, `generation ${now}`);
    assert.ok(!daemon.records.some(isOf(slow)), "it waits still");

    answer();
    const decided = await daemon.find(isOf(slow));
    assert.deepEqual([decided.event, decided.generation], [first, 1]);
    const seen = await waiting;
    assert.equal(
      first === "accept" ? seen.text : seen.end,
      first === "accept" ? "by the old rules" : "ECONNRESET",
    );

    await talk(port, { say: "again", from: slow });
    const again = await daemon.find((record) => isOf(slow)(record) && record.id !== decided.id);
    assert.deepEqual([again.event, again.generation], [then, now]);
  });
}
