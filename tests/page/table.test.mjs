// A table that two windows edit together: each change is seen in both, whose it was is told apart, and nobody's is lost to
// another's.

import assert from 'node:assert/strict';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';

import { Panel } from './browser.mjs';
import { Stage } from './stage.mjs';
import { until, untilIs } from './wait.mjs';

const SHOTS = process.env.TRIWIRE_SHOTS ?? new URL('../../target/page', import.meta.url).pathname;
/** What the choice of wires calls them, what is taken then, how the server counts it, and where. */
const WIRES = [
  ['Automatic', 'WebSocket', 'websocket_http2', 'http2'],
  ['SSE', 'SSE', 'sse_http2', 'http2'],
  ['WebSocket', 'WebSocket', 'websocket', 'wss'],
  ['WebSocket over HTTP/2', 'WebSocket', 'websocket_http2', 'http2'],
  ['Long polling', 'long polling', 'long_poll', 'http2'],
];

const stage = Stage.set({ metrics: 'off' });

/** The table in one window, by what it shows. */
class Table {
  constructor(page) {
    this.page = page;
    this.region = page.getByRole('region', { name: 'Collections', exact: true });
    this.panel = new Panel(this.region);
    this.#watch = page.evaluate(() => {
      // What lights up does so for a moment: each is noted.
      window.lit = [];
      const rows = document.querySelector('#collections tbody');
      const look = (changes) => {
        for (const { target, oldValue } of changes) {
          const whose = ['own', 'other'].find((name) => target.classList.contains(name));
          if (whose === undefined || oldValue?.includes(whose)) continue;
          const row = target.closest('tr');
          const cell = target.querySelector(':scope > input')?.getAttribute('aria-label') ?? (target === row ? 'row' : 'version');
          window.lit.push([whose, row.querySelector('th').textContent, cell]);
        }
      };
      new MutationObserver(look).observe(rows, { subtree: true, attributes: true, attributeFilter: ['class'], attributeOldValue: true });
    });
  }

  #watch;

  async open(name, wire = 'Automatic') {
    await this.#watch;
    await this.wire(wire);
    await this.region.getByLabel('Collection', { exact: true }).fill(name);
    await this.press('Open the table');
    await this.panel.shows({ state: 'open' });
  }

  wire(title) {
    return this.region.getByLabel('Its wire').selectOption(title);
  }

  press(name) {
    return this.region.getByRole('button', { name, exact: true }).click();
  }

  async add(...values) {
    const inputs = this.region.getByRole('form', { name: 'A new document' }).locator('input');
    for (const [i, value] of values.entries()) await inputs.nth(i).fill(value);
    await this.press('Add row');
  }

  cell(column, id) {
    return this.region.getByLabel(`${column} of ${id}`, { exact: true });
  }

  async write(column, id, text) {
    await this.cell(column, id).fill(text);
    await this.cell(column, id).press('Enter');
  }

  /** All rows as they read; those that are going are none. */
  rows() {
    return this.region.locator('tbody tr').evaluateAll((rows) => rows
      .filter((row) => !row.querySelector('button').disabled)
      .map((row) => [row.querySelector('th').textContent, ...[...row.querySelectorAll('input')].map(({ value }) => value), [...row.querySelectorAll('td')].at(-2).textContent]));
  }

  has(...rows) {
    return untilIs('the rows', () => this.rows(), rows);
  }

  /** Waits until something has lit up since it was asked last. */
  async lit(...wanted) {
    await until(`to be lit: ${wanted.join('; ')}`, () => this.page.evaluate('window.lit'), (lit) => wanted.every((one) => lit.some((other) => String(one) === String(other))));
    await this.page.evaluate('window.lit = []');
  }

  hint() {
    return this.panel.field('hint').textContent();
  }

  changes() {
    return this.region.locator('[data-field=changes] li').allTextContents();
  }
}

/** Two windows of one browser profile. */
async function windows(t, server) {
  const first = await stage.visit(t, { server });
  const page = await first.page.context().newPage();
  await page.goto(first.page.url());
  return [new Table(first.page), new Table(page), first.complaints];
}

