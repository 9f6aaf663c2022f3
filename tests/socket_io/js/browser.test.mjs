// The official client in Chromium, on HTTP/2 over TLS: by polling, by WebSocket (an extended CONNECT on the page's own
// connection), and by an upgrade; and from a page of another origin.

import assert from 'node:assert/strict';
import { X509Certificate, createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { after, before, test } from 'node:test';

import { chromium } from 'playwright-core';

import { CARRIERS, counts, getItem, origin, until } from './items.mjs';

const CLIENT = new URL('node_modules/socket.io-client/dist/socket.io.min.js', import.meta.url).pathname;

let browser;

before(async () => {
  const leaf = new X509Certificate(await readFile(`${process.env.TRIWIRE_CERTS}/server.pem`));
  const key = leaf.publicKey.export({ type: 'spki', format: 'der' });
  const pin = createHash('sha256').update(key).digest('base64');
  browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    args: ['--no-sandbox', '--disable-gpu', '--disable-quic', `--ignore-certificate-errors-spki-list=${pin}`],
  });
});

after(() => browser?.close());

/** A page of an origin, with the client in it, which asks for a document that is there and for one that is not. */
async function visit(t, from, to, carrier, collection) {
  const context = await browser.newContext();
  t.after(() => context.close());
  const page = await context.newPage();
  await page.addInitScript({ path: CLIENT });
  await page.goto(`${origin(from)}/healthz`);
  await page.evaluate(`window.getItem = ${getItem}`);
  const asked = { url: origin(to), transports: CARRIERS[carrier], collection };
  return page.evaluate(async ({ url, transports, collection }) => {
    const socket = window.io(url, { transports, withCredentials: true });
    await new Promise((resolve, reject) => {
      socket.on('connect', resolve);
      socket.on('connect_error', reject);
    });
    const last = transports.at(-1);
    while (socket.io.engine.transport.name !== last) {
      await new Promise((resolve) => socket.io.engine.once('upgrade', resolve));
    }
    await socket.timeout(5000).emitWithAck('PUT', collection, 1, { name: 'one' });
    const items = [await window.getItem(socket, 1, collection), await window.getItem(socket, 2, collection)];
    const change = new Promise((resolve) => socket.on('change', resolve));
    await socket.timeout(5000).emitWithAck('WATCH', { collection });
    await socket.timeout(5000).emitWithAck('DELETE', collection, 1);
    return [...items, (await change).type];
  }, asked);
}

for (const carrier of Object.keys(CARRIERS)) {
  test(`documents by ${carrier} on HTTP/2`, async (t) => {
    await until('nobody is there', (now) => now.listeners.http2.connections === 0);
    const before = await counts();
    const said = await visit(t, 'http2', 'http2', carrier, `page-${carrier}`);
    assert.deepEqual(said, [{ id: 1, name: 'one' }, undefined, 'DELETED']);
    const now = await counts();
    assert.equal(now.streams, before.streams + 1);
    // All of it, a WebSocket too, on one connection of the page's own.
    const { connections_total: all } = now.listeners.http2;
    assert.equal(all, before.listeners.http2.connections_total + 1);
    assert.equal(now.listeners.wss.connections, 0);
  });

  // Without a connection of HTTP/2 that is there already, Chromium opens one of HTTP/1.1 for a WebSocket.
  const other = carrier === 'websocket' ? 'wss' : 'http2';
  test(`the same from a page of another origin by ${carrier} on ${other}`, async (t) => {
    const said = await visit(t, 'http1s', other, carrier, `other-${carrier}`);
    assert.deepEqual(said, [{ id: 1, name: 'one' }, undefined, 'DELETED']);
  });
}
