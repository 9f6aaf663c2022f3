// How the workbench looks: the editor, the stream, and a card for each query with what it yields.

import { write } from './view.js';
import { LineChart } from './workbench-chart.js';
import { EXAMPLES } from './workbench-examples.js';
import { isTime, textOf } from './workbench-result.js';
import * as words from './workbench-words.js';

/** How many rows of a result are shown, and how many bars. */
const ROWS = 100;
const BARS = 20;
const EVERY_MS = [[50, '50 ms'], [200, '200 ms'], [1000, '1 s'], [5000, '5 s'], [60_000, '1 min']];
/** Numbers change this often at most, or nobody could read them. */
const NUMBERS_MS = 200;

export class WorkbenchView {
  #workbench;
  #changed;
  #field;
  #cards = new Map();
  /** The query that the editor changes, or `null` when it adds one. */
  #edited = null;
  #isBusy = false;
  #numbersAt = 0;
  #openedAt = '';
  #stream = null;
  #readies = 0;

  constructor(section, workbench, changed) {
    this.#workbench = workbench;
    this.#changed = changed;
    this.#field = fields(section);
    const { form, example, every, wire, sql, cancel } = this.#field;
    example.replaceChildren(...EXAMPLES.map(({ title }) => new Option(title)));
    every.replaceChildren(...EVERY_MS.map(([ms, label]) => new Option(label, ms)));
    wire.replaceChildren(...workbench.carriers.map(({ title }) => new Option(title)));
    wire.selectedIndex = workbench.carriers.indexOf(workbench.wire);
    example.addEventListener('change', () => this.#fill(EXAMPLES[example.selectedIndex]));
    wire.addEventListener('change', () => this.#try(() => workbench.choose(wire.selectedIndex)));
    sql.addEventListener('input', () => this.#complain(null));
    sql.addEventListener('keydown', (event) => {
      if (event.key !== 'Enter' || !(event.ctrlKey || event.metaKey)) return;
      event.preventDefault();
      form.requestSubmit();
    });
    cancel.addEventListener('click', () => this.#edit(null));
    form.addEventListener('submit', (event) => {
      event.preventDefault();
      this.#submit();
    });
    this.#fill(EXAMPLES[0]);
  }

  draw(now) {
    this.#drawCards(now);
    if (now < this.#numbersAt && !this.#isOpenedAnew) return;
    this.#numbersAt = now + NUMBERS_MS;
    this.#drawStream(now);
  }

  #fill({ name, sql, everyMs }) {
    const field = this.#field;
    field.sql.value = sql;
    if (this.#edited === null) field.name.value = this.#free(name);
    field.every.value = everyMs;
    this.#complain(null);
  }

  /** A name that no query here has. */
  #free(name) {
    const names = new Set(this.#workbench.queries.map((query) => query.name));
    for (let i = 2, free = name; ; i += 1, free = `${name}_${i - 1}`) if (!names.has(free)) return free;
  }

  async #submit() {
    if (this.#isBusy) return;
    const { name, sql, every } = this.#field;
    const definition = { name: name.value, sql: sql.value, everyMs: Number(every.value) };
    const edited = this.#edited;
    if (edited === null && this.#workbench.queries.some((query) => query.name === definition.name)) {
      this.#complain(new Error(`There is a query ${definition.name} already: edit that one, or take another name.`));
      return;
    }
    const isDone = await this.#try(() => (edited ? this.#workbench.replace(edited, definition) : this.#workbench.add(definition)));
    if (!isDone) return;
    if (edited) this.#edit(null);
    else name.value = this.#free(definition.name);
  }

  /** Does it, and shows what goes wrong; whether it went well is the result. */
  async #try(work) {
    this.#isBusy = true;
    this.#complain(null);
    try {
      await work();
      return true;
    } catch (error) {
      this.#complain(error);
      return false;
    } finally {
      this.#isBusy = false;
      this.#changed(true);
    }
  }

  /** What is wrong, and where: the place is selected, and shown with a caret under it. */
  #complain(error) {
    const { mistake, mistakeText, mistakePlace, sql } = this.#field;
    mistake.hidden = error === null;
    sql.toggleAttribute('aria-invalid', error !== null);
    if (error === null) return;
    write(mistakeText, error.message);
    const line = error.place && sql.value.split('\n')[error.place.line - 1];
    mistakePlace.hidden = line === undefined || line === null;
    if (mistakePlace.hidden) return;
    const { line: row, column } = error.place;
    write(mistakePlace, `${line}\n${line.slice(0, column - 1).replace(/[^\t]/g, ' ')}^`);
    const start = sql.value.split('\n').slice(0, row - 1).reduce((sum, { length }) => sum + length + 1, 0) + column - 1;
    const word = /^[\w.]+/.exec(sql.value.slice(start))?.[0].length ?? 1;
    sql.focus();
    sql.setSelectionRange(start, start + word);
  }

  #edit(query) {
    const { name, sql, every, run, cancel } = this.#field;
    this.#edited = query;
    this.#complain(null);
    name.readOnly = query !== null;
    cancel.hidden = query === null;
    write(run, query === null ? 'Run' : 'Change it');
    if (query === null) {
      name.value = this.#free(name.value);
      return;
    }
    name.value = query.name;
    sql.value = query.sql;
    every.value = query.everyMs;
    sql.focus();
  }

  async #remove(query) {
    if (this.#edited === query) this.#edit(null);
    await this.#try(() => this.#workbench.remove(query));
    if (this.#edited === null) this.#field.name.value = this.#free(this.#field.name.value);
    // Where it was nothing is left to have the focus.
    this.#field.sql.focus({ preventScroll: true });
  }

  /** Whether it is another stream than was drawn, or the same one on another connection. */
  get #isOpenedAnew() {
    const { stream } = this.#workbench;
    return stream !== this.#stream || (stream?.readies ?? 0) !== this.#readies;
  }

  #drawStream(now) {
    const [field, { stream, tally, wire, edits, carriers }] = [this.#field, this.#workbench];
    const standing = this.#workbench.standing(now);
    field.run.disabled = this.#isBusy;
    field.wire.selectedIndex = carriers.indexOf(wire);
    if (this.#isOpenedAnew) this.#openedAt = new Date().toLocaleTimeString();
    this.#stream = stream;
    this.#readies = stream?.readies ?? 0;
    const isOpen = standing === 'open';
    write(field.state, standing === 'none' ? '–' : standing);
    field.state.parentElement.classList.toggle('good', isOpen);
    field.state.parentElement.classList.toggle('bad', ['stuck', 'away', 'refused'].includes(standing));
    write(field.age, isOpen ? words.figures.duration((now - stream.readyAt) / 1000) : '–');
    const reopened = Math.max(0, this.#readies - 1) + this.#workbench.moves;
    write(field.reopened, stream === null ? '–' : reopened > 0 ? words.times(reopened) : 'never');
    write(field.edits, stream === null ? '–' : words.figures.count(edits));
    write(field.events, stream === null ? '–' : words.figures.count(tally.events + tally.presents));
    write(field.bytes, stream === null ? '–' : words.figures.bytes(tally.bytes));
    write(field.status, words.status(this.#workbench, standing));
    write(field.same, words.sameness(this.#workbench, this.#openedAt));
  }

  #drawCards(now) {
    const { queries } = this.#workbench;
    for (const [query, card] of this.#cards) {
      if (queries.includes(query)) continue;
      card.element.remove();
      this.#cards.delete(query);
    }
    for (const query of queries) {
      if (!this.#cards.has(query)) {
        const card = new Card(query, {
          changed: this.#changed,
          edit: () => this.#edit(query),
          remove: () => this.#remove(query),
        });
        this.#cards.set(query, card);
        // The newest on top, below the editor.
        this.#field.queries.prepend(card.element);
      }
      this.#cards.get(query).draw(now);
    }
  }
}

/** One query: what it says, and what it yields. */
class Card {
  #query;
  #field;
  #chart;
  #drawn = { result: null, updates: -1 };

  constructor(query, { changed, edit, remove }) {
    this.#query = query;
    this.element = document.getElementById('query').content.firstElementChild.cloneNode(true);
    this.#field = fields(this.element);
    for (const subject of this.element.querySelectorAll('[data-subject]')) subject.textContent = ` ${query.name}`;
    write(this.#field.title, query.name);
    this.#field.table.setAttribute('aria-label', `Rows of ${query.name}`);
    this.#field.text.setAttribute('aria-label', `SQL of ${query.name}`);
    this.#field.edit.addEventListener('click', edit);
    this.#field.remove.addEventListener('click', remove);
    this.#chart = new LineChart(this.#field.chart, () => {
      this.#drawn.updates = -1;
      changed();
    });
  }

  draw(now) {
    const { result, sql, everyMs, number } = this.#query;
    const field = this.#field;
    const [name, sentence] = words.classInWords(number);
    write(field.class, name);
    field.class.title = sentence;
    field.class.hidden = name === '';
    write(field.pace, `every ${words.figures.milliseconds(everyMs)}`);
    write(field.text, sql);
    write(field.standing, words.standing(result, now));
    if (this.#drawn.result === result && this.#drawn.updates === result.updates && this.#drawn.number === number) return;
    this.#drawn = { result, updates: result.updates, number };
    const isFailed = result.kind === 'failed';
    field.problem.hidden = !isFailed;
    write(field.problem, isFailed ? result.error.detail ?? result.error.title : '');
    field.value.hidden = result.kind !== 'value';
    write(field.value, result.kind === 'value' ? textOf(result.value) : '');
    const isUnexplained = this.#query.emptyTable === null || !result.isNothing;
    field.empty.hidden = isUnexplained;
    write(field.empty, isUnexplained ? '' : words.emptiness(this.#query.emptyTable));
    // Of rows that come one after another, the newest are looked for.
    this.#drawTable(result, number === 1 ? [...result.rows].reverse() : result.rows);
    this.#drawDrawing(result);
  }

  #drawTable({ kind, columns }, rows) {
    const { table, head, rows: body } = this.#field;
    table.hidden = (kind !== 'rows' && kind !== 'added') || rows.length === 0;
    if (table.hidden) return;
    const isNumber = (column) => typeof rows[0][column] === 'number' && !isTime(column, rows[0][column]);
    const numbers = new Set(columns.filter(isNumber));
    head.replaceChildren(...columns.map((column) => cell('th', column, numbers.has(column))));
    for (const th of head.children) th.scope = 'col';
    body.replaceChildren(...rows.slice(0, ROWS).map((row) => {
      const tr = document.createElement('tr');
      tr.append(...columns.map((column) => cell('td', textOf(row[column], column), numbers.has(column))));
      return tr;
    }));
    if (rows.length > ROWS) {
      const more = document.createElement('tr');
      const td = cell('td', `… and ${words.figures.count(rows.length - ROWS)} rows more`, false);
      td.colSpan = columns.length;
      more.append(td);
      body.append(more);
    }
  }

  #drawDrawing(result) {
    const { drawing, drawn, chart, bars } = this.#field;
    const what = result.drawing;
    drawing.hidden = what === null;
    if (what === null) return;
    chart.hidden = what.line === undefined;
    bars.hidden = what.bars === undefined;
    write(drawn, what.name);
    if (what.line) {
      this.#chart.draw(what.line);
      return;
    }
    const shown = what.bars.slice(0, BARS);
    const values = shown.map(({ value }) => (typeof value === 'number' ? value : 0));
    const [least, most] = [Math.min(...values, 0), Math.max(...values, 0)];
    bars.replaceChildren(...shown.map(({ name, value }, i) => bar(name, value, values[i], { least, most })));
  }
}

/** From zero to the value, to the left of that if it is below: `least` and `most` are the ends of the scale. */
function bar(name, value, length, { least, most }) {
  const item = document.createElement('li');
  const [label, box, filled, number] = ['span', 'span', 'i', 'span'].map((tag) => document.createElement(tag));
  label.className = 'name';
  label.textContent = name;
  box.className = 'bar';
  const share = (part) => `${(100 * part) / Math.max(most - least, Number.MIN_VALUE)}%`;
  filled.style.marginInlineStart = share(Math.min(length, 0) - least);
  filled.style.width = share(Math.abs(length));
  filled.classList.toggle('below', length < 0);
  box.append(filled);
  number.textContent = textOf(value);
  item.append(label, box, number);
  return item;
}

function cell(tag, text, isNumber) {
  const element = document.createElement(tag);
  element.textContent = text;
  element.classList.toggle('number', isNumber);
  return element;
}

function fields(element) {
  const all = element.querySelectorAll('[data-field]');
  return Object.fromEntries([...all].map((field) => [field.dataset.field, field]));
}
