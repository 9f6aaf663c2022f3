// What both drawings share: a canvas as sharp as the screen, the page's colours, and whether things may move.

const stillness = matchMedia('(prefers-reduced-motion: reduce)');
const themes = matchMedia('(prefers-color-scheme: dark)');
const NAMES = ['line', 'edge', 'soft', 'text', 'muted', 'accent', 'thread', 'spark', 'good', 'bad', 'card'];

/** Whether the reader asked for as little motion as possible. */
export function isStill() {
  return stillness.matches;
}

/** A canvas that follows its element's size and the theme. */
export class Surface {
  width = 0;
  height = 0;
  colors = {};
  #canvas;
  #context;
  #changed;

  /** `changed` is called when what is drawn has to be drawn again. */
  constructor(canvas, changed) {
    this.#canvas = canvas;
    this.#context = canvas.getContext('2d');
    this.#changed = changed;
    new ResizeObserver(() => this.#fit()).observe(canvas);
    themes.addEventListener('change', () => this.#fit());
    stillness.addEventListener('change', () => this.#changed());
  }

  /** An empty drawing, in CSS pixels. */
  clear() {
    if (this.width === 0) this.#measure();
    this.#context.clearRect(0, 0, this.width, this.height);
    return this.#context;
  }

  #fit() {
    this.#measure();
    this.#changed();
  }

  #measure() {
    const [canvas, scale] = [this.#canvas, devicePixelRatio || 1];
    this.width = canvas.clientWidth;
    this.height = canvas.clientHeight;
    canvas.width = Math.round(this.width * scale);
    canvas.height = Math.round(this.height * scale);
    this.#context.setTransform(scale, 0, 0, scale, 0, 0);
    const style = getComputedStyle(canvas);
    this.font = `500 12px ${style.fontFamily}`;
    this.colors = Object.fromEntries(NAMES.map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
  }
}
