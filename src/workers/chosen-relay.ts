/** Chooses the relay of a process, and says which one it is. */

import type { Settings } from "../config/schema.ts";
import type { Journal } from "../record/journal.ts";
import { type ChosenRelay, chooseRelay } from "../relay/choose.ts";

/**
 * Never rejects.
 *
 * @param journal gets a record of the choice; absent = somebody else has said it
 */
export async function openRelay(choice: Settings["relay"], journal?: Journal): Promise<ChosenRelay> {
  const chosen = await chooseRelay(choice);
  const { name, why } = chosen;
  const isSecondBest = name === "reference" && choice !== "reference";
  journal?.diagnose(isSecondBest ? "warn" : "info", { code: "relay", message: `${name}: ${why}` });
  return chosen;
}
