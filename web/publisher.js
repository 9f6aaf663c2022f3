// A steady publisher: an event is due every so many milliseconds by a plan made beforehand, and says when it was due.
// The plan waits for nobody. What makes the page, the server or an answer late adds to the latency of all that is due
// meanwhile, and cannot hide by having fewer events sent.

import { pause } from './wait.js';

const PATIENCE_MS = 10_000;
const PAYLOAD_BYTES = 200;
/** After so many failures in a row nobody is there. */
const MOST_FAILURES = 3;

export class Publisher {
  /** By how much later than it was due each event was sent, and after how long it was answered (`NaN`: not yet). */
  late = [];
  answered;
  /** Which events the server has taken. */
  taken;
  /** Why the last one failed, and how many did. */
  refusal = null;
  failures = 0;
  /** Whether it gave up. */
  isLost = false;
  #url;
  #name;
  #everyMs;
  #inARow = 0;

  /** Publishes `events` events on `topic`; `name` tells them from those of others. */
  constructor({ origin, topic, name, events, everyMs }) {
    this.#url = `${origin}/publish/${encodeURIComponent(topic)}`;
    this.#name = name;
    this.#everyMs = everyMs;
    this.taken = new Uint8Array(events);
    this.answered = new Float64Array(events).fill(NaN);
  }

  /** Publishes until all are sent or `isOver`, and waits for the answers. */
  async run(isOver) {
    const answers = [];
    const from = performance.now() + this.#everyMs;
    for (let number = 0; number < this.taken.length;) {
      const due = from + number * this.#everyMs;
      const wait = due - performance.now();
      // Timers count whole milliseconds, and one that is asked for a part of one may wait for four.
      if (wait > 0) await pause(Math.ceil(wait));
      if (isOver() || this.isLost) break;
      if (performance.now() < due) continue;
      this.late.push(performance.now() - due);
      answers.push(this.#send(number, due));
      number += 1;
    }
    await Promise.all(answers);
  }

  /** How many were sent. */
  get sent() {
    return this.late.length;
  }

  async #send(number, due) {
    const from = performance.now();
    try {
      const response = await fetch(this.#url, {
        method: 'POST',
        // Without credentials it goes by a connection of its own, so that no wire's connection carries the publishing.
        credentials: 'omit',
        headers: { 'content-type': 'text/plain' },
        body: payload(this.#name, number, due),
        signal: AbortSignal.timeout(PATIENCE_MS),
      });
      const answer = await response.json().catch(() => ({}));
      if (!response.ok) throw new Error(`${response.status}, ${answer.detail ?? answer.title ?? 'no reason given'}`);
      this.answered[number] = performance.now() - from;
      this.taken[number] = 1;
      this.#inARow = 0;
    } catch (error) {
      this.failures += 1;
      this.#inARow += 1;
      this.refusal = error.message;
      if (this.#inARow >= MOST_FAILURES) this.isLost = true;
    }
  }
}

/** Plain text, which has as many bytes on each wire: JSON would be escaped in a WebSocket's frame. */
function payload(name, number, due) {
  return `${name} ${number} ${due.toFixed(3)} `.padEnd(PAYLOAD_BYTES, '.');
}

/** What a payload says: `{ name, number, due }`. */
export function readPayload(text) {
  const [name, number, due] = String(text).split(' ', 3);
  return { name, number: Number(number), due: Number(due) };
}
