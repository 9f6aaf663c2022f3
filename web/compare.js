// The comparison: the same streams on each wire in turn, and the same events to them. This holds the run from its
// beginning to its end and what is saved of it; a wire's turn is compare-turn.js's, how it looks compare-view.js's.

import { rounded } from './compare-figures.js';
import { EVERY_MS, TOPIC, Turn, measureOwn } from './compare-turn.js';
import { CompareView } from './compare-view.js';
import { outcome, weaknesses } from './compare-words.js';
import { PollStream } from './poll.js';
import { findListener, readStats } from './server.js';
import { canOpenWebSocket } from './streams.js';
import { WIRES } from './wires.js';

/** What is compared: each way of each wire, and long polling, which has no panel. */
const CONTENDERS = [
  ...WIRES.flatMap(({ key, title, open, ways }) => ways.map((way) => ({
    key: way.isTried ? `${key}-http2` : key,
    title: way.isTried ? `${title} over ${way.label}` : title,
    listeners: way.listeners,
    counted: way.counted,
    isTried: way.isTried ?? false,
    open,
  }))),
  { key: 'long-poll', title: 'Long polling on HTTP/2', listeners: ['http2'], counted: 'long_poll', isTried: false, open: (options) => new PollStream(options) },
];

export class Compare {
  isRunning = false;
  /** What it is doing before its first turn and after its last; `null` during a turn. */
  stage = null;
  settings = null;
  turns = [];
  /** What ended it early, in words. */
  refusal = null;
  /** Whether panels were stopped for it. */
  hasStoppedPanels = false;
  /** The least by which this browser's clock moves, in milliseconds. */
  clockStep = 0;
  #page;
  #view;
  #isStopping = false;
  #startedAt = null;
  #server = null;

  /** `page` is what it needs of the page: `origins` (name of a listener to origin), `home()` (where the page's own
   *  requests go), the `clock`, `hold()` (stops what would disturb it; whether there was any) and `release()`. */
  constructor(section, page) {
    this.#page = page;
    this.#view = new CompareView(section, this);
    document.addEventListener('visibilitychange', () => this.#noticeHiding());
  }

  /** The turn that is under way, or `null`. */
  get turn() {
    return this.turns.find(({ phase }) => phase !== 'waiting' && phase !== 'over') ?? null;
  }

  get wasStopped() {
    return this.#isStopping;
  }

  async start(settings) {
    if (this.isRunning || this.#page.origins.size === 0) return;
    this.isRunning = true;
    this.#isStopping = false;
    this.refusal = null;
    this.settings = settings;
    this.#startedAt = new Date();
    this.turns = CONTENDERS.map((contender) => new Turn(contender, settings));
    this.stage = 'preparing';
    this.hasStoppedPanels = this.#page.hold();
    this.clockStep = measureClockStep();
    this.#view.draw();
    try {
      await this.#run();
    } catch (error) {
      this.refusal = error.message;
    } finally {
      this.isRunning = false;
      this.#page.release();
      this.#view.draw();
    }
  }

  /** Ends it with what there is. */
  stop() {
    if (!this.isRunning) return;
    this.#isStopping = true;
    this.#view.draw();
  }

  /** Leaves the server at once: the page is going. */
  leave() {
    this.stop();
    for (const stream of this.turn?.streams ?? []) stream.close();
  }

  async #run() {
    const origin = this.#page.home();
    this.#server = await readStats(origin).catch((error) => {
      throw new Error(`${origin} does not answer (${error.message})`);
    });
    const home = { origin, name: this.#nameOf(origin) };
    home.own = await measureOwn(home);
    home.stats = await readStats(origin);
    const run = { home, clock: this.#page.clock, changed: () => this.#view.changed(), isOver: () => this.#isStopping };
    for (const turn of this.turns) {
      if (this.#isStopping) break;
      const place = await this.#find(turn.contender);
      this.stage = null;
      turn.place = place;
      turn.trouble = place.trouble;
      // What does not answer is not there, or all of the server is not there any more.
      if (place.trouble === 'silent' && !await readStats(origin).catch(() => null)) turn.trouble = 'gone';
      turn.wasHidden = document.visibilityState !== 'visible';
      if (turn.trouble === null) await turn.run(place, run);
      else turn.phase = 'over';
      this.#view.draw();
      if (turn.trouble === 'gone') break;
    }
  }

  async #find({ listeners, isTried }) {
    const origins = listeners.map((name) => this.#page.origins.get(name)).filter(Boolean);
    const place = await findListener(origins);
    if (place.trouble === null && isTried && !await canOpenWebSocket(place.origin)) place.trouble = 'untaken';
    return { ...place, name: this.#nameOf(place.origin) ?? listeners[0] };
  }

  #nameOf(origin) {
    return [...this.#page.origins].find(([, other]) => other === origin)?.[0];
  }

  #noticeHiding() {
    if (this.turn && document.visibilityState !== 'visible') this.turn.wasHidden = true;
  }

  /** All that is known of it, for whoever wants to work it out anew. */
  get result() {
    const { server, version } = this.#server ?? {};
    return {
      what: 'A comparison of wires by a browser, on a page of triwire',
      format: 1,
      started_at: this.#startedAt?.toISOString(),
      page: location.origin,
      browser: navigator.userAgent,
      cores: navigator.hardwareConcurrency,
      clock_step_ms: rounded(this.clockStep),
      server: { name: server, version },
      settings: { ...this.settings, every_ms: EVERY_MS, topic: TOPIC },
      was_stopped: this.#isStopping,
      outcome: outcome(this),
      weaknesses: weaknesses(this),
      wires: this.turns.map((turn) => ({
        wire: turn.contender.key,
        title: turn.contender.title,
        counted: turn.contender.counted,
        listener: turn.place?.name ?? null,
        origin: turn.place?.origin ?? null,
        protocol: turn.place?.protocol ?? null,
        trouble: turn.trouble,
        was_hidden: turn.wasHidden,
        figures: turn.figures,
        samples: turn.samples,
      })),
    };
  }
}

/** Some browsers blur their clock by much, so that a page can tell less of who reads it. */
function measureClockStep() {
  const steps = [];
  const from = performance.now();
  for (let last = from; steps.length < 10 && last - from < 100;) {
    const now = performance.now();
    if (now > last) steps.push(now - last);
    last = now;
  }
  return Math.min(...steps);
}
