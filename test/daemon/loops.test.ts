/** H10: services that lead back to themselves are found out by the unique id of our own PROXY headers. */

import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import { RunningDaemon } from "../support/daemon.ts";
import { startBackend, talk } from "../support/peers.ts";
import { freePort } from "../support/program.ts";

/** A daemon whose services send each other PROXY headers; clients come from elsewhere. */
async function daemonOf(t: TestContext, services: Readonly<Record<string, [port: number, backend: string]>>) {
  const proxyProtocol = "proxyProtocol: {acceptFrom: [127.0.0.1], send: v2}";
  const lines = Object.entries(services).map(
    ([name, [port, backend]]) =>
      `  ${name}: {listen: ["127.0.0.1:${port}"], backend: "${backend}", ${proxyProtocol}}\n`,
  );
  const yaml = `names: {reverse: never}\nservices:\n${lines.join("")}`;
  return await RunningDaemon.start(t, { services: {}, yaml });
}

const client = { from: "127.0.0.66", isHalfClosed: false };

for (const [names, way] of [
  [["one"], "one"],
  [["one", "two"], "one, two"],
  [["one", "two", "three"], "one, two, three"],
] as const)
  test(`H10: a connection that comes back through ${way} is refused as a loop, once`, async (t) => {
    const ports = await Promise.all(names.map(() => freePort()));
    const services = names.map((name, index) => {
      const next = ports[(index + 1) % ports.length] ?? 0;
      return [name, [ports[index] ?? 0, `127.0.0.1:${next}`]] as const;
    });
    const daemon = await daemonOf(t, Object.fromEntries(services) as Record<string, [number, string]>);
    assert.deepEqual(await talk(ports[0] ?? 0, client), { text: "", end: "ECONNRESET" });
    const ended = (): number => daemon.records.filter(({ event }) => event === "end").length;
    await daemon.find(() => ended() === names.length);
    const refused = daemon.records.filter(({ event }) => event === "refuse");
    assert.deepEqual(
      refused.map(({ service, reason, detail }) => [service, reason, detail]),
      [["one", "error", `loop: the connection comes from us, by ${way}`]],
    );
  });

test("H10: services of ours in a row are no loop", async (t) => {
  const ports = [await freePort(), await freePort()] as const;
  const backend = await startBackend(t, (socket) => void socket.once("data", () => socket.end("through")));
  const daemon = await daemonOf(t, {
    one: [ports[0], `127.0.0.1:${ports[1]}`],
    two: [ports[1], backend.address],
  });
  assert.deepEqual(await talk(ports[0], client), { text: "through", end: "end" });
  const end = await daemon.find(({ event, service }) => event === "end" && service === "one");
  assert.equal(end.cause, "backend_closed");
});
