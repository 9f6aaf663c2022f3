// The chart of a panel: latency second by second over the last minute, a column a second from the p50 up to the p99.
// The scale is the same in all panels and never moves, each line ten times the one below, so that they compare.

import { Surface } from './canvas.js';
import { SECONDS } from './latency.js';

const LINES = [[1, '1 ms'], [10, '10 ms'], [100, '100 ms'], [1000, '1 s'], [10000, '10 s']];
const DECADES = 4.15;
const LABELS = 44;
const FOOT = 5;

export class Chart {
  #surface;

  /** `changed` is called when it has to be drawn again. */
  constructor(canvas, changed) {
    this.#surface = new Surface(canvas, changed);
  }

  /** Draws `{ p50, p99 }` for each second, the oldest first. */
  draw(seconds) {
    const context = this.#surface.clear();
    const { width, height, colors, font } = this.#surface;
    const usable = height - FOOT - 8;
    const yOf = (ms) => height - FOOT - (usable * Math.max(0, Math.log10(Math.max(1, ms)))) / DECADES;
    context.font = font.replace('500 12px', '400 10px');
    context.textBaseline = 'middle';
    context.textAlign = 'right';
    for (const [ms, label] of LINES) {
      const y = Math.round(yOf(ms)) + 0.5;
      context.fillStyle = colors.line;
      context.fillRect(LABELS, y - 0.5, width - LABELS, 1);
      context.fillStyle = colors.muted;
      context.fillText(label, LABELS - 6, y);
    }
    const step = (width - LABELS) / SECONDS;
    seconds.forEach((second, i) => {
      if (second === null) return;
      const x = LABELS + step * i;
      const [low, high] = [yOf(second.p50), yOf(second.p99)];
      context.fillStyle = colors.thread;
      context.fillRect(x, high - 1, Math.max(1, step - 1.5), low - high + 1);
      context.fillStyle = colors.accent;
      context.fillRect(x, low - 1, Math.max(1, step - 1.5), 3);
    });
  }
}
