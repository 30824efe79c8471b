/** Random tables and questions that like the edges of the language: fast-check arbitraries. Texts of tables are strings of bytes. */
import * as fc from "fast-check";

/** One question: a daemon, a client, a server, as far as they are known. */
export interface Question {
  daemon: string;
  clientName: string;
  clientAddr: string;
  user: string;
  serverName: string;
  serverAddr: string;
  serverPort: number;
}

/** What a random table may hold. */
export interface Ingredients {
  /** Paths of `/file` lists that patterns may name. */
  readonly files?: readonly string[];
  readonly options?: fc.Arbitrary<string>;
}

/** Longer than what tcpd keeps of a name, and what it keeps. */
const LONG = `${"n".repeat(120)}.example.com`;
const LONG_KEPT = LONG.slice(0, 127);

const DAEMONS = ["sshd", "mysqld", "in.ftpd", "8080", "unknown", "sshd-x"];
const NAMES = [
  "client.example.com",
  "example.com",
  "a.b.example.com",
  "host",
  "unknown",
  "paranoid",
  "192.0.2.evil.test",
  "10",
  "1e",
  "x_y-z.test",
  "localhost",
  "é.test",
  LONG,
];
const ADDRESSES = [
  "192.0.2.10",
  "192.0.2.1",
  "10.0.0.1",
  "10.66.1.1",
  "127.0.0.1",
  "0.0.0.0",
  "255.255.255.254",
  "8.1.2.3",
  "2001:db8::1",
  "2001:db8:0:1::25",
  "fe80::1",
  "::1",
  "::",
  "::ffff:192.0.2.10",
  "::ffff:10.0.0.1",
  "unknown",
];
const USERS = ["root", "bob", "unknown", "UNKNOWN", "KNOWN", "a.b", "me@x", "é", `b${LONG}`];
const SERVERS = ["198.51.100.1", "2001:db8::2", "unknown"];

/** A question about hosts that the patterns of `table` are likely to meet. */
export const question: fc.Arbitrary<Question> = fc.record({
  daemon: fc.constantFrom(...DAEMONS.slice(0, 5), LONG),
  clientName: fc.constantFrom(...NAMES),
  clientAddr: fc.oneof({ weight: 5, arbitrary: fc.constantFrom(...ADDRESSES) }, nearAddress()),
  user: fc.constantFrom(...USERS),
  serverName: fc.constantFrom("server.example.com", "unknown"),
  serverAddr: fc.constantFrom(...SERVERS),
  serverPort: fc.constantFrom(22, 8080, 3306),
});

/** The text of a table. */
export function table(ingredients: Ingredients = {}): fc.Arbitrary<string> {
  const lines = fc.array(line(ingredients), { maxLength: 6 }).map((lines) => lines.join(""));
  return fc
    .tuple(fc.oneof({ weight: 60, arbitrary: fc.constant("") }, fc.constant(MANY_DAEMONS)), lines)
    .map((parts) => parts.join(""));
}

/** More daemon lists than the index has groups. */
const MANY_DAEMONS = Array.from({ length: 260 }, (_, index) => `d${index}: ALL\n`).join("");

/** An option, or several in a row, the same one among them. */
export function repeated(option: fc.Arbitrary<string>): fc.Arbitrary<string> {
  const several = fc.array(option, { minLength: 2, maxLength: 3 });
  const twice = option.map((text) => [text, text]);
  const row = fc.oneof(several, twice).map((texts) => texts.join(":"));
  return fc.oneof({ weight: 4, arbitrary: option }, { weight: 1, arbitrary: row });
}

/** The text of a `/file`. */
export function listFile(ingredients: Ingredients = {}): fc.Arbitrary<string> {
  const blank = fc.constantFrom(" ", "\n", "\t", "\r\n", "\v", "\f", "  ");
  const entry = fc.tuple(fc.oneof(host(ingredients), fc.constantFrom("EXCEPT", "2001:db8::1", "a,b")), blank);
  return fc.array(entry, { maxLength: 6 }).map((words) => words.flat().join(""));
}

