import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { routes } from "../../src/control/server.ts";

test("docs/control.md lists every route in the order of the code, and no other", () => {
  const text = readFileSync(new URL("../../docs/control.md", import.meta.url), "utf8");
  const listed = Array.from(text.matchAll(/^\| `([A-Z]+ \S+)` +\|/gm), ([, route]) => route);
  assert.deepEqual(
    listed,
    routes.map(([method, path]) => `${method} ${path}`),
  );
});
