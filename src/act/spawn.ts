/** Runs the commands of `spawn` beside their connections. */
import type { Command } from "../access/types.ts";
import type { Programs } from "../platform/commands.ts";
import { reasonOf } from "./reason.ts";
import { Room } from "./room.ts";
import { shellProgram } from "./shell.ts";

/**
 * Starts `spawn` commands: descriptors 0, 1 and 2 on /dev/null, SIGHUP ignored, exit status ignored, as hosts_options(5) says.
 * libwrap waits for the shell; we do not, so that a slow command delays no client, but the commands of one rule keep their order.
 * Bounded in number for the whole daemon.
 */
export class Spawns {
  readonly #room: Room;

  constructor(options: { readonly maxRunning: number }) {
    this.#room = new Room(options.maxRunning);
  }

  /** How many commands run just now. */
  get running(): number {
    return this.#room.used;
  }

  /**
   * Starts one command and does not wait for it.
   *
   * @param how.programs who starts it
   * @param how.warn is told when it could not be started, which changes nothing for the connection
   * @param how.before the command of the same rule that must have ended first
   * @returns resolves when it has ended, or could not be started; never rejects
   */
  async start(
    command: Command,
    {
      programs,
      warn,
      before,
    }: {
      readonly programs: Programs;
      readonly warn: (message: string) => void;
      readonly before?: Promise<void> | undefined;
    },
  ): Promise<void> {
    if (!this.#room.take())
      return warn(`spawn "${command.line}": too many commands are running, not started`);
    try {
      if (before !== undefined) await before;
      const running = await programs.start({ ...shellProgram(command), ignoresHangup: true });
      await running.ended;
    } catch (error) {
      warn(`spawn "${command.line}": ${reasonOf(error)}`);
    } finally {
      this.#room.give();
    }
  }
}
