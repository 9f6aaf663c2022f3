// How the comparison looks: its form, how far it is, the charts beside each other and the table under them.

import { Distribution } from './compare-chart.js';
import { basis, count, fine, hindrance, outcome, progress, weaknesses } from './compare-words.js';
import * as figures from './figures.js';
import { write } from './view.js';

const DRAW_MS = 250;

/** The table's columns: what stands above, and what it says of a turn's figures. */
const COLUMNS = [
  ['Open', ({ open }) => figures.count(open)],
  ['Stuck', ({ stuck }) => figures.count(stuck)],
  ['Connections', ({ connections }) => figures.count(connections)],
  ['All open after', ({ all_open_ms: ms }) => (ms === null ? 'never' : fine(ms))],
  ['p50', ({ p50_ms: ms }) => fine(ms)],
  ['p90', ({ p90_ms: ms }) => fine(ms)],
  ['p99', ({ p99_ms: ms }) => fine(ms)],
  ['Max', ({ max_ms: ms }) => fine(ms)],
  ['Delivered', ({ delivered }) => figures.count(delivered)],
  ['Lost', ({ lost }) => figures.count(lost)],
  ['Twice', ({ twice }) => figures.count(twice)],
  ['Bytes down', ({ bytes_an_event: { down } }) => figures.count(down)],
  ['Bytes up', ({ bytes_an_event: { up } }) => figures.count(up)],
];

/** The charts of bars: the parts of a wire's bar, and what is written beside it. */
const BARS = [
  {
    field: 'streams',
    parts: ({ open, stuck, turned_away: away }) => [['', open], ['lost', stuck + away]],
    value: ({ open, stuck, turned_away: away }) => [`${open} open`, stuck && `${stuck} stuck`, away && `${away} turned away`].filter(Boolean).join(', '),
  },
  { field: 'connections', parts: ({ connections }) => [['', connections ?? 0]], value: ({ connections }) => figures.count(connections) },
  {
    field: 'bytes',
    parts: ({ bytes_an_event: { down, up } }) => [['', down ?? 0], ['light', up ?? 0]],
    value: ({ bytes_an_event: { down, up } }) => (down === null ? '–' : `${figures.count(down)} down, ${figures.count(up)} up`),
  },
  {
    field: 'opening',
    parts: ({ last_open_ms: ms, all_open_ms: all }) => [[all === null ? 'light' : '', ms ?? 0]],
    value: ({ open, last_open_ms: ms, all_open_ms: all }) => {
      if (ms === null) return 'none opened';
      return all === null ? `never; ${open} after ${fine(ms)}` : fine(ms);
    },
  },
];

export class CompareView {
  #compare;
  #field;
  /** A canvas for each wire that was ever drawn, and what draws in it. */
  #distributions = new Map();
  #isDrawAsked = false;

  /** Drives `compare` by the form in `section`. */
  constructor(section, compare) {
    this.#compare = compare;
    const all = section.querySelectorAll('[data-field]');
    this.#field = Object.fromEntries([...all].map((field) => [field.dataset.field, field]));
    const { form, stop, save, head } = this.#field;
    form.addEventListener('submit', (event) => {
      event.preventDefault();
      const { streams, seconds } = form.elements;
      compare.start({ streams: streams.valueAsNumber, seconds: seconds.valueAsNumber });
    });
    stop.addEventListener('click', () => compare.stop());
    save.addEventListener('click', () => download(compare.result));
    head.append(cell('th', 'Wire', 'col'), ...COLUMNS.map(([title]) => cell('th', title, 'col')));
  }

