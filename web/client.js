// The client: topics, and collections of documents, over whatever wire can be had. A page takes this file, the others
// come along; there is no build step. How it is used stands in docs/client.md.

import { Collection } from './client-collection.js';
import { Line } from './client-line.js';
import { Problem, ask } from './client-problem.js';
import { SharedLine } from './client-share.js';

export { Problem };

/** @typedef {import('./client-wires.js').Frame} Frame */
/** @typedef {import('./client-readers.js').Reader} Reader */
/** @typedef {'auto' | 'sse' | 'websocket' | 'poll'} Wire */

const WIRES = ['auto', 'sse', 'websocket', 'poll'];
const TOPIC = /^\$?[A-Za-z0-9._:/-]{1,255}$/;

/** Tells of `standing` by an event of that name, which is when `standing` has changed. */
export class Client extends EventTarget {
  /** @type {Line | SharedLine | null} */
  #line = null;
  /** @type {Promise<Line | SharedLine>} */
  #opening;
  #options;
  #share;
  #timeout;
  #isClosed = false;
  /** @type {Set<Reader>} */
  #readers = new Set();
  /** Those that read a stream of its own each. @type {Set<Client>} */
  #followers = new Set();

  /** @param {object} [options]
   *  @param {string} [options.url]  where the server is; without one, where this page came from
   *  @param {Wire} [options.wire]  `auto` takes the best that works, any other that one alone
   *  @param {boolean} [options.twoWay]  whether much is asked as well: then the best is a WebSocket, else SSE
   *  @param {boolean} [options.share]  whether all tabs may use one connection, where that can be had
   *  @param {number} [options.timeout]  how long an answer may take, in milliseconds
   *  @param {number} [options.opening]  how long a wire may take to open before the next one is tried
   *  @param {number} [options.silence]  how long nothing may come, heartbeats included, until it is taken as lost
   *  @param {string} [options.path]  of a stream to read instead of topics; what `follow` sets */
  constructor({ url = location.origin, wire = 'auto', twoWay = false, share = true, timeout = 10_000, opening = 5000, silence = 40_000, path } = {}) {
    super();
    if (!WIRES.includes(wire)) throw new TypeError(`not a wire: ${wire}; there are ${WIRES.join(', ')}`);
    this.#options = { url: url.replace(/\/$/, ''), wire, twoWay, opening, silence, path };
    this.#share = share;
    this.#timeout = timeout;
    this.#opening = this.#open();
  }

  /** How it stands: its state, the wire, the cursor, and why if it is away. */
  get standing() {
    return this.#line?.standing ?? { state: 'idle', wire: null, cursor: null, reason: '' };
  }

  /** Whether the connection is one for all tabs. */
  get isShared() {
    return this.#line instanceof SharedLine;
  }

  /** Goes over to another wire, or to the server at another address; everybody goes on reading where they were.
   *  @param {{ url?: string, wire?: Wire }} options */
  use({ url = this.#options.url, wire = /** @type {Wire} */ (this.#options.wire) }) {
    this.#options = { ...this.#options, url: url.replace(/\/$/, ''), wire };
    for (const follower of this.#followers) follower.use({ url, wire });
    this.#line?.close();
    this.#line = null;
    this.#opening = this.#open();
  }

  async #open() {
    const options = this.#options;
    const changed = () => this.dispatchEvent(new Event('standing'));
    const isShareable = this.#share && 'SharedWorker' in globalThis && navigator.locks !== undefined;
    const gone = () => options === this.#options && !this.#isClosed && this.use({});
    const line = (isShareable && (await SharedLine.open(options, changed, gone).catch(() => null))) || new Line(options, changed);
    // Another may have been asked for meanwhile.
    if (options !== this.#options || this.#isClosed) {
      line.close();
      return line;
    }
    this.#line = line;
    for (const reader of this.#readers) line.add(reader);
    changed();
    return line;
  }

  /** Reads topics: `take` is called with each event, and with a gap notice (of type `$gap`) when some were lost. What is
   *  read begins after the cursor, or now; once this has resolved, nothing is missed any more. To end it, call what it
   *  resolves to. @param {string[]} topics @param {(event: Frame) => void} take @param {{ after?: string }} [options] */
  async subscribe(topics, take, { after } = {}) {
    const wrong = topics.find((topic) => !TOPIC.test(topic));
    if (wrong !== undefined || topics.length === 0) throw new TypeError(`not a topic: ${wrong}`);
    const cursor = after ?? (await this.#head(topics));
    return this.#read(topics.map((topic) => ({ topic, cursor, take })));
  }

  /** @param {Reader[]} readers */
  #read(readers) {
    for (const reader of readers) {
      this.#readers.add(reader);
      this.#line?.add(reader);
    }
    return () => {
      for (const reader of readers) {
        this.#readers.delete(reader);
        this.#line?.remove(reader);
      }
    };
  }

  /** Reads a stream that has a path of its own, after a cursor. @param {string} path @param {string} after
   *  @param {(event: Frame) => void} take */
  follow(path, after, take) {
    const follower = new Client({ .../** @type {any} */ (this.#options), share: this.#share, timeout: this.#timeout, path });
    follower.#read([{ topic: path, cursor: after, take }]);
    this.#followers.add(follower);
    return () => {
      this.#followers.delete(follower);
      follower.close();
    };
  }

  /** Where the log is now, asked until there is an answer. @param {string[]} topics @returns {Promise<string>} */
  async #head(topics) {
    const query = new URLSearchParams(topics.map((topic) => ['topic', topic]));
    for (let tries = 0; ; tries += 1) {
      const signal = AbortSignal.timeout(this.#timeout);
      const answer = await ask(`${this.#options.url}/poll?${query}`, { signal }).catch((/** @type {Problem} */ problem) => problem);
      if (!(answer instanceof Problem)) return (await answer.json()).cursor;
      if (this.#isClosed || (answer.status > 0 && answer.retryAfter === null)) throw answer;
      const pause = answer.retryAfter ?? Math.min(30_000, 1000 * 2 ** tries) * (0.5 + Math.random() / 2);
      await new Promise((resolve) => setTimeout(resolve, pause));
    }
  }

  /** Asks the server; a refusal, and no answer in time, is a Problem that is thrown. @param {string} method
   *  @param {string} path @param {{ body?: any, contentType?: string, ifMatch?: string, timeout?: number }} [more] */
  async request(method, path, more = {}) {
    while (this.#line === null && !this.#isClosed) await this.#opening;
    if (this.#line === null) throw new Problem({ status: 0, title: 'closed', detail: 'this client was closed' });
    return this.#line.request({ method, path, timeout: this.#timeout, ...more });
  }

  /** A collection of documents. @param {string} name */
  collection(name) {
    return new Collection(this, name);
  }

  close() {
    this.#isClosed = true;
    for (const follower of this.#followers) follower.close();
    this.#readers.clear();
    this.#line?.close();
    this.#line = null;
  }
}
