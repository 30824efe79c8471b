/** The daemon under a steady 500 connections a second, with nothing else on the machine; npm run test:peers runs one file at a time. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { killWorkerUnderLoad } from "../support/kill-worker.ts";

const perSecond = Number(process.env["TCPWRAPD_RATE"] ?? "500");

test(`J3: under ${perSecond} connections a second a worker that is killed is replaced within a second, and nobody is refused by the listener`, async (t) => {
  const { awayMs, refused, died, summary, offered } = await killWorkerUnderLoad(t, perSecond);
  t.diagnostic(
    `${offered} connections a second offered; first accept ${awayMs} ms after the death; ${summary}; ${died}`,
  );
  assert.ok(awayMs < 1000, `${awayMs} ms`);
  assert.doesNotMatch(summary, /ECONNREFUSED|silent|garbled/, "the listener never closes");
  assert.ok(refused <= 50, "only what the dead worker had in its hands is lost");
});
