// One wire's turn in a comparison: opens its streams, publishes to them, holds what came against what was published,
// closes them, and waits until the server has seen them go.

import * as figures from './compare-figures.js';
import { rounded } from './compare-figures.js';
import { newKey } from './cut.js';
import { Publisher, readPayload } from './publisher.js';
import { readStats } from './server.js';
import { Tally } from './streams.js';
import { passed, pause } from './wait.js';

/** One topic for all comparisons, so that they leave one behind in the server and not one each. */
export const TOPIC = 'page/compare';
export const EVERY_MS = 50;
/** A turn opens streams as long as some open; so long after the last one the others are stuck. */
const QUIET_MS = 1500;
const OPEN_MS = 30_000;
/** How long the last events may take to arrive, and the server to see streams come and leave. */
const CATCH_UP_MS = 3000;
const SEEN_MS = 5000;
const LOOK_MS = 20;
/** What the measuring itself costs in bytes is measured by so many publishes. */
const TRIAL_EVENTS = 20;

/** What the comparison's own requests take of the listener that they go to, in bytes: of one publish, and of one
 *  reading of /stats. Measured while nothing is open; it also makes the connections that they go by. */
export async function measureOwn({ origin, name }) {
  const publish = async (events) => {
    const publisher = new Publisher({ origin, topic: TOPIC, name: newKey(), events, everyMs: 10 });
    await publisher.run(() => false);
    if (publisher.refusal !== null) throw new Error(`${origin} takes no events (${publisher.refusal})`);
  };
  const listener = async () => (await readStats(origin)).listeners[name];
  await publish(1);
  await listener();
  const [first, second] = [await listener(), await listener()];
  await publish(TRIAL_EVENTS);
  const third = await listener();
  const cost = (key) => {
    const stats = second[key] - first[key];
    return { stats, publish: Math.max(0, third[key] - second[key] - stats) / TRIAL_EVENTS };
  };
  return { down: cost('bytes_out'), up: cost('bytes_in') };
}

export class Turn {
  /** `waiting`, `opening`, `publishing`, `closing` or `over`. */
  phase = 'waiting';
  /** Why it was not what it should have been: `gone`, `busy`, or what `findListener` finds; `null` when all is well. */
  trouble = null;
  wasStopped = false;
  wasHidden = false;
  /** What came of it once it is over, and what that was worked out of: the latencies in ascending order, and all that
   *  was measured. */
  figures = null;
  sorted = [];
  samples = null;
  twice = 0;
  streams = [];
  tally = new Tally();
  place;
  #arrivals = [];
  #foreign = 0;
  #received = 0;
  #publisher = null;
  #openedAt = 0;

  /** `contender` is what is compared: a title, what the server counts it as, and how a stream of it is opened. */
  constructor(contender, settings) {
    this.contender = contender;
    this.settings = settings;
  }

  /** How many events are to be published. */
  get events() {
    return Math.round((this.settings.seconds * 1000) / EVERY_MS);
  }

  get sent() {
    return this.#publisher?.sent ?? 0;
  }

