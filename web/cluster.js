// The replicas: what each counts, as one of them says of all, and a reader that goes on elsewhere when its server dies.

import { ClusterView } from './cluster-view.js';
import { RovingReader } from './cluster-reader.js';
import { Tally } from './streams.js';
import { readJson } from './server.js';

const ASK_MS = 1000;
const STALE_MS = 4000;
/** Addresses of replicas that are remembered, those that have died too: they may come back. */
const PLACES = 32;

export class Cluster {
  /** What one replica says of all, when that came, and whether there is a relay at all (`null`: not known yet). */
  said = null;
  saidAt = 0;
  hasRelay = null;
  /** The server that this page has its numbers from. */
  own = null;
  reader = null;
  topic = '';
  #shared;
  #view;
  #places = new Map();
  #timer = 0;
  /** Which round of asking this is; an older one ends by itself. `null` when nobody asks. */
  #round = null;
  #turn = 0;
  #isHeld = false;
  /** What is read when the section comes back, or begins. */
  #wanted;

  /** `shared` is what all sections have: the event `types` to listen for, the `clock`, `home()`, and `changed`. */
  constructor(section, shared) {
    this.#shared = shared;
    this.#view = new ClusterView(section, this, shared.changed);
    this.#wanted = this.#view.topic;
  }

  /** Whether the numbers are old. */
  isStale(now) {
    return this.said !== null && now - this.saidAt > STALE_MS;
  }

  /** What the server says of itself: with a relay, there may be others. */
  took({ server, relay }) {
    this.own = server;
    if (this.hasRelay !== null) return;
    this.hasRelay = relay !== undefined;
    if (!this.#isHeld) this.release();
  }

  /** Reads this topic from now on; what it counts begins anew. */
  read(topic) {
    this.stop();
    this.topic = topic;
    this.#wanted = topic;
    const { types, clock, changed } = this.#shared;
    const places = () => [this.#shared.home(), location.origin, ...this.#places.values()];
    this.reader = new RovingReader({ topic, types, places, clock, tally: new Tally(), changed: () => changed() });
    changed(true);
  }

  stop() {
    this.#wanted = null;
    this.reader?.close();
    this.#shared.changed(true);
  }

  get isReading() {
    return this.reader !== null && this.reader.state !== 'closed';
  }

  listen(type) {
    if (this.isReading) this.reader.listen(type);
  }

  draw(now) {
    this.#view.draw(now);
  }

  hold() {
    const wanted = this.#wanted;
    if (this.isReading) this.stop();
    this.#wanted = wanted;
    this.#isHeld = true;
    clearTimeout(this.#timer);
    this.#round = null;
  }

  release() {
    this.#isHeld = false;
    if (!this.hasRelay) return;
    if (this.#round === null) this.#ask(this.#round = {});
    if (this.#wanted && !this.isReading) this.read(this.#wanted);
  }

  leave() {
    this.hold();
  }

  comeBack() {
    this.release();
  }

  /** Asks where the reader is, or else the next address that is known, until somebody answers. */
  async #ask(round) {
    const origins = [...new Set([this.#isOpen && this.reader.origin, this.#shared.home(), ...this.#places.values()])].filter(Boolean);
    const origin = origins[this.#turn % origins.length];
    const said = await readJson(`${origin}/stats?scope=cluster`).catch(() => null);
    if (round !== this.#round) return;
    if (said) this.#take(said);
    else this.#turn += 1;
    this.#timer = setTimeout(() => this.#ask(round), ASK_MS);
  }

  get #isOpen() {
    return this.reader?.state === 'open';
  }

  #take(said) {
    this.#turn = 0;
    this.said = said;
    this.saidAt = performance.now();
    for (const { life, stats } of said.replicas) {
      const place = placeOf(stats.listeners);
      if (!place) continue;
      this.#places.delete(life);
      this.#places.set(life, place);
    }
    while (this.#places.size > PLACES) this.#places.delete(this.#places.keys().next().value);
    this.#shared.changed();
  }
}

/** Where pages like this one reach a replica: at the address that it listens on, or, when that is everywhere or
 *  loopback, on the host that this page came from. */
function placeOf(listeners) {
  const listener = listeners?.[location.protocol === 'https:' ? 'http2' : 'http1'];
  if (!listener) return null;
  const [, host, port] = listener.addr.match(/^(.*):(\d+)$/) ?? [];
  const isOurs = ['0.0.0.0', '[::]', '[::1]'].includes(host) || host?.startsWith('127.');
  return new URL(`${location.protocol}//${isOurs ? location.hostname : host}:${port}`).origin;
}
