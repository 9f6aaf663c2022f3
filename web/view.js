// How a panel looks: its form, its figures and its drawings, written from what the panel holds.

import { Chart } from './chart.js';
import * as figures from './figures.js';
import { Picture } from './picture.js';
import { stateOf } from './streams.js';
import * as words from './words.js';

/** How many characters of an event are shown. */
const SHOWN = 2000;
/** Numbers change this often at most, or nobody could read them. */
const NUMBERS_MS = 200;
const CHART_MS = 1000;
/** A screen reader is told how things stand this often at most. */
const STATUS_MS = 500;
/** The p50 and p99 in figures are those of so many seconds. */
const RECENT_SECONDS = 10;

export class View {
  #panel;
  #field;
  #picture;
  #chart;
  #numbersAt = 0;
  #chartAt = 0;
  #statusAt = 0;
  #looks = '';
  #situation = '';

  /** Fills in `element`, a copy of the template, and drives `panel` by it. */
  constructor(element, panel, changed) {
    this.#panel = panel;
    this.#field = fields(element);
    this.#picture = new Picture(this.#field.picture, () => changed());
    this.#chart = new Chart(this.#field.chart, () => {
      this.#chartAt = 0;
      this.#numbersAt = 0;
      changed();
    });
    this.#label(element);
    const { form, cut, way, count } = this.#field;
    form.addEventListener('submit', (event) => {
      event.preventDefault();
      if (panel.isRunning) panel.stop();
      else this.submit();
    });
    cut.addEventListener('click', () => panel.cut());
    way.addEventListener('change', () => panel.choose(way.selectedIndex));
    count.addEventListener('input', () => changed());
  }

  /** Starts the panel as the form says, if what it says can be. */
  async submit() {
    const { form, topic, count } = this.#field;
    if (form.reportValidity()) await this.#panel.start(topic.value, count.valueAsNumber);
  }

  /** Whether something still moves is the result. */
  draw(now, feed) {
    const { way, streams } = this.#panel;
    // Numbers that are old are none.
    const counts = feed.isStale(now) ? undefined : feed.stats?.wires[way.counted];
    const standing = this.#panel.standing(now);
    const looks = this.#looksNow(standing);
    // What the reader did, or what happened to a stream, is seen at once.
    if (looks !== this.#looks || now >= this.#numbersAt) {
      this.#looks = looks;
      this.#numbersAt = now + NUMBERS_MS;
      this.#drawForm();
      this.#drawFigures(standing, counts);
      this.#drawTable(standing, counts);
      this.#drawLatency(now);
      this.#drawEvent();
      this.#drawTrouble();
      write(this.#field.aside, words.aside(this.#panel, counts, feed));
      write(this.#field.proof, words.proof(this.#panel));
      this.#field.proof.classList.toggle('bad', words.isLoss(this.#panel.proof));
    }
    const situation = this.#situationNow();
    if (situation !== this.#situation || now >= this.#statusAt) {
      this.#situation = situation;
      this.#statusAt = now + STATUS_MS;
      write(this.#field.status, words.status(this.#panel, standing, counts));
      this.#field.picture.setAttribute('aria-label', words.picture(this.#panel, standing));
    }
    return this.#picture.draw(now, {
      streams: streams.map((stream) => ({ state: stateOf(stream, now), events: stream.events })),
      ghosts: this.#ghosts(),
      isShared: way.isShared,
    });
  }

  /** As many places as would be filled by Start. */
  #ghosts() {
    const { count } = this.#field;
    return count.validity.valid ? count.valueAsNumber : 1;
  }

  #looksNow(standing) {
    return JSON.stringify([standing, this.#situationNow()]);
  }

  /** What changes seldom, and is then told at once. */
  #situationNow() {
    const { isLocated, isRunning, isCutting, isChecking, isHeld, trouble, passedOver, proof, origin } = this.#panel;
    return JSON.stringify([isLocated, isRunning, isCutting, isChecking, isHeld, trouble, passedOver, proof, origin]);
  }

  #label(element) {
    const { title, key, ways } = this.#panel.wire;
    const field = this.#field;
    field.title.textContent = title;
    field.title.id = `title-${key}`;
    element.setAttribute('aria-labelledby', field.title.id);
    for (const subject of element.querySelectorAll('[data-subject]')) subject.textContent = ` ${title}`;
    field.event.setAttribute('aria-label', `Last event, ${title}`);
    field.way.replaceChildren(...ways.map((way) => new Option(way.label)));
    field.wayLabel.hidden = ways.length < 2;
  }

  #drawForm() {
    const { isRunning, isCutting, isHeld, origin, streams } = this.#panel;
    const { topic, count, way, action, toggle, cut, address } = this.#field;
    write(address, origin ?? '');
    topic.readOnly = isRunning;
    count.readOnly = isRunning;
    way.disabled = isRunning;
    toggle.disabled = origin === null || isHeld;
    write(action, isRunning ? 'Stop' : 'Start');
    toggle.classList.toggle('primary', !isRunning);
    cut.disabled = isCutting || !streams.some((stream) => stream.state === 'open');
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

  #drawTable({ open }, counts) {
    const [field, { tally, isRunning, serverRates }] = [this.#field, this.#panel];
    const rates = isRunning ? this.#panel.rates : null;
    write(field.streams, `${figures.count(open)} open`);
    write(field.eventRate, figures.rate(rates ? rates.events : 0));
    write(field.events, figures.count(tally.events));
    write(field.byteRate, figures.bytes(rates ? rates.bytes : 0));
    write(field.bytes, figures.bytes(tally.bytes));
    write(field.gaps, figures.count(tally.gaps));
    write(field.reconnects, figures.count(tally.reconnects));
    write(field.counted, this.#panel.way.counted);
    write(field.serverConnections, figures.count(counts?.connections));
    write(field.serverStreams, figures.count(counts?.streams));
    write(field.serverEventRate, figures.rate(counts && serverRates.events));
    write(field.serverEvents, figures.count(counts?.events_sent));
    write(field.serverByteRate, figures.bytes(counts && serverRates.bytes));
    write(field.serverBytes, figures.bytes(counts?.bytes_sent));
    write(field.serverGaps, figures.count(counts?.gaps));
  }

  #drawLatency(now) {
    const { latency } = this.#panel.tally;
    const recent = latency.recent(RECENT_SECONDS);
    write(this.#field.p50, figures.milliseconds(recent?.p50));
    write(this.#field.p99, figures.milliseconds(recent?.p99));
    if (now < this.#chartAt) return;
    this.#chartAt = now + CHART_MS;
    this.#chart.draw(latency.perSecond());
  }

  #drawEvent() {
    const last = this.#panel.tally.lastEvent;
    write(this.#field.eventId, last?.id ? `${last.id}, ${last.type}` : '');
    write(this.#field.event, last ? shortened(last.text) : 'none yet');
  }

  #drawTrouble() {
    const { hint, trouble, accept, protocol } = this.#field;
    const { origin, passedOver } = this.#panel;
    const untrusted = this.#panel.trouble === 'silent' ? origin : passedOver;
    const isCertificate = untrusted?.startsWith('https:') ?? false;
    const text = words.trouble(this.#panel);
    write(protocol, this.#panel.protocol);
    protocol.hidden = this.#panel.protocol === '';
    hint.hidden = text === '';
    hint.classList.toggle('mild', this.#panel.trouble === null);
    write(trouble, text);
    accept.hidden = !isCertificate;
    if (isCertificate && accept.href !== `${untrusted}/`) {
      accept.href = `${untrusted}/`;
      accept.textContent = `Open ${untrusted}/ to see and accept it, then come back.`;
    }
  }
}

function fields(element) {
  const all = element.querySelectorAll('[data-field]');
  return Object.fromEntries([...all].map((field) => [field.dataset.field, field]));
}

/** Text only, never HTML: events are anybody's. */
export function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function shortened(text) {
  if (text.length <= SHOWN) return text;
  return `${text.slice(0, SHOWN)} … and ${figures.count(text.length - SHOWN)} characters more`;
}
