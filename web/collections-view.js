// How a collection looks: a table whose cells are edited in place, each change flashing where it has come, and the last
// changes with what tells whose they were.

import { troubleInWords } from './workbench-words.js';
import { write } from './view.js';

/** The columns of a table that is empty; how many there are at most, and how many rows. */
const COLUMNS = ['name', 'amount', 'note'];
const [MOST_COLUMNS, ROWS] = [6, 200];
const FLASH_MS = 1500;

export class CollectionsView {
  #collections;
  #changed;
  #field;
  #columns = [];
  /** @type {Map<string | number, Row>} */
  #rows = new Map();
  #isStale = false;

  constructor(section, collections, changed) {
    this.#collections = collections;
    this.#changed = changed;
    this.#field = Object.fromEntries([...section.querySelectorAll('[data-field]')].map((field) => [field.dataset.field, field]));
    const { form, wire, close, add, again } = this.#field;
    wire.replaceChildren(...collections.carriers.map(({ title }) => new Option(title)));
    wire.addEventListener('change', () => collections.choose(wire.selectedIndex));
    form.addEventListener('submit', (event) => {
      event.preventDefault();
      collections.open(this.#field.name.value);
    });
    close.addEventListener('click', () => collections.close());
    again.addEventListener('click', () => window.open('/#collections'));
    add.addEventListener('submit', (event) => {
      event.preventDefault();
      this.#add();
    });
  }

  /** Something in the map has changed. */
  changed() {
    this.#isStale = true;
  }

  /** Shows where a change has come, and whose it was. */
  flash({ kind, id, before, document, whose }) {
    this.#draw();
    const row = this.#rows.get(id);
    if (kind === 'DELETED') row?.leave(whose);
    else row?.flash(whose, this.#columns.filter((name) => textOf(before?.[name]) !== textOf(document[name])));
  }

  clear() {
    for (const { element } of this.#rows.values()) element.remove();
    this.#rows.clear();
    this.#columns = [];
    this.#isStale = true;
  }

  draw() {
    this.#draw();
    this.#drawStanding();
  }

  #draw() {
    const { live } = this.#collections;
    if (live === null || !this.#isStale) return;
    this.#isStale = false;
    this.#drawColumns(live);
    const shown = [...live].slice(0, ROWS);
    const ids = new Set(shown.map(([id]) => id));
    for (const [id, row] of this.#rows) {
      if (ids.has(id) || row.isLeaving) continue;
      // One that has just gone is shown going, once it is known whose doing it was.
      row.go(() => this.#rows.get(id) === row && this.#rows.delete(id));
    }
    for (const [id, document] of shown) {
      if (this.#rows.get(id)?.isLeaving) this.#rows.get(id).end();
      if (!this.#rows.has(id)) {
        const row = new Row(id, this.#collections);
        this.#rows.set(id, row);
        this.#field.rows.append(row.element);
      }
      this.#rows.get(id).show(document, live.version(id), this.#columns);
    }
    write(this.#field.more, live.size > ROWS ? `… and ${live.size - ROWS} rows more` : '');
  }

  #drawColumns(live) {
    const names = new Set(live.size > 0 ? [] : COLUMNS);
    for (const document of live.values()) for (const name of Object.keys(document)) if (name !== 'id') names.add(name);
    // Those of documents that are gone stay, so that nothing moves under a hand.
    const columns = [...new Set([...this.#columns, ...names])].slice(0, MOST_COLUMNS);
    if (columns.join('\n') === this.#columns.join('\n')) return;
    this.#columns = columns;
    this.#field.head.replaceChildren(...['id', ...columns, 'version', ''].map((name) => {
      const th = document.createElement('th');
      th.scope = 'col';
      th.textContent = name;
      return th;
    }));
    this.#field.inputs.replaceChildren(...columns.map((name) => {
      const label = document.createElement('label');
      const input = document.createElement('input');
      label.className = 'grow';
      input.name = name;
      input.autocomplete = 'off';
      label.append(name, input);
      return label;
    }));
  }

  async #add() {
    const inputs = [...this.#field.inputs.querySelectorAll('input')];
    const members = inputs.filter(({ value }) => value !== '').map(({ name, value }) => [name, valueOf(value)]);
    if (!(await this.#collections.create(Object.fromEntries(members)))) return;
    for (const input of inputs) input.value = '';
    inputs[0]?.focus({ preventScroll: true });
  }

  #drawStanding() {
    const [field, collections] = [this.#field, this.#collections];
    const { client, live, carriers, carrier, reconnects, gaps, isHeld } = collections;
    const { state, wire, cursor } = client?.standing ?? { state: '–', wire: null, cursor: null };
    field.open.disabled = isHeld;
    field.close.disabled = client === null;
    field.wire.selectedIndex = carriers.indexOf(carrier);
    field.table.hidden = live === null;
    field.add.hidden = live === null;
    write(field.state, state);
    field.state.parentElement.classList.toggle('good', state === 'open');
    field.state.parentElement.classList.toggle('bad', state === 'away');
    write(field.taken, wire === null ? '–' : { sse: 'SSE', websocket: 'WebSocket', poll: 'long polling' }[wire]);
    write(field.requests, client === null ? '–' : wire === 'websocket' ? 'on the WebSocket' : 'by fetch');
    write(field.shared, client === null ? '–' : client.isShared ? 'with all tabs' : 'no');
    write(field.cursor, cursor ?? '–');
    write(field.reconnects, client === null ? '–' : String(reconnects));
    write(field.gaps, client === null ? '–' : String(gaps));
    write(field.status, this.#status());
    const hint = conflictInWords(collections) || (collections.problem ? `Not done (${collections.problem.status || collections.problem.title}): ${collections.problem.message}` : '');
    field.hint.hidden = hint === '';
    write(field.hint, hint);
    this.#drawChanges();
  }

  #status() {
    const { client, live, name, isHeld, trouble, carrier, origin } = this.#collections;
    if (trouble) return troubleInWords(trouble, carrier, origin);
    if (isHeld) return 'Closed while the wires are compared; it is opened again after.';
    if (client === null) return 'Not open yet.';
    const { state, wire, reason, problem } = client.standing;
    const rows = `${live.size} ${live.size === 1 ? 'document' : 'documents'} in ${name}`;
    if (state === 'open') return `${rows}. Each change comes as an event from ${origin}.`;
    if (state === 'away') return `${rows}. Away (${reason}${wire ? `: ${wire}, the next is tried` : ''}), and about to come back.${problem ? ` ${problem.detail}` : ''}`;
    return `${rows}. Opening: ${origin}.`;
  }

  #drawChanges() {
    const { changes } = this.#collections;
    const drawn = [...this.#field.changes.children];
    for (const item of drawn.slice(changes.length)) item.remove();
    changes.forEach(({ kind, id, version, event, whose }, i) => {
      const item = drawn[i] ?? this.#field.changes.appendChild(document.createElement('li'));
      if (item.children.length === 0) item.append(document.createElement('span'), ' ', document.createElement('code'));
      const whom = { own: ', the echo of this page’s own request', other: ', somebody else’s' }[whose] ?? '';
      write(item.firstElementChild, `${kind} ${id}, version ${version}${whom}`);
      write(item.lastElementChild, event);
      item.className = whose ?? '';
    });
  }
}

function conflictInWords({ conflict, name }) {
  if (conflict === null) return '';
  const { id, field, value, version, found } = conflict;
  const now = found === null ? 'it is gone' : `it is in version ${found.version} by now`;
  if (field === undefined) return `Not deleted (412): ${id} of ${name} was changed meanwhile, and ${now}.`;
  const newer = found === null ? '' : ` ${field} is ${textOf(found.document[field]) || 'empty'} there, which is shown now.`;
  return `Not changed to ${textOf(value) || 'nothing'} (412): you had version ${version} of ${id} before you, and ${now}.${newer}`;
}

/** One document: a cell for each column. A cell that is being edited is not written to. */
class Row {
  isLeaving = false;
  element = document.createElement('tr');
  #id;
  #collections;
  /** @type {Map<string, Cell>} */
  #cells = new Map();
  #version = document.createElement('td');
  #last = document.createElement('td');
  #ended = () => {};
  #timer = 0;

  constructor(id, collections) {
    this.#id = id;
    this.#collections = collections;
    const th = document.createElement('th');
    th.scope = 'row';
    th.textContent = String(id);
    const button = document.createElement('button');
    button.type = 'button';
    button.textContent = 'Delete';
    button.setAttribute('aria-label', `Delete ${id}`);
    button.addEventListener('click', () => collections.remove(id, collections.live.version(id)));
    this.#last.append(button);
    this.element.append(th, this.#version, this.#last);
  }

  show(document, version, columns) {
    for (const name of columns) {
      if (!this.#cells.has(name)) {
        const cell = new Cell(name, this.#id, (value, seen) => this.#collections.patch(this.#id, name, value, seen));
        this.#cells.set(name, cell);
        this.#version.before(cell.element);
      }
      this.#cells.get(name).show(document[name], version);
    }
    write(this.#version, String(version));
  }

  flash(whose, columns) {
    for (const name of columns) light(this.#cells.get(name)?.element, whose);
    light(this.#version, whose);
  }

  /** It has gone; what is left of it is seen for a moment. */
  go(ended) {
    this.isLeaving = true;
    this.#ended = ended;
    for (const input of this.element.querySelectorAll('input, button')) input.disabled = true;
    this.#timer = setTimeout(() => this.end(), FLASH_MS);
  }

  leave(whose) {
    this.element.classList.add('leaving');
    light(this.element, whose);
  }

  end() {
    clearTimeout(this.#timer);
    this.element.remove();
    this.#ended();
  }
}

class Cell {
  element = document.createElement('td');
  #input = document.createElement('input');
  #value = undefined;
  /** The version that was there when it was last written to. */
  #version = 0;
  #isSending = false;

  /** `changed` is called with a value and the version that it was changed from; whether it was taken is the result. */
  constructor(name, id, changed) {
    const input = this.#input;
    input.setAttribute('aria-label', `${name} of ${id}`);
    input.autocomplete = 'off';
    input.addEventListener('change', async () => {
      if (input.value === textOf(this.#value)) return;
      this.#isSending = true;
      await changed(valueOf(input.value), this.#version);
      this.#isSending = false;
      this.#write();
    });
    input.addEventListener('keydown', ({ key }) => {
      if (key === 'Escape') this.#write();
    });
    input.addEventListener('blur', () => this.#write());
    this.element.append(input);
  }

  /** Whether somebody has begun to write in it, or what was written is on its way. */
  get #isEdited() {
    return this.#isSending || (document.activeElement === this.#input && this.#input.value !== textOf(this.#value));
  }

  show(value, version) {
    this.#latest = { value, version };
    if (!this.#isEdited) this.#write();
  }

  #latest = { value: undefined, version: 0 };

  #write() {
    if (this.#isSending) return;
    ({ value: this.#value, version: this.#version } = this.#latest);
    const text = textOf(this.#value);
    if (this.#input.value !== text) this.#input.value = text;
    // What has members of its own is not edited here.
    this.#input.readOnly = typeof this.#value === 'object' && this.#value !== null;
    this.element.classList.toggle('number', typeof this.#value === 'number');
  }
}

/** When what is alight goes out, by element. */
const lights = new WeakMap();

function light(element, whose) {
  if (!element) return;
  clearTimeout(lights.get(element));
  element.classList.remove('own', 'other');
  // Anew, also while it is alight.
  void element.offsetWidth;
  element.classList.add(whose);
  lights.set(element, setTimeout(() => element.classList.remove(whose), FLASH_MS));
}

function textOf(value) {
  if (value === undefined || value === null) return '';
  return typeof value === 'string' ? value : JSON.stringify(value);
}

/** What was written, as JSON where it is a number or a truth value; nothing takes the member away. */
function valueOf(text) {
  if (text === '') return null;
  return /^(true|false|-?(0|[1-9]\d*)(\.\d+)?)$/.test(text) ? JSON.parse(text) : text;
}
