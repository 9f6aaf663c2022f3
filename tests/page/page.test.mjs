// What the page shows is true: its numbers are held against what the server counts, in a real browser.

import assert from 'node:assert/strict';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';

import { Visit, launch } from './browser.mjs';
import { Certificates, Server } from './server.mjs';
import { until, untilIs } from './wait.mjs';

const SHOTS = process.env.TRIWIRE_SHOTS ?? new URL('../../target/page', import.meta.url).pathname;
const SIX_OF_TEN = '6 of 10 streams open, 4 stuck. A browser opens at most 6 HTTP/1.1 connections to one host and port, '
  + 'and each stream keeps one: the other 4 wait inside the browser, and the server has not heard of them.';

let certificates;
let server;

before(async () => {
  certificates = await Certificates.create();
  server = await Server.start(certificates);
});

after(async () => {
  await server?.stop();
  await certificates?.remove();
});

describe('opened over HTTP/2, with the certificate trusted', () => {
  let browser;
  let visit;

  before(async () => {
    browser = await launch(await certificates.pin());
  });

  after(() => browser?.close());

  /** Opens the page for one test, which fails if the browser's console has anything to complain of. */
  const onPage = (test, options) => async () => {
    visit = await Visit.to(browser, server.origin('http2'), options);
    try {
      await test(visit.panels, visit.page);
      assert.deepEqual(visit.complaints, []);
    } finally {
      await visit.close();
    }
  };

  it('shows six of ten streams on HTTP/1.1, ten on one HTTP/2 connection, and ten WebSockets', onPage(async (panels, page) => {
    const [http1, http2, websocket] = panels;
    for (const panel of panels) await panel.start('metrics', 10);

    await http1.shows({ asked: 10, open: 6, stuck: 4, connections: 6, serverStreams: 6, status: SIX_OF_TEN });
    await http2.shows({ asked: 10, open: 10, stuck: 0, connections: 1, serverStreams: 11, protocol: 'h2' });
    await http2.shows({ status: '10 of 10 streams open. They share one connection.', aside: /carries this page’s own/ });
    await websocket.shows({ asked: 10, open: 10, stuck: 0, connections: 10, serverStreams: 10 });
    await websocket.shows({ status: '10 of 10 streams open. Each has a connection of its own.' });
    for (const panel of [http1, websocket]) await panel.shows({ protocol: 'http/1.1' });
    const all = { sse_http1: [6, 6], sse_http2: [1, 11], websocket: [10, 10] };
    assert.deepEqual(await server.counts(), all);

    for (const [panel, listener] of [[http1, 'http1s'], [http2, 'http2'], [websocket, 'wss']]) {
      await panel.shows({ address: server.origin(listener), event: /"name":/, eventRate: /^[1-9]/, serverEventRate: /^[1-9]/ });
      await panel.shows({ gaps: 0, reconnects: 0 });
    }

    await page.getByRole('button', { name: 'Stop all' }).click();
    for (const panel of panels) await panel.shows({ asked: 0, open: 0, stuck: 0, status: 'Stopped.' });
    // The page's own stream of numbers is left, and goes with the page.
    await untilIs('the counts after Stop', () => server.counts(), { ...all, sse_http1: [0, 0], sse_http2: [1, 1], websocket: [0, 0] });
    await http2.shows({ connections: 1, serverStreams: 1 });
    await page.goto('about:blank');
    await untilIs('the counts without the page', async () => (await server.counts()).sse_http2, [0, 0]);
  }));

  it('publishes an event and shows it in all three panels', onPage(async (panels, page) => {
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
    const said = await until('the id', () => form.getByRole('status').textContent(), (text) => /\d-\d/.test(text));
    const [id] = said.match(/\d+-\d+$/);

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

  it('shows HTML as text and runs none of it', onPage(async (panels, page) => {
    const html = '<img src="/nothing" onerror="window.wasRun = 1"><script>window.wasRun = 2</script><b>bold</b>';
    for (const panel of panels) await panel.start('html', 1);
    for (const panel of panels) await panel.shows({ open: 1 });
    const { id } = await server.publish('html', html);
    const [http1, http2, websocket] = panels;
    for (const panel of [http1, http2]) await panel.shows({ event: html });
    await websocket.shows({ event: `{"id":"${id}","topic":"html","data":${JSON.stringify(html)}}` });
    for (const panel of panels) assert.equal(await panel.field('event').locator('*').count(), 0);
    assert.equal(await page.evaluate('window.wasRun'), undefined);
  }));

  it('counts every one of 30,000 events, keeps none of them, and still draws', onPage(async (panels, page) => {
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
    for (let i = 0; i < 3; i += 1) await server.publish('flood', batch, 'application/x-ndjson');
    for (const panel of panels) await panel.shows({ events: '30,000', gaps: 0, open: 1 });
    const [http1, http2] = panels;
    for (const panel of [http1, http2]) await panel.shows({ bytes: '11.8 MB', event: line });
    const grown = (await heap()) - before;
    // Kept, the three panels' events would be more than 35 MB.
    assert.ok(grown < 8e6, `the heap has grown by ${grown} bytes`);
    assert.ok((await page.evaluate('window.frames1')) > 5, 'frames were drawn meanwhile');
  }));

  it('is used by keyboard: Enter starts, the button stops', onPage(async ([http1]) => {
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

  it('says no to a number of streams out of range', onPage(async ([http1]) => {
    await http1.start('metrics', 101);
    assert.equal(await http1.region.getByLabel('Streams').evaluate((input) => input.matches(':invalid')), true);
    await http1.shows({ asked: 0, action: 'Start' });
  }));

  for (const colorScheme of ['light', 'dark']) {
    for (const width of [1280, 390]) {
      it(`fits ${width} pixels in ${colorScheme}`, onPage(async (panels, page) => {
        await page.getByRole('button', { name: 'Start all' }).click();
        for (const [i, panel] of panels.entries()) await panel.shows({ open: [6, 10, 10][i], status: /\. \w/, event: /"name":/ });
        assert.equal(await page.evaluate('document.documentElement.scrollWidth - innerWidth'), 0);
        await mkdir(SHOTS, { recursive: true });
        await page.screenshot({ path: join(SHOTS, `page-${width}-${colorScheme}.png`), fullPage: true });
      }, { colorScheme, viewport: { width, height: 900 } }));
    }
  }

  it('comes back after a restart of the server, and says what it may have missed', async (t) => {
    const mortal = await Server.start(certificates, { metrics: 'off' });
    t.after(() => mortal.stop());
    visit = await Visit.to(browser, mortal.origin('http2'));
    t.after(() => visit.close());
    const [http1, http2, websocket] = visit.panels;
    for (const panel of visit.panels) await panel.start('news', 10);
    await http1.shows({ open: 6, stuck: 4 });
    for (const panel of [http2, websocket]) await panel.shows({ open: 10 });
    await mortal.publish('news', 'before');
    await websocket.shows({ events: 10 });
    await mortal.stop();
    await websocket.shows({ open: 0, status: /^0 of 10 streams open, .*10 reconnecting\./ });
    const stale = () => visit.page.locator('#stale').textContent();
    await until('old numbers to be called old', stale, (text) => text.startsWith(`${mortal.origin('http2')} has not told `));
    await http2.shows({ connections: '–', serverStreams: '–', serverEventRate: '–' });

    const heir = await Server.start(certificates, { listen: mortal.listeners, metrics: 'off' });
    t.after(() => heir.stop());
    await http1.shows({ open: 6 });
    for (const panel of [http2, websocket]) {
      await panel.shows({ open: 10, reconnects: 10, gaps: 10, aside: /Last gap on news: expired, how many events is not known\./ });
    }
    await untilIs('the notice of old numbers', stale, '');
    await heir.publish('news', 'after');
    for (const panel of [http2, websocket]) await panel.shows({ events: 20, event: /after/ });
  });

  it('says so when a listener is off', async (t) => {
    const partial = await Server.start(certificates, { listen: { wss: 'off' }, metrics: 'off' });
    t.after(() => partial.stop());
    visit = await Visit.to(browser, partial.origin('http2'));
    t.after(() => visit.close());
    const [, http2, websocket] = visit.panels;
    await websocket.shows({ status: 'Off.', trouble: /^The listener wss is off\. / });
    assert.ok(await websocket.region.getByRole('button', { name: 'Start' }).isDisabled());
    await http2.start('metrics', 1);
    await http2.shows({ open: 1 });
    assert.deepEqual(visit.complaints, []);
  });

  it('looks again at a port out of reach when its reader comes back to the page', async (t) => {
    visit = await Visit.to(browser, 'about:blank');
    t.after(() => visit.close());
    const probes = `${server.origin('wss')}/healthz?*`;
    await visit.page.route(probes, (route) => route.abort());
    await visit.page.goto(server.origin('http2'));
    const websocket = visit.panel('WebSocket');
    await websocket.shows({ status: 'Out of reach.', trouble: /its certificate is not trusted here yet/ });
    await visit.page.unroute(probes);
    await visit.page.evaluate(() => window.dispatchEvent(new Event('focus')));
    await websocket.shows({ status: 'Ready to start.', trouble: '', protocol: 'http/1.1' });
    assert.ok(await websocket.field('hint').isHidden());
  });
});

describe('opened over plain HTTP/1.1, with nothing trusted', () => {
  let browser;
  let visit;

  before(async () => {
    browser = await launch();
    visit = await Visit.to(browser, server.origin('http1'));
  });

  after(() => browser?.close());

  it('points to the port whose certificate is not trusted, and opens nothing there', async () => {
    const http2 = visit.panel('SSE on HTTP/2');
    await http2.shows({ status: 'Out of reach.', trouble: /its certificate is not trusted here yet/ });
    const link = http2.region.getByRole('link');
    assert.equal(await link.getAttribute('href'), `${server.origin('http2')}/`);
    await http2.start('metrics', 10);
    await http2.shows({ status: 'Out of reach.', asked: 0, action: 'Start' });
    assert.deepEqual((await server.counts()).sse_http2, [0, 0]);
    assert.ok(visit.complaints.every((text) => text.includes('ERR_CERT_AUTHORITY_INVALID')), visit.complaints.join('\n'));
  });

  it('keeps its own requests off the port that its streams fill', async () => {
    const [http1, , websocket] = visit.panels;
    assert.match(await visit.page.locator('#source').textContent(), new RegExp(`asked for at ${server.origin('ws')}/stats`));
    for (const panel of [http1, websocket]) await panel.start('plain', 10);
    await http1.shows({ open: 6, stuck: 4, connections: 6, protocol: 'http/1.1', address: server.origin('http1'), status: SIX_OF_TEN });
    await websocket.shows({ open: 10, connections: 10, protocol: 'http/1.1', address: server.origin('ws') });
    const { sse_http1: sse, websocket: sockets } = await server.counts();
    assert.deepEqual([sse, sockets], [[6, 6], [10, 10]]);

    const form = visit.page.getByRole('region', { name: 'Publish' });
    await form.getByLabel('Topic').fill('plain');
    await form.getByRole('button', { name: 'Publish' }).click();
    await until('the id', () => form.getByRole('status').textContent(), (text) => /^Published as \d+-\d+$/.test(text));
    await http1.shows({ events: 6, event: 'hello', serverEvents: /./ });
    await websocket.shows({ events: 10 });
  });

  it('says so when its own requests have to wait for its streams', async (t) => {
    const narrow = await Server.start(certificates, { listen: { ws: 'off' }, metrics: 'off' });
    t.after(() => narrow.stop());
    const other = await Visit.to(browser, narrow.origin('http1'));
    t.after(() => other.close());
    const http1 = other.panel('SSE on HTTP/1.1');
    await http1.start('plain', 10);
    await http1.shows({ open: 6, stuck: 4 });
    const stale = () => other.page.locator('#stale').textContent();
    await until('the reason', stale, (text) => text.endsWith(': this page’s streams hold all connections that the browser has for it.'));
    await http1.shows({ connections: '–', status: SIX_OF_TEN.replace(', and the server has not heard of them', '') });
    await http1.stop();
    await untilIs('the notice', stale, '');
    await http1.shows({ connections: 0, serverStreams: 0 });
  });
});
