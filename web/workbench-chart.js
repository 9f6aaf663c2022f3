// The chart of a query: a number over time, on a scale of its own, with the least and the greatest beside it.

import { Surface } from './canvas.js';
import { textOf } from './workbench-result.js';

const FOOT = 16;
const HEAD = 8;
const GAP = 8;
/** What a flat line is given above and below, as a share of its value. */
const ROOM = 0.1;

export class LineChart {
  #surface;

  /** `changed` is called when it has to be drawn again. */
  constructor(canvas, changed) {
    this.#surface = new Surface(canvas, changed);
  }

  /** Draws points `{ x, y }` in the order of x, which is milliseconds since the epoch. */
  draw(points) {
    const context = this.#surface.clear();
    const { width, height, colors, font } = this.#surface;
    if (width === 0 || points.length === 0) return;
    context.font = font.replace('500 12px', '400 11px');
    const scale = scaleOf(points.map(({ y }) => y));
    const labels = [scale.most, scale.least].map((y) => textOf(y));
    const left = Math.ceil(Math.max(...labels.map((label) => context.measureText(label).width))) + GAP;
    const [first, last] = [points[0].x, points.at(-1).x];
    const xOf = (x) => left + ((width - left - 4) * (x - first)) / Math.max(1, last - first);
    const yOf = (y) => HEAD + ((height - HEAD - FOOT) * (scale.most - y)) / (scale.most - scale.least);

    context.textBaseline = 'middle';
    context.textAlign = 'right';
    [scale.most, scale.least].forEach((y, i) => {
      context.fillStyle = colors.line;
      context.fillRect(left, Math.round(yOf(y)), width - left, 1);
      context.fillStyle = colors.muted;
      context.fillText(labels[i], left - GAP, yOf(y));
    });
    context.textBaseline = 'bottom';
    context.fillText(`over ${spanText(last - first)}`, width, height);

    context.strokeStyle = colors.accent;
    context.lineWidth = 2;
    context.lineJoin = 'round';
    context.beginPath();
    points.forEach(({ x, y }, i) => (i === 0 ? context.moveTo(xOf(x), yOf(y)) : context.lineTo(xOf(x), yOf(y))));
    context.stroke();
    context.fillStyle = colors.accent;
    context.beginPath();
    context.arc(xOf(last), yOf(points.at(-1).y), 3, 0, 2 * Math.PI);
    context.fill();
  }
}

function scaleOf(values) {
  const [least, most] = [Math.min(...values), Math.max(...values)];
  if (most > least) return { least, most };
  const room = Math.abs(most) * ROOM || 1;
  return { least: least - room, most: most + room };
}

function spanText(ms) {
  return ms < 120_000 ? `${Math.round(ms / 1000)} s` : `${Math.round(ms / 60_000)} min`;
}
