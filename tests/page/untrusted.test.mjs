// The page opened over plain HTTP/1.1 in a browser that trusts no certificate: what can be had without.

import assert from 'node:assert/strict';
import { after, before, it } from 'node:test';

import { SIX_OF_TEN, Visit, launch } from './browser.mjs';
import { Certificates, Server } from './server.mjs';
import { until, untilIs } from './wait.mjs';

let certificates;
let server;
let browser;
let visit;

before(async () => {
  certificates = await Certificates.create();
  server = await Server.start(certificates);
  browser = await launch();
  visit = await Visit.to(browser, server.origin('http1'));
});

after(async () => {
  await browser?.close();
  await server?.stop();
  await certificates?.remove();
});

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
  await until('the id', () => form.getByRole('status').textContent(), (text) => /^Published as \d+-\d+\. Arrived: /.test(text));
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
