// What the page shows is true: its numbers are held against what the server counts, in a real browser.

import assert from 'node:assert/strict';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { it } from 'node:test';

import { SIX_OF_TEN } from './browser.mjs';
import { Stage } from './stage.mjs';
import { until, untilIs } from './wait.mjs';

const SHOTS = process.env.TRIWIRE_SHOTS ?? new URL('../../target/page', import.meta.url).pathname;

const stage = Stage.set();

it('shows six of ten streams on HTTP/1.1, ten on one HTTP/2 connection, and ten WebSockets', stage.onPage(async (panels, page) => {
  const [http1, http2, websocket] = panels;
  for (const panel of panels) await panel.start('metrics', 10);

  await http1.shows({ asked: 10, open: 6, stuck: 4, connections: 6, serverStreams: 6, status: SIX_OF_TEN });
  await http2.shows({ asked: 10, open: 10, stuck: 0, connections: 1, serverStreams: 11, protocol: 'h2' });
  await http2.shows({ status: /^10 of 10 streams open\. They share one connection: /, aside: /carries this page’s own/ });
  await websocket.shows({ asked: 10, open: 10, stuck: 0, connections: 10, serverStreams: 10 });
  await websocket.shows({ status: /^10 of 10 streams open\. Each has a connection of its own: / });
  for (const panel of [http1, websocket]) await panel.shows({ protocol: 'http/1.1' });
  const all = { sse_http1: [6, 6], sse_http2: [1, 11], websocket: [10, 10], websocket_http2: [0, 0] };
  assert.deepEqual(await stage.server.counts(), all);

  for (const [panel, listener] of [[http1, 'http1s'], [http2, 'http2'], [websocket, 'wss']]) {
    await panel.shows({ address: stage.server.origin(listener), event: /"name":/, eventRate: /^[1-9]/, serverEventRate: /^[1-9]/ });
    await panel.shows({ gaps: 0, reconnects: 0 });
  }
  const inWords = (panel) => panel.field('picture').getAttribute('aria-label');
  assert.equal(await inWords(http1), 'Picture: 6 connections between browser and server, one stream in each. 4 streams at the browser without one.');
  assert.equal(await inWords(http2), 'Picture: 1 connection between browser and server with 10 streams in it.');
  assert.equal(await inWords(websocket), 'Picture: 10 connections between browser and server, one stream in each.');

  await page.getByRole('button', { name: 'Stop all' }).click();
  for (const panel of panels) await panel.shows({ asked: 0, open: 0, stuck: 0, status: 'Stopped.' });
  // The page's own stream of numbers is left, and goes with the page.
  await untilIs('the counts after Stop', () => stage.server.counts(), { ...all, sse_http1: [0, 0], sse_http2: [1, 1], websocket: [0, 0] });
  await http2.shows({ connections: 1, serverStreams: 1 });
  await page.goto('about:blank');
  await untilIs('the counts without the page', async () => (await stage.server.counts()).sse_http2, [0, 0]);
}));

it('publishes an event and shows it in all three panels', stage.onPage(async (panels, page) => {
  for (const panel of panels) await panel.start('metrics', 1);
  for (const panel of panels) await panel.shows({ open: 1, event: /"name":/ });
  for (const panel of panels) await panel.stop();
  for (const panel of panels) await panel.start('page/news', 10);
  for (const [i, panel] of panels.entries()) await panel.shows({ open: [6, 10, 10][i], events: 0 });

  const form = page.getByRole('region', { name: 'Publish' });
  await form.getByLabel('Topic').fill('page/news');
  await form.getByLabel('Type').fill('greeting');
  await form.getByLabel('Format').selectOption('JSON');
  await form.getByLabel('Data').fill('{"hello": "wörld"}');
  await form.getByRole('button', { name: 'Publish' }).click();
  const arrived = 'Arrived: SSE on HTTP/1.1, 6 of 6; SSE on HTTP/2, 10 of 10; WebSocket, 10 of 10.';
  const said = await until('its arrival', () => form.getByRole('status').textContent(), (text) => text.endsWith(arrived));
  const [id] = said.match(/\d+-\d+/);

  const [http1, http2, websocket] = panels;
  // 18 characters are 19 bytes in UTF-8, on each stream.
  await http1.shows({ events: 6, bytes: `${6 * 19} B`, eventId: `${id}, greeting`, event: '{"hello": "wörld"}' });
  await http2.shows({ events: 10, bytes: `${10 * 19} B`, eventId: `${id}, greeting`, event: '{"hello": "wörld"}' });
  await websocket.shows({ events: 10, event: `{"id":"${id}","topic":"page/news","type":"greeting","data":{"hello": "wörld"}}` });

  await form.getByLabel('Data').fill('{"hello": ');
  await form.getByRole('button', { name: 'Publish' }).click();
  await until('the mistake', () => form.getByRole('status').textContent(), (text) => text.startsWith('Not JSON: '));
  await http2.shows({ events: 10 });
}));

it('shows HTML as text and runs none of it', stage.onPage(async (panels, page) => {
  const html = '<img src="/nothing" onerror="window.wasRun = 1"><script>window.wasRun = 2</script><b>bold</b>';
  for (const panel of panels) await panel.start('html', 1);
  for (const panel of panels) await panel.shows({ open: 1 });
  const { id } = await stage.server.publish('html', html);
  const [http1, http2, websocket] = panels;
  for (const panel of [http1, http2]) await panel.shows({ event: html });
  await websocket.shows({ event: `{"id":"${id}","topic":"html","data":${JSON.stringify(html)}}` });
  for (const panel of panels) assert.equal(await panel.field('event').locator('*').count(), 0);
  assert.equal(await page.evaluate('window.wasRun'), undefined);
}));

