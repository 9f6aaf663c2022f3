// Streams: one reader of a topic each, by EventSource or by WebSocket, that comes back by itself and resumes.
// They count and keep the latest, nothing else, so that no rate of events fills the memory or draws anything.

import { utf8Length } from './figures.js';
import { Latency } from './latency.js';

/** How long a stream may go unanswered before it is called stuck. */
const STUCK_AFTER_MS = 1500;

// An EventSource does not say when it asks again; these are the longest `retry:` that the server sends.
const RETRY_MS = 3000;
const BUSY_RETRY_MS = 10000;

const TRIAL_MS = 5000;
const SUBPROTOCOL = 'triwire.v1.json';
/** What the server's reasons to close a WebSocket are called on an EventSource. */
const BUSY_CODES = new Map([[1001, 'draining'], [1013, 'full']]);

/** What the streams of one panel have brought, all together. */
export class Tally {
  events = 0;
  bytes = 0;
  gaps = 0;
  /** Present results of queries, which are no events of the log. */
  presents = 0;
  reconnects = 0;
  /** Events that a stream was given although it already had them, or later ones. */
  twice = 0;
  latency = new Latency();
  /** `{ id, type, text }`; the id and the type are inside the text on a WebSocket. */
  lastEvent = null;
  /** The last gap notice. */
  lastGap = null;
  /** Why a server that is full or draining sent a stream away. */
  lastBusy = null;
  /** Told the id of each event, while somebody looks for one. */
  lookout = null;
}

/** What is common to both: where a stream is in its life. */
export class Stream {
  /** `opening`, `open`, `away` (it was lost and comes back), `refused` (it does not) or `closed`. */
  state = 'opening';
  /** After which event it would resume. */
  cursor = null;
  /** How many events it brought, how often it began, and when it last did. */
  events = 0;
  readies = 0;
  readyAt = 0;
  /** Which server said that it is open; a poll is not told. */
  server = null;
  /** Told the id of each event, while a cut is being looked into. */
  witness = null;
  #due = 0;

  constructor({ tally, clock, changed, taken = () => {}, after = null }) {
    this.tally = tally;
    this.clock = clock;
    this.changed = changed;
    this.taken = taken;
    this.cursor = after;
  }

  /** Whether it was asked for and nothing came, for longer than is decent. */
  isStuck(now) {
    return (this.state === 'opening' || this.state === 'away') && now >= this.#due;
  }

  /** Says that an answer is waited for, which will not come before `pause` has passed. */
  waits(state, pause) {
    this.state = state;
    this.forgive(pause);
    this.changed();
  }

  /** Has the waiting count from now: while the page was asleep nobody could answer it. */
  forgive(pause = 0) {
    this.#due = performance.now() + pause + STUCK_AFTER_MS;
  }

  ready(cursor, server = null) {
    if (this.readies > 0) this.tally.reconnects += 1;
    this.readies += 1;
    this.readyAt = performance.now();
    this.cursor = cursor;
    this.server = server;
    this.state = 'open';
    this.changed();
  }

  /** Takes an event: `text` is what a script is given for it, and `data` the payload in that. */
  event(id, shown, text, data = text) {
    this.taken(data);
    const { tally } = this;
    if (this.cursor !== null && compareIds(id, this.cursor) <= 0) tally.twice += 1;
    this.cursor = id;
    this.events += 1;
    this.witness?.saw(id);
    tally.events += 1;
    tally.bytes += utf8Length(text);
    const waited = this.clock.since(madeAt(id));
    if (waited !== null) tally.latency.add(waited);
    tally.lastEvent = shown;
    tally.lookout?.saw(id);
    this.changed();
  }

