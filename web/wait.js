// Waiting, which a page can do only by looking again and again.

const LOOK_MS = 100;

export function pause(ms) {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** Waits until it is so, for so long at most; whether it is so is the result. */
export async function passed(most, isSo, every = LOOK_MS) {
  const deadline = performance.now() + most;
  while (!isSo() && performance.now() < deadline) await pause(every);
  return isSo();
}