describe('two windows', { concurrency: 3 }, () => {
  it('edit one table, over one connection', async (t) => {
    const server = await stage.another(t);
    const [left, right, complaints] = await windows(t, server);
    for (const table of [left, right]) await table.open('both');
    for (const table of [left, right]) await table.panel.shows({ taken: 'WebSocket', requests: 'on the WebSocket', shared: 'with all tabs' });
    assert.equal((await server.stats()).wires.websocket_http2.streams, 1);

    await left.add('Apples', '12', 'from the garden');
    for (const table of [left, right]) await table.has(['1', 'Apples', '12', 'from the garden', '1']);
    await left.lit(['own', '1', 'name of 1'], ['own', '1', 'version']);
    await right.lit(['other', '1', 'name of 1']);
    const [{ id, amount }] = (await (await fetch(`http://${server.listeners.http1}/api/v2/both`)).json()).items;
    assert.deepEqual([id, amount], [1, 12]);

    await right.write('amount', 1, '13');
    await left.has(['1', 'Apples', '13', 'from the garden', '2']);
    await right.lit(['own', '1', 'amount of 1']);
    await left.lit(['other', '1', 'amount of 1']);
    const [change] = await until('its echo', () => right.changes(), ([text]) => /^MODIFIED 1, version 2, the echo of this page’s own request \d+-\d+$/.test(text));
    const told = change.replace('the echo of this page’s own request', 'somebody else’s');
    await untilIs('the change', async () => (await left.changes())[0], told);
    await left.panel.shows({ cursor: change.split(' ').at(-1) });

    await left.press('Delete 1');
    await left.lit(['own', '1', 'row']);
    await right.lit(['other', '1', 'row']);
    for (const table of [left, right]) await table.has();
    await untilIs('what is gone to be away', () => right.region.locator('tbody tr').count(), 0);
    assert.deepEqual(complaints, []);
  });

  it('on different wires see each other’s changes, whichever they choose', async (t) => {
    const server = await stage.another(t);
    const [left, right] = await windows(t, server);
    await left.open('wires');
    await right.open('wires', 'Long polling');
    await left.add('0');
    for (const [i, [title, taken, counted, listener]] of WIRES.entries()) {
      await left.wire(title);
      const status = `1 document in wires. Each change comes as an event from ${server.origin(listener)}.`;
      await left.panel.shows({ state: 'open', taken, requests: taken === 'WebSocket' ? 'on the WebSocket' : 'by fetch', gaps: 0, status });
      await until(`a stream of ${counted}`, async () => (await server.stats()).wires[counted].streams, (streams) => streams > 0);
      await left.write('name', 1, `left ${title}`);
      await until('the change', () => right.rows(), ([row]) => row?.[1] === `left ${title}`);
      await right.write('name', 1, String(i));
      await until('the change', () => left.rows(), ([row]) => row?.[1] === String(i));
    }
  });

  it('that change the same: the second is told, and has what is there now', async (t) => {
    const [left, right] = await windows(t);
    for (const table of [left, right]) await table.open('same');
    await left.add('Bread', '1');
    for (const table of [left, right]) await table.has(['1', 'Bread', '1', '', '1']);
    // It is being written on the right while it is changed on the left.
    await right.cell('amount', 1).fill('7');
    await left.write('amount', 1, '5');
    await left.has(['1', 'Bread', '5', '', '2']);
    await right.has(['1', 'Bread', '7', '', '2']);
    await right.cell('amount', 1).press('Enter');
    const hint = await until('the refusal', () => right.hint(), Boolean);
    assert.equal(hint, 'Not changed to 7 (412): you had version 1 of 1 before you, and it is in version 2 by now. amount is 5 there, which is shown now.');
    await right.has(['1', 'Bread', '5', '', '2']);
    await right.write('amount', 1, '7');
    for (const table of [left, right]) await table.has(['1', 'Bread', '7', '', '3']);
    assert.equal(await right.hint(), '');

    // Escape takes back what was written, and takes what is there.
    await right.cell('name', 1).fill('Cake');
    await left.write('name', 1, 'Rye bread');
    await right.has(['1', 'Cake', '7', '', '4']);
    await right.cell('name', 1).press('Escape');
    for (const table of [left, right]) await table.has(['1', 'Rye bread', '7', '', '4']);
  });
});

it('shows what it is refused, what is text as text, and what another program does', async (t) => {
  const { page } = await stage.visit(t);
  const table = new Table(page);
  await table.open('other');
  const html = '<b>bold</b>';
  await fetch(`http://${stage.server.listeners.http1}/api/v2/other/7`, { method: 'PUT', body: JSON.stringify({ name: html, deep: { a: 1 } }) });
  await table.has(['7', html, '', '', '{"a":1}', '1']);
  await table.lit(['other', '7', 'name of 7']);
  assert.equal(await table.region.locator('b').count(), 0);
  assert.ok(!(await table.cell('deep', 7).isEditable()), 'what has members of its own');
  await fetch(`http://${stage.server.listeners.http1}/api/v2/other/$schema`, {
    method: 'PUT',
    body: JSON.stringify({ type: 'object', properties: { amount: { type: 'number' } } }),
  });
  await table.write('amount', 7, 'many');
  await until('the refusal', () => table.hint(), (text) => /^Not done \(400\): .*amount/.test(text));
  await table.has(['7', html, '', '', '{"a":1}', '1']);
  await table.press('Close it');
  await table.panel.shows({ state: '–', status: 'Not open yet.' });
  await untilIs('the rows', () => table.rows(), []);
});

it('leaves no connection behind', async (t) => {
  const server = await stage.another(t);
  const { page } = await stage.visit(t, { server });
  const table = new Table(page);
  await table.open('gone');
  await page.goto('about:blank');
  await untilIs('the streams', async () => (await server.stats()).wires.websocket_http2.streams, 0);
});

for (const [width, colorScheme] of [[1280, 'light'], [390, 'dark']]) {
  it(`fits ${width} pixels in ${colorScheme}`, async (t) => {
    const { page, complaints } = await stage.visit(t, { colorScheme, viewport: { width, height: 900 } });
    const table = new Table(page);
    await table.open(`fits_${width}`);
    for (const row of [['Apples', '12', 'from the garden'], ['Pears', '3', 'green'], ['Bread', '1', 'rye']]) await table.add(...row);
    await until('the rows', () => table.rows(), ({ length }) => length === 3);
    await fetch(`http://${stage.server.listeners.http1}/api/v2/fits_${width}/2`, { method: 'PUT', body: '{"name":"Plums","amount":4}' });
    await table.lit(['other', '2', 'name of 2']);
    await table.write('amount', 1, '13');
    await table.lit(['own', '1', 'amount of 1']);
    assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), `${width} px suffice`);
    await mkdir(SHOTS, { recursive: true });
    await table.region.screenshot({ path: join(SHOTS, `collections-${width}-${colorScheme}.png`) });
    assert.deepEqual(complaints, []);
  });
}
