// A cut: the server ends the connections, the streams resume, and the page proves that nothing was lost. The proof is
// put to the proof, too: it must find what is missing.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';

import { Stage } from './stage.mjs';
import { until, untilIs } from './wait.mjs';

const stage = Stage.set();

const NOTHING_LOST = /: all 10 streams resumed within .* s\. (\d+) events since, says a long poll: none missing, none twice on any stream\.$/;

const cut = (panel) => panel.region.getByRole('button', { name: 'Cut the connection' }).click();

describe('a cut', () => {
  it('of one HTTP/2 connection takes the page’s own stream along, and all come back', async (t) => {
    const { page, panels: [, http2] } = await stage.visit(t);
    await http2.start('metrics', 10);
    await http2.shows({ open: 10, serverStreams: 11, events: /^[1-9]/ });
    const before = (await stage.server.stats()).wires.sse_http2.connections_total;
    await cut(http2);
    const { proof } = await http2.shows({ proof: NOTHING_LOST });
    assert.ok(Number(proof.match(NOTHING_LOST)[1]) > 0, 'events came meanwhile');
    await http2.shows({ open: 10, reconnects: 10, gaps: 0, connections: 1, serverStreams: 11, proof });
    assert.equal((await stage.server.stats()).wires.sse_http2.connections_total, before + 1);
    await untilIs('the notice of old numbers', () => page.locator('#stale').textContent(), '');
  });

  it('of ten WebSockets ends ten connections, and all come back', async (t) => {
    const { panels: [, , websocket] } = await stage.visit(t);
    await websocket.start('metrics', 10);
    await websocket.shows({ open: 10, connections: 10, events: /^[1-9]/ });
    await cut(websocket);
    await websocket.shows({ proof: NOTHING_LOST, open: 10, reconnects: 10, gaps: 0, connections: 10 });
    assert.equal((await stage.server.stats()).wires.websocket.connections_total, 20);
  });

  it('of six HTTP/1.1 connections lets those in that had waited, and says so', async (t) => {
    const { panels: [http1] } = await stage.visit(t);
    await http1.start('metrics', 10);
    await http1.shows({ open: 6, stuck: 4, events: /^[1-9]/ });
    await cut(http1);
    await http1.shows({
      proof: /: 2 of 6 streams resumed within .* none missing, none twice on any stream\. 4 wait for a connection: /,
      open: 6, stuck: 4, reconnects: 2, gaps: 0, connections: 6,
    });
  });

  it('after which no event came says that there was none to lose', async (t) => {
    const { panels: [, http2] } = await stage.visit(t);
    await http2.start('silence', 10);
    await http2.shows({ open: 10 });
    await cut(http2);
    await http2.shows({ proof: /: all 10 streams resumed within .* No event came meanwhile, so none could be lost\.$/ });
  });

  it('after which the log has forgotten shows the gap, and that it was told', async (t) => {
    const forgetful = await stage.another(t, { flags: ['--topic-events', '5', '--retry-min', '3s', '--retry-max', '4s'] });
    const { panels: [, http2] } = await stage.visit(t, { server: forgetful });
    await http2.start('news', 10);
    await http2.shows({ open: 10 });
    await forgetful.publish('news', 'before');
    await http2.shows({ events: 10 });
    await cut(http2);
    await http2.shows({ open: 0 });
    await forgetful.publish('news', '{"n":1}\n'.repeat(50), 'application/x-ndjson');
    await http2.shows({
      open: 10, gaps: 10, events: 60, aside: /^Last gap on news: expired, how many events is not known\./,
      proof: /5 events since, says a long poll: none missing, none twice on any stream\. The log no longer had them all, and a gap notice said so\.$/,
    });
  });

  it('of streams that are gone is refused, and that is said', async (t) => {
    const { page, panels: [, http2] } = await stage.visit(t);
    await page.route('**/cut/*', (route) => route.abort());
    await http2.start('silence', 1);
    await http2.shows({ open: 1 });
    await cut(http2);
    await http2.shows({ proof: /: no stream was lost, so the cut did not arrive\.$/, open: 1 });
  });
});

describe('the proof', () => {
  it('finds what is missing and what came twice', async (t) => {
    const { page } = await stage.visit(t);
    const cursor = (await stage.server.publish('proof', 'zero')).id;
    // A stream that comes back without the second event, and with the first one twice.
    const judged = page.evaluate(async (from) => {
      const { cutAndProve } = await import('/cut.js');
      const stream = { state: 'open', readies: 1, readyAt: 0, cursor: from, witness: null, isStuck: () => false };
      window.stream = stream;
      const options = { origin: location.origin, key: 'nobody-has-this-key', streams: [stream], topic: 'proof', hears: () => true, isOver: () => false };
      return cutAndProve(options);
    }, cursor);
    await until('the witness', () => page.evaluate('window.stream !== undefined && window.stream.witness !== null'), Boolean);
    const ids = [];
    for (const text of ['one', 'two', 'three']) ids.push((await stage.server.publish('proof', text)).id);
    await page.evaluate(([one, , three]) => {
      for (const id of [one, one, three]) window.stream.witness.saw(id);
      window.stream.readies = 2;
    }, ids);
    const { cut, back, events, missing, twice } = await judged;
    assert.deepEqual({ cut, back, events, missing, twice }, { cut: 1, back: 1, events: 3, missing: 1, twice: 1 });
  });

  it('is put into words as it came out', async (t) => {
    const { page } = await stage.visit(t);
    const said = (proof) => page.evaluate(async (proof) => {
      const { isLoss, proof: inWords } = await import('/words.js');
      const came = { ...proof, at: new Date() };
      return [inWords({ proof: came, isCutting: false }), isLoss(came)];
    }, proof);
    const came = { cut: 10, back: 10, waiting: 0, after: 1234, events: 5, missing: 0, twice: 0, gaps: 0 };
    const [fine, isLoss] = await said(came);
    assert.ok(fine.endsWith('all 10 streams resumed within 1.2 s. 5 events since, says a long poll: none missing, none twice on any stream.'), fine);
    assert.equal(isLoss, false);
    for (const [change, words] of [
      [{ missing: 2 }, ': 2 missing, none twice on any stream.'],
      [{ twice: 1 }, ': none missing, 1 twice on any stream.'],
      [{ back: 8 }, 'none twice on any stream. 2 have not come back yet.'],
      [{ back: 0 }, ': no stream has come back yet.'],
    ]) {
      const [text, isLost] = await said({ ...came, ...change });
      assert.ok(text.endsWith(words), text);
      assert.equal(isLost, true);
    }
  });
});
