/** Where random tests begin: the same place each time, so that a run can be repeated; FUZZ_SEED=random explores elsewhere. */
const wanted = process.env["FUZZ_SEED"] ?? "1";

/** For fast-check's `seed`. */
export const fuzzSeed = wanted === "random" ? Math.floor(Math.random() * 2 ** 31) : Number(wanted);
