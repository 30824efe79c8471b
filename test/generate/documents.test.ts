/** What the repository says about keys and flags is what the program knows. */
import { Ajv2020 } from "ajv/dist/2020.js";
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { type Document, parse, parseAllDocuments } from "yaml";
import { readConfiguration } from "../../src/config/configuration.ts";
import { loadTables } from "../../src/config/load.ts";
import { schema } from "../../src/config/schema.ts";
import { documents } from "./documents.ts";
import { jsonSchema } from "./json-schema.ts";
import { keyRows } from "./keys.ts";
import { roff } from "./roff.ts";

const top = fileURLToPath(new URL("../../", import.meta.url));

for (const { path, text } of await documents()) {
  test(`${path} is what "npm run generate" makes of the program as it is`, () => {
    assert.equal(readFileSync(join(top, path), "utf8"), text, `${path} is old: npm run generate`);
  });
}

test("every key of the configuration has a description of its own", () => {
  const silent = keyRows(jsonSchema()).filter(({ description }) => description === "");
  assert.deepEqual(
    silent.map(({ path }) => path),
    [],
    "add .describe() to these keys in src/config/schema.ts",
  );
});

test("the JSON Schema and the daemon say the same about a file", () => {
  const judge = new Ajv2020({ strict: false }).compile(jsonSchema());
  const rows: [keys: unknown, isGood: boolean][] = [
    [{}, true],
    [{ services: { sshd: { listen: ["0.0.0.0:22"], backend: "127.0.0.1:2222" } } }, true],
    [{ services: { sshd: { listen: ["0.0.0.0:22"] } } }, false],
    [{ services: { sshd: { listen: ["0.0.0.0:22"], exec: ["/usr/sbin/sshd", "-i"] } } }, true],
    [{ services: { sshd: { listen: ["0.0.0.0:22"], exec: ["/bin/sh"], backend: "127.0.0.1:22" } } }, false],
    [{ services: { sshd: { listen: [], backend: "127.0.0.1:2222" } } }, false],
    [{ services: { "a b": { listen: ["0.0.0.0:22"], backend: "127.0.0.1:2222" } } }, false],
    [{ names: { timeout: "1s" } }, true],
    [{ names: { timeout: 0 } }, true],
    [{ names: { timeout: "1 day" } }, false],
    [{ access: { allow: "hosts.allow" } }, false],
    [{ acess: {} }, false],
    [{ log: [{ to: "syslog", facility: "auth" }] }, true],
    [{ log: [{ to: "stdout", facility: "auth" }] }, false],
    [{ limits: { connections: "auto" } }, true],
    [{ limits: { connections: 0 } }, false],
  ];
  for (const [keys, isGood] of rows) {
    assert.equal(judge(keys), isGood, `JSON Schema: ${JSON.stringify(keys)}`);
    assert.equal(schema.safeParse(keys).success, isGood, `daemon: ${JSON.stringify(keys)}`);
  }
});

test("the sample file configures nothing, and with its comments taken away the defaults", () => {
  const text = readFileSync(join(top, "config/tcpwrapd.yaml"), "utf8");
  assert.equal(parse(text), null);
  const uncommented = text.replace(/^#(?! \S)/gm, "");
  const { settings, diagnostics } = readConfiguration({ name: "sample", text: uncommented }, []);
  assert.deepEqual(diagnostics, []);
  assert.ok(settings !== undefined);
  const { services, ...others } = settings;
  const { services: none, ...defaults } = schema.parse({});
  assert.deepEqual(none, {});
  assert.deepEqual(others, defaults);
  assert.deepEqual(Object.keys(services), ["sshd"]);
});

const examples = join(top, "config/examples");
const exampleFiles = readdirSync(examples, { recursive: true, encoding: "utf8" }).sort();

for (const name of exampleFiles.filter((each) => each.endsWith(".yaml"))) {
  test(`the example ${name} is YAML, and what it says to tcpwrapd can be read`, () => {
    const text = readFileSync(join(examples, name), "utf8");
    const manifests = parseAllDocuments(text) as Document[];
    assert.deepEqual(
      manifests.flatMap(({ errors }) => errors.map(({ message }) => message)),
      [],
    );
    const isOurs = !/^(kubernetes|compose)\/(?!tcpwrapd)/.test(name);
    for (const configuration of isOurs ? [text] : manifests.flatMap(configurationsIn)) {
      const { settings, diagnostics } = readConfiguration({ name, text: configuration }, []);
      assert.deepEqual(diagnostics, []);
      assert.notDeepEqual(settings?.services, {}, "an example serves something");
    }
  });
}

for (const name of exampleFiles.filter((each) => /hosts[.](allow|deny)$/.test(each))) {
  test(`the example ${name} has no line with anything to complain about`, () => {
    const bytes = readFileSync(join(examples, name));
    const { diagnostics } = loadTables({
      allow: name,
      deny: "/nothing",
      noMatch: "allow",
      read: (path) => (path === name ? { kind: "text", bytes } : { kind: "missing" }),
    });
    assert.deepEqual(diagnostics, []);
  });
}

/** The configurations of ours inside a ConfigMap. */
function configurationsIn(document: Document): string[] {
  const { data = {} } = (document.toJS() ?? {}) as { data?: Record<string, string> };
  return Object.entries(data).flatMap(([key, content]) => (key === "tcpwrapd.yaml" ? [content] : []));
}

test("a manual page takes no text for a request or an escape", () => {
  const rows: [text: string, page: string][] = [
    ["a-b", String.raw`a\-b`],
    [".example.org", String.raw`\&.example.org`],
    ["'quoted", String.raw`\&'quoted`],
    ["C:\\x", String.raw`C:\ex`],
    ["~ and ^", String.raw`\(ti and \(ha`],
  ];
  for (const [text, page] of rows) assert.equal(roff(text), page);
});
