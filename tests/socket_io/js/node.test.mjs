// The official client in Node, which speaks HTTP/1.1: on every listener that does, by polling, by WebSocket, and by an
// upgrade from the one to the other.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';

import { CARRIERS, ask, connect, counts, getItem, until } from './items.mjs';

const LISTENERS = ['http1', 'ws', 'http1s', 'wss'];

for (const listener of LISTENERS) {
  for (const carrier of Object.keys(CARRIERS)) {
    test(`documents by ${carrier} on ${listener}`, async (t) => {
      const collection = `items-${listener}-${carrier}`;
      const before = await counts();
      const socket = await connect(t, listener, carrier);
      assert.equal(await getItem(socket, 1, collection), undefined);
      const [made] = await ask(socket, 'POST', collection, { id: 1, name: 'one' });
      assert.deepEqual(made, { id: 1, name: 'one' });
      assert.deepEqual(await getItem(socket, 1, collection), { id: 1, name: 'one' });
      const [patched, { version }] = await ask(socket, 'PATCH', collection, { id: 1, tags: ['a'] });
      assert.deepEqual(patched, { id: 1, name: 'one', tags: ['a'] });
      const [list, { total }] = await ask(socket, 'LIST', collection, { page: 1, sort: '-name', filters: { name: 'one' } });
      assert.deepEqual([list, total], [[patched], 1]);
      const [refused] = await ask(socket, 'PUT', collection, 1, {}, { ifMatch: version - 1 });
      assert.equal(refused.error.status, 412);
      const [wrong] = await ask(socket, 'GET', collection);
      assert.match(wrong.error.detail, /GET takes \(collection, id/);
      const [binary] = await ask(socket, 'POST', collection, { bytes: Buffer.from([1, 2]) });
      assert.equal(binary.error.status, 415);
      assert.deepEqual((await ask(socket, 'DELETE', collection, 1))[0], true);
      assert.deepEqual(await ask(socket, 'DELETE', collection, 1), [false]);
      const now = await counts();
      assert.equal(now.streams_total, before.streams_total + 1);
      assert.equal(now.streams, before.streams + 1);
      await until('a connection carries it', (now) => now.connections > before.connections);
      socket.close();
      await until('it is gone', (now) => now.streams === before.streams);
    });
  }
}

for (const carrier of Object.keys(CARRIERS)) {
  test(`5,000 acknowledgements in flight by ${carrier}`, async (t) => {
    const socket = await connect(t, 'ws', carrier);
    const collection = `many-${carrier}`;
    await ask(socket, 'POST', collection, { id: 1, text: 'x'.repeat(100) });
    const all = Array.from({ length: 5000 }, (_, n) => ask(socket, 'GET', collection, n % 2 ? 1 : 2));
    const answers = await Promise.all(all);
    answers.forEach((answer, n) => assert.equal(answer.length, n % 2));
  });
}

for (const carrier of Object.keys(CARRIERS)) {
  test(`a client that is cut off comes back by ${carrier} with its cursor`, async (t) => {
    const collection = `watched-${carrier}`;
    const writer = await connect(t, 'http1', 'websocket');
    const reader = await connect(t, 'http1', carrier, { reconnectionDelay: 1, reconnectionDelayMax: 5 });
    const seen = [];
    let cursor = (await ask(reader, 'LIST', collection))[1].cursor;
    const all = new Promise((resolve) => {
      reader.on('change', (change) => {
        cursor = change.id;
        seen.push(change.data.document.n);
        if (seen.length % 20 === 0) reader.io.engine.close();
        if (seen.length === 100) resolve();
      });
    });
    const watch = () => ask(reader, 'WATCH', { collection, after: cursor });
    // One that is cut off before it is acknowledged is followed by another.
    reader.on('connect', () => watch().catch(() => {}));
    await watch();
    for (let n = 0; n < 100; n += 1) await ask(writer, 'PUT', collection, { id: 1, n });
    await all;
    assert.deepEqual(seen, Array.from({ length: 100 }, (_, n) => n));
  });
}

test('a namespace that is not there', async (t) => {
  const socket = await connect(t, 'ws', 'websocket');
  const other = socket.io.socket('/admin');
  const [error] = await once(other.connect(), 'connect_error');
  assert.equal(error.message, 'Invalid namespace');
  assert.equal(await getItem(socket, 1, 'nothing'), undefined);
});
