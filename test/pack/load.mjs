// Clients for a restart under load: sessions that stay open and talk all the time, and new connections that come and go.
//
//   load.mjs PORT SESSIONS PER_SECOND [FROM]      FROM: the address that they come from, 127.0.0.1
//
// Runs until its standard input ends, then prints two lines: what became of them, and how, where one did not end well; and
// what rate they really came at, since a busy machine may not manage the one that was asked for:
//
//   connections 4711, sessions cut 0, connections refused 2 (connection ECONNREFUSED: 2)
//   offered 498.2 connections a second
import { connect } from "node:net";

const [port, sessions, perSecond] = process.argv.slice(2, 5).map(Number);
const localAddress = process.argv[5] ?? "127.0.0.1";
/** Where nobody accepts for a while, no more wait at once than the kernel's queue holds: that limit is not what is tested. */
const mostAtOnce = 4000;
const counts = { connections: 0, cut: 0, refused: 0, open: 0 };
let isEnding = false;
/** How those ended that did not end well: a kind of connection and an error, counted. */
const failures = new Map();

/** Opens a connection and talks over it, word by word, until `isEnough`; resolves with how it went. */
function talk(isEnough) {
  return new Promise((resolve) => {
    const socket = connect({ port, host: "127.0.0.1", localAddress });
    let sent = "";
    let words = 0;
    let isDone = false;
    const say = () => {
      sent = `word ${words++}\n`;
      socket.write(sent);
    };
    const finish = (how) => {
      if (isDone) return;
      isDone = true;
      socket.destroy();
      resolve(how);
    };
    let heard = "";
    socket.setTimeout(20_000, () => finish("silent"));
    socket.on("connect", say);
    socket.on("data", (chunk) => {
      heard += chunk;
      if (heard.length < sent.length) return;
      if (heard !== sent) return finish("garbled");
      heard = "";
      if (isEnough()) finish("good");
      else setTimeout(say, 20);
    });
    socket.on("end", () => finish("ended"));
    socket.on("error", (error) => finish(error.code));
  });
}

function note(how) {
  failures.set(how, (failures.get(how) ?? 0) + 1);
}

async function session() {
  counts.open += 1;
  const how = await talk(() => isEnding);
  counts.open -= 1;
  if (how !== "good") {
    counts.cut += 1;
    note(`session ${how}`);
  }
}

async function visit() {
  counts.connections += 1;
  const how = await talk(() => true);
  if (how !== "good") {
    counts.refused += 1;
    note(`connection ${how}`);
  }
}

const running = new Set();
const track = (work) => {
  running.add(work);
  work.finally(() => running.delete(work));
};
for (let count = 0; count < sessions; count++) track(session());
// A timer does not fire a thousand times a second, so each tick makes up for what is due.
const startedAt = performance.now();
const ticking = setInterval(() => {
  const due = ((performance.now() - startedAt) / 1000) * perSecond;
  while (counts.connections < due && running.size < sessions + mostAtOnce) track(visit());
}, 5);
process.stdin.resume();
process.stdin.on("end", async () => {
  clearInterval(ticking);
  const offered = counts.connections / ((performance.now() - startedAt) / 1000);
  isEnding = true;
  await Promise.all(running);
  const how = [...failures].map(([name, count]) => `${name}: ${count}`).join(", ");
  process.stdout.write(
    `connections ${counts.connections}, sessions cut ${counts.cut}, connections refused ${counts.refused}${how && ` (${how})`}\noffered ${offered.toFixed(1)} connections a second\n`,
  );
});
