// Figures: how rates are measured and how numbers are written.

const WINDOW_MS = 3000;

/** How fast a sum grows, over the last seconds for which it was sampled. */
export class Rate {
  #samples = [];

  /** Takes a sample; `at` is in milliseconds of any clock, as long as it is always the same one. */
  add(at, sum) {
    const last = this.#samples.at(-1);
    // A clock or a sum that goes back is another server's: what was measured before says nothing of it.
    if (last && (at < last.at || sum < last.sum)) this.#samples = [];
    this.#samples.push({ at, sum });
    while (this.#samples.length > 2 && at - this.#samples[0].at > WINDOW_MS) this.#samples.shift();
  }

  /** Growth a second, or `null` when there is nothing to tell it from. */
  get perSecond() {
    const first = this.#samples[0];
    const last = this.#samples.at(-1);
    return first && last.at > first.at ? ((last.sum - first.sum) * 1000) / (last.at - first.at) : null;
  }
}

const whole = new Intl.NumberFormat('en', { maximumFractionDigits: 0 });
const tenth = new Intl.NumberFormat('en', { maximumFractionDigits: 1 });

/** 1,234; a dash for what is not known. */
export function count(value) {
  return value == null ? '–' : whole.format(value);
}

/** 0.3, 12, 1,234: a rate below ten deserves a decimal. */
export function rate(value) {
  return value == null ? '–' : (value < 10 ? tenth : whole).format(value);
}

/** 12 B, 1.2 kB, 3.4 MB. */
export function bytes(value) {
  if (value == null) return '–';
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  let unit = 0;
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${(unit === 0 || value >= 100 ? whole : tenth).format(value)} ${units[unit]}`;
}

/** <1 ms, 12 ms, 2.3 s; whole milliseconds, as the clocks give them. */
export function milliseconds(value) {
  if (value == null) return '–';
  if (value < 1) return '<1 ms';
  return value < 1000 ? `${whole.format(value)} ms` : `${tenth.format(value / 1000)} s`;
}

/** 42 s, 3 min, 5 h, 2 d. */
export function duration(seconds) {
  const units = [[86400, 'd'], [3600, 'h'], [60, 'min'], [1, 's']];
  const [size, name] = units.find(([size]) => seconds >= size) ?? [1, 's'];
  return `${Math.floor(seconds / size)} ${name}`;
}

/** How many bytes a text has in UTF-8, without making them where it is plain ASCII. */
export function utf8Length(text) {
  return /^[\x00-\x7f]*$/.test(text) ? text.length : encoder.encode(text).length;
}

const encoder = new TextEncoder();
