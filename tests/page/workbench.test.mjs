// The workbench: queries are added, edited and removed while the stream is open, on each wire, and it stays the same
// stream; what the server counts agrees.

import assert from 'node:assert/strict';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';

import { Workbench } from './browser.mjs';
import { Stage } from './stage.mjs';
import { until, untilIs } from './wait.mjs';

const SHOTS = process.env.TRIWIRE_SHOTS ?? new URL('../../target/page', import.meta.url).pathname;
/** What the choice of wires calls them, and how the server counts them. */
const WIRES = [
  ['SSE on HTTP/1.1', 'sse_http1'],
  ['SSE on HTTP/2', 'sse_http2'],
  ['WebSocket', 'websocket'],
  ['WebSocket on HTTP/2', 'websocket_http2'],
  ['Long polling', 'long_poll'],
];

const stage = Stage.set();

const queriesOf = async ({ listeners }) => (await (await fetch(`http://${listeners.http1}/queries`)).json()).queries;

describe('a stream', () => {
  for (const [wire, counted] of WIRES) {
    it(`on ${wire} stays the same while queries come, change and go`, async (t) => {
      const { page, complaints } = await stage.visit(t);
      const bench = new Workbench(page);
      const streamsTotal = async () => (await stage.server.stats()).wires[counted].streams_total;
      await bench.wire(wire);
      await bench.run('load', "select value from metrics where name = 'load_1m' and value < 0");
      await bench.shows({ state: 'open' });
      const before = await streamsTotal();

      await bench.run('count', 'select count(*) > 0 from metrics');
      await bench.card('count').shows({ value: '1' });
      await bench.run('names', 'select name, count(*) as n from metrics group by name order by name');
      await bench.card('names').shows({ rows: /cpu_percent/ });
      await bench.edit('count', 'select 40 + 2');
      await bench.card('count').shows({ value: '42' });
      await bench.remove('names');
      await untilIs('the cards', () => bench.names(), ['count', 'load']);

      const { reopened, edits, same } = await bench.shows({ state: 'open', edits: 4 });
      assert.equal(reopened, 'never');
      assert.equal(edits, '4');
      // A poll is a request of its own, each time; all else is one stream.
      if (counted !== 'long_poll') {
        assert.match(same, /^Opened at .*, once, and not again\. 4 changes to queries and subscription since, on the same stream\.$/);
        assert.equal(await streamsTotal(), before);
      }
      assert.deepEqual(complaints, []);
    });
  }

  it('goes over to another wire where it was', async (t) => {
    const { page } = await stage.visit(t);
    const bench = new Workbench(page);
    await bench.run('names', 'select name, count(*) as n from metrics group by name order by name');
    for (const [wire] of [...WIRES, ...WIRES].slice(2, 7)) {
      const { standing } = await bench.card('names').read();
      await bench.wire(wire);
      await bench.shows({ state: 'open', status: new RegExp(`^Open: ${wire.replaceAll('/', '.')},`), same: /It took over from .* after \d+-\d+\./ });
      await until('more results', () => bench.card('names').read(), (card) => card.standing !== standing && /cpu_percent/.test(card.rows));
    }
  });

  it('says when the stream that it reads now was opened', async (t) => {
    const { page } = await stage.visit(t);
    const bench = new Workbench(page);
    await bench.run('answer', 'select 40 + 2');
    const openedAt = ({ same }) => /^Opened at (.*?), once/.exec(same)?.[1];
    const before = openedAt(await bench.shows({ state: 'open', same: /^Opened at / }));
    await until('the clock has gone on', () => page.evaluate(() => new Date().toLocaleTimeString()), (now) => now !== before);
    await bench.wire(WIRES[0][0] === await bench.field('wire').inputValue() ? WIRES[1][0] : WIRES[0][0]);
    const after = openedAt(await bench.shows({ state: 'open', same: /It took over from / }));
    assert.notEqual(after, before);
  });

  it('is made anew after a server that has forgotten it', async (t) => {
    const server = await stage.another(t, { metrics: '200ms' });
    const { page } = await stage.visit(t, { server });
    const bench = new Workbench(page);
    await bench.run('names', 'select name, count(*) as n from metrics group by name order by name');
    await bench.card('names').shows({ rows: /cpu_percent/ });
    for (const { name } of await queriesOf(server)) {
      await fetch(`http://${server.listeners.http1}/queries/${name}`, { method: 'DELETE' });
    }
    await bench.card('names').shows({ problem: /was deleted/ });
  });
});

