/** Logical lines: hosts_access(5), and what tcpd makes of torn files. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { LineReader, MAX_LINE_BYTES } from "../../src/access/lines.ts";

const rows: [text: string, lines: [line: number, text: string][], because: string][] = [
  ["a: b\n", [[1, "a: b"]], "a line is a line"],
  [
    "a\n\n \t\r\nb\n",
    [
      [1, "a"],
      [4, "b"],
    ],
    "blank lines are counted and dropped",
  ],
  ["\nb\n", [[2, "b"]], "at the very start too"],
  ["# a\nb\n", [[2, "b"]], "a comment is dropped"],
  [" # a\n", [[1, " # a"]], "a comment begins in column 1 only"],
  ["a # b\n", [[1, "a # b"]], "there are no comments inside lines"],
  [
    "a \\\n b\n",
    [[2, "a  b"]],
    "a backslash right before the newline joins, and the line is counted where it ends",
  ],
  [
    "a \\ \nb\n",
    [
      [1, "a \\ "],
      [2, "b"],
    ],
    "a blank between them does not join",
  ],
  [
    "a \\\r\nb\n",
    [
      [1, "a \\\r"],
      [2, "b"],
    ],
    "a CR between them does not join",
  ],
  ["a\\\\\nb\n", [[2, "a\\b"]], "of two backslashes the last one joins"],
  ["# a \\\nb\nc\n", [[3, "c"]], "joining comes before comments"],
  ["\\\n#a\nb\n", [[3, "b"]], "a comment may begin after an empty joined line"],
  [
    "a\0x\nb\n",
    [[1, "ab"]],
    "a NUL swallows the rest of its line and glues the next one, which is not counted",
  ],
  ["a\\\0\nb\n", [[1, "a\\b"]], "a backslash before a NUL is text"],
  ["\0\n\\\na\n", [[2, "a"]], "a joined line after a NUL"],
  ["a\0\n", [[1, "a"]], "a last line that a NUL has cut has no newline, and a number"],
  [
    "a\nb\0c",
    [
      [1, "a"],
      [2, "b"],
    ],
    "nor does a newline after it matter",
  ],
  ["\f\n", [[1, "\f"]], "a form feed is text"],
  ["a", [[1, "a"]], "a last line without newline counts"],
  [
    "a\nb",
    [
      [1, "a"],
      [2, "b"],
    ],
    "and has the number of its line",
  ],
  ["a\n#b", [[1, "a"]], "a last comment without newline is a comment"],
  ["a\\", [[1, "a\\"]], "a backslash at the very end is text"],
  ["a\\\n", [[1, "a"]], "a joined end is a last line too"],
  ["a\n\\\n", [[1, "a"]], "a lone backslash at the end is nothing"],
  ["\xef\xbb\xbfa\n", [[1, "a"]], "a byte-order mark is skipped"],
  [
    "a\n\xef\xbb\xbfb\n",
    [
      [1, "a"],
      [2, "\xef\xbb\xbfb"],
    ],
    "but only at the start",
  ],
  ["\xef\xbba\n", [[1, "\xef\xbba"]], "and only a whole one"],
  ["a\xbb\xbf\n", [[1, "a\xbb\xbf"]], "not without its first byte"],
  ["\xefa\xbf\n", [[1, "\xefa\xbf"]], "or its second"],
  ["\xe9\xff\n", [[1, "\xe9\xff"]], "bytes stay bytes"],
  ["", [], "an empty file has no lines"],
];
for (const [text, lines, because] of rows) {
  test(`${JSON.stringify(text)}: ${because}`, () => {
    assert.deepEqual(
      read(text).lines.map(({ line, text }) => [line, text]),
      lines,
    );
  });
}

const remarks: [text: string, said: string[], because: string][] = [
  ["a: b\n", [], "nothing to say"],
  ["\xef\xbb\xbfa\n", ["1 warning byte-order-mark"], "a byte-order mark"],
  ["a\n\nb", ["3 warning missing-newline"], "a last line without newline"],
  ["a\n#b", [], "a comment without newline harms nobody here"],
  ["a\n \t", [], "nor do blanks"],
  ["a\nb\0\nc\0\nd\n", ["2 warning nul-byte"], "NUL bytes, once for a line"],
  ["\0\na\n", ["1 warning nul-byte"], "one in column 1"],
  ["a\0\n", ["1 warning nul-byte", "1 warning missing-newline"], "one that takes the last newline"],
  ["a\\\n", ["1 warning missing-newline"], "a line joined with nothing"],
];
for (const [text, said, because] of remarks) {
  test(`${JSON.stringify(text)} gives ${said.length} remarks: ${because}`, () => {
    assert.deepEqual(
      read(text).diagnostics.map(({ file, line, severity, code }) => {
        assert.equal(file, "hosts.deny");
        return `${line} ${severity} ${code}`;
      }),
      said,
    );
  });
}

test("remarks say what is wrong, where, and what to do", () => {
  const { diagnostics } = read("\xef\xbb\xbfa\nbc\0d\ne\nf");
  assert.deepEqual(diagnostics, [
    {
      file: "hosts.deny",
      line: 1,
      column: 1,
      severity: "warning",
      code: "byte-order-mark",
      message: "the file begins with a byte-order mark; it is skipped",
    },
    {
      file: "hosts.deny",
      line: 2,
      column: 3,
      severity: "warning",
      code: "nul-byte",
      message: "NUL byte: the rest of this line is lost, and the next line is joined to it",
    },
    {
      file: "hosts.deny",
      line: 3,
      column: 2,
      severity: "warning",
      code: "missing-newline",
      message: "the last line has no newline; it is taken as a line like any other",
      hint: "end the file with a newline: tcpd ignores this line, and in hosts.deny refuses everyone it reaches",
    },
  ]);
  assert.deepEqual(read("x".repeat(MAX_LINE_BYTES + 1)).diagnostics, [
    {
      file: "hosts.deny",
      line: 1,
      column: MAX_LINE_BYTES + 1,
      severity: "error",
      code: "line-too-long",
      message: "the line is longer than 1048576 bytes; this line and all after it are ignored",
      hint: "split it into several rules, or name a /file with the patterns",
    },
  ]);
});

test("a line of the longest length is taken, one byte more ends the table with an error", () => {
  const longest = "x".repeat(MAX_LINE_BYTES);
  assert.deepEqual(
    read(`${longest}\ny\n`).lines.map(({ text }) => text.length),
    [MAX_LINE_BYTES, 1],
  );
  assert.ok(!read(`${longest}\n`).isCutShort);
  const { lines, diagnostics, isCutShort } = read(`a\n${longest}x\ny\n`);
  assert.deepEqual(
    lines.map(({ text }) => text),
    ["a"],
  );
  assert.ok(isCutShort);
  assert.deepEqual(
    diagnostics.map(({ line, severity, code }) => [line, severity, code]),
    [[2, "error", "line-too-long"]],
  );
});

test("the length is that of the logical line, and a torn last one is reported at its own line", () => {
  const half = "x".repeat(MAX_LINE_BYTES / 2);
  assert.equal(read(`${half}\\\n${half}\n`).lines.length, 1);
  const { lines, diagnostics } = read(`a\n${half}\\\n${half}x`);
  assert.equal(lines.length, 1);
  assert.deepEqual(
    diagnostics.map(({ line, code }) => [line, code]),
    [[3, "line-too-long"]],
  );
});

test("a reader may begin at any line", () => {
  const bytes = Buffer.from("a\nb\\\nc\nd\n");
  assert.deepEqual(new LineReader("f", bytes, 2, 1).next(), { text: "bc", line: 3 });
});

test("remarks on one file are bounded", () => {
  assert.equal(read("a\0\nb\n".repeat(3000)).diagnostics.length, 1000);
});

function read(text: string) {
  const reader = new LineReader("hosts.deny", Buffer.from(text, "latin1"));
  const lines = [];
  for (let line = reader.next(); line !== undefined; line = reader.next()) lines.push(line);
  return { lines, diagnostics: reader.diagnostics, isCutShort: reader.isCutShort };
}
