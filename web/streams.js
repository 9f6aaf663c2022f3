// Streams: one reader of a topic each, by EventSource or by WebSocket, that comes back by itself and resumes.
// They count and keep the latest, nothing else, so that no rate of events fills the memory or draws anything.

import { utf8Length } from './figures.js';

/** How long a stream may go unanswered before it is called stuck. */
const STUCK_AFTER_MS = 1500;

// An EventSource does not say when it asks again; these are the longest `retry:` that the server sends.
const RETRY_MS = 3000;
const BUSY_RETRY_MS = 10000;

const SUBPROTOCOL = 'triwire.v1.json';

/** What the streams of one panel have brought, all together. */
export class Tally {
  events = 0;
  bytes = 0;
  gaps = 0;
  reconnects = 0;
  /** `{ id, type, text }`; the id and the type are inside the text on a WebSocket. */
  lastEvent = null;
  /** The last gap notice. */
  lastGap = null;
  /** Why a server that is full or draining sent a stream away. */
  lastBusy = null;
}

/** What is common to both: where a stream is in its life. */
class Stream {
  /** `opening`, `open`, `away` (it was lost and comes back), `refused` (it does not) or `closed`. */
  state = 'opening';
  #due = 0;
  #wasReady = false;

  constructor(tally, changed) {
    this.tally = tally;
    this.changed = changed;
  }

  /** Whether it was asked for and nothing came, for longer than is decent. */
  isStuck(now) {
    return (this.state === 'opening' || this.state === 'away') && now >= this.#due;
  }

  /** Says that an answer is waited for, which will not come before `pause` has passed. */
  waits(state, pause) {
    this.state = state;
    this.#due = performance.now() + pause + STUCK_AFTER_MS;
    this.changed();
  }

  ready() {
    if (this.#wasReady) this.tally.reconnects += 1;
    this.#wasReady = true;
    this.state = 'open';
    this.changed();
  }

  event(id, type, text) {
    const { tally } = this;
    tally.events += 1;
    tally.bytes += utf8Length(text);
    tally.lastEvent = { id, type, text };
    this.changed();
  }

  gap(notice) {
    this.tally.gaps += 1;
    this.tally.lastGap = notice;
    this.changed();
  }
}

/** Server-Sent Events. The browser reconnects and resumes; this only watches it do so. */
export class SseStream extends Stream {
  #source;
  #retry = RETRY_MS;

  constructor(origin, topic, types, tally, changed) {
    super(tally, changed);
    this.#source = new EventSource(`${origin}/events?topic=${encodeURIComponent(topic)}`);
    this.#source.addEventListener('ready', () => {
      this.#retry = RETRY_MS;
      this.ready();
    });
    this.#source.addEventListener('gap', (event) => this.gap(JSON.parse(event.data)));
    this.#source.addEventListener('busy', (event) => {
      this.#retry = BUSY_RETRY_MS;
      tally.lastBusy = JSON.parse(event.data).reason;
    });
    this.#source.addEventListener('error', () => this.#lost());
    for (const type of types) this.listen(type);
    this.waits('opening', 0);
  }

  /** Has the browser hand over events of one more type. */
  listen(type) {
    this.#source.addEventListener(type, this.#take);
  }

  close() {
    this.#source.close();
    this.state = 'closed';
  }

  // One function for all types, so that telling of a type twice does not count its events twice.
  #take = (event) => this.event(event.lastEventId, event.type, event.data);

  #lost() {
    if (this.#source.readyState === EventSource.CLOSED) {
      this.state = 'refused';
      this.changed();
    } else {
      this.waits('away', this.#retry);
    }
  }
}

/** WebSocket. Nobody reconnects it, so this does, and resumes after the last event that it was given. */
export class WebSocketStream extends Stream {
  #url;
  #socket = null;
  #cursor = null;
  #backoff = new Backoff();
  #timer = 0;

  constructor(origin, topic, tally, changed) {
    super(tally, changed);
    this.#url = `${origin.replace(/^http/, 'ws')}/events?topic=${encodeURIComponent(topic)}`;
    this.#open('opening');
  }

  /** A WebSocket is given every type without being told. */
  listen() {}

  close() {
    clearTimeout(this.#timer);
    this.state = 'closed';
    const socket = this.#socket;
    this.#socket = null;
    // To close one that is still connecting is an error to the browser's console: let it connect first.
    if (socket?.readyState === WebSocket.CONNECTING) socket.onopen = () => socket.close(1000);
    else socket?.close(1000);
  }

  #open(state) {
    const after = this.#cursor === null ? '' : `&after=${this.#cursor}`;
    const socket = new WebSocket(this.#url + after, SUBPROTOCOL);
    socket.onmessage = (message) => socket === this.#socket && this.#take(message.data);
    socket.onclose = () => socket === this.#socket && this.#lost();
    this.#socket = socket;
    this.waits(state, 0);
  }

  #take(text) {
    const frame = JSON.parse(text);
    if (frame.id !== undefined) {
      this.#cursor = frame.id;
      this.event(null, null, text);
    } else if (frame.type === '$ready') {
      this.#cursor = frame.cursor;
      this.#backoff.reset();
      this.ready();
    } else if (frame.type === '$gap') {
      this.gap(frame);
    }
  }

  #lost() {
    const pause = this.#backoff.next();
    this.waits('away', pause);
    this.#timer = setTimeout(() => this.#open('away'), pause);
  }
}

/** How long to wait before the next try: longer each time and never the same, so that a crash does not bring all
 *  clients back at once. */
class Backoff {
  #tries = 0;

  next() {
    const most = Math.min(30000, 2000 * 2 ** this.#tries);
    this.#tries += 1;
    return most * (0.5 + Math.random() / 2);
  }

  reset() {
    this.#tries = 0;
  }
}
