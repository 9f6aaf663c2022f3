// How the latencies of one wire are distributed: higher where more events lie, from left to right on a logarithmic scale.

import { Surface } from './canvas.js';
import { histogram } from './compare-figures.js';

const LEAST = 0.1;
/** Where the scale may end, and what is written at its lines. */
const ENDS = [100, 1000, 10_000];
const LINES = [[0.1, '0.1 ms'], [1, '1 ms'], [10, '10 ms'], [100, '100 ms'], [1000, '1 s'], [10_000, '10 s']];
const BINS_A_DECADE = 24;
const FOOT = 14;

export class Distribution {
  #canvas;
  #surface;
  #shown = null;

  constructor(canvas) {
    this.#canvas = canvas;
    this.#surface = new Surface(canvas, () => this.#draw());
  }

  /** Shows these latencies, their p50 and p99, on a scale that has room for the `latest` of any wire. */
  show(latencies, { p50_ms: p50, p99_ms: p99 }, { latest, hasLabels }) {
    const most = ENDS.find((end) => end >= latest) ?? ENDS.at(-1);
    const bins = Math.round(Math.log10(most / LEAST)) * BINS_A_DECADE;
    this.#shown = { most, p50, p99, hasLabels, counts: histogram(latencies, { least: LEAST, most, bins }) };
    // To change the size has it drawn, but a size that stays does not.
    this.#canvas.classList.toggle('labelled', hasLabels);
    if (this.#canvas.isConnected) this.#draw();
  }

  #draw() {
    if (this.#shown === null) return;
    const { most, counts, p50, p99, hasLabels } = this.#shown;
    const context = this.#surface.clear();
    const { width, height, colors } = this.#surface;
    const ground = height - (hasLabels ? FOOT : 1);
    const xOf = (ms) => Math.min(width - 2, (width * Math.log10(Math.max(ms, LEAST) / LEAST)) / Math.log10(most / LEAST));
    for (const [ms, label] of LINES.filter(([ms]) => ms <= most)) this.#drawLine(context, xOf(ms), ground, hasLabels ? label : '');
    context.fillStyle = colors.line;
    context.fillRect(0, ground, width, 1);
    context.fillStyle = colors.thread;
    const [highest, step] = [Math.max(...counts), width / counts.length];
    counts.forEach((count, i) => {
      // One event among thousands is to be seen, too.
      const tall = count > 0 ? Math.max(1.5, ((ground - 2) * count) / highest) : 0;
      context.fillRect(i * step, ground - tall, Math.max(1, step - 0.5), tall);
    });
    for (const [ms, color] of [[p50, colors.accent], [p99, colors.bad]]) {
      context.fillStyle = color;
      if (ms !== null) context.fillRect(xOf(ms) - 1, 0, 2, ground);
    }
  }

  #drawLine(context, x, ground, label) {
    const { width, height, colors, font } = this.#surface;
    context.fillStyle = colors.line;
    context.fillRect(Math.round(x), 0, 1, ground);
    context.font = font.replace('500 12px', '400 10px');
    context.textBaseline = 'bottom';
    context.textAlign = x === 0 ? 'left' : x > width - 20 ? 'right' : 'center';
    context.fillStyle = colors.muted;
    context.fillText(label, x, height);
  }
}
