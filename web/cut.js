// A cut: has the server end the connections of some streams, watches them come back, and proves that they lost nothing
// by it. What each stream was given is held against a control: a long poll over the same stretch of the log.

import { readJson } from './server.js';
import { compareIds } from './streams.js';
import { passed } from './wait.js';

const ASK_MS = 5000;
/** How long streams may take to notice, to come back, and to be given what the control has. */
const LEAVE_MS = 3000;
const RETURN_MS = 15000;
const CATCH_UP_MS = 5000;
/** How many ids of a stream, and answers of the control, are kept at most; the proof ends there. */
const IDS = 5000;
const PAGES = 10;

/** A key to cut connections by: nobody else can know it. */
export function newKey() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, '0')).join('');
}

/** Cuts the connections that were opened with `key`. `origin` takes the cut and the control, `streams` are all that
 *  were opened with the key, `topic` is theirs, and `hears` tells whether they are given events of a type. The result:
 *  `{ at, cut, back, waiting, after, events, missing, twice, gaps, trouble }`, of streams `cut`, `back` and `waiting`
 *  behind others that took their connections. */
export async function cutAndProve({ origin, key, streams, topic, hears, isOver }) {
  const at = new Date();
  const began = performance.now();
  const open = streams.filter((stream) => stream.state === 'open');
  const others = streams.filter((stream) => stream.state !== 'open');
  const witnesses = open.map((stream) => new Witness(stream));
  try {
    const refusal = await cut(origin, key);
    // A browser whose request went down with its connection may ask again, and is then told that there is no such key:
    // what counts is whether streams were lost.
    await passed(LEAVE_MS, () => isOver() || witnesses.some((witness) => witness.hasLeft));
    if (!witnesses.some((witness) => witness.hasLeft)) {
      return { at, trouble: refusal ?? 'no stream was lost, so the cut did not arrive.' };
    }
    await passed(RETURN_MS, () => isOver() || witnesses.every((witness) => witness.isBack || witness.isWaiting(others)));
    const back = witnesses.filter((witness) => witness.isBack);
    const waiting = witnesses.filter((witness) => witness.isWaiting(others)).length;
    const after = Math.max(0, ...back.map((witness) => witness.backAt - began));
    const verdict = back.length > 0 ? await compare(back, { origin, topic, hears, isOver }) : {};
    return { at, cut: open.length, back: back.length, waiting, after, ...verdict };
  } catch (error) {
    return { at, trouble: `the control failed (${error.message}).` };
  } finally {
    for (const witness of witnesses) witness.leave();
  }
}

/** Asks for the cut; why it was refused, or `null`. On HTTP/2 the answer may go down with the connection. */
async function cut(origin, key) {
  const request = { method: 'POST', credentials: 'include', signal: AbortSignal.timeout(ASK_MS) };
  const response = await fetch(`${origin}/cut/${key}`, request).catch(() => null);
  if (response === null || response.ok) return null;
  const { detail, title } = await response.json().catch(() => ({}));
  return `the server refused (${response.status}): ${detail ?? title ?? 'no reason given'}.`;
}

/** Holds what streams that are back were given against what the log has of the same stretch. */
export async function compare(back, { origin, topic, hears, isOver }) {
  const from = back.map((witness) => witness.from).sort(compareIds)[0];
  const control = await readLog(origin, topic, from);
  const ids = control.events.filter((event) => hears(event.type ?? 'message')).map((event) => event.id);
  const last = ids.at(-1);
  if (last) await passed(CATCH_UP_MS, () => isOver() || back.every((witness) => witness.hasReached(last)));
  const missing = back.reduce((sum, witness) => sum + witness.missing(ids), 0);
  const twice = back.reduce((sum, witness) => sum + witness.twice, 0);
  const events = Math.max(...back.map((witness) => witness.due(ids).length));
  return { events, missing, twice, gaps: control.gaps };
}

/** All that the log has of a topic after a cursor, by long polls that do not wait. */
async function readLog(origin, topic, after) {
  const control = { events: [], gaps: 0 };
  for (let page = 0; page < PAGES; page += 1) {
    const query = new URLSearchParams({ topic, after, timeout: 0 });
    const { cursor, gaps, events } = await readJson(`${origin}/poll?${query}`);
    control.events.push(...events.map(({ id, type }) => ({ id, type })));
    control.gaps += gaps.length;
    if (events.length === 0) break;
    after = cursor;
  }
  return control;
}

/** What one stream was given since it was about to be cut. */
export class Witness {
  twice = 0;
  #stream;
  #readies;
  #ids = new Set();
  #isFull = false;

  constructor(stream) {
    this.#stream = stream;
    this.#readies = stream.readies;
    this.from = stream.cursor;
    this.last = stream.cursor;
    stream.witness = this;
  }

  /** Whether the stream has begun anew. */
  get isBack() {
    return this.#stream.readies > this.#readies && this.#stream.state === 'open';
  }

  /** Whether the stream has lost its connection since. */
  get hasLeft() {
    return this.#stream.readies > this.#readies || this.#stream.state !== 'open';
  }

  get backAt() {
    return this.#stream.readyAt;
  }

  /** Whether it cannot: others had waited for a connection, and now it is this one that waits. */
  isWaiting(others) {
    return this.#stream.isStuck(performance.now()) && others.some((stream) => stream.state === 'open');
  }

  hasReached(id) {
    return this.#isFull || compareIds(this.last, id) >= 0;
  }

  saw(id) {
    if (this.#ids.size >= IDS) {
      this.#isFull = true;
      return;
    }
    if (this.#ids.has(id) || compareIds(id, this.last) <= 0) this.twice += 1;
    this.#ids.add(id);
    this.last = id;
  }

  /** Those of the control's ids that it should have been given, and how many of them it was not. */
  due(ids) {
    return ids.filter((id) => compareIds(id, this.from) > 0 && !(this.#isFull && compareIds(id, this.last) > 0));
  }

  missing(ids) {
    return this.due(ids).filter((id) => !this.#ids.has(id)).length;
  }

  leave() {
    if (this.#stream.witness === this) this.#stream.witness = null;
  }
}
