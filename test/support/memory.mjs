// Loaded into a daemon and its workers before their own program (NODE_OPTIONS=--import): at SIGUSR2 a process collects its
// garbage and writes what is left into TCPWRAPD_MEMORY_FOLDER, as a file that is named by its pid.
import { renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

const folder = process.env.TCPWRAPD_MEMORY_FOLDER ?? "";
setFlagsFromString("--expose-gc");
const collect = runInNewContext("gc");

process.on("SIGUSR2", () => {
  collect();
  const file = join(folder, String(process.pid));
  writeFileSync(`${file}.new`, JSON.stringify(process.memoryUsage()));
  renameSync(`${file}.new`, file);
});