/** A text with a few bytes put in where they hurt. */
export function damaged(text: fc.Arbitrary<string>): fc.Arbitrary<string> {
  const piece = fc.constantFrom(
    ...words(": [ ] @ \\ # EXCEPT / , * ? . % ALL = - !"),
    "\\\n",
    "\0",
    "\n",
    "\r",
    "\t",
    "\v",
    "\f",
    " ",
    "\xe9",
    "\xc3\xa9",
    "\xa0",
    "\x7f",
  );
  const wound = fc.tuple(fc.nat(400), piece);
  return fc.tuple(text, fc.array(wound, { minLength: 1, maxLength: 4 })).map(([whole, wounds]) => {
    let result = whole;
    for (const [seed, insert] of wounds) {
      const at = seed % (result.length + 1);
      result = result.slice(0, at) + insert + result.slice(at);
    }
    return result;
  });
}

function line(ingredients: Ingredients): fc.Arbitrary<string> {
  const options = ingredients.options ?? fc.constantFrom("allow", "deny", " ALLOW ", "");
  const rule = fc
    .tuple(list(daemon(ingredients)), list(client(ingredients)), fc.option(options, { freq: 3 }), end())
    .map(
      ([daemons, clients, option, ends]) =>
        `${daemons}:${clients}${option === null ? "" : `:${option}`}${ends}`,
    );
  const other = fc.constantFrom(
    "# ALL: ALL\n",
    " # ALL: ALL\n",
    "\n",
    " \t\r\n",
    "no colon here\n",
    "# joined \\\n",
    "sshd: ALL \\\\\n",
    "\f\n",
    ": ALL\n",
    "ALL :\n",
    "\\\n",
  );
  return fc.oneof({ weight: 12, arbitrary: rule }, { weight: 1, arbitrary: other });
}

function end(): fc.Arbitrary<string> {
  return fc.oneof(
    { weight: 12, arbitrary: fc.constant("\n") },
    fc.constantFrom(" \n", "\r\n", "\t\n", ",\n"),
  );
}

function list(word: fc.Arbitrary<string>): fc.Arbitrary<string> {
  const separator = fc.oneof(
    { weight: 8, arbitrary: fc.constantFrom(" ", ", ") },
    fc.constantFrom(",", "\t", " \\\n ", "\\\n,", "\r", " ,, "),
  );
  const except = fc.constantFrom(" EXCEPT ", " except ", ",Except,", " EXCEPT EXCEPT ");
  const join = fc.oneof({ weight: 4, arbitrary: separator }, { weight: 2, arbitrary: except });
  const edge = fc.oneof(
    { weight: 10, arbitrary: fc.constantFrom("", " ") },
    fc.constantFrom(",", " EXCEPT ", "\t"),
  );
  return fc.tuple(edge, fc.array(fc.tuple(word, join), { minLength: 1, maxLength: 4 }), edge).map(
    ([head, words, tail]) =>
      head +
      words
        .map(([text, after]) => text + after)
        .join("")
        .trimEnd() +
      tail,
  );
}

function daemon(ingredients: Ingredients): fc.Arbitrary<string> {
  const name = fc.oneof(
    { weight: 4, arbitrary: fc.constantFrom("ALL", "sshd", "SSHD", "in.ftpd") },
    fc.constantFrom(
      ...DAEMONS,
      ...words("in. .ftpd ss* ???? KNOWN LOCAL 22 +22 -1 8080 65536 4294967318 @x all [::1] *"),
      LONG_KEPT,
      "\xe9d",
    ),
  );
  const server = fc.tuple(name, host(ingredients)).map(([left, right]) => `${left}@${right}`);
  return fc.oneof({ weight: 8, arbitrary: name }, { weight: 1, arbitrary: server });
}

function client(ingredients: Ingredients): fc.Arbitrary<string> {
  const user = fc.constantFrom(
    ...USERS,
    `b${LONG_KEPT}`.slice(0, 127),
    "\xc3\xa9",
    "ALL",
    "*",
    "r*",
    "UNKNOWN",
    "LOCAL",
    ".b",
    "a.",
    "roo?",
  );
  const userAt = fc
    .tuple(user, fc.oneof(host(ingredients), fc.constant("")))
    .map(([left, right]) => `${left}@${right}`);
  return fc.oneof({ weight: 10, arbitrary: host(ingredients) }, { weight: 1, arbitrary: userAt });
}

