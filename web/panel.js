// A panel: one wire, as many streams of it as were asked for, what this page and the server count of them, and the
// cutting of their connections. How it looks is view.js's.

import { cutAndProve, newKey } from './cut.js';
import { Rate } from './figures.js';
import { findListener, mayPass, probe } from './server.js';
import { Tally, canOpenWebSocket, stateOf } from './streams.js';
import { View } from './view.js';

/** When no stream has come back for so long, the listener is asked why, and so often. */
const ASK_AGAIN_MS = 4000;

export class Panel {
  /** Where this wire is, or `null` when its listener is off. */
  origin = null;
  isLocated = false;
  isRunning = false;
  isChecking = false;
  /** Whether it may not start now, since it would disturb a comparison. */
  isHeld = false;
  wasStarted = false;
  /** What the last probe found, or `off`; `null` when all is well. */
  trouble = null;
  /** The listener that would have been better, and did not answer. */
  passedOver = null;
  /** What the browser said that it spoke with the listener. */
  protocol = '';
  /** Whether a WebSocket over HTTP/2 was asked for and could not be had. */
  fellBack = false;
  streams = [];
  topic = '';
  tally = new Tally();
  rates = new Rates();
  serverRates = new Rates();
  /** What the last cut came to (cut.js), and whether one is under way. */
  proof = null;
  isCutting = false;
  #shared;
  #view;
  #origins = new Map();
  #wantedWay;
  #key = '';
  #run = 0;
  #askedAt = 0;

  /** `wire` is a row of the table in page.js. `shared` is what all panels have in common: the event `types` to listen
   *  for, the `clock`, `home()` (where requests of the page go), and `changed(isAction)`, called whenever there is
   *  something new to draw. */
  constructor(element, wire, shared) {
    this.wire = wire;
    this.way = wire.ways[0];
    this.#wantedWay = this.way;
    this.#shared = shared;
    this.#view = new View(element, this, shared.changed);
  }

  /** Whether it would not help to try: its listener is off or not known yet, or does not answer this page. */
  get isOutOfReach() {
    return this.origin === null || !mayPass(this.trouble);
  }

  /** Whether its streams take connections that the page itself may need. */
  get crowds() {
    return this.way.crowds && this.origin === location.origin;
  }

  /** Says where the listeners are (name to origin), and asks there for a sign of life. */
  async locate(origins) {
    this.#origins = origins;
    this.isLocated = true;
    await this.check();
  }

  /** Takes one of the ways that the wire has; `index` is its place in the table. */
  async choose(index) {
    if (this.isRunning) return;
    this.#wantedWay = this.wire.ways[index];
    this.way = this.#wantedWay;
    this.fellBack = false;
    await this.check();
  }