  /** Has the progress drawn soon. */
  changed() {
    if (this.#isDrawAsked) return;
    this.#isDrawAsked = true;
    setTimeout(() => {
      this.#isDrawAsked = false;
      this.#drawProgress();
    }, DRAW_MS);
  }

  draw() {
    this.#drawProgress();
    this.#drawTroubles();
    const turns = this.#compare.turns.filter(({ figures }) => figures);
    this.#field.results.hidden = turns.length === 0;
    write(this.#field.outcome, this.#compare.isRunning ? '' : outcome(this.#compare));
    write(this.#field.basis, basis(this.#compare));
    for (const chart of BARS) this.#drawBars(turns, chart);
    this.#field.rows.replaceChildren(...turns.map(row));
    this.#drawLatencies(turns);
  }

  #drawProgress() {
    const { isRunning, wasStopped, turns, turn } = this.#compare;
    const { form, begin, stop, save, status, counted, meter, held } = this.#field;
    begin.disabled = isRunning;
    stop.disabled = !isRunning || wasStopped;
    save.disabled = isRunning || turns.every(({ figures }) => !figures);
    for (const input of form.querySelectorAll('input')) input.readOnly = isRunning;
    write(status, progress(this.#compare));
    write(counted, count(this.#compare));
    held.hidden = !isRunning || !this.#compare.hasStoppedPanels;
    meter.hidden = !isRunning;
    const over = turns.filter(({ phase }) => phase === 'over').length;
    meter.value = turns.length ? (over + (turn ? turn.sent / turn.events : 0)) / turns.length : 0;
  }

  #drawTroubles() {
    const { troubles } = this.#field;
    const hindered = this.#compare.turns.filter((turn) => hindrance(turn) !== '').map(hindranceItem);
    const weak = weaknesses(this.#compare).map((text) => item(text));
    troubles.replaceChildren(...hindered, ...weak);
    troubles.hidden = troubles.childElementCount === 0;
  }

  #drawBars(turns, { field, parts, value }) {
    const most = Math.max(...turns.map((turn) => parts(turn.figures).reduce((sum, [, number]) => sum + number, 0)));
    this.#field[field].replaceChildren(...turns.map((turn) => {
      const bar = document.createElement('span');
      bar.className = 'bar';
      for (const [kind, number] of parts(turn.figures)) {
        const part = document.createElement('i');
        part.className = kind;
        part.style.width = `${most > 0 ? (100 * number) / most : 0}%`;
        bar.append(part);
      }
      return labelled(turn, bar, value(turn.figures));
    }));
  }

  /** On one scale for all, which ends above the latest event. */
  #drawLatencies(turns) {
    const latest = Math.max(...turns.map(({ figures }) => figures.max_ms ?? 0));
    this.#field.latency.replaceChildren(...turns.map((turn, i) => {
      const { p50_ms: p50, p99_ms: p99 } = turn.figures;
      const { canvas, distribution } = this.#distribution(turn.contender.key);
      distribution.show(turn.sorted, turn.figures, { latest, hasLabels: i === turns.length - 1 });
      return labelled(turn, canvas, p50 === null ? 'nothing came' : `p50 ${fine(p50)}, p99 ${fine(p99)}`);
    }));
  }

  #distribution(key) {
    if (!this.#distributions.has(key)) {
      const canvas = document.createElement('canvas');
      this.#distributions.set(key, { canvas, distribution: new Distribution(canvas) });
    }
    return this.#distributions.get(key);
  }
}

function labelled({ contender }, drawing, value) {
  const element = document.createElement('li');
  const [name, figure] = [document.createElement('span'), document.createElement('span')];
  name.className = 'name';
  name.textContent = contender.title;
  figure.className = 'value';
  figure.textContent = value;
  element.append(name, drawing, figure);
  return element;
}

function row({ contender, figures }) {
  const element = document.createElement('tr');
  element.dataset.wire = contender.key;
  element.append(cell('th', contender.title, 'row'), ...COLUMNS.map(([, value]) => cell('td', value(figures))));
  return element;
}

function cell(name, text, scope) {
  const element = document.createElement(name);
  element.textContent = text;
  if (scope) element.scope = scope;
  return element;
}

function item(text) {
  const element = document.createElement('li');
  element.textContent = text;
  return element;
}

/** With a link to the port where a certificate can be accepted, where that may be what is wrong. */
function hindranceItem(turn) {
  const { contender, trouble, place } = turn;
  const element = item(`${contender.title}: ${hindrance(turn)} `);
  const untrusted = trouble === 'silent' ? place.origin : place?.passedOver;
  if (untrusted?.startsWith('https:')) {
    const link = document.createElement('a');
    Object.assign(link, { href: `${untrusted}/`, target: '_blank', rel: 'noopener', textContent: `Open ${untrusted}/ to see and accept it, then compare again.` });
    element.append(link);
  }
  return element;
}

function download(result) {
  const url = URL.createObjectURL(new Blob([JSON.stringify(result, null, 1)], { type: 'application/json' }));
  const link = document.createElement('a');
  link.href = url;
  link.download = `triwire-compare-${result.started_at.replace(/[:.]/g, '-')}.json`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}
