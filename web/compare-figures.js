// The figures of a comparison, worked out of what was measured; nothing in here waits, draws or asks.

/** The value that `share` of these are not above, of values in ascending order; `null` of none. */
export function quantile(sorted, share) {
  return sorted.length === 0 ? null : sorted[Math.max(0, Math.ceil(sorted.length * share) - 1)];
}

/** Those that are numbers, in ascending order. */
export function ascending(values) {
  return Array.from(values).filter((value) => !Number.isNaN(value)).sort((a, b) => a - b);
}

/** What the latencies of a turn come to. */
export function latencyFigures(sorted) {
  return {
    samples: sorted.length,
    p50_ms: rounded(quantile(sorted, 0.5)),
    p90_ms: rounded(quantile(sorted, 0.9)),
    p99_ms: rounded(quantile(sorted, 0.99)),
    max_ms: rounded(sorted.at(-1) ?? null),
  };
}

/** To a hundredth of a millisecond, which is finer than any browser's clock; `null` for what there is not. */
export function rounded(ms) {
  return ms === null || Number.isNaN(ms) ? null : Math.round(ms * 100) / 100;
}

/** Of events that the server took, how many did not come to streams that were open: `arrivals` are a list for each of
 *  these streams, with `NaN` for what did not come. */
export function lostOf(arrivals, taken) {
  let lost = 0;
  for (const arrived of arrivals) {
    taken.forEach((isTaken, number) => {
      if (isTaken && Number.isNaN(arrived[number])) lost += 1;
    });
  }
  return lost;
}

/** Bytes on a socket by the event: what a listener wrote and read, less what the comparison's own requests took of it
 *  (`own`, by the publish and by the reading of /stats), over the deliveries. */
export function bytesAnEvent(before, after, { publishes, deliveries, own }) {
  if (!before || !after || deliveries === 0) return { down: null, up: null };
  const less = (key) => (own ? own[key].stats + own[key].publish * publishes : 0);
  const each = (bytes) => Math.round((10 * Math.max(0, bytes)) / deliveries) / 10;
  return {
    down: each(after.bytes_out - before.bytes_out - less('down')),
    up: each(after.bytes_in - before.bytes_in - less('up')),
  };
}

/** How many values lie in each of `bins` classes from `least` to `most`, of equal width on a logarithmic scale; what
 *  is outside counts at the ends. */
export function histogram(values, { least, most, bins }) {
  const counts = new Array(bins).fill(0);
  const decades = Math.log10(most / least);
  for (const value of values) {
    const place = (Math.log10(Math.max(value, least) / least) / decades) * bins;
    counts[Math.min(bins - 1, Math.floor(place))] += 1;
  }
  return counts;
}

/** The sum of what all wires have delivered, as the server counts it. */
export function deliveriesIn(stats) {
  return Object.values(stats.wires).reduce((sum, wire) => sum + wire.events_sent, 0);
}
