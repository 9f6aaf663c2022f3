// Long polling as a stream: asks for what comes after the last event, and asks again with each answer.

import { Backoff, Stream } from './streams.js';

/** How long the server may hold a poll, and how much longer its answer may take. */
const HELD_S = 25;
const PATIENCE_MS = 10_000;

export class PollStream extends Stream {
  #url;
  #backoff = new Backoff();
  #ending = new AbortController();

  /** The same as of an SseStream; a poll is given every type without being told. */
  constructor(options) {
    super(options);
    const { origin, topic, subscription } = options;
    this.#url = subscription === undefined
      ? `${origin}/poll?topic=${encodeURIComponent(topic)}`
      : `${origin}/stream/${subscription}?poll=1`;
    this.waits('opening', 0);
    this.#run();
  }

  listen() {}

  close() {
    this.state = 'closed';
    this.#ending.abort();
  }

  async #run() {
    while (this.state !== 'closed') {
      const wait = await this.#ask().catch(() => this.#lost());
      if (wait) await new Promise((resolve) => setTimeout(resolve, wait));
    }
  }

  /** One poll; without a cursor it tells where the log is now, which is what `ready` tells the others. */
  async #ask() {
    const after = this.cursor === null ? '' : `&after=${this.cursor}`;
    const signal = AbortSignal.any([this.#ending.signal, AbortSignal.timeout(HELD_S * 1000 + PATIENCE_MS)]);
    const response = await fetch(`${this.#url}&timeout=${HELD_S}${after}`, { cache: 'no-store', credentials: 'include', signal });
    if (response.status === 503) this.tally.lastBusy = 'full';
    if (!response.ok) throw new Error(`a poll was answered ${response.status}`);
    const text = await response.text();
    if (this.state === 'closed') return 0;
    const { cursor, gaps, events } = JSON.parse(text);
    if (this.state !== 'open') this.ready(this.cursor ?? cursor);
    this.#backoff.reset();
    for (const event of events) this.#take(event);
    for (const gap of gaps) this.gap(gap);
    this.cursor = cursor;
    return 0;
  }

  #take({ id, type = 'message', data }) {
    const shown = typeof data === 'string' ? data : JSON.stringify(data);
    if (id === undefined) this.present(shown, data);
    else this.event(id, { id, type, text: shown }, shown, data);
  }

  #lost() {
    if (this.state === 'closed') return 0;
    const pause = this.#backoff.next();
    this.waits('away', pause);
    return pause;
  }
}
