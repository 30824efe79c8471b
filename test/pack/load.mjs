// Clients for a restart under load: sessions that stay open and talk all the time, and new connections that come and go.
//
//   load.mjs PORT SESSIONS PER_SECOND      runs until its standard input ends, then prints one line:
//                                          connections 4711, sessions cut 0, connections refused 0
//                                          and how, where one was: (session ended: 1, connection ECONNREFUSED: 2)
import { connect } from "node:net";

const [port, sessions, perSecond] = process.argv.slice(2).map(Number);
const counts = { connections: 0, cut: 0, refused: 0, open: 0 };
let isEnding = false;
/** How those ended that did not end well: a kind of connection and an error, counted. */
const failures = new Map();

/** Opens a connection and talks over it, word by word, until `isEnough`; resolves with how it went. */
function talk(isEnough) {
  return new Promise((resolve) => {
    const socket = connect({ port, host: "127.0.0.1" });
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
  while (counts.connections < due) track(visit());
}, 5);
process.stdin.resume();
process.stdin.on("end", async () => {
  clearInterval(ticking);
  isEnding = true;
  await Promise.all(running);
  const how = [...failures].map(([name, count]) => `${name}: ${count}`).join(", ");
  process.stdout.write(
    `connections ${counts.connections}, sessions cut ${counts.cut}, connections refused ${counts.refused}${how && ` (${how})`}\n`,
  );
});
