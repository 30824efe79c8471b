/** What our exit statuses mean. Source: sysexits.h, but for `match`, which answers with 0, 1 and 2. */

export const exitStatus = {
  ok: 0,
  /** Wrong flags or arguments (EX_USAGE). */
  usage: 64,
  /** No daemon answers (EX_UNAVAILABLE). */
  unavailable: 69,
  /** A bug of ours (EX_SOFTWARE). */
  internal: 70,
  /** A listener cannot be bound (EX_OSERR). */
  cannotStart: 71,
  /** What was printed could not be written (EX_IOERR). */
  lostOutput: 74,
  /** The configuration cannot be used (EX_CONFIG). */
  configuration: 78,
} as const;
