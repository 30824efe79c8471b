/** The kernel's errors in the words of strerror(3), as libwrap's log has them. */

/** Those that a file can meet. */
const WORDS: Readonly<Record<string, string>> = {
  EACCES: "Permission denied",
  EIO: "Input/output error",
  EISDIR: "Is a directory",
  ELOOP: "Too many levels of symbolic links",
  EMFILE: "Too many open files",
  ENAMETOOLONG: "File name too long",
  ENFILE: "Too many open files in system",
  ENODEV: "No such device",
  ENOENT: "No such file or directory",
  ENOMEM: "Cannot allocate memory",
  ENOTDIR: "Not a directory",
  ENXIO: "No such device or address",
  EPERM: "Operation not permitted",
  ESTALE: "Stale file handle",
  ETIMEDOUT: "Connection timed out",
};

/** What an error of node:fs says; its code where it has no words here, and the error itself where it is none of the kernel's. */
export function systemWords(cause: unknown): string {
  const code = cause instanceof Error ? (cause as NodeJS.ErrnoException).code : undefined;
  return code === undefined ? String(cause) : (WORDS[code] ?? code);
}
