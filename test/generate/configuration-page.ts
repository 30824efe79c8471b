/** docs/configuration.md: what stands around the keys is written here, the keys come from the schema. */
import type { KeyRow } from "./keys.ts";

/** The page as Markdown. */
export function configurationPage(rows: readonly KeyRow[]): string {
  const sections = [...new Set(rows.map(sectionOf))];
  return `${beginning}\n${sections.map((section) => tableOf(section, rows)).join("\n")}\n${end}`;
}

const beginning = `# Configuration

<!-- Made by "npm run generate" from src/config/schema.ts; edit that, or test/generate/configuration-page.ts. -->

\`tcpwrapd run -c FILE\` reads one YAML file; without \`-c\` it is \`/etc/tcpwrapd/tcpwrapd.yaml\`, which need not be there when flags or the
environment say what to serve. A key that is not known is an error with its line and the key that was meant. The daemon does
not start with half of a configuration, and a reload with a broken file keeps the old one.

Where a thing is said twice, flags win over the environment, the environment over the file, the file over the defaults. Editors
check the file while you type if its first line is

\`\`\`yaml
# yaml-language-server: $schema=/usr/share/tcpwrapd/tcpwrapd.schema.json
\`\`\`

(the schema is [config/tcpwrapd.schema.json](../config/tcpwrapd.schema.json); the package has it in the place above).
[config/tcpwrapd.yaml](../config/tcpwrapd.yaml) is a file with every key in it, and [config/examples](../config/examples) has whole set-ups.

A duration is a number with its unit: \`500ms\`, \`5s\`, \`2m\`, \`1h\`; \`0\` where the text says what that means. A size is a number with its unit, too:
\`512B\`, \`64KiB\`, \`4MiB\`, \`1GiB\`. Paths are absolute.
`;

