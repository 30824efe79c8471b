/** Stops waiting for a promise after a while, whatever goes on behind it. */

/** The promise's value, or undefined where it has none after so many milliseconds; rejects as it does until then. */
export async function within<Value>(limitMs: number, promise: Promise<Value>): Promise<Value | undefined> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<undefined>((resolve) => {
    timer = setTimeout(() => resolve(undefined), limitMs);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
