// A client that says hello and prints what it hears, or the code of the error.   hello.mjs PORT FROM
import { connect } from "node:net";

const [port, localAddress] = process.argv.slice(2);
const socket = connect({ port: Number(port), host: "127.0.0.1", localAddress });
let heard = "";
socket.setTimeout(10_000, () => socket.destroy(Object.assign(new Error("silent"), { code: "ETIMEDOUT" })));
socket.on("connect", () => socket.end("hello\n"));
socket.on("data", (chunk) => (heard += chunk));
socket.on("error", (error) => (heard = `${error.code}\n`));
socket.on("close", () => process.stdout.write(heard));
