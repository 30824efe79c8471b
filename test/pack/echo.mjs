// A backend that says back whatever it hears.   echo.mjs PORT
import { createServer } from "node:net";

createServer({ allowHalfOpen: true }, (socket) => {
  socket.on("error", () => socket.destroy());
  socket.pipe(socket);
}).listen({ port: Number(process.argv[2]), host: "127.0.0.1", backlog: 4096 });