  /** Takes what is no event of the log, but how things stand now: the present result of a query. */
  present(text, data = text) {
    this.taken(data);
    this.tally.presents += 1;
    this.tally.bytes += utf8Length(text);
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
  #isOfQueries;
  #retry = RETRY_MS;

  /** `origin`, `topic` (or `subscription`, the id of one), `key` (what the connection can be cut by), `types` (the event
   *  types to listen for), and what all streams take: the panel's `tally`, the `clock`, `changed`, called when there is
   *  something to draw, maybe `taken`, called with the payload of each event, and maybe `after`, the cursor to begin
   *  at. */
  constructor(options) {
    super(options);
    const { tally, types, subscription, after } = options;
    this.#isOfQueries = subscription !== undefined;
    // With credentials, so that whatever the page opens at this listener may share connections.
    const url = address(options) + (after ? `&after=${after}` : '');
    this.#source = new EventSource(url, { withCredentials: true });
    this.#source.addEventListener('ready', (event) => {
      this.#retry = RETRY_MS;
      const { cursor, server } = JSON.parse(event.data);
      this.ready(cursor, server);
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
  #take = ({ lastEventId: id, type, data }) => {
    // What has no id of its own comes with the last one that there was.
    if (this.#isOfQueries && (id === '' || id === this.cursor)) this.present(data);
    else this.event(id, { id, type, text: data }, data);
  };

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
  #backoff = new Backoff();
  #timer = 0;

  /** The same as of an SseStream; a WebSocket is given every type without being told. */
  constructor(options) {
    super(options);
    this.#url = address(options).replace(/^http/, 'ws');
    this.#open('opening');
  }

  listen() {}

  close() {
    clearTimeout(this.#timer);
    this.state = 'closed';
    const socket = this.#socket;
    this.#socket = null;
    end(socket);
  }

  #open(state) {
    const after = this.cursor === null ? '' : `&after=${this.cursor}`;
    const socket = new WebSocket(this.#url + after, SUBPROTOCOL);
    socket.onmessage = (message) => socket === this.#socket && this.#take(message.data);
    socket.onclose = (event) => socket === this.#socket && this.#lost(event.code);
    this.#socket = socket;
    this.waits(state, 0);
  }

  #take(text) {
    const frame = JSON.parse(text);
    if (frame.id !== undefined) {
      this.event(frame.id, { text }, text, frame.data);
    } else if (frame.data !== undefined) {
      this.present(text, frame.data);
    } else if (frame.type === '$ready') {
      this.#backoff.reset();
      this.ready(frame.cursor, frame.server);
    } else if (frame.type === '$gap') {
      this.gap(frame);
    }
  }

  #lost(code) {
    if (BUSY_CODES.has(code)) this.tally.lastBusy = BUSY_CODES.get(code);
    const pause = this.#backoff.next();
    this.waits('away', pause);
    this.#timer = setTimeout(() => this.#open('away'), pause);
  }
}

/** Whether a WebSocket can be had there. Only trying tells: no browser says what it carries a WebSocket on. */
export function canOpenWebSocket(origin) {
  const socket = new WebSocket(`${origin.replace(/^http/, 'ws')}/events`, SUBPROTOCOL);
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, TRIAL_MS, false);
    socket.onmessage = () => resolve(true);
    socket.onclose = () => resolve(false);
    socket.addEventListener('message', () => clearTimeout(timer));
  }).finally(() => {
    socket.onclose = null;
    end(socket);
  });
}

/** What a reader is told of a stream: its state, or that it is stuck. */
export function stateOf(stream, now) {
  return stream.isStuck(now) ? 'stuck' : stream.state;
}

/** Orders ids, which are `<ms>-<n>`. */
export function compareIds(a, b) {
  return madeAt(a) - madeAt(b) || numberIn(a) - numberIn(b);
}

/** When the event was made, in milliseconds on the server's clock. */
export function madeAt(id) {
  return Number(id.slice(0, id.indexOf('-')));
}

function numberIn(id) {
  return Number(id.slice(id.indexOf('-') + 1));
}

function address({ origin, topic, subscription, key }) {
  if (subscription !== undefined) return `${origin}/stream/${subscription}?cut=${key}`;
  return `${origin}/events?topic=${encodeURIComponent(topic)}&cut=${key}`;
}

/** To close a WebSocket that is still connecting is an error to the browser's console: that one may connect first. */
function end(socket) {
  if (socket?.readyState === WebSocket.CONNECTING) socket.onopen = () => socket.close(1000);
  else socket?.close(1000);
}

/** How long to wait before the next try: longer each time and never the same, so that a crash does not bring all
 *  clients back at once. */
export class Backoff {
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
