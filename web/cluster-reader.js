// A reader that outlives its server: one EventSource of `/sse`, whose events name the replica that delivered them. When it
// is lost, this asks for the rest elsewhere, and holds what came against the log.

import { Witness, compare } from './cut.js';
import { Stream } from './streams.js';
import { passed } from './wait.js';

/** How long a place may take to say `ready`. */
const READY_MS = 4000;
/** Before the places are tried anew, in milliseconds: at least, and at most. */
const [SOON_MS, LATER_MS] = [200, 2000];
/** After coming back, events are read for so long before they are held against the log. */
const SETTLE_MS = 1500;
/** Moves that are remembered. */
const MOVES = 5;

export class RovingReader extends Stream {
  /** Where it reads, or tries to. */
  origin;
  /** The replica that delivered the last event, and how many each has. */
  server = null;
  byServer = new Map();
  /** `{ at, from, to, after, proof }`, the newest first; `to` and `after` are there once it is back. */
  moves = [];
  moved = 0;
  /** By the numbers in the payloads: those that were left out without a word, and those that came again. */
  lost = 0;
  again = 0;
  #number = null;
  #isTold = false;
  #topic;
  #types;
  #places;
  #source = null;
  #timer = 0;
  #left = null;

  /** As an SseStream; `places()` are the origins to try, the best first. */
  constructor({ topic, types, places, ...common }) {
    super(common);
    this.#topic = topic;
    this.#types = types;
    this.#places = places;
    this.#tryAll('opening');
  }

  /** Has the browser hand over events of one more type. */
  listen(type) {
    this.#source?.addEventListener(type, this.#take);
  }

  close() {
    clearTimeout(this.#timer);
    this.#source?.close();
    this.state = 'closed';
  }

  gap(notice) {
    this.#isTold = true;
    super.gap(notice);
  }

  /** Tries one place after the other, for as long as it takes. */
  async #tryAll(state) {
    this.waits(state, 0);
    for (let round = 0; this.state === state; round += 1) {
      // Where it was comes first: behind a proxy that is another replica.
      const places = new Set([this.origin ?? this.#places()[0], ...this.#places()]);
      for (const place of places) {
        if (this.state !== state || await this.#open(place)) return;
      }
      const most = Math.min(LATER_MS, SOON_MS * 2 ** round);
      await new Promise((resolve) => (this.#timer = setTimeout(resolve, most * (0.5 + Math.random() / 2))));
    }
  }

  /** Whether this place has said `ready`. */
  #open(origin) {
    const after = this.cursor === null ? '' : `&after=${this.cursor}`;
    const source = new EventSource(`${origin}/sse?topic=${encodeURIComponent(this.#topic)}${after}`, { withCredentials: true });
    this.#source = source;
    return new Promise((resolve) => {
      const timer = setTimeout(() => gone(), READY_MS);
      const gone = () => {
        clearTimeout(timer);
        source.close();
        resolve(false);
        if (source === this.#source && this.state === 'open') this.#lost();
      };
      source.addEventListener('ready', (event) => {
        clearTimeout(timer);
        this.origin = origin;
        this.ready(JSON.parse(event.data).cursor);
        this.#arrived();
        resolve(true);
      });
      source.addEventListener('gap', (event) => this.gap(JSON.parse(event.data)));
      // Full, or about to end: another may have room.
      source.addEventListener('busy', gone);
      source.addEventListener('error', gone);
      for (const type of this.#types) source.addEventListener(type, this.#take);
    });
  }

  #lost() {
    this.#left = { at: new Date(), began: performance.now(), from: this.server, to: null, after: null, proof: null };
    this.#left.witness = new Witness(this);
    this.moves = [this.#left, ...this.moves].slice(0, MOVES);
    this.moved += 1;
    this.#tryAll('away');
  }

  async #arrived() {
    const move = this.#left;
    if (move === null) return;
    this.#left = null;
    move.after = performance.now() - move.began;
    const isOver = () => this.state !== 'open';
    await passed(SETTLE_MS, isOver);
    // Lost again: the next move tells.
    if (!isOver()) {
      const hears = (type) => this.#types.has(type);
      move.proof = await compare([move.witness], { origin: this.origin, topic: this.#topic, hears, isOver }).catch(() => null);
    }
    move.witness.leave();
    this.changed();
  }

  #take = ({ lastEventId: id, type, data: text }) => {
    const { server, data } = JSON.parse(text);
    this.server = server;
    this.byServer.set(server, (this.byServer.get(server) ?? 0) + 1);
    for (const move of this.moves) move.to ??= server;
    this.#count(data?.n);
    this.event(id, { id, type, text }, text, data);
  };

  /** A number that is not the next one tells of what is missing, or came again; 0 and 1 begin anew. */
  #count(number) {
    if (!Number.isSafeInteger(number)) return;
    const last = this.#number;
    const isFirst = last === null || number === 0 || (number === 1 && last !== 0);
    if (!isFirst && number <= last) this.again += 1;
    if (!isFirst && number > last + 1 && !this.#isTold) this.lost += number - last - 1;
    this.#isTold = false;
    if (isFirst || number > last) this.#number = number;
  }
}
