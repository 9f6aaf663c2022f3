// The replicas: what each counts, as one of them says of all, and where this page reaches them. Whoever goes on elsewhere
// when a server dies has the addresses from here.

import { cameMultiplexed, readJson } from './server.js';

const ASK_MS = 1000;
const STALE_MS = 4000;
/** Replicas that are remembered, those that have died too: they may come back. */
const MOST = 32;

const isSecure = location.protocol === 'https:';
/** What the page itself could have come from, at a server that is reached directly. */
const HOME = isSecure ? 'http2' : 'http1';
/** What a proxy's one address can stand for: it passes all of it on. */
const AT_PROXY = !isSecure ? ['http1', 'ws'] : [cameMultiplexed() ? 'http2' : 'http1s', 'wss'];

/** `{ server, home, origins }`: its name, if it is known, where pages ask it, and where each of its listeners is.
 *  @typedef {{ server: string | null, home: string, origins: Map<string, string> }} Place */

export class Replicas {
  /** What one replica says of all, when that came, and whether there is a relay at all (`null`: not known yet). */
  said = null;
  saidAt = 0;
  hasRelay = null;
  /** The server that this page has its numbers from. */
  own = null;
  #page;
  /** By their homes: one that was started again is in the same place. @type {Map<string, Place>} */
  #others = new Map();
  /** Who answered last, and how many in a row did not. */
  #answered = null;
  #misses = 0;
  #timer = 0;
  /** Which round of asking this is; an older one ends by itself. `null` when nobody asks. */
  #round = null;
  #isHeld = false;

  /** `page` is what it needs of the page: `origins` (name of a listener to origin), `home()` and `changed`. */
  constructor(page) {
    this.#page = page;
  }

  /** Whether the numbers are old. */
  isStale(now) {
    return this.said !== null && now - this.saidAt > STALE_MS;
  }

  /** What the server says of itself: with a relay, there may be others. */
  took({ server, relay }) {
    this.own = server;
    this.hasRelay ??= relay !== undefined;
    if (!this.#isHeld) this.release();
  }

  /** All that may be tried, the best first: the server that sent this page, the page's own address, where a proxy may have
   *  another, and those that were heard of. What is said on one is known on all. @returns {Place[]} */
  get places() {
    const { home, origins } = this.#page;
    const isDirect = [...origins.values()].includes(location.origin);
    const atProxy = new Map(isDirect ? [] : AT_PROXY.map((name) => [name, location.origin]));
    return [
      { server: isDirect ? this.own : null, home: home(), origins },
      { server: null, home: location.origin, origins: atProxy },
      // Those that are said to live were put in last.
      ...[...this.#others.values()].reverse(),
    ];
  }

  /** Where to ask, the best first. */
  get homes() {
    return [...new Set(this.places.map(({ home }) => home).filter(Boolean))];
  }

  /** Whether anybody else was heard of. */
  get hasOthers() {
    return this.#others.size > 1;
  }

  hold() {
    this.#isHeld = true;
    clearTimeout(this.#timer);
    this.#round = null;
  }

  release() {
    this.#isHeld = false;
    if (this.hasRelay && this.#round === null) this.#ask(this.#round = {});
  }

  /** Asks who answered last, or else the next one that is known, until somebody answers. */
  async #ask(round) {
    const origins = [...new Set([this.#answered, ...this.homes])].filter(Boolean);
    const origin = origins[this.#misses % origins.length];
    const said = await readJson(`${origin}/stats?scope=cluster`).catch(() => null);
    if (round !== this.#round) return;
    if (said) this.#take(said, origin);
    else this.#misses += 1;
    this.#timer = setTimeout(() => this.#ask(round), ASK_MS);
  }

  #take(said, origin) {
    this.#answered = origin;
    this.#misses = 0;
    this.said = said;
    this.saidAt = performance.now();
    for (const { stats } of inAnyOrder(said.replicas)) {
      const place = placeOf(stats);
      if (!place) continue;
      this.#others.delete(place.home);
      this.#others.set(place.home, place);
    }
    while (this.#others.size > MOST) this.#others.delete(this.#others.keys().next().value);
    this.#page.changed();
  }
}

/** Not all who lose a server are to go to the same other one. */
function inAnyOrder(replicas) {
  return replicas.map((replica) => ({ replica, at: Math.random() })).sort((a, b) => a.at - b.at).map(({ replica }) => replica);
}

/** Where pages like this one reach a replica, if they do. @returns {Place | null} */
function placeOf({ server, listeners = {} }) {
  const origins = new Map(Object.entries(listeners).map(([name, listener]) => [name, originAt(listener)]));
  const home = origins.get(HOME);
  return home ? { server, home, origins } : null;
}

/** At the address that it listens on, or, when that is everywhere or loopback, on the host that this page came from. */
function originAt({ addr, tls }) {
  const [, host, port] = addr.match(/^(.*):(\d+)$/) ?? [];
  const isOurs = ['0.0.0.0', '[::]', '[::1]'].includes(host) || host?.startsWith('127.');
  return new URL(`${tls ? 'https' : 'http'}://${isOurs ? location.hostname : host}:${port}`).origin;
}