  /** Probes the listener, and the next one if the first does not answer. */
  async check() {
    const origins = this.way.listeners.map((name) => this.#origins.get(name)).filter(Boolean);
    this.isChecking = true;
    this.#shared.changed();
    const found = await findListener(origins);
    ({ origin: this.origin, trouble: this.trouble, protocol: this.protocol, passedOver: this.passedOver } = found);
    this.isChecking = false;
    this.#shared.changed();
  }

  /** Probes again if that may find what is missing; it may have been trusted in another tab. */
  async recheck() {
    const isLacking = this.trouble !== null || this.passedOver !== null;
    if (this.origin !== null && isLacking && !this.isRunning && !this.isChecking) await this.check();
  }

  /** Opens `count` streams of a topic. The probe goes first: once they are open it may find no connection. */
  async start(topic, count) {
    if (this.isRunning || this.isHeld || this.origin === null) return;
    const run = ++this.#run;
    this.isRunning = true;
    this.proof = null;
    this.#shared.changed(true);
    await this.#settleWay();
    if (run !== this.#run) return;
    if (this.isOutOfReach) {
      this.isRunning = false;
      this.#shared.changed();
      return;
    }
    this.tally = new Tally();
    this.rates = new Rates();
    this.serverRates = new Rates();
    this.#key = newKey();
    this.topic = topic;
    const { types, clock, changed } = this.#shared;
    const options = { origin: this.origin, topic, types, key: this.#key, tally: this.tally, clock, changed: () => changed() };
    this.streams = Array.from({ length: count }, () => this.wire.open(options));
    this.wasStarted = true;
    this.#shared.changed();
  }

  /** Finds the way that works: the one that was asked for, or else the first. */
  async #settleWay() {
    this.way = this.#wantedWay;
    this.fellBack = false;
    await this.check();
    if (!this.way.isTried || (!this.isOutOfReach && await canOpenWebSocket(this.origin))) return;
    this.way = this.wire.ways[0];
    this.fellBack = true;
    await this.check();
  }

  /** Closes the streams; what they counted stays to be seen. */
  stop() {
    if (!this.isRunning) return;
    this.#run += 1;
    this.isRunning = false;
    for (const stream of this.streams) stream.close();
    this.streams = [];
    this.#shared.changed(true);
  }

  /** Has the server end the connections that carry the streams, and sees what came of it. */
  async cut() {
    if (this.isCutting || !this.isRunning) return;
    const [run, types] = [this.#run, this.#shared.types];
    this.isCutting = true;
    this.proof = null;
    this.#shared.changed(true);
    const proof = await cutAndProve({
      origin: this.#shared.home(),
      key: this.#key,
      streams: this.streams,
      topic: this.topic,
      hears: (type) => this.wire.hearsAll || types.has(type),
      isOver: () => run !== this.#run,
    });
    this.isCutting = false;
    if (run === this.#run) this.proof = proof;
    this.#shared.changed();
  }

  /** Has the open streams listen for one more type. */
  listen(type) {
    for (const stream of this.streams) stream.listen(type);
  }

  /** Measures how fast things come, and asks what is wrong when nothing does. */
  sample(now) {
    this.rates.add(now, this.tally.events, this.tally.bytes);
    const isDown = this.streams.length > 0 && this.streams.every((stream) => stream.state === 'away');
    if (!isDown) this.#askedAt = now;
    if (!isDown || this.isChecking || now - this.#askedAt < ASK_AGAIN_MS) return;
    this.#askedAt = now;
    this.#askWhy();
  }

  /** Finds out why all streams are away. */
  async #askWhy() {
    const run = this.#run;
    const { trouble } = await probe(this.origin);
    if (run !== this.#run) return;
    // It was trusted before. And if it answers, then it is only streams that it does not take.
    this.trouble = { silent: this.streams.some((stream) => stream.readies > 0) ? 'gone' : 'silent' }[trouble] ?? trouble ?? 'busy';
    this.#shared.changed();
  }

  /** Has all waiting count from now: while the page was asleep nobody could answer. */
  forgive() {
    this.rates = new Rates();
    this.serverRates = new Rates();
    for (const stream of this.streams) stream.forgive();
  }

  /** Takes the server's counts. */
  took(stats) {
    const counts = stats.wires[this.way.counted];
    this.serverRates.add(stats.uptime_s * 1000, counts.events_sent, counts.bytes_sent);
  }

  /** How many streams are in which state. */
  standing(now) {
    const standing = { asked: this.streams.length, open: 0, stuck: 0, opening: 0, away: 0, refused: 0 };
    for (const stream of this.streams) standing[stateOf(stream, now)] += 1;
    return standing;
  }

  /** Whether something still moves is the result. */
  draw(now, feed) {
    if (this.trouble !== null && this.streams.some((stream) => stream.state === 'open')) this.trouble = null;
    return this.#view.draw(now, feed);
  }

  /** Starts as its form says. */
  submit() {
    return this.#view.submit();
  }
}

/** Events and bytes a second. */
class Rates {
  #events = new Rate();
  #bytes = new Rate();

  add(at, events, bytes) {
    this.#events.add(at, events);
    this.#bytes.add(at, bytes);
  }

  get events() {
    return this.#events.perSecond;
  }

  get bytes() {
    return this.#bytes.perSecond;
  }
}