describe('the editor', () => {
  it('shows where a mistake is, and marks it', async (t) => {
    const { page } = await stage.visit(t);
    const bench = new Workbench(page);
    await bench.run('wrong', 'select name,\n  valu\nfrom metrics');
    const { mistakeText, mistakePlace } = await bench.shows({ mistakeText: /line 2, column 3.*value/ });
    assert.ok(mistakeText);
    assert.equal(mistakePlace, '  valu\n  ^');
    const marked = await bench.field('sql').evaluate((box) => box.value.slice(box.selectionStart, box.selectionEnd));
    assert.equal(marked, 'valu');
    assert.deepEqual(await bench.names(), []);
  });

  it('takes every example, and says how to fill an empty table', async (t) => {
    const { page, complaints } = await stage.visit(t);
    const bench = new Workbench(page);
    const examples = await bench.field('example').locator('option').count();
    const names = [];
    for (let i = 0; i < examples; i += 1) {
      await bench.field('example').selectOption({ index: i });
      names.unshift(await bench.field('name').inputValue());
      await bench.press('Run');
      await untilIs('the cards', () => bench.names(), names);
    }
    await bench.card('avg_call_duration').shows({ empty: /triwire generate call-center/ });
    await bench.card('cpu').shows({ value: /^[\d.]+$/, class: 'class 2' });
    await bench.card('cpu_rows').shows({ class: 'class 1' });
    await bench.card('long_calls').shows({ class: 'class 3' });
    await bench.card('machine').shows({ bars: /cpu_percent/ });

    await mkdir(SHOTS, { recursive: true });
    for (const [width, colorScheme] of [[1280, 'light'], [390, 'dark']]) {
      await page.setViewportSize({ width, height: 900 });
      await page.emulateMedia({ colorScheme });
      assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), `${width} px suffice`);
      await bench.region.screenshot({ path: join(SHOTS, `workbench-${width}-${colorScheme}.png`) });
    }
    assert.deepEqual(complaints, []);
  });

  it('draws bars to both sides of zero', async (t) => {
    const { page } = await stage.visit(t);
    const bench = new Workbench(page);
    await bench.run('both', "select 'a' as k, 3 as v union all select 'b', -1 union all select 'c', null");
    await bench.card('both').shows({ bars: /a[^]*b[^]*c/ });
    const drawn = await bench.region.locator('.bars .bar i').evaluateAll((bars) => bars.map((bar) => {
      const [own, all] = [bar, bar.parentElement].map((element) => element.getBoundingClientRect());
      return [(own.left - all.left) / all.width, own.width / all.width].map((share) => Math.round(share * 100));
    }));
    assert.deepEqual(drawn, [[25, 75], [0, 25], [25, 0]]);
  });

  it('runs by the keyboard alone', async (t) => {
    const { page } = await stage.visit(t);
    const bench = new Workbench(page);
    await bench.field('sql').focus();
    await page.keyboard.press('ControlOrMeta+A');
    await page.keyboard.type('select 6 * 7');
    await page.keyboard.press('Control+Enter');
    await untilIs('the cards', async () => (await bench.names()).length, 1);
    const [name] = await bench.names();
    await bench.card(name).shows({ value: '42' });
    await bench.card(name).region.getByRole('button', { name: 'Remove' }).press('Enter');
    await untilIs('the cards', () => bench.names(), []);
  });
});

it('leaves nothing behind, and two visitors do not meet', async (t) => {
  const server = await stage.another(t, { metrics: '200ms' });
  const visits = [await stage.visit(t, { server }), await stage.visit(t, { server })];
  for (const [i, { page }] of visits.entries()) {
    await new Workbench(page).run('same', `select ${i}`);
    await new Workbench(page).card('same').shows({ value: String(i) });
  }
  assert.equal((await queriesOf(server)).length, 2);
  for (const { page } of visits) await page.goto('about:blank');
  await untilIs('the queries', () => queriesOf(server), []);
});
