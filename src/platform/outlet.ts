/** What a place that lines of text go to must be able to do. */

/** A way out of the process for finished lines: standard output, a syslog socket. */
export interface Outlet {
  /**
   * Sends lines, from the first on. One call at a time.
   *
   * @returns how many were taken; fewer than given when the receiver is full now, down to none
   * @throws (rejects) when the receiver is away or broken; none of the lines counts as taken
   */
  send(lines: readonly string[]): Promise<number>;
  /** Ends it; a `send` under way rejects soon. A second call does nothing. */
  close(): void;
}
