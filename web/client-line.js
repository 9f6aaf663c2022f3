// A line: what one tab, or all tabs together, have to the server. It keeps one connection for all its readers, takes
// another wire when one does not work, and comes back when it is lost.

import { Problem, ask } from './client-problem.js';
import { Readers, isAfter } from './client-readers.js';
import { Requests } from './client-requests.js';
import { WIRES } from './client-wires.js';

/** @typedef {import('./client-wires.js').Frame} Frame */
/** @typedef {import('./client-readers.js').Reader} Reader */
/** @typedef {{ url: string, wire: string, twoWay: boolean, opening: number, silence: number, path?: string }} Options
 *  `path` is that of a stream that is more than topics: then there is one reader, of the topic that is the path. */
/** @typedef {{ state: 'idle' | 'opening' | 'open' | 'away', wire: string | null, cursor: string | null, reason: string,
 *  problem?: import('./client-problem.js').Told }} Standing `reason` says why it is away: `lost`, `silent` (nothing came),
 *  `full` and `draining` (the server's words), `refused`, or `blocked` (the wire, so the next one is taken). */

/** A wire whose connections end sooner, again and again, does not work; one that lived long does, whatever ended it. */
const [GOOD_LIFE_MS, LONG_LIFE_MS] = [5000, 5 * 60_000];
const SHORT_LIVES = 3;
const [FIRST_PAUSE_MS, LONGEST_PAUSE_MS] = [1000, 30_000];

export class Line {
  /** @type {Standing} */
  standing = { state: 'idle', wire: null, cursor: null, reason: '' };
  #options;
  #changed;
  #readers = new Readers();
  #requests;
  /** The wires that may be taken, the best first, and which is taken now. */
  #wires;
  #choice = 0;
  #tries = 0;
  #isClosed = false;
  #isFollowing = false;
  #ending = new AbortController();
  #wake = () => {};

  /** @param {Options} options @param {(standing: Standing) => void} changed */
  constructor(options, changed) {
    const { url, wire, twoWay } = options;
    this.#options = options;
    this.#changed = changed;
    this.#requests = new Requests(url);
    // Where much is said both ways the best is the one that can.
    const all = twoWay ? ['websocket', 'sse', 'poll'] : ['sse', 'websocket', 'poll'];
    this.#wires = wire === 'auto' ? all : [wire];
    this.#run();
  }

  /** @param {Reader} reader */
  add(reader) {
    this.#readers.add(reader);
    this.#follow();
  }

  /** @param {Reader} reader */
  remove(reader) {
    this.#readers.remove(reader);
    this.#follow();
  }

  /** @param {import('./client-requests.js').Asked} asked */
  request(asked) {
    return this.#requests.ask(asked).finally(() => this.#endIfDone());
  }

  /** Ends it, once it has the answers that it waits for. */
  close() {
    this.#readers.clear();
    this.#isClosed = true;
    this.#endIfDone();
  }

  #endIfDone() {
    if (!this.#isClosed || this.#requests.size > 0) return;
    this.#ending.abort('closed');
    this.#wake();
  }

  async #run() {
    while (!this.#isClosed) {
      const { twoWay, path } = this.#options;
      const isForRequests = twoWay && path === undefined && this.#wires[this.#choice] === 'websocket';
      if (this.#readers.size === 0 && !isForRequests) await this.#rest(Infinity, { state: 'idle' });
      else await this.#connect(this.#wires[this.#choice]);
    }
  }

  /** @param {Partial<Standing>} news */
  #tell(news) {
    this.standing = { ...this.standing, reason: '', problem: undefined, ...news };
    if (!this.#isClosed) this.#changed(this.standing);
  }

