// Long polling as a stream: asks for what comes after the last event, and asks again with each answer.

import { Backoff, Stream } from './streams.js';

/** How long the server may hold a poll, and how much longer its answer may take. */
const HELD_S = 25;
const PATIENCE_MS = 10_000;

export class PollStream extends Stream {
  #origin;
  #topic;
  #backoff = new Backoff();
  #ending = new AbortController();

  /** The same as of an SseStream; a poll is given every type without being told. */
  constructor(options) {
    super(options);
    this.#origin = options.origin;
    this.#topic = options.topic;
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
    const query = new URLSearchParams({ topic: this.#topic, timeout: HELD_S });
    if (this.cursor !== null) query.set('after', this.cursor);
    const signal = AbortSignal.any([this.#ending.signal, AbortSignal.timeout(HELD_S * 1000 + PATIENCE_MS)]);
    const response = await fetch(`${this.#origin}/poll?${query}`, { cache: 'no-store', credentials: 'include', signal });
    if (response.status === 503) this.tally.lastBusy = 'full';
    if (!response.ok) throw new Error(`/poll answered ${response.status}`);
    const text = await response.text();
    if (this.state === 'closed') return 0;
    const { cursor, gaps, events } = JSON.parse(text);
    if (this.state !== 'open') this.ready(this.cursor ?? cursor);
    this.#backoff.reset();
    for (const event of events) this.event(event.id, { id: event.id, type: event.type ?? 'message', text: event.data }, event.data);
    for (const gap of gaps) this.gap(gap);
    this.cursor = cursor;
    return 0;
  }

  #lost() {
    if (this.state === 'closed') return 0;
    const pause = this.#backoff.next();
    this.waits('away', pause);
    return pause;
  }
}
