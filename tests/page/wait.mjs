// Waiting for facts, never for time: everything here ends when the fact is there, or fails at a deadline that says
// what was last seen.

import { isDeepStrictEqual, inspect } from 'node:util';
import { setTimeout as pause } from 'node:timers/promises';

export const PATIENCE_MS = 60_000;
const BETWEEN_MS = 40;

/** The promise's value, or an error once patience is over. */
export async function within(what, promise) {
  const late = new AbortController();
  const tooLate = pause(PATIENCE_MS, null, { signal: late.signal }).then(() => {
    throw new Error(`waited ${PATIENCE_MS / 1000} s for ${what}`);
  });
  tooLate.catch(() => {});
  try {
    return await Promise.race([promise, tooLate]);
  } finally {
    late.abort();
  }
}

/** Reads again and again until `isThere` holds of what was read, and returns that. */
export async function until(what, read, isThere) {
  const deadline = Date.now() + PATIENCE_MS;
  for (;;) {
    const seen = await read();
    if (isThere(seen)) return seen;
    if (Date.now() > deadline) throw new Error(`waited ${PATIENCE_MS / 1000} s for ${what}; seen last: ${inspect(seen)}`);
    await pause(BETWEEN_MS);
  }
}

/** The same for a value that is known. */
export function untilIs(what, read, want) {
  return until(`${what} to be ${inspect(want)}`, read, (seen) => isDeepStrictEqual(seen, want));
}
