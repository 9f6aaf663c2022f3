// A panel: one wire, as many streams of it as were asked for, and what this page and the server count of them.

import * as figures from './figures.js';
import { probe } from './server.js';
import { Tally } from './streams.js';

/** How many characters of an event are shown. */
const SHOWN = 2000;
/** A screen reader is told how things stand this often at most. */
const STATUS_MS = 500;
/** All the HTTP/1.1 connections that a browser opens to one host and port. */
const BROWSER_CONNECTIONS = 6;

export class Panel {
  /** Where this wire is, or `null` when its listener is off. */
  origin = null;
  isRunning = false;
  #wire;
  #changed;
  #types;
  #field;
  #streams = [];
  #tally = new Tally();
  #rates = new Rates();
  #serverRates = new Rates();
  /** What the last probe found, or `off`; `null` when all is well. */
  #trouble = null;
  #protocol = '';
  #isChecking = false;
  #wasStarted = false;
  #run = 0;
  #statusAt = 0;

  /** `wire` is a row of the table in page.js, `types` the event types to listen for, and `changed` is called
   *  whenever there is something new to draw. */
  constructor(element, wire, types, changed) {
    this.#wire = wire;
    this.#types = types;
    this.#changed = changed;
    this.#field = fields(element);
    this.#label(element);
    this.#field.form.addEventListener('submit', (event) => {
      event.preventDefault();
      if (this.isRunning) this.stop();
      else this.start();
    });
  }

  /** Whether it would not help to try: its listener is off or not known yet, or does not answer this page. */
  get isOutOfReach() {
    return this.origin === null || (this.#trouble !== null && this.#trouble !== 'late');
  }

  /** Whether its streams take connections that the page itself may need. */
  get crowds() {
    return this.#wire.crowds && this.origin === location.origin;
  }

  /** Says where the wire is, and asks there for a sign of life. */
  async locate(origin) {
    this.origin = origin;
    this.#field.address.textContent = origin ?? '';
    this.#field.toggle.disabled = origin === null;
    if (origin === null) this.#trouble = 'off';
    else await this.check();
    this.#changed();
  }

  /** Probes the listener again. */
  async check() {
    this.#isChecking = true;
    this.#changed();
    ({ trouble: this.#trouble, protocol: this.#protocol } = await probe(this.origin));
    this.#isChecking = false;
    this.#changed();
  }

  /** Probes again if that may find what is missing; it may have been trusted in another tab. */
  async recheck() {
    if (this.origin !== null && this.#trouble !== null && !this.isRunning && !this.#isChecking) await this.check();
  }

  /** Opens the streams. The probe goes first: once they are open it may find no connection. */
  async start() {
    if (this.isRunning || this.origin === null || !this.#field.form.reportValidity()) return;
    const run = ++this.#run;
    this.#setRunning(true);
    await this.check();
    if (run !== this.#run) return;
    if (this.isOutOfReach) {
      this.#setRunning(false);
      return;
    }
    this.#tally = new Tally();
    this.#rates = new Rates();
    this.#serverRates = new Rates();
    const [topic, count] = [this.#field.topic.value, this.#field.count.valueAsNumber];
    const open = () => this.#wire.open(this.origin, topic, this.#types, this.#tally, this.#changed);
    this.#streams = Array.from({ length: count }, open);
    this.#field.dots.replaceChildren(...this.#streams.map(() => document.createElement('li')));
    this.#wasStarted = true;
    this.#changed();
  }

  /** Closes the streams; what they counted stays to be seen. */
  stop() {
    this.#run += 1;
    this.#setRunning(false);
    for (const stream of this.#streams) stream.close();
    this.#streams = [];
    this.#field.dots.replaceChildren();
    this.#changed();
  }

  /** Has the open streams listen for one more type. */
  listen(type) {
    for (const stream of this.#streams) stream.listen(type);
  }

  /** Measures how fast things come. */
  sample(now) {
    this.#rates.add(now, this.#tally.events, this.#tally.bytes);
  }

  /** Takes the server's counts. */
  took(stats) {
    const counts = stats.wires[this.#wire.counted];
    this.#serverRates.add(stats.uptime_s * 1000, counts.events_sent, counts.bytes_sent);
  }

  draw(now, feed) {
    // Numbers that are old are none.
    const counts = feed.isStale(now) ? undefined : feed.stats?.wires[this.#wire.counted];
    const standing = this.#standing(now);
    if (this.#trouble === 'late' && standing.open > 0) this.#trouble = null;
    this.#drawFigures(standing, counts);
    this.#drawDots(now);
    this.#drawTable(standing, counts);
    this.#drawEvent();
    this.#drawAside(feed);
    this.#drawTrouble();
    if (now >= this.#statusAt) {
      this.#statusAt = now + STATUS_MS;
      write(this.#field.status, this.#status(standing, counts));
    }
  }

  #label(element) {
    const { title, key } = this.#wire;
    const field = this.#field;
    field.title.textContent = title;
    field.title.id = `title-${key}`;
    element.setAttribute('aria-labelledby', field.title.id);
    field.subject.textContent = ` ${title}`;
    field.event.setAttribute('aria-label', `Last event, ${title}`);
  }

  #setRunning(isRunning) {
    this.isRunning = isRunning;
    const { topic, count, action, toggle } = this.#field;
    topic.readOnly = isRunning;
    count.readOnly = isRunning;
    action.textContent = isRunning ? 'Stop' : 'Start';
    toggle.classList.toggle('primary', !isRunning);
    this.#statusAt = 0;
    this.#changed();
  }

  /** How many streams are in which state. */
  #standing(now) {
    const standing = { asked: this.#streams.length, open: 0, stuck: 0, opening: 0, away: 0, refused: 0 };
    for (const stream of this.#streams) standing[stateOf(stream, now)] += 1;
    return standing;
  }

  #drawFigures({ asked, open, stuck }, counts) {
    const field = this.#field;
    write(field.asked, figures.count(asked));
    write(field.open, figures.count(open));
    write(field.stuck, figures.count(stuck));
    write(field.connections, figures.count(counts?.connections));
    field.openFigure.classList.toggle('good', open > 0);
    field.stuckFigure.classList.toggle('bad', stuck > 0);
  }

  #drawDots(now) {
    this.#streams.forEach((stream, i) => {
      const dot = this.#field.dots.children[i];
      const state = stateOf(stream, now);
      if (dot.className !== state) dot.className = state;
    });
  }

  #drawTable({ open }, counts) {
    const [field, tally] = [this.#field, this.#tally];
    const rates = this.isRunning ? this.#rates : null;
    write(field.streams, `${figures.count(open)} open`);
    write(field.eventRate, figures.rate(rates?.events ?? 0));
    write(field.events, figures.count(tally.events));
    write(field.byteRate, figures.bytes(rates?.bytes ?? 0));
    write(field.bytes, figures.bytes(tally.bytes));
    write(field.gaps, figures.count(tally.gaps));
    write(field.reconnects, figures.count(tally.reconnects));
    write(field.serverConnections, figures.count(counts?.connections));
    write(field.serverStreams, figures.count(counts?.streams));
    write(field.serverEventRate, figures.rate(counts && this.#serverRates.events));
    write(field.serverEvents, figures.count(counts?.events_sent));
    write(field.serverByteRate, figures.bytes(counts && this.#serverRates.bytes));
    write(field.serverBytes, figures.bytes(counts?.bytes_sent));
    write(field.serverGaps, figures.count(counts?.gaps));
  }

  #drawEvent() {
    const last = this.#tally.lastEvent;
    write(this.#field.eventId, last?.id ? `${last.id}, ${last.type}` : '');
    write(this.#field.event, last ? shortened(last.text) : 'none yet');
  }

  #drawAside(feed) {
    const { lastGap, lastBusy } = this.#tally;
    const parts = [];
    if (lastGap) parts.push(gapInWords(lastGap));
    if (lastBusy) parts.push(`The server sent streams away for a while: it was ${lastBusy}.`);
    if (feed.isStream && feed.origin === this.origin) {
      parts.push('One of the streams that the server counts carries this page’s own numbers.');
    }
    write(this.#field.aside, parts.join(' '));
  }

  #drawTrouble() {
    const { hint, trouble, accept, protocol } = this.#field;
    const isCertificate = this.#trouble === 'silent' && this.origin.startsWith('https:');
    write(protocol, this.#protocol);
    protocol.hidden = this.#protocol === '';
    hint.hidden = this.#trouble === null;
    write(trouble, this.#trouble === null ? '' : this.#troubleInWords());
    accept.hidden = !isCertificate;
    if (isCertificate && accept.href !== `${this.origin}/`) {
      accept.href = `${this.origin}/`;
      accept.textContent = `Open ${this.origin}/ to see and accept it, then come back.`;
    }
  }

  #troubleInWords() {
    const [origin, { listener }] = [this.origin, this.#wire];
    switch (this.#trouble) {
      case 'off':
        return `The listener ${listener} is off. Start the server with --${listener} ADDR:PORT to have this panel.`;
      case 'foreign':
        return `${origin} answers, but not to pages of ${location.origin}. `
          + `Start the server with --allow-origin ${location.origin}.`;
      case 'late':
        return `${origin} has not answered in 5 seconds. Other tabs may hold all connections that the browser has for it.`;
      default:
        return origin.startsWith('https:')
          ? `The browser has no answer from ${origin}: its certificate is not trusted here yet, or nothing listens there.`
          : `The browser has no answer from ${origin}: nothing listens there, or it cannot be reached.`;
    }
  }

  #status(standing, counts) {
    if (this.#trouble === 'off') return 'Off.';
    if (this.#isChecking) return 'Asking the listener for a sign of life…';
    if (!this.isRunning) return this.isOutOfReach ? 'Out of reach.' : this.#wasStarted ? 'Stopped.' : 'Ready to start.';
    return `${countsInWords(standing)} ${this.#reason(standing, counts)}`.trim();
  }

  /** Why it is as it is. What is said of the server its counts bear out. */
  #reason({ asked, open, stuck }, counts) {
    if (stuck > 0) {
      if (!this.#wire.crowds || open !== BROWSER_CONNECTIONS) return 'Those have had no answer yet.';
      const unheard = counts && counts.streams < asked ? ', and the server has not heard of them' : '';
      return `A browser opens at most ${BROWSER_CONNECTIONS} HTTP/1.1 connections to one host and port, and each `
        + `stream keeps one: the other ${stuck === 1 ? 'one waits' : `${stuck} wait`} inside the browser${unheard}.`;
    }
    if (open !== asked || open < 2 || !counts || counts.streams < open) return '';
    if (counts.connections === 1) return 'They share one connection.';
    return counts.connections === open && counts.streams === open ? 'Each has a connection of its own.' : '';
  }
}

/** Events and bytes a second. */
class Rates {
  #events = new figures.Rate();
  #bytes = new figures.Rate();

  add(at, events, bytes) {
    this.#events.add(at, events);
    this.#bytes.add(at, bytes);
  }

  get events() {
    return this.#events.perSecond;
  }

  get bytes() {
    return this.#bytes.perSecond;
  }
}

function fields(element) {
  const all = element.querySelectorAll('[data-field]');
  return Object.fromEntries([...all].map((field) => [field.dataset.field, field]));
}

/** Text only, never HTML: events are anybody's. */
function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function stateOf(stream, now) {
  return stream.isStuck(now) ? 'stuck' : stream.state;
}

function shortened(text) {
  if (text.length <= SHOWN) return text;
  return `${text.slice(0, SHOWN)} … and ${figures.count(text.length - SHOWN)} characters more`;
}

function countsInWords({ asked, open, stuck, opening, away, refused }) {
  const parts = [`${open} of ${asked} ${asked === 1 ? 'stream' : 'streams'} open`];
  if (opening) parts.push(`${opening} opening`);
  if (stuck) parts.push(`${stuck} stuck`);
  if (away) parts.push(`${away} reconnecting`);
  if (refused) parts.push(`${refused} refused for good`);
  return `${parts.join(', ')}.`;
}

function gapInWords({ topic, reason, missed }) {
  const lost = missed == null ? 'how many events is not known' : `${figures.count(missed)} events`;
  return `Last gap on ${topic}: ${reason}, ${lost}.`;
}
