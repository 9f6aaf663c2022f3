// Live SQL on several replicas: when the server that delivers is gone, it goes on at another, on each wire, and neither
// loses nor doubles a row.

import assert from 'node:assert/strict';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';

import { Workbench } from './browser.mjs';
import { Cluster } from './cluster.mjs';
import { Relay } from './relay.mjs';
import { Stage } from './stage.mjs';
import { until, untilIs } from './wait.mjs';

const SHOTS = process.env.TRIWIRE_SHOTS ?? new URL('../../target/page', import.meta.url).pathname;
const WIRES = ['SSE on HTTP/1.1', 'SSE on HTTP/2', 'WebSocket', 'WebSocket on HTTP/2', 'Long polling'];
const TABLE = { name: 'seen', columns: [{ name: 'n', type: 'int64' }] };

const stage = Stage.set();

async function post({ listeners }, path, body) {
  const request = { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) };
  const response = await fetch(`http://${listeners.http1}${path}`, request);
  assert.equal(response.status, 201, `${path}: ${await response.text()}`);
}

const ingest = (server, ...numbers) => post(server, '/streams/seen/ingest', { columns: ['n'], data: numbers.map((n) => [n]) });

/** One row after the other, slowly enough that a server can die between them. */
async function fill(server, first, last) {
  for (let n = first; n <= last; n += 1) {
    await ingest(server, n);
    await pause(50);
  }
}

/** The numbers that a card of rows shows, the oldest first. */
const numbers = (bench, name) => bench.card(name).region.locator('tbody td').allTextContents().then((cells) => cells.map(Number).reverse());

async function start(t, origins) {
  const cluster = await Cluster.start(stage.certificates, ['box-a', 'box-b'], origins);
  t.after(() => cluster.stop());
  const [a, b] = cluster.servers.values();
  await post(a, '/streams', TABLE);
  return { cluster, a, b };
}

/** A page that has heard of both: it can go to another only once it knows that. */
async function heardOfBoth(page) {
  const head = page.getByRole('region', { name: 'Replicas', exact: true }).locator('thead th');
  await untilIs('both replicas', () => head.allTextContents(), ['Wire', 'box-a', 'box-b', 'All']);
}

/** Has the page watch the rows, and how many there are. */
async function watch(page, wire) {
  await heardOfBoth(page);
  const bench = new Workbench(page);
  if (wire) await bench.wire(wire);
  await bench.run('rows', 'select n from seen');
  await bench.shows({ state: 'open', run: 'Run' });
  await untilIs('the card', () => bench.names(), ['rows']);
  await bench.run('sum', 'select count(*) as many, sum(n) as sum from seen');
  await untilIs('the cards', () => bench.names(), ['sum', 'rows']);
  return bench;
}

async function shows(bench, want) {
  await untilIs('the rows', () => numbers(bench, 'rows'), want);
  const sum = want.reduce((all, n) => all + n, 0);
  await until('the sum', () => bench.card('sum').region.locator('tbody td').allTextContents(), (cells) => cells.join(' ') === `${want.length} ${sum.toLocaleString('en')}`);
}