  /** Waits for so long at most. @param {number} most @param {Partial<Standing>} news */
  async #rest(most, news) {
    this.#tell({ wire: null, ...news });
    /** @type {any} */
    let timer;
    await new Promise((resolve) => {
      this.#wake = () => resolve(null);
      if (most !== Infinity) timer = setTimeout(resolve, most);
    });
    clearTimeout(timer);
  }

  /** One connection to its end, and the pause before the next. @param {string} wire */
  async #connect(wire) {
    const { opening, silence, path } = this.#options;
    const { signal } = (this.#ending = new AbortController());
    const life = { readyAt: 0, heardAt: performance.now(), busy: /** @type {Frame | null} */ (null) };
    const late = setTimeout(() => this.#ending.abort('silent'), opening);
    const watch = setInterval(() => this.#listen(performance.now() - life.heardAt), silence / 4);
    this.#tell({ state: 'opening', wire });
    const begin = (/** @type {Frame} */ frame, /** @type {((message: object) => void) | undefined} */ send) => {
      clearTimeout(late);
      life.readyAt = life.heardAt;
      this.#requests.send = send ?? null;
      joined?.();
      this.#tell({ state: 'open', wire });
      this.#moved(frame.cursor);
      this.#follow();
    };
    const take = (/** @type {Frame | null} */ frame, /** @type {any} */ send) => {
      if (signal.aborted) return;
      life.heardAt = performance.now();
      if (frame?.type === '$ready') begin(frame, send);
      else if (frame?.type === '$busy') life.busy = frame;
      else if (frame) this.#take(path === undefined ? frame : { ...frame, topic: path });
    };
    // A WebSocket is told its topics once it is open.
    const joined = wire === 'websocket' && path === undefined ? undefined : this.#readers.changes()?.done;
    const way = { address: () => this.#address(wire), hold: silence * 0.6, signal, take };
    const failure = await WIRES[wire](way).catch((error) => error);
    clearTimeout(late);
    clearInterval(watch);
    this.#readers.end();
    this.#requests.end();
    if (!this.#isClosed && signal.reason !== 'again') await this.#recover(life, failure, signal.reason === 'silent');
  }

  /** What is to be read now. @param {string} wire */
  #address(wire) {
    const { url, path } = this.#options;
    const place = this.#readers.place();
    if (path !== undefined) return `${url}${path}&after=${place.get('after')}${wire === 'poll' ? '&poll=1' : ''}`;
    if (wire === 'websocket') return `${url}/events`;
    return `${url}/${wire === 'poll' ? 'poll' : 'events'}?${place}`;
  }

  /** @param {Frame} frame */
  #take(frame) {
    if (frame.type === '$gap') this.#readers.gap(frame);
    else if (frame.type === '$at') this.#readers.at(frame.cursor);
    else if (frame.ref !== undefined) this.#requests.answer(frame);
    else if (frame.id !== undefined) this.#readers.event(frame);
    this.#moved(frame.id ?? (frame.type === '$at' ? frame.cursor : null));
  }

  /** @param {string | null} cursor */
  #moved(cursor) {
    const before = this.standing.cursor;
    if (cursor !== null && (before === null || isAfter(cursor, before))) this.standing.cursor = cursor;
  }

  /** Looks whether the connection still says something, and has a WebSocket do so: no script sees its pings.
   *  @param {number} quiet */
  #listen(quiet) {
    const { silence } = this.#options;
    if (quiet > silence) this.#ending.abort('silent');
    else if (quiet > silence / 2) this.#requests.send?.({ type: 'unsubscribe', topics: [] });
  }

  /** Sees why a connection has ended, and waits for as long as is decent; or goes over to the next wire.
   *  @param {{ readyAt: number, busy: Frame | null }} life @param {unknown} failure @param {boolean} isSilent */
  async #recover({ readyAt, busy }, failure, isSilent) {
    const problem = failure instanceof Problem && failure.status > 0 ? failure : null;
    const lived = readyAt === 0 ? 0 : performance.now() - readyAt;
    if (lived > GOOD_LIFE_MS) this.#tries = 0;
    // What could not be had then may be had where it is now.
    if (lived > LONG_LIFE_MS) this.#choice = 0;
    if (busy) return this.#rest(busy.retry || 1000 + Math.random() * 9000, { state: 'away', reason: busy.reason });
    if (problem?.retryAfter) return this.#rest(problem.retryAfter * (1 + Math.random()), { state: 'away', reason: 'full' });
    const hasWorked = isSilent ? lived > LONG_LIFE_MS : readyAt > 0 && this.#tries < SHORT_LIVES;
    const isBlocked = !hasWorked && (isSilent || (await this.#isServerThere()));
    if (isBlocked) this.#choice = (this.#choice + 1) % this.#wires.length;
    if (isBlocked && this.#choice > 0) return this.#tell({ state: 'away', reason: 'blocked', problem: problem?.told() });
    const most = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** this.#tries);
    this.#tries += 1;
    const reason = isSilent ? 'silent' : problem ? 'refused' : 'lost';
    return this.#rest(most * (0.5 + Math.random() / 2), { state: 'away', reason, problem: problem?.told() });
  }

  #isServerThere() {
    const signal = AbortSignal.timeout(this.#options.opening);
    return ask(`${this.#options.url}/readyz`, { signal }).then(() => true, () => false);
  }

  /** Has the connection bring what the readers want now; once for all that changes in one go. */
  async #follow() {
    if (this.standing.state === 'idle') this.#wake();
    if (this.standing.state !== 'open' || this.#isFollowing) return;
    this.#isFollowing = true;
    await null;
    this.#isFollowing = false;
    const [ending, { send }] = [this.#ending, this.#requests];
    const change = this.standing.state === 'open' ? this.#readers.changes() : null;
    if (change === null) return;
    if (send === null) return ending.abort('again');
    if (change.leave.length > 0) send({ type: 'unsubscribe', topics: change.leave });
    if (Object.keys(change.join).length === 0) return;
    const asked = { type: 'subscribe', topics: change.join };
    const answer = await this.#requests.say(asked, this.#options.opening).catch(() => null);
    if (answer?.type === '$ack') change.done();
    else ending.abort(answer ? new Problem(/** @type {any} */ (answer)) : 'silent');
  }
}
