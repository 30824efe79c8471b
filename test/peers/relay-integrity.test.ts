/** 64 sessions at once of 64 MiB each way, by every relay: random chunks, slow readers, half-closes, and every byte hashed at both ends. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { findHandleAccess, type BareAccess } from "../../src/platform/node-handle.ts";
import { makeFastRelay } from "../../src/relay/fast.ts";
import { referenceRelay } from "../../src/relay/reference.ts";
import type { Relay } from "../../src/relay/relay.ts";
import { checkIntegrity } from "../relay/support/integrity.ts";

const sessions = Number(process.env["SESSIONS"] ?? "64");
const mebibytes = Number(process.env["MEBIBYTES"] ?? "64");

const access = await findHandleAccess();
assert.ok(access.bare, "this Node has bare connections");

const relays: readonly (readonly [name: string, relay: Relay, bare?: BareAccess])[] = [
  ["fast, over bare handles", makeFastRelay(access), access.bare],
  ["fast, over sockets", makeFastRelay(access)],
  ["reference", referenceRelay],
];

for (const [name, relay, bare] of relays) {
  test(`integrity of the ${name} relay: ${sessions} sessions x ${mebibytes} MiB each way, SHA-256 equal at both ends`, async (t) => {
    const startedMs = performance.now();
    await checkIntegrity(relay, sessions, mebibytes * 2 ** 20, bare);
    const seconds = (performance.now() - startedMs) / 1000;
    t.diagnostic(
      `${name}: ${sessions} x ${mebibytes} MiB each way, SHA-256 equal, in ${seconds.toFixed(1)} s`,
    );
  });
}
