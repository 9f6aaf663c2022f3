// What carries what: WebSocket over HTTP/2 and its fall-back, the page's own requests; a hundred streams; a flood.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';

import { SIX_OF_TEN } from './browser.mjs';
import { Stage } from './stage.mjs';
import { until } from './wait.mjs';

const stage = Stage.set();

const over = (panel, label) => panel.region.getByLabel('Over').selectOption(label);

describe('WebSocket over HTTP/2', () => {
  it('shares one connection, as the server counts it', stage.onPage(async ([, , websocket]) => {
    await over(websocket, 'HTTP/2');
    await websocket.start('metrics', 10);
    await websocket.shows({
      open: 10, connections: 1, serverStreams: 10, counted: 'websocket_http2', protocol: 'h2',
      address: stage.server.origin('http2'), event: /"name":/, status: /^10 of 10 streams open\. They share one connection: /,
    });
    const { websocket: alone, websocket_http2: shared } = await stage.server.counts();
    assert.deepEqual([alone, shared], [[0, 0], [1, 10]]);
    await websocket.stop();
    await over(websocket, 'HTTP/1.1');
    await websocket.start('metrics', 10);
    await websocket.shows({ open: 10, connections: 10, counted: 'websocket', protocol: 'http/1.1' });
  }));

  it('comes back by one connection after a cut', async (t) => {
    const { panels: [, , websocket] } = await stage.visit(t);
    await over(websocket, 'HTTP/2');
    await websocket.start('metrics', 10);
    await websocket.shows({ open: 10, events: /^[1-9]/ });
    await websocket.region.getByRole('button', { name: 'Cut the connection' }).click();
    await websocket.shows({ open: 10, connections: 1, reconnects: 10, proof: /all 10 streams resumed within .* none missing, none twice/ });
  });

  it('falls back to HTTP/1.1 when it cannot be had, and says so', async (t) => {
    const without = await stage.another(t, { flags: ['--no-websocket-http2'] });
    const { panels: [, , websocket] } = await stage.visit(t, { server: without });
    await over(websocket, 'HTTP/2');
    await websocket.start('metrics', 10);
    await websocket.shows({
      open: 10, connections: 10, counted: 'websocket', address: without.origin('wss'),
      trouble: /^No WebSocket could be opened over HTTP\/2, .*: these are on HTTP\/1\.1\.$/,
    });
  });

  it('is had from a page that came over plain HTTP/1.1, too', async (t) => {
    const { panels: [, http2, websocket] } = await stage.visit(t, { listener: 'http1' });
    await over(websocket, 'HTTP/2');
    for (const panel of [http2, websocket]) await panel.start('metrics', 10);
    await http2.shows({ open: 10, connections: 1, serverStreams: 11 });
    await websocket.shows({ open: 10, connections: 1, counted: 'websocket_http2' });
  });
});

for (const listener of ['http1', 'ws', 'http1s', 'wss']) {
  it(`asks and publishes on HTTP/2 also when it was opened on ${listener}, so that stuck streams starve nothing`, async (t) => {
    const { page, panels: [http1] } = await stage.visit(t, { listener });
    const home = stage.server.origin('http2');
    await until('the page to move', () => page.locator('#source').textContent(), (text) => text.endsWith(`on a stream of this page’s own from ${home}.`));
    await http1.start('crowd', 10);
    await http1.shows({ open: 6, stuck: 4, connections: 6, status: SIX_OF_TEN });
    const form = page.getByRole('region', { name: 'Publish' });
    await form.getByLabel('Topic').fill('crowd');
    const published = page.waitForRequest(`${home}/publish/crowd`);
    await form.getByRole('button', { name: 'Publish' }).click();
    await published;
    await until('its arrival', () => form.getByRole('status').textContent(), (text) => text.endsWith('Arrived: SSE on HTTP/1.1, 6 of 6.'));
  });
}

it('opens a hundred streams of each', stage.onPage(async (panels, page) => {
  const [http1, http2, websocket] = panels;
  for (const panel of panels) await panel.start('quiet', 100);
  await http1.shows({ asked: 100, open: 6, stuck: 94, connections: 6 });
  await http2.shows({ asked: 100, open: 100, stuck: 0, connections: 1, serverStreams: 101 });
  await websocket.shows({ asked: 100, open: 100, stuck: 0, connections: 100, serverStreams: 100 });
  await stage.server.publish('quiet', 'to all');
  for (const [i, panel] of panels.entries()) await panel.shows({ events: [6, 100, 100][i], event: /to all/ });
  await page.getByRole('button', { name: 'Stop all' }).click();
  for (const panel of panels) await panel.shows({ asked: 0, connections: panel === http2 ? 1 : 0 });
}));


it('counts every one of 30,000 events, keeps none of them, and still draws', stage.onPage(async (panels, page) => {
  for (const panel of panels) await panel.start('flood', 1);
  for (const panel of panels) await panel.shows({ open: 1 });
  await page.evaluate(() => {
    window.frames1 = 0;
    const count = () => requestAnimationFrame(count, (window.frames1 += 1));
    count();
  });
  const devtools = await page.context().newCDPSession(page);
  const heap = async () => {
    await devtools.send('HeapProfiler.collectGarbage');
    return (await devtools.send('Runtime.getHeapUsage')).usedSize;
  };
  const before = await heap();
  const line = JSON.stringify({ padding: 'x'.repeat(380) });
  const batch = `${line}\n`.repeat(10_000);
  for (let i = 0; i < 3; i += 1) await stage.server.publish('flood', batch, 'application/x-ndjson');
  for (const panel of panels) await panel.shows({ events: '30,000', gaps: 0, open: 1 });
  const [http1, http2] = panels;
  for (const panel of [http1, http2]) await panel.shows({ bytes: '11.8 MB', event: line });
  const grown = (await heap()) - before;
  // Kept, the three panels' events would be more than 35 MB.
  assert.ok(grown < 8e6, `the heap has grown by ${grown} bytes`);
  assert.ok((await page.evaluate('window.frames1')) > 5, 'frames were drawn meanwhile');
}));

it('answers its reader at once while 10,000 events a second come', stage.onPage(async ([, http2], page) => {
  await http2.start('rapid', 1);
  await http2.shows({ open: 1 });
  const tenth = '{"n":1}\n'.repeat(1000);
  let isOver = false;
  const publishing = (async () => {
    for (let at = performance.now(); !isOver; at += 100) {
      await stage.server.publish('rapid', tenth, 'application/x-ndjson');
      await new Promise((resolve) => setTimeout(resolve, Math.max(0, at + 100 - performance.now())));
    }
  })();
  try {
    await http2.shows({ eventRate: /^(9,[5-9]|1\d,)/ });
    // How long a click waits until it is handled and its effect is drawn, in the middle of it.
    const waits = await page.evaluate(async () => {
      const button = document.getElementById('pause');
      const waits = [];
      for (let i = 0; i < 10; i += 1) {
        const from = performance.now();
        await new Promise((resolve) => setTimeout(resolve));
        button.click();
        await new Promise((resolve) => requestAnimationFrame(resolve));
        waits.push(performance.now() - from);
      }
      return waits.sort((a, b) => a - b);
    });
    assert.ok(waits[5] < 200, `half of the clicks took more than ${waits[5]} ms`);
  } finally {
    isOver = true;
    await publishing;
  }
  await http2.shows({ open: 1, gaps: 0 });
}));