function host({ files = [] }: Ingredients): fc.Arbitrary<string> {
  const reserved = fc.constantFrom(
    ...words("ALL LOCAL KNOWN UNKNOWN PARANOID all Known local unknown FAIL NONE"),
  );
  const texts = fc.constantFrom(
    ...NAMES,
    ...words(".example.com .COM . .. client. CLIENT.EXAMPLE.COM *.example.com * ? ** host**"),
    ...words("client*? 192.0.2.* 192.0.?.10 10.* 2001?db8?* un* .2.10 !10.0.0.1 a-b 1.2.3.4-9"),
    ...words("*** *.* ?*.com h?st [*] 192.0.2. 10. 192.0. 192.0.2 192.0.2.010 192.0.2.10."),
    ...words("300. 01. 1.2.3.4.5 [::1 ::1] [] [192.0.2.10] [::ffff:192.0.2.10] [fe80::1%lo]"),
    ...words("[fe80::1%nosuchif] [2001:DB8::1] [2001:db8::/32] [fe80::1%1] [2001:db8::1%1] x/y @ é.test"),
    "\xc3\xa9.test",
    ...words(".\xa9.test ?.test ??.test"),
    LONG_KEPT,
    `${LONG_KEPT.slice(0, 100)}*`,
  );
  const pathWords = files.length === 0 ? [] : [{ weight: 2, arbitrary: fc.constantFrom(...files) }];
  return fc.oneof(
    { weight: 2, arbitrary: reserved },
    { weight: 4, arbitrary: texts },
    { weight: 4, arbitrary: fc.constantFrom(...ADDRESSES.slice(0, 8)) },
    { weight: 2, arbitrary: nearAddress().map((text) => (text.includes(":") ? `[${text}]` : text)) },
    { weight: 4, arbitrary: net() },
    ...pathWords,
  );
}

function nearAddress(): fc.Arbitrary<string> {
  const part = fc.constantFrom(0, 1, 2, 10, 127, 192, 255);
  const quad = fc.tuple(part, part, part, part).map((parts) => parts.join("."));
  const group = fc.constantFrom("0", "1", "db8", "ffff", "fe80", "2001");
  const v6 = fc.tuple(group, group, group).map(([one, two, three]) => `${one}:${two}::${three}`);
  return fc.oneof({ weight: 3, arbitrary: quad }, v6);
}

function net(): fc.Arbitrary<string> {
  const base = fc.constantFrom(
    ...words("192.0.2.0 192.0.0.0 10.0.0.0 0.0.0.0 192.0.2.10 10.66.0.0 128.0.0.0 010.0.0.0 0xa.0.0.0"),
    "0.0.2.0",
    "255.255.255.255",
    "08.0.0.0",
    "10.0.0",
    "1.2.3.4.5",
    "256.0.0.0",
    "",
    "192.0.2.1x",
  );
  const length = fc.oneof(
    fc.nat(40).map(String),
    fc.constantFrom(
      "255.255.255.0",
      "255.0.0.0",
      "0.0.0.0",
      "0.0.255.0",
      "255.255.255.255",
      "255.0.255.0",
      "0xff.0.0.0",
    ),
    fc.constantFrom(
      "",
      "+8",
      "-8",
      "8x",
      "x",
      "24abc",
      " 8",
      "4294967304",
      "0377.0.0.0",
      "255.255.255.254",
      "8/9",
      "1.2.3",
    ),
  );
  const base6 = fc.constantFrom(
    "2001:db8::",
    "2001:db8:0:1::25",
    "fe80::",
    "::",
    "::ffff:0:0",
    "2001:db8:ffff::",
    "x",
    "::1.2.3.4",
  );
  const length6 = fc.oneof(fc.nat(130).map(String), fc.constantFrom("", "x", "-1", "64x", "+32"));
  return fc.oneof(
    { weight: 3, arbitrary: fc.tuple(base, length).map((parts) => parts.join("/")) },
    { weight: 2, arbitrary: fc.tuple(base6, length6).map(([address, bits]) => `[${address}]/${bits}`) },
  );
}

function words(text: string): string[] {
  return text.split(" ");
}
