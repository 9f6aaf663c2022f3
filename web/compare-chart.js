// How the latencies of one wire are distributed: higher where more events lie, from left to right on a scale that is the
// same for all wires and never moves, ten times as much from one line to the next.

import { Surface } from './canvas.js';
import { histogram } from './compare-figures.js';

const LEAST = 0.1;
const MOST = 10_000;
const LINES = [[0.1, '0.1 ms'], [1, '1 ms'], [10, '10 ms'], [100, '100 ms'], [1000, '1 s'], [10_000, '10 s']];
const BINS = 100;
const FOOT = 14;

export class Distribution {
  #surface;
  #counts;
  #figures;

  constructor(canvas, latencies, figures) {
    this.#counts = histogram(latencies, { least: LEAST, most: MOST, bins: BINS });
    this.#figures = figures;
    this.#surface = new Surface(canvas, () => this.#draw());
  }

  #draw() {
    const context = this.#surface.clear();
    const { width, height, colors, font } = this.#surface;
    const ground = height - FOOT;
    const xOf = (ms) => (width * Math.log10(Math.max(ms, LEAST) / LEAST)) / Math.log10(MOST / LEAST);
    context.font = font.replace('500 12px', '400 10px');
    context.textBaseline = 'bottom';
    LINES.forEach(([ms, label], i) => {
      const x = Math.min(width - 1, Math.round(xOf(ms)));
      context.fillStyle = colors.line;
      context.fillRect(x, 0, 1, ground);
      context.fillStyle = colors.muted;
      context.textAlign = i === 0 ? 'left' : i === LINES.length - 1 ? 'right' : 'center';
      context.fillText(label, x, height);
    });
    context.fillStyle = colors.line;
    context.fillRect(0, ground, width, 1);
    const most = Math.max(1, ...this.#counts);
    const step = width / BINS;
    context.fillStyle = colors.thread;
    this.#counts.forEach((count, i) => {
      if (count === 0) return;
      // One event among thousands is to be seen, too.
      const tall = Math.max(1.5, ((ground - 2) * count) / most);
      context.fillRect(i * step, ground - tall, Math.max(1, step - 0.5), tall);
    });
    for (const [ms, color] of [[this.#figures.p50_ms, colors.accent], [this.#figures.p99_ms, colors.bad]]) {
      if (ms === null) continue;
      context.fillStyle = color;
      context.fillRect(Math.min(width - 2, xOf(ms) - 1), 0, 2, ground);
    }
  }
}