describe('a query goes on at the other replica', () => {
  for (const wire of WIRES) {
    it(`on ${wire}`, async (t) => {
      const { cluster, a, b } = await start(t);
      await ingest(a, 1, 2, 3);
      const { page } = await stage.visit(t, { server: a });
      const bench = await watch(page, wire);
      await bench.shows({ status: new RegExp(`^Open: ${wire}, .*; box-a delivers\\.$`) });
      await shows(bench, [1, 2, 3]);

      const filling = fill(b, 4, 60);
      await until('a row by box-b', () => numbers(bench, 'rows'), (seen) => seen.includes(4));
      await cluster.kill('box-a');
      await filling;
      await bench.shows({ state: 'open', reopened: '1 time', status: /; box-b delivers\.$/, same: /box-a was lost, and it went on here after \d+-\d+; / });
      await ingest(b, 61);
      await shows(bench, Array.from({ length: 61 }, (_, i) => i + 1));

      // What is asked for goes there too.
      await bench.run('answer', 'select 40 + 2');
      await bench.card('answer').shows({ value: '42' });
      await bench.edit('sum', 'select max(n) as most from seen');
      await bench.card('sum').shows({ value: '61' });
      await bench.remove('answer');
      await untilIs('the cards', () => bench.names(), ['sum', 'rows']);
      await bench.shows({ reopened: '1 time', edits: 3 });

      // And back.
      const again = await cluster.begin('box-a');
      await until('both replicas', async () => (await (await fetch(`http://${again.listeners.http1}/stats?scope=cluster`)).json()).replicas, ({ length }) => length === 2);
      await cluster.kill('box-b');
      await ingest(again, 62);
      await bench.shows({ state: 'open', reopened: '2 times', status: /; box-a delivers\.$/ });
      await bench.card('sum').shows({ value: '62' });
      await until('the new row', () => numbers(bench, 'rows'), (seen) => seen.at(-1) === 62 && new Set(seen).size === seen.length);
    });
  }
});

it('leaves a server that is about to end', async (t) => {
  const { a, b } = await start(t);
  const { page } = await stage.visit(t, { server: a });
  const bench = await watch(page, 'WebSocket');
  await ingest(a, 1, 2);
  await shows(bench, [1, 2]);
  const stopped = a.stop();
  await bench.shows({ state: 'open', status: /; box-b delivers\.$/ });
  await stopped;
  await ingest(b, 3);
  await shows(bench, [1, 2, 3]);
});

it('makes a query at the other replica when its own is gone before there was any', async (t) => {
  const { cluster, a, b } = await start(t);
  const { page } = await stage.visit(t, { server: a });
  await heardOfBoth(page);
  await cluster.kill('box-a');
  await ingest(b, 1, 2);
  const bench = new Workbench(page);
  await bench.run('rows', 'select n from seen');
  await bench.shows({ state: 'open', status: /; box-b delivers\.$/, mistakeText: '' });
  await untilIs('the rows', () => numbers(bench, 'rows'), [1, 2]);
});

it('is read through a proxy where that is the only way, and goes on behind it', async (t) => {
  const relay = await Relay.to(t, '');
  const { origin: front } = relay;
  const { cluster, a, b } = await start(t, [front]);
  relay.target = a.listeners.http1;
  const { page } = await stage.visit(t, { url: 'about:blank' });
  const isDirect = ({ origin }) => origin.startsWith('http') && origin !== front;
  await page.route(isDirect, (route) => route.abort());
  await page.goto(front);
  const bench = await watch(page, 'SSE on HTTP/1.1');
  await bench.shows({ status: `Open: SSE on HTTP/1.1, ${front}; box-a delivers.` });
  await ingest(b, 1, 2);
  await shows(bench, [1, 2]);
  relay.target = b.listeners.http1;
  await cluster.kill('box-a');
  await bench.shows({ status: `Open: SSE on HTTP/1.1, ${front}; box-b delivers.` });
  await ingest(b, 3);
  await shows(bench, [1, 2, 3]);
  await bench.edit('sum', 'select max(n) as most from seen');
  await bench.card('sum').shows({ value: '3' });
});

it('is seen in screenshots', async (t) => {
  const { cluster, a, b } = await start(t);
  await mkdir(SHOTS, { recursive: true });
  const { page } = await stage.visit(t, { server: a });
  const bench = await watch(page);
  await ingest(a, 1, 2, 3);
  await shows(bench, [1, 2, 3]);
  await cluster.kill('box-a');
  await ingest(b, 4);
  await shows(bench, [1, 2, 3, 4]);
  for (const [width, colorScheme] of [[1280, 'light'], [390, 'dark']]) {
    await page.setViewportSize({ width, height: 900 });
    await page.emulateMedia({ colorScheme });
    assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), `${width} px suffice`);
    await bench.region.screenshot({ path: join(SHOTS, `moved-${width}-${colorScheme}.png`) });
  }
});
