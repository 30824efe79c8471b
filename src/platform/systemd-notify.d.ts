/** The types of the package systemd-notify, which brings none. */
declare module "systemd-notify" {
  interface Message {
    readonly ready?: boolean;
    readonly status?: string;
    readonly pid?: number;
    readonly booted?: boolean;
  }

  /** Starts the program systemd-notify; rejects with an Error if it cannot start, with its output (a string) if it fails. */
  const notify: (message: Message) => Promise<unknown>;
  export = notify;
}
