/** Which relay is chosen, and what is said about it. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { chooseRelay } from "../../src/relay/choose.ts";
import { referenceRelay } from "../../src/relay/reference.ts";

test("auto takes the fast relay on this Node", async () => {
  const { name, why } = await chooseRelay("auto");
  assert.deepEqual({ name, why }, { name: "fast", why: "works on this Node" });
});

test("fast is taken as configured", async () => {
  const { name, why } = await chooseRelay("fast");
  assert.deepEqual({ name, why }, { name: "fast", why: "configured" });
});

test("reference is taken as configured, without a check", async () => {
  assert.deepEqual(await chooseRelay("reference"), {
    relay: referenceRelay,
    name: "reference",
    why: "configured",
  });
});

test("a Node without the private parts gets the reference relay, and the log says what is missing", async () => {
  const findAccess = (): Promise<never> => Promise.reject(new Error("a handle has no useUserBuffer"));
  assert.deepEqual(await chooseRelay("auto", findAccess), {
    relay: referenceRelay,
    name: "reference",
    why: "the fast relay does not work here: a handle has no useUserBuffer",
  });
});
