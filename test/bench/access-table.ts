/** A hosts.deny of mixed addresses, prefixes and names, and for each rule a client that meets it. */

/** One rule of the table. */
export interface DenyRule {
  readonly line: string;
  /** A client that the rule matches. */
  readonly client: { readonly address: string; readonly name: string };
  /** The line of the first rule that matches that client: an earlier net may hold it. */
  readonly first: number;
}

/** The same table every time: half addresses, a fifth IPv4 nets, a tenth IPv6 nets, a tenth names, a tenth domains. */
export function* denyTable(size: number): Generator<DenyRule> {
  const random = generator(1);
  const seen = new Map<string, number>();
  for (let line = 1; line <= size; line++) {
    const kind = random(10);
    const quad = [1 + random(223), random(256), random(256), random(256)];
    const net = quad.slice(0, 3).join(".");
    const net6 = `2001:db8:${random(65536).toString(16)}:${random(65536).toString(16)}::`;
    let client = { address: "203.0.113.9", name: "unknown" };
    let word: string;
    let keys: string[] = [];
    if (kind < 5) {
      word = quad.join(".");
      client = { ...client, address: word };
      keys = [word, net];
    } else if (kind < 7) {
      word = kind === 5 ? `${net}.0/24` : `${net}.`;
      client = { ...client, address: quad.join(".") };
      keys = [net, client.address];
    } else if (kind < 8) {
      word = `[${net6}]/64`;
      client = { ...client, address: `${net6}7` };
      keys = [net6];
    } else {
      word = kind === 8 ? `host${line}.bad${random(1000)}.example` : `.d${line}.example.net`;
      client = { ...client, name: kind === 8 ? word : `www${word}` };
    }
    const daemon = random(2) === 0 ? "ALL" : "sshd";
    const first = Math.min(line, ...keys.map((key) => seen.get(key) ?? line));
    const [own] = keys;
    if (own !== undefined && !seen.has(own)) seen.set(own, line);
    yield { line: `${daemon}: ${word}\n`, client, first };
  }
}

/** A small linear generator: every run has the same table. */
export function generator(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}
