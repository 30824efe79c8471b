// Says, after the tests that need nothing, which ones were left out and how to run them.
import { readdirSync } from "node:fs";

const files = readdirSync(new URL("peers/", import.meta.url)).filter((name) => name.endsWith(".test.ts"));
console.log(`
LEFT OUT: ${files.length} test files in test/peers/, because they need real services from Debian's packages:
  ${files.map((name) => name.replace(".test.ts", "")).join(", ")}
To run them, as root: test/peers.sh && npm run test:peers
`);