const end = `## Several backends

\`\`\`yaml
services:
  mysqld:
    listen: ["[::]:3306"]
    backend: ["db1.example:3306", "db2.example:3306"]
    health: { fall: 3, rise: 5, sessions: cut }
\`\`\`

The first backend that answers gets the client, all within \`connectTimeout\`. One that fails to answer rests for 5 s and the others are
preferred; each time it fails again it rests twice as long, a minute at most. When a rest is over, one connection at a time tries it, and a
client whose try fails goes to the next backend. A backend at rest is still tried where no other answers.

Health is passive: only what clients meet counts. Nothing connects to a backend on its own, because mysqld counts a bare connect as an
error and blocks the host after so many. So \`fall\` counts dials that failed in a row (refused, timed out, unreachable), and \`rise\` those that
were answered in a row after a rest: until then the backend is tried by one connection at a time, and if it fails once more its next
rest is longer than its last. A backend that comes and goes so costs its clients less and less. Failures of one outage make one rest, however
many clients meet it at once. The log tells of each fall (\`backend-fallen\`, level warn) and rise (\`backend-risen\`). Each worker learns by
itself, and status shows the worst that one has met.

\`maxPerBackend\` is for a backend that takes only so many (mysqld: \`max_connections\`): one that has as many sessions is passed over for the next
in the list, and where all are full the client is reset (\`backend_unreachable\`, the detail says which are full). With several workers each has
its share.

\`sessions: cut\` ends the open sessions of a backend at the moment it falls (\`kicked\`, with the detail \`backend_fallen\`), so that clients come
back and are led to another, as for a database with one writer. That nobody answers a new connection does not prove that the open ones are
dead: with \`keep\` they go on, and \`keepAlive\` finds those whose backend is gone. A worker cuts the sessions that it serves.

A backend may be a name. The hosts file is asked first, then DNS for IPv4 and IPv6, then what else the system knows; an answer is used for as
long as its record says, between a second and an hour. IPv4 addresses are tried first. Where one of the two questions has no answer, the
other's is used 200 ms later. When DNS does not answer at all, the last answer goes on for up to a day: the first connection waits 200 ms for a new
one, those after it do not wait, and DNS is asked every 5 s. A name that has never had an answer fails after 4 s.

## PROXY headers

With \`proxyProtocol.acceptFrom\` a client is who the header says, for the tables and in the records. What a client has said behind the
header has been read with it, and cannot be given to another program with the socket: \`exec\` is an error on such a service, and a rule with
\`twist\` serves only clients that wait for the server to speak; one that speaks first is reset (\`internal\`, with a \`detail\`). \`check\` warns of such
rules (\`twist-behind-proxy\`).

With \`send: v2\` the header carries the \`id\` of the connection's records as its unique id. A service that believes our own address (\`acceptFrom\`)
finds out by it that a connection has come through the service before: that is a loop, and it is refused with the reason \`error\` and a
\`detail\` that begins with \`loop\`. Each worker knows the ids of its own connections, so with several a loop may go round a few times. \`check\` finds
backends that are listeners of ours beforehand, by address and port (\`backend-is-listener\`).

## When a session ends

A session ends when both sides have ended, or when one of them is reset, which the other one then is too. An end of one side alone is passed on, and
the other goes on for as long as it likes. Each session has a place of \`maxConnections\`, so there are limits for those that stay:

- \`halfClosedTimeout\` (1m): the backend has ended, all that it said has been passed on, and nothing comes from the client any more. Without it a
  client that only has to be silent keeps its place after its backend has given it up, as sshd does at the end of \`LoginGraceTime\`. Every
  byte from the client begins the minute anew. The record says \`idle_timeout\` with the detail \`half_closed\`. A client that has not read
  everything yet can still do so. Choose 0 for a backend that ends its own direction at once and then listens for hours, which few do.
- Where it is the client that has ended there is no such limit: it has asked for something and waits (\`tar | ssh\`, rsync), its backend hears
  the end, and decides how long the answer takes. \`idleTimeout\` holds for such sessions as well.
- \`idleTimeout\` (0): no byte has moved either way.
- \`maxAge\` (0): so much time has passed since the client came, whatever moves, also on a UDP service and with \`exec\` (\`max_age\`).
- \`keepAlive\` (2h): a side has gone without a word.

\`halfClosedTimeout\` and \`maxAge\` are kept to within two seconds.

## UDP services

\`\`\`yaml
services:
  tftp:
    daemon: in.tftpd
    listen: ["udp:192.0.2.1:69", "udp:[2001:db8::1]:69"]
    backend: udp:127.0.0.1:6969
\`\`\`

On the command line that is \`--service tftp=udp:0.0.0.0:69,udp:127.0.0.1:6969\`. A backend has one of these forms: \`host:port\`, \`[v6]:port\` and
\`unix:/path\` for connections, \`udp:host:port\` and \`udp:[v6]:port\` for datagrams. The backend says which kind of service it is, and all of
its \`listen\` must be of that kind; a program that serves both, as DNS does, is two services with the same \`daemon\`.

The first datagram of a client (its address and port) is judged by the tables as a connection is; a refused one is dropped without an
answer. An allowed client has a session, with an \`accept\` and an \`end\` record, that ends when no datagram has moved either way for
\`idleTimeout\`. The backend may answer from another port, as TFTP does, and the session follows it. An edit of a table counts for the next new
session; a TFTP request from the port of an earlier one is a new session.

- Addresses of datagrams can be forged. Of a flood, \`flood.perUdpService\` refusals in a period are written in full, and \`spawn\` runs for
  those; the rest is one number (\`suppressed\`). A thousand clients may wait for their verdict; what is dropped beyond that is told too
  (\`udp-dropped\`). Whoever forges addresses that the tables allow takes up to \`maxConnections\` sessions: keep that low beside services
  that matter, since \`limits.connections\` is for all.
- Answers leave from the port that was asked. On a wildcard address (\`udp:0.0.0.0:69\`) the kernel chooses the address that they leave from; on a
  machine with several, listen on each. For the same reason \`daemon@host\` in a rule matches the address listened on, as with tcpd.
- Each session has a socket of its own towards its client, so a restart (\`process.onRestart: keep\`) leaves it to the old worker and the port to
  the next daemon. Where a worker may not bind the port (below 1024, started as root, with \`process.user\`), or the client has written to another
  address than the kernel answers from, the session uses the common socket: it does as well until a restart, and then keeps the port busy or
  is judged anew. A client whose port is closed ends its session (\`client_gone\`).
- There is no ident over UDP: a user is \`unknown\`. \`twist\` refuses, \`banners\` are not sent, \`keepalive\` and \`linger\` mean nothing.
- \`exec\`, \`proxyProtocol\`, \`refuse: close\` and \`hold\` and several backends are errors: nothing of the kind can be done with datagrams.
- All UDP services are served by one of the workers, since the datagrams of one client must not be spread over several.
- \`systemd:NAME\` takes a socket of \`ListenDatagram=\`: [config/examples/tftp](../config/examples/tftp) has the unit.

## What a refused client can learn

A refused client gets no word, but it has a clock. \`refuse: reset\` ends it as soon as the verdict is there, whether or not it has spoken, and
the time until then is the time of what the tables had to ask:

- A client that is refused by its address alone is ended at once, one for whom a rule asked a name after an answer of DNS. An address
  without a name (\`UNKNOWN\`) is one question; one whose name does not lead back to it (\`PARANOID\`) is two or more. So the client can tell
  that there are rules with names and, since it can run the DNS of its own addresses, which of its names are looked at and when.
- A rule with a user name asks the client's own ident service, and \`aclexec\` takes as long as its command does.
- Where a name is known from an earlier client, nothing is asked and the refusal comes at once.

\`services.NAME.refuseAfter\` hides that, as sshd hides how long a password took: a refused client is ended when it has been there for so long,
or for a whole multiple of it where the decision took longer. To have one time for all, choose more than \`names.timeout\`, and more than
\`ident.timeout\` and \`aclexec.timeout\` with it where rules use them: \`refuseAfter: 2s\` does for tables with names. What it costs: a socket for each
refused client meanwhile. Such a client counts as one that is held (\`refuse: hold\`): it takes no place of \`maxConnections\`, there is room for
so many, and in a flood those beyond it are refused at once. The record is written without waiting.

It is about verdicts only. Clients beyond a limit, with a wrong PROXY header, or undecided at \`decisionTimeout\` are reset without
more, and a UDP service answers no refused client at all.

## Environment

For containers, where a file is in the way:

| variable              | what it holds                                                                            |
| --------------------- | ---------------------------------------------------------------------------------------- |
| \`TCPWRAPD_SERVICES\`   | services as \`NAME=LISTEN,BACKEND\`, several with \`;\` between them                         |
| \`TCPWRAPD_ALLOW\`      | the text of hosts.allow itself, in place of the file                                     |
| \`TCPWRAPD_DENY\`       | the text of hosts.deny itself                                                            |
| \`TCPWRAPD_LOG_FORMAT\` | \`json\`, \`text\` or \`pretty\`: records go to standard output in this form, and nowhere else |
`;

function sectionOf({ path }: KeyRow): string {
  return path.split(/[.[]/)[0] ?? path;
}

function tableOf(section: string, rows: readonly KeyRow[]): string {
  const lines = rows
    .filter((row) => sectionOf(row) === section)
    .map(
      (row) => `| \`${row.path}\` | ${escaped(row.type)} | ${defaultOf(row)} | ${escaped(row.description)} |`,
    );
  return `## ${section}\n\n| key | value | default | meaning |\n| --- | --- | --- | --- |\n${lines.join("\n")}\n`;
}

function defaultOf(row: KeyRow): string {
  if (row.default !== undefined) return `\`${escaped(row.default)}\``;
  return row.isRequired ? "required" : "";
}

/** Safe in a cell of a table: no bar, and no "<" that would begin a tag. */
function escaped(text: string): string {
  return text.replace(/[|<*_]/g, String.raw`\$&`);
}
