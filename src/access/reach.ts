/** Finds the services that everybody reaches, or nobody. */
import type { Remark } from "./remark.ts";
import type { RuleRead } from "./criticise-rule.ts";

/** What the rules say of each daemon as a whole. Rules are added in the order in which they are asked. */
export class Reach {
  /** Daemons with a rule that refuses all; "all" = every daemon. */
  readonly #closed = new Set<string>();
  /** Daemons with a rule before that which lets somebody in. */
  readonly #entered = new Set<string>();

  add({ daemons, clients, verdict }: Pick<RuleRead, "daemons" | "clients" | "verdict">): void {
    const isForAll = clients.includes("all");
    for (const word of daemons) {
      const daemon = word === "known" ? "all" : word;
      // "ALL EXCEPT friends" is a rule for all as well: whom it excepts is named.
      if (verdict === "refuse" && isForAll) this.#closed.add(daemon);
      if (verdict === "refuse" || this.#closed.has("all") || this.#closed.has(daemon)) continue;
      // A port, a wildcard or one of our addresses may stand for any of them.
      const isOneName = /^[a-z_][\w.+-]*$/.test(daemon);
      this.#entered.add(isOneName ? daemon : (/^[a-z_][\w.+-]*(?=@)/.exec(daemon)?.[0] ?? "all"));
    }
  }

  /**
   * Remarks on the tables as a whole.
   *
   * @param served the daemons that are served; none = those that the tables name
   */
  *gaps(
    served: readonly string[],
    noMatch: "allow" | "refuse",
    { allow, deny }: { readonly allow: string; readonly deny: string },
  ): Generator<Remark> {
    const named = new Set([...this.#closed, ...this.#entered]);
    named.delete("all");
    const daemons = served.length > 0 ? [...new Set(served)] : named.size > 0 ? [...named] : ["all"];
    const isIn = (set: ReadonlySet<string>, daemon: string): boolean =>
      set.has("all") || set.has(daemon.toLowerCase());
    const isClosed = (daemon: string): boolean => noMatch === "refuse" || isIn(this.#closed, daemon);
    const open = daemons.filter((daemon) => !isClosed(daemon));
    if (open.length > 0) {
      const message = `${subjectOf(open)}a client that no rule names is let in`;
      const hint = `write "ALL: ALL" at the end of ${deny}, or access: {noMatch: refuse}`;
      yield { code: "open-by-default", message, hint };
    }
    // A daemon that nobody serves may be closed on purpose.
    const mustOpen = served.length > 0 ? daemons : this.#entered.size === 0 ? ["all"] : [];
    const shut = mustOpen.filter((daemon) => isClosed(daemon) && !isIn(this.#entered, daemon));
    if (shut.length === 0) return;
    const message = `${subjectOf(shut)}every client is refused, for no rule lets anybody in`;
    const daemon = shut[0] === "all" ? "sshd" : (shut[0] ?? "sshd");
    yield { code: "nobody-allowed", message, hint: `write for example "${daemon}: 192.0.2." in ${allow}` };
  }
}

function subjectOf(daemons: readonly string[]): string {
  if (daemons[0] === "all") return "";
  const shown = daemons.slice(0, 5).map((daemon) => `"${daemon}"`);
  return `${shown.join(", ")}${daemons.length > 5 ? " and others" : ""}: `;
}
