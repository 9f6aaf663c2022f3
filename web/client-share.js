// One line for all tabs of an origin, in a SharedWorker: how a tab reaches it. It is used like a line of the tab's own.
// Neither end of a port is told when the other is gone, so each holds a lock, which is free once it is.

import { Problem } from './client-problem.js';
import { isAfter } from './client-readers.js';

/** @typedef {import('./client-line.js').Standing} Standing */
/** @typedef {import('./client-readers.js').Reader} Reader */

/** How long the worker may take to answer at all. */
const HELLO_MS = 3000;

export class SharedLine {
  /** @type {Standing} */
  standing = { state: 'idle', wire: null, cursor: null, reason: '' };
  #port;
  #changed;
  #count = 0;
  /** @type {Map<number, Reader>} */
  #readers = new Map();
  /** @type {Map<number, (answer: { reply?: any, problem?: any }) => void>} */
  #asked = new Map();
  /** Lets go of this tab's lock. */
  #leave = () => {};

  /** Reaches the worker, or throws. @param {import('./client-line.js').Options} options
   *  @param {(standing: Standing) => void} changed @param {() => void} gone  called when the worker is gone */
  static async open(options, changed, gone) {
    // With other options it is another worker, and with another language too: an older one may be there yet.
    const name = `triwire 1 ${JSON.stringify(options)}`;
    const worker = new SharedWorker(new URL('./worker.js', import.meta.url), { type: 'module', name });
    const line = new SharedLine(worker.port, changed);
    const lock = await new Promise((resolve, reject) => {
      worker.onerror = () => reject(new Error('the worker cannot be loaded'));
      setTimeout(reject, HELLO_MS, new Error('the worker does not answer'));
      line.#greet(resolve);
    }).catch((error) => {
      line.close();
      throw error;
    });
    navigator.locks.request(lock, () => {
      for (const answer of line.#asked.values()) answer({ problem: { status: 0, title: 'lost', detail: 'the worker is gone' } });
      gone();
    });
    return line;
  }

  /** @param {MessagePort} port @param {(standing: Standing) => void} changed */
  constructor(port, changed) {
    this.#port = port;
    this.#changed = changed;
  }

  /** @param {(lock: string) => void} greeted */
  #greet(greeted) {
    const lock = `triwire ${crypto.randomUUID()}`;
    navigator.locks.request(lock, () => {
      this.#port.onmessage = ({ data }) => (data.hello ? greeted(data.hello) : this.#take(data));
      this.#port.postMessage({ hello: lock });
      return new Promise((resolve) => (this.#leave = () => resolve(null)));
    });
  }

  /** @param {{ key: number, event?: any, standing?: Standing, reply?: any, problem?: any }} message */
  #take({ key, event, standing, ...answer }) {
    if (standing) this.#changed((this.standing = standing));
    else if (event) this.#give(this.#readers.get(key), event);
    else this.#asked.get(key)?.(answer);
  }

  /** @param {Reader | undefined} reader @param {any} event */
  #give(reader, event) {
    const cursor = event.id ?? event.resumed_at;
    if (this.standing.cursor === null || isAfter(cursor, this.standing.cursor)) this.standing.cursor = cursor;
    if (reader === undefined) return;
    reader.cursor = cursor;
    reader.take(event);
  }

  /** @param {Reader} reader */
  add(reader) {
    this.#count += 1;
    this.#readers.set(this.#count, reader);
    this.#port.postMessage({ key: this.#count, add: { topic: reader.topic, cursor: reader.cursor } });
  }

  /** @param {Reader} reader */
  remove(reader) {
    for (const [key, other] of this.#readers) {
      if (other !== reader) continue;
      this.#readers.delete(key);
      this.#port.postMessage({ key, remove: true });
    }
  }

  /** @param {import('./client-requests.js').Asked} asked @returns {Promise<import('./client-requests.js').Reply>} */
  async request(asked) {
    const key = (this.#count += 1);
    this.#port.postMessage({ key, ask: asked });
    const { reply, problem } = await new Promise((resolve) => this.#asked.set(key, resolve));
    this.#asked.delete(key);
    if (problem) throw new Problem(problem);
    return reply;
  }

  close() {
    this.#readers.clear();
    this.#leave();
  }
}
