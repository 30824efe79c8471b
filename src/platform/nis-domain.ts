/** The NIS domain of this machine, which netgroups are asked with. */

import { readFileSync } from "node:fs";

/** Its name; undefined where none is set, as is usual. Source: /proc/sys/kernel/domainname, proc(5); getdomainname(2). */
export function nisDomain(): string | undefined {
  try {
    const name = readFileSync("/proc/sys/kernel/domainname", "latin1").replace(/\n$/, "");
    return name === "(none)" ? undefined : name;
  } catch {
    return undefined; // no /proc: then nobody has set one for us either
  }
}
