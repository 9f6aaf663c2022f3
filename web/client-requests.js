// Requests and their answers: over the WebSocket while there is one, many at a time and each with a number, else by
// fetch.

import { Problem, ask, unanswered } from './client-problem.js';

/** @typedef {import('./client-wires.js').Frame} Frame */
/** @typedef {{ method: string, path: string, body?: any, contentType?: string, ifMatch?: string, timeout: number }} Asked */
/** @typedef {{ status: number, body?: any, etag?: string | null, event?: string | null }} Reply `event` is the id of the
 *  event that a write has become. */

export class Requests {
  /** How to say something over the WebSocket. @type {((message: object) => void) | null} */
  send = null;
  #url;
  #count = 0;
  /** Those that wait for an answer, by number. @type {Map<number, (frame: Frame | null, why?: string) => void>} */
  #waiting = new Map();

  /** @param {string} url */
  constructor(url) {
    this.#url = url;
  }

  get size() {
    return this.#waiting.size;
  }

  /** Asks, or throws a Problem. What the server did not even begin with is asked again when it says; what may have been
   *  done only if to do it twice does no harm. @param {Asked} asked @returns {Promise<Reply>} */
  async ask(asked) {
    const deadline = performance.now() + asked.timeout;
    const left = () => Math.max(0, deadline - performance.now());
    const once = () => (this.send ? this.#call(asked, left()) : this.#fetch(asked, left()));
    return once().catch(async (/** @type {Problem} */ problem) => {
      const isSafe = problem.retryAfter !== null || (problem.title === 'lost' && isHarmless(asked));
      const pause = problem.retryAfter ?? 0;
      if (!isSafe || pause >= left()) throw problem;
      await new Promise((resolve) => setTimeout(resolve, pause));
      return once();
    });
  }

  /** @param {Asked} asked @param {number} timeout @returns {Promise<Reply>} */
  async #call({ method, path, body, contentType, ifMatch }, timeout) {
    const reply = await this.say({ type: 'request', method, path, body, content_type: contentType, if_match: ifMatch }, timeout);
    if (reply.type === '$reply' && reply.status < 400) return /** @type {any} */ (reply);
    const retryAfter = reply.retry_after === undefined ? undefined : reply.retry_after * 1000;
    throw new Problem({ ...(reply.type === '$reply' ? reply.body : reply), status: reply.status, retryAfter });
  }

  /** @param {Asked} asked @param {number} timeout @returns {Promise<Reply>} */
  async #fetch({ method, path, body, contentType = 'application/json', ifMatch }, timeout) {
    const init = { method, signal: AbortSignal.timeout(timeout), headers: new Headers(ifMatch ? { 'if-match': ifMatch } : {}) };
    if (body !== undefined) init.headers.set('content-type', contentType);
    const response = await ask(this.#url + path, { ...init, body: body === undefined ? undefined : JSON.stringify(body) });
    const text = await response.text().catch((error) => {
      throw unanswered(this.#url, error);
    });
    const { status, headers } = response;
    return { status, body: text ? JSON.parse(text) : undefined, etag: headers.get('etag'), event: headers.get('triwire-event') };
  }

  /** Says something over the WebSocket, and waits for its answer. @param {object} message @param {number} timeout
   *  @returns {Promise<Frame>} */
  say(message, timeout) {
    const ref = (this.#count += 1);
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => this.#waiting.get(ref)?.(null, 'TimeoutError'), timeout);
      this.#waiting.set(ref, (frame, why) => {
        clearTimeout(timer);
        this.#waiting.delete(ref);
        if (frame) resolve(frame);
        else reject(unanswered(this.#url, new DOMException('', why)));
      });
      this.send?.({ ...message, ref });
    });
  }

  /** Takes a frame that may be an answer. @param {Frame} frame */
  answer(frame) {
    this.#waiting.get(frame.ref)?.(frame);
  }

  /** The WebSocket is gone: what waits for an answer of it gets none. */
  end() {
    this.send = null;
    for (const answer of [...this.#waiting.values()]) answer(null, 'NetworkError');
  }
}

/** Whether it may be done twice: what is idempotent (RFC 9110, 9.2.2), and not what asks for a version, whose repetition
 *  would be told that another has come in between. @param {Asked} asked */
function isHarmless({ method, ifMatch }) {
  return method === 'GET' || (ifMatch === undefined && (method === 'PUT' || method === 'DELETE'));
}