  /** `place` is what findListener found, and the listener's `name`. `home` takes what the comparison asks for itself: an
   *  origin, the `own` bytes there, and the stats from before the first turn. It is over early when `isOver` says so. */
  async run(place, { home, clock, changed, isOver }) {
    this.place = place;
    // The stream that was tried first, to see whether it can be had, may still be leaving.
    const stats = { before: await this.#seen(home.origin, (streams) => streams <= this.#streamsIn(home.stats)) };
    try {
      if (stats.before === null) this.trouble = 'gone';
      else await this.#measure(stats, { home, clock, changed, isOver });
    } finally {
      this.#enter('closing', changed);
      const reconnects = this.tally.reconnects;
      for (const stream of this.streams) stream.close();
      const hasLeft = await this.#hasLeft(home.origin, stats.before);
      if (this.figures) Object.assign(this.figures, { reconnects, has_left: hasLeft });
      this.#enter('over', changed);
    }
  }

  async #measure(stats, { home, clock, changed, isOver }) {
    this.#enter('opening', changed);
    this.#open(clock, changed);
    await this.#settle(isOver);
    if (isOver()) return;
    const open = this.streams.filter((stream) => stream.state === 'open');
    stats.opened = await this.#seen(home.origin, (streams) => streams >= this.#streamsIn(stats.before) + open.length);
    const ready = this.streams.map((stream) => (stream.readies ? stream.readyAt - this.#openedAt : null));
    const stuck = this.streams.filter((stream) => stream.state === 'opening').length;
    // Those that are neither open nor waiting were answered, and sent away.
    if (open.length + stuck < this.streams.length) this.trouble = 'busy';
    const counting = open.map((stream) => this.#arrivals[this.streams.indexOf(stream)]);
    const received = this.#received;
    this.#publisher = new Publisher({ origin: home.origin, topic: TOPIC, name: this.name, events: this.events, everyMs: EVERY_MS });
    const publisher = this.#publisher;
    if (open.length > 0) {
      this.#enter('publishing', changed);
      await publisher.run(isOver);
      await passed(CATCH_UP_MS, () => publisher.isLost || figures.lostOf(counting, publisher.taken) === 0, LOOK_MS);
    }
    stats.after = await readStats(home.origin).catch(() => null);
    this.wasStopped = isOver() && publisher.sent < this.events;
    if (publisher.isLost || stats.opened === null || stats.after === null) this.trouble = 'gone';
    const standing = { asked: this.streams.length, open: open.length, stuck, ready };
    this.#conclude(standing, counting, stats, { home, delivered: this.#received - received });
  }

  #open(clock, changed) {
    this.name = newKey();
    this.#arrivals = Array.from({ length: this.settings.streams }, () => new Float64Array(this.events).fill(NaN));
    const options = {
      origin: this.place.origin, topic: TOPIC, key: newKey(), types: ['message'], tally: this.tally, clock, changed,
    };
    this.#openedAt = performance.now();
    this.streams = this.#arrivals.map((arrived) => {
      return this.contender.open({ ...options, taken: (payload) => this.#take(arrived, payload) });
    });
  }

  #take(arrived, payload) {
    const now = performance.now();
    const { name, number, due } = readPayload(payload);
    this.#received += 1;
    if (name !== this.name) this.#foreign += 1;
    else if (Number.isNaN(arrived[number])) arrived[number] = now - due;
    else this.twice += 1;
  }

  /** Waits until all streams are open, or no more of them open. */
  async #settle(isOver) {
    const isSettled = () => {
      const last = Math.max(this.#openedAt, ...this.streams.map((stream) => stream.readyAt));
      return this.streams.every((stream) => stream.state === 'open') || performance.now() - last > QUIET_MS;
    };
    await passed(OPEN_MS, () => isOver() || isSettled(), LOOK_MS);
  }

  /** What the server counts once it counts so many streams, or after a while; `null` if it does not answer. It may be
   *  asked before a poll that follows the first, or a close, has reached it. */
  async #seen(origin, isSo) {
    const deadline = performance.now() + SEEN_MS;
    for (;;) {
      const stats = await readStats(origin).catch(() => null);
      if (stats === null || isSo(this.#streamsIn(stats)) || performance.now() > deadline) return stats;
      await pause(LOOK_MS);
    }
  }

  /** Whether the server counts no more streams than before; `null` if it does not say. */
  async #hasLeft(origin, before) {
    if (before === null || this.trouble === 'gone') return null;
    const isSo = (streams) => streams <= this.#streamsIn(before);
    const stats = await this.#seen(origin, isSo);
    return stats && isSo(this.#streamsIn(stats));
  }

  #streamsIn(stats) {
    return stats.wires[this.contender.counted].streams;
  }

  #conclude({ asked, open, stuck, ready }, counting, { before, opened, after }, { home, delivered }) {
    const { counted } = this.contender;
    const { late, answered, taken, sent, failures, refusal } = this.#publisher;
    const listener = (stats) => stats?.listeners[this.place.name];
    const own = this.place.origin === home.origin ? home.own : null;
    this.sorted = figures.ascending(counting.flatMap((arrived) => Array.from(arrived)));
    const openings = ready.filter((ms) => ms !== null);
    this.samples = {
      ready_ms: ready.map(rounded),
      sent_late_ms: late.map(rounded),
      answered_ms: Array.from(answered.subarray(0, sent), rounded),
      latency_ms: counting.map((arrived) => Array.from(arrived.subarray(0, sent), rounded)),
    };
    this.figures = {
      asked, open, stuck, turned_away: asked - open - stuck,
      all_open_ms: open === asked ? rounded(Math.max(...openings)) : null,
      last_open_ms: openings.length ? rounded(Math.max(...openings)) : null,
      connections: opened && opened.wires[counted].connections - before.wires[counted].connections,
      published: taken.reduce((sum, isTaken) => sum + isTaken, 0),
      not_published: failures,
      refusal,
      delivered,
      lost: figures.lostOf(counting, taken),
      twice: this.twice,
      gaps: this.tally.gaps,
      ...figures.latencyFigures(this.sorted),
      sent_late_p99_ms: rounded(figures.quantile(figures.ascending(late), 0.99)),
      answered_p50_ms: rounded(figures.quantile(figures.ascending(answered), 0.5)),
      bytes_an_event: figures.bytesAnEvent(listener(opened), listener(after), { publishes: sent, deliveries: delivered, own }),
      to_others: opened && after && figures.deliveriesIn(after) - figures.deliveriesIn(opened) - delivered,
      foreign: this.#foreign,
    };
  }

  #enter(phase, changed) {
    this.phase = phase;
    changed();
  }
}
