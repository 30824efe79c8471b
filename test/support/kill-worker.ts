/** Kills the worker of a daemon that is under load, and sees what becomes of the clients. */

import assert from "node:assert/strict";
import type { TestContext } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import type { Status } from "../../src/control/api.ts";
import { control } from "./control.ts";
import { RunningDaemon } from "./daemon.ts";
import { startLoadProcess } from "./load.ts";
import { startEchoProcess } from "./program.ts";

export interface Killed {
  /** From the signal to the first client that another worker has let in. */
  readonly awayMs: number;
  /** Connections of the load that were not served. */
  readonly refused: number;
  /** The record of the death. */
  readonly died: string;
  /** What the load says of itself. */
  readonly summary: string;
  /** The rate that the load really came at. */
  readonly offered: number;
}

/** Asserts also that the spare worker takes over, and that the death is counted and named. */
export async function killWorkerUnderLoad(t: TestContext, perSecond: number): Promise<Killed> {
  const backend = await startEchoProcess(t);
  const daemon = await RunningDaemon.start(t, {
    services: { sshd: backend },
    yaml: "names: {reverse: never}\nprocess: {workers: 1}\n",
  });
  for (let tries = 0; daemon.workers().length < 2 && tries < 500; tries += 1) await pause(20);
  const [worker = 0, spare = 0] = daemon.workers();
  const endLoad = startLoadProcess(t, daemon.port("sshd"), { sessions: 0, perSecond });
  const accepts = (): number => daemon.records.filter(({ event }) => event === "accept").length;
  await daemon.find(() => accepts() > perSecond);
  const killedAtMs = Date.now();
  process.kill(worker, "SIGKILL");
  const died = await daemon.find(({ code }) => code === "worker-died");
  // Records that the dead one has left in the pipe come before that of its death.
  const first = daemon.records.indexOf(died);
  const accepted = await daemon.find(
    (record) => record.event === "accept" && daemon.records.indexOf(record) > first,
  );
  await pause(500);
  const { line: summary, refused, perSecond: offered } = await endLoad();
  assert.equal(died.level, "error");
  assert.equal(daemon.workers()[0], spare, "the spare worker has taken over");
  const { lost } = (await control(daemon, "GET", "/v1/status")).body as unknown as Status;
  assert.equal(lost.workers, 1);
  assert.equal(await daemon.end("SIGTERM"), 0);
  return {
    awayMs: Date.parse(String(accepted["time"])) - killedAtMs,
    refused,
    offered,
    died: String(died["message"]),
    summary,
  };
}
