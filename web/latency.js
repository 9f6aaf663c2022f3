// Latency: how long an event took from the log to this page, second by second, in a fixed amount of memory; and how
// far the server's clock is from ours, without which the question has no answer.

/** How many seconds are remembered. */
export const SECONDS = 60;
/** Milliseconds up to here have a bucket each, the rest share one with what is at most a twelfth longer. */
const EXACT = 16;
const STEPS = 8;
const BUCKETS = EXACT + 12 * STEPS;

const ROUND_TRIPS = 5;
const PATIENCE_MS = 3000;
/** A page whose timer did not run for so long was asleep. */
const ASLEEP_MS = 2500;
const CLOCK_TOPIC = 'page/clock';

/** Latencies of the last minute, a histogram a second. */
export class Latency {
  #slots = Array.from({ length: SECONDS }, () => new Slot());

  /** Takes one measurement, in milliseconds. */
  add(ms, second = secondNow()) {
    const slot = this.#slots[second % SECONDS];
    if (slot.second !== second) slot.restart(second);
    slot.counts[bucketOf(ms)] += 1;
    slot.total += 1;
  }

  /** The p50 and the p99 of each of the last seconds, the oldest first; `null` where no event came. */
  perSecond(second = secondNow()) {
    return Array.from({ length: SECONDS }, (_, i) => {
      const slot = this.#at(second - SECONDS + 1 + i);
      return slot && { p50: quantile([slot], 0.5), p99: quantile([slot], 0.99) };
    });
  }

  /** The same of the last `seconds` together. */
  recent(seconds, second = secondNow()) {
    const slots = Array.from({ length: seconds }, (_, i) => this.#at(second - i)).filter(Boolean);
    return slots.length > 0 ? { p50: quantile(slots, 0.5), p99: quantile(slots, 0.99) } : null;
  }

  #at(second) {
    const slot = this.#slots[((second % SECONDS) + SECONDS) % SECONDS];
    return slot.second === second ? slot : null;
  }
}

class Slot {
  second = null;
  total = 0;
  counts = new Uint32Array(BUCKETS);

  restart(second) {
    this.second = second;
    this.total = 0;
    this.counts.fill(0);
  }
}

/** How the server's clock differs from this one. An id says when the server made the event. To publish one tells the
 *  server's time at a moment between asking and being answered: of several tries the quickest knows it best. */
export class Clock {
  /** Server minus page, in milliseconds, and by how much that may be wrong; `null` before it was measured. */
  offset = 0;
  error = null;

  #tickedAt = Date.now();
  #wokeAt = -Infinity;

  /** To be called by a timer, all the time; whether it was asleep is the result. */
  tick() {
    const now = Date.now();
    const wasAsleep = now - this.#tickedAt > ASLEEP_MS;
    if (wasAsleep) this.#wokeAt = now;
    this.#tickedAt = now;
    return wasAsleep;
  }

  /** How long ago the server's `ms` was, or `null` if we slept since: then what came had to wait for us. An event cannot
   *  come before it was made: what seems to is what the measurement is wrong by, and counts as nothing. */
  since(ms) {
    const now = Date.now();
    const made = ms - this.offset;
    return made < this.#wokeAt || now - this.#tickedAt > ASLEEP_MS ? null : Math.max(0, now - made);
  }

  /** Compares the clocks by round trips to `origin`; what was known stays if none succeeds. */
  async compare(origin) {
    let best = null;
    for (let i = 0; i < ROUND_TRIPS; i += 1) {
      const trip = await roundTrip(origin).catch(() => null);
      if (trip && (best === null || trip.error < best.error)) best = trip;
    }
    // A worse measurement takes the place of a better one only if they contradict each other: then a clock was set.
    const isKnown = best && this.error !== null && Math.abs(best.offset - this.offset) <= best.error + this.error;
    if (best === null || (isKnown && best.error >= this.error)) return;
    this.error = best.error;
    // Clocks that agree as far as can be told are taken to agree: mostly they are one and the same.
    this.offset = Math.abs(best.offset) <= best.error ? 0 : best.offset;
  }
}

async function roundTrip(origin) {
  const [asked, from] = [Date.now(), performance.now()];
  const response = await fetch(`${origin}/publish/${encodeURIComponent(CLOCK_TOPIC)}`, {
    method: 'POST',
    credentials: 'include',
    headers: { 'content-type': 'text/plain' },
    body: 'tick',
    signal: AbortSignal.timeout(PATIENCE_MS),
  });
  const took = performance.now() - from;
  const { id } = await response.json();
  // Both clocks are read in whole milliseconds.
  return { offset: Math.round(Number(id.split('-')[0]) - asked - took / 2), error: Math.ceil(took / 2 + 1) };
}

function secondNow() {
  return Math.floor(performance.now() / 1000);
}

function bucketOf(ms) {
  if (ms < EXACT) return Math.floor(ms);
  return Math.min(BUCKETS - 1, EXACT + Math.floor(Math.log2(ms / EXACT) * STEPS));
}

/** The least that a measurement of this bucket can be. */
function leastOf(bucket) {
  return bucket < EXACT ? bucket : EXACT * 2 ** ((bucket - EXACT) / STEPS);
}

function quantile(slots, share) {
  const total = slots.reduce((sum, slot) => sum + slot.total, 0);
  let left = Math.ceil(total * share);
  for (let bucket = 0; bucket < BUCKETS; bucket += 1) {
    for (const slot of slots) left -= slot.counts[bucket];
    if (left <= 0) return leastOf(bucket);
  }
  return leastOf(BUCKETS - 1);
}
