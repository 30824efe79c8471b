/** The long form of the integrity test: node --import tsx relay-integrity.ts [SESSIONS] [MIB], both relays. */

import { makeFastRelay } from "../../src/relay/fast.ts";
import { findHandleAccess } from "../../src/platform/node-handle.ts";
import { referenceRelay } from "../../src/relay/reference.ts";
import { checkIntegrity } from "../relay/support/integrity.ts";

const [sessions = 64, mebibytes = 64] = process.argv.slice(2).map(Number);

for (const [name, relay] of [
  ["fast", makeFastRelay(await findHandleAccess())],
  ["reference", referenceRelay],
] as const) {
  const startedMs = performance.now();
  await checkIntegrity(relay, sessions, mebibytes * 2 ** 20);
  const seconds = ((performance.now() - startedMs) / 1000).toFixed(1);
  console.log(`${name}: ${sessions} sessions x ${mebibytes} MiB each way, SHA-256 equal, ${seconds} s`);
}
