// The form that publishes: one event on a topic, the id that the server gave it, and where it arrived.

import { write } from './view.js';

const PATIENCE_MS = 10000;
/** How long its arrival is looked for, and how often. */
const ARRIVAL_MS = 5000;
const LOOK_MS = 100;
/** How many ids a lookout keeps until it knows its own. */
const IDS = 10000;

export class Publish {
  #form;
  #answer;
  #origin;
  #typed;
  #panels;
  #isSending = false;

  /** `origin` tells where to publish to, `typed` is called with the type of an event before it is sent, and `panels`
   *  are where it may arrive. */
  constructor(form, answer, { origin, typed, panels }) {
    this.#form = form;
    this.#answer = answer;
    this.#origin = origin;
    this.#typed = typed;
    this.#panels = panels;
    form.addEventListener('submit', (event) => {
      event.preventDefault();
      this.#submit();
    });
  }

  async #submit() {
    if (this.#isSending) return;
    const { topic, type, format, data } = this.#form.elements;
    const mistake = format.value === 'application/json' ? mistakeIn(data.value) : null;
    if (mistake) {
      this.#say(`Not JSON: ${mistake}`, false);
      return;
    }
    this.#isSending = true;
    this.#say('Sending…', true);
    const lookouts = this.#panels
      .filter((panel) => panel.isRunning && panel.topic === topic.value)
      .map((panel) => new Lookout(panel));
    try {
      this.#typed(type.value || 'message');
      const id = await this.#post(topic.value, type.value, format.value, data.value);
      this.#say(`Published as ${id}.`, true);
      await this.#watch(id, lookouts);
    } catch (error) {
      this.#say(error.message, false);
    } finally {
      for (const lookout of lookouts) lookout.leave();
      this.#isSending = false;
    }
  }

  async #post(topic, type, format, body) {
    const origin = this.#origin();
    const query = type ? `?type=${encodeURIComponent(type)}` : '';
    const signal = AbortSignal.timeout(PATIENCE_MS);
    const request = { method: 'POST', credentials: 'include', headers: { 'content-type': format }, body, signal };
    const response = await fetch(`${origin}/publish/${encodeURIComponent(topic)}${query}`, request).catch((error) => {
      throw new Error(error.name === 'TimeoutError'
        ? `No answer from ${origin} in ${PATIENCE_MS / 1000} seconds: streams may hold all connections to it. The event may be published or not.`
        : `No answer from ${origin}. The event may be published or not.`);
    });
    const answer = await response.json().catch(() => ({}));
    if (!response.ok) throw new Error(`Refused (${response.status}): ${answer.detail ?? answer.title ?? 'no reason given'}`);
    return answer.id;
  }

  /** Says where the event has arrived, until it has on all open streams. */
  async #watch(id, lookouts) {
    if (lookouts.length === 0) {
      this.#say(`Published as ${id}. No stream of this topic is open here: start one to see the next arrive.`, true);
      return;
    }
    const deadline = performance.now() + ARRIVAL_MS;
    for (;;) {
      const isOver = lookouts.every((lookout) => lookout.isDone(id)) || performance.now() > deadline;
      if (isOver) this.#say(`Published as ${id}. Arrived: ${lookouts.map((lookout) => lookout.inWords(id)).join('; ')}.`, true);
      if (isOver) return;
      await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
    }
  }

  #say(text, isGood) {
    write(this.#answer, text);
    this.#answer.classList.toggle('bad', !isGood);
  }
}

/** Counts on how many streams of a panel an event arrives. It may do so before its id is known here. */
class Lookout {
  #panel;
  #tally;
  #counts = new Map();

  constructor(panel) {
    this.#panel = panel;
    this.#tally = panel.tally;
    this.#tally.lookout = this;
    this.open = panel.streams.filter((stream) => stream.state === 'open').length;
  }

  saw(id) {
    if (this.#counts.size < IDS || this.#counts.has(id)) this.#counts.set(id, (this.#counts.get(id) ?? 0) + 1);
  }

  isDone(id) {
    return (this.#counts.get(id) ?? 0) >= this.open;
  }

  inWords(id) {
    return `${this.#panel.wire.title}, ${this.#counts.get(id) ?? 0} of ${this.open}`;
  }

  leave() {
    if (this.#tally.lookout === this) this.#tally.lookout = null;
  }
}

function mistakeIn(json) {
  try {
    JSON.parse(json);
    return null;
  } catch (error) {
    return error.message;
  }
}