it('measures latencies that are small, never negative, and none where nothing came', stage.onPage(async (panels, page) => {
  for (const panel of panels) await panel.shows({ p50: '–', p99: '–' });
  for (const panel of panels) await panel.start('metrics', 1);
  for (const panel of panels) {
    const { p50, p99 } = await panel.shows({ p50: / ms$/, p99: / m?s$/ });
    assert.ok(!p50.startsWith('-') && !p99.startsWith('-'), `${p50}, ${p99}`);
  }
  // Server and browser have one clock here, so it has to be found out that they agree.
  await until('the clocks', () => page.locator('#clock').textContent(), (text) => /^The clocks agree within \d+ ms\.$/.test(text));
}));

it('takes a difference of the clocks off', stage.onPage(async ([, http2], page) => {
  await page.addInitScript(() => {
    const now = Date.now;
    Date.now = () => now() - 90_000;
  });
  await page.reload();
  await http2.start('metrics', 1);
  const said = await until('the clocks', () => page.locator('#clock').textContent(), (text) => text.includes(' ahead'));
  const [, ahead] = said.match(/^The server’s clock is (\d+) ms ahead/);
  assert.ok(Math.abs(Number(ahead) - 90_000) < 500, said);
  await http2.shows({ open: 1, events: /^[1-9]/, p50: /^(<1|\d{1,3}) ms$/ });
}));

it('stands still while it is paused, loses nothing, and moves on', stage.onPage(async ([, http2], page) => {
  await http2.start('metrics', 2);
  await http2.shows({ open: 2, events: /^[1-9]/ });
  await page.getByRole('button', { name: 'Pause display' }).click();
  const paused = page.locator('#paused');
  const since = () => paused.textContent();
  await until('events behind the pause', since, (text) => /^Display paused at .*: ([2-9]\d|\d{3,}) events since\.$/.test(text));
  const still = await http2.read();
  await until('ten more', since, (text) => Number(text.match(/(\d+) events/)[1]) > 40);
  assert.deepEqual(await http2.read(), still);
  await page.getByRole('button', { name: 'Resume display' }).click();
  assert.ok(await paused.isHidden());
  await until('the events to be shown', () => http2.read(), ({ events }) => Number(events) >= Number(still.events) + 40);
  await http2.shows({ gaps: 0, reconnects: 0, open: 2 });

  await page.getByRole('button', { name: 'Pause display' }).click();
  await http2.stop();
  await http2.shows({ open: 0, status: 'Stopped.' });
  assert.ok(await paused.isHidden(), 'what the reader does ends the pause');
}));

it('moves nothing when that is asked for', stage.onPage(async ([, http2], page) => {
  await http2.start('metrics', 3);
  await http2.shows({ open: 3, events: /^[1-9]/ });
  // What comes lights up its line and is no spark on its way: from one frame to the next the picture is the same.
  const frames = () => page.evaluate(() => new Promise((resolve) => {
    const canvas = [...document.querySelectorAll('[data-field=picture]')][1];
    const first = canvas.toDataURL();
    requestAnimationFrame(() => requestAnimationFrame(() => requestAnimationFrame(() => resolve([first, canvas.toDataURL()]))));
  }));
  const [first, next] = await frames();
  assert.equal(first, next);
}, { reducedMotion: 'reduce' }));

it('is used by keyboard: Enter starts, the button stops', stage.onPage(async ([http1]) => {
  const { region } = http1;
  await region.getByLabel('Streams').fill('2');
  await region.getByLabel('Streams').press('Enter');
  await http1.shows({ open: 2, status: /^2 of 2 streams open\./ });
  await region.getByLabel('Streams').press('Tab');
  const button = region.getByRole('button', { name: 'Stop SSE on HTTP/1.1', exact: true });
  assert.ok(await button.evaluate((element) => element === document.activeElement));
  await button.press('Space');
  await http1.shows({ open: 0, status: 'Stopped.' });
  assert.ok(await region.getByRole('button', { name: 'Start' }).evaluate((element) => element === document.activeElement));
}));

it('says no to a number of streams out of range', stage.onPage(async ([http1]) => {
  await http1.start('metrics', 101);
  assert.equal(await http1.region.getByLabel('Streams').evaluate((input) => input.matches(':invalid')), true);
  await http1.shows({ asked: 0, action: 'Start' });
}));

for (const colorScheme of ['light', 'dark']) {
  for (const width of [1280, 390]) {
    it(`fits ${width} pixels in ${colorScheme}`, stage.onPage(async (panels, page) => {
      await page.getByRole('button', { name: 'Start all' }).click();
      for (const [i, panel] of panels.entries()) await panel.shows({ open: [6, 10, 10][i], status: /\. \w/, event: /"name":/ });
      assert.equal(await page.evaluate('document.documentElement.scrollWidth - innerWidth'), 0);
      await mkdir(SHOTS, { recursive: true });
      await page.screenshot({ path: join(SHOTS, `page-${width}-${colorScheme}.png`), fullPage: true });
    }, { colorScheme, viewport: { width, height: 900 } }));
  }
}
