// What a query of the workbench has yielded: the present result, rows that came in addition, and how a number moved.

/** How many rows are kept that came in addition, and how many values of a number. */
const ROWS = 200;
const VALUES = 240;
/** Columns that hold a time, by name; a number counts as one if it is a plausible one in milliseconds. */
const TIME_NAMES = /^(_tp_time|ts|t|time|at|window_start|window_end|.*_(at|time|ts))$/i;
const EARLIEST_MS = Date.UTC(2000, 0);

export class Result {
  /** `none`, `value` (one row of one column), `rows`, `added` (rows that come in addition) or `failed`. */
  kind = 'none';
  value = null;
  /** Objects, in the order in which they came. */
  rows = [];
  /** How many rows were added and are not kept. */
  forgotten = 0;
  /** How a number moved: `{ x, y }`, x in milliseconds since the epoch. */
  history = [];
  /** The problem that has ended the query. */
  error = null;
  updates = 0;
  /** When the last one came, on the clock of `performance`. */
  at = 0;

  /** Takes a message of the stream. */
  take({ result, mode, error }) {
    this.updates += 1;
    this.at = performance.now();
    if (error !== undefined) {
      this.kind = 'failed';
      this.error = error;
    } else if (mode === 'append') {
      this.#add(asRows(result));
    } else if (Array.isArray(result)) {
      this.kind = 'rows';
      this.rows = result;
      this.forgotten = 0;
    } else {
      this.kind = 'value';
      this.value = result;
      if (typeof result === 'number') {
        this.history.push({ x: performance.timeOrigin + this.at, y: result });
        if (this.history.length > VALUES) this.history.shift();
      }
    }
  }

  #add(rows) {
    this.kind = 'added';
    const all = this.rows.concat(rows);
    this.rows = all.slice(-ROWS);
    this.forgotten += all.length - this.rows.length;
  }

  /** Whether it yields nothing, or what an aggregate makes of nothing. */
  get isNothing() {
    if (this.kind === 'value') return this.value === null || this.value === 0;
    return this.kind !== 'failed' && this.rows.length === 0;
  }

  /** The names of the columns; a first result of rows has as many as its first row. */
  get columns() {
    return this.rows.length > 0 && isObject(this.rows[0]) ? Object.keys(this.rows[0]) : [];
  }

  /** What can be drawn: `{ line: [{ x, y }], name }`, `{ bars: [{ name, value }], name }` or `null`. */
  get drawing() {
    if (this.kind === 'value') return this.history.length > 0 ? { line: this.history, name: '' } : null;
    if (this.kind !== 'rows' && this.kind !== 'added') return null;
    const { columns, rows } = this;
    const time = columns.find((column) => isTime(column, rows[0][column]));
    const number = columns.find((column) => column !== time && rows.some((row) => typeof row[column] === 'number'));
    if (number === undefined) return null;
    if (time !== undefined && isAlone(columns, number, rows)) {
      const line = rows.map((row) => ({ x: timeOf(row[time]), y: row[number] })).filter(({ y }) => typeof y === 'number');
      return { line: line.sort((a, b) => a.x - b.x), name: number };
    }
    if (time === undefined && columns.length === 2 && this.kind === 'rows') {
      const label = columns.find((column) => column !== number);
      return { bars: rows.map((row) => ({ name: textOf(row[label]), value: row[number] })), name: number };
    }
    return null;
  }
}

/** A line needs one number a time: with a text beside it, rows are of several lines, unless it is the same in all. */
function isAlone(columns, number, rows) {
  const texts = columns.filter((column) => typeof rows[0][column] === 'string' && !isTime(column, rows[0][column]));
  return texts.every((column) => rows.every((row) => row[column] === rows[0][column]));
}

function asRows(result) {
  return Array.isArray(result) ? result : [isObject(result) ? result : { value: result }];
}

function isObject(value) {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Whether a value is a point in time, by the name of its column and by itself. */
export function isTime(column, value) {
  if (typeof value === 'number') return TIME_NAMES.test(column) && value > EARLIEST_MS;
  return typeof value === 'string' && /^\d{4}-\d\d-\d\d[T ]\d\d:/.test(value) && !Number.isNaN(Date.parse(value));
}

function timeOf(value) {
  return typeof value === 'number' ? value : Date.parse(value);
}

/** A value as it is shown; `column` is where it stands, since a time is shown as one. */
export function textOf(value, column = '') {
  if (value === null || value === undefined) return 'NULL';
  if (isTime(column, value)) return clockTime(new Date(timeOf(value)));
  if (typeof value === 'number') return numberText(value);
  return typeof value === 'string' ? value : JSON.stringify(value);
}

/** As many digits as can be read while they change. */
function numberText(value) {
  return value.toLocaleString('en', { maximumSignificantDigits: Number.isInteger(value) ? 21 : 6 });
}

function clockTime(date) {
  const isToday = date.toDateString() === new Date().toDateString();
  const time = `${date.toLocaleTimeString('en-GB')}.${String(date.getMilliseconds()).padStart(3, '0')}`;
  return isToday ? time : `${date.toLocaleDateString('en-CA')} ${time}`;
}
