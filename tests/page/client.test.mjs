// client.js over plain topics: nothing is lost or doubled by cuts and by a change of wire, what does not work is done
// without, and tabs share a connection.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:net';
import { describe, it } from 'node:test';

import { Relay } from './relay.mjs';
import { Stage } from './stage.mjs';
import { Tab } from './tab.mjs';
import { until, untilIs } from './wait.mjs';

const WIRES = ['sse', 'websocket', 'poll'];

const stage = Stage.set({ metrics: 'off' });
const client = (t, options, server) => Tab.open(t, stage, options, server);

/** Connections until a server has no more to give. */
class Crowd {
  #sockets = [];

  static async of(t, server) {
    const crowd = new Crowd();
    t.after(() => crowd.leave());
    const port = Number(server.listeners.ws.split(':').at(-1));
    for (let isFull = false; !isFull;) {
      const socket = connect(port, '127.0.0.1').on('error', () => {});
      crowd.#sockets.push(socket);
      socket.write('GET /events?topic=crowd HTTP/1.1\r\nhost: localhost\r\naccept: text/event-stream\r\n\r\n');
      const [answer] = await once(socket, 'data');
      isFull = answer.includes('event: busy');
    }
    return crowd;
  }

  leave() {
    for (const socket of this.#sockets) socket.destroy();
  }
}

const numbers = (first, last) => Array.from({ length: last - first + 1 }, (_, i) => first + i);

/** Publishes numbers, one after the other, until it is told to stop; how many there were is the result. */
function publishing(topic) {
  let isOver = false;
  const done = (async () => {
    let n = 0;
    while (!isOver) await stage.server.publish(topic, String((n += 1)), 'application/json');
    return n;
  })();
  return () => {
    isOver = true;
    return done;
  };
}

// They wait much and work little.
describe('a client', { concurrency: 4 }, () => {
  for (const wire of WIRES) {
    it(`by ${wire} is told what comes, once, through cuts`, async (t) => {
      const relay = await Relay.to(t, stage.server.listeners.http1);
      const tab = await client(t, { wire, url: relay.origin });
      const topic = `cut/${wire}`;
      const { id } = await stage.server.publish(topic, '0', 'application/json');
      await tab.read([topic, `${topic}/other`], id);
      await tab.opens(wire);
      const stop = publishing(topic);
      for (const times of [1, 2]) {
        const { length } = await tab.told();
        await until('more numbers', () => tab.told(), (told) => told.length > length + 10);
        relay.cut();
        // A browser asks again by itself when the connection that it had kept is gone.
        if (wire !== 'poll') await until('the loss', () => tab.standings(), (all) => all.filter((one) => one === 'away lost').length === times);
        await tab.opens(wire);
      }
      const last = await stop();
      await until('the last number', () => tab.told(), (told) => told.at(-1)?.[1] === last);
      assert.deepEqual((await tab.told()).map(([, n]) => n), numbers(1, last));
    });
  }

  it('loses and doubles nothing by a change of wire', async (t) => {
    const tab = await client(t);
    const { id } = await stage.server.publish('change', '0', 'application/json');
    await tab.read(['change'], id);
    const stop = publishing('change');
    for (const wire of [...WIRES, ...WIRES].slice(1)) {
      const { length } = await tab.told();
      await tab.use({ wire, url: stage.server.origin(wire === 'websocket' ? 'ws' : 'http1') });
      await tab.opens(wire);
      await until('more numbers', () => tab.told(), (told) => told.length > length + 10);
    }
    const last = await stop();
    await until('the last number', () => tab.told(), (told) => told.at(-1)?.[1] === last);
    assert.deepEqual((await tab.told()).map(([, n]) => n), numbers(1, last));
  });

  it('takes the next wire when one is blocked, and the last when all others are', async (t) => {
    for (const [options, blocked, way] of [
      [{ twoWay: true }, /upgrade: websocket/i, ['opening websocket', 'away websocket blocked', 'opening sse', 'open sse']],
      [{}, /event-stream/i, ['opening sse', 'away sse blocked', 'opening websocket', 'open websocket']],
      [{}, /event-stream|upgrade: websocket/i, ['opening sse', 'away sse blocked', 'opening websocket', 'away websocket blocked', 'opening poll', 'open poll']],
    ]) {
      const relay = await Relay.to(t, stage.server.listeners.http1);
      relay.blocked = blocked;
      const tab = await client(t, { ...options, url: relay.origin });
      await tab.read(['blocked']);
      await tab.opens(way.at(-1).split(' ')[1]);
      assert.deepEqual((await tab.standings()).filter((one) => one !== 'idle'), way);
      const { length } = await tab.told();
      await stage.server.publish('blocked', 'through');
      await until('an event', () => tab.told(), (told) => told.length === length + 1);
    }
  });

  it('takes the next wire when one says nothing, from the beginning or after a while', async (t) => {
    const relay = await Relay.to(t, stage.server.listeners.http1);
    relay.held = relay.counted = /upgrade: websocket/i;
    const tab = await client(t);
    await tab.page.clock.install();
    await tab.begin({ twoWay: true, url: relay.origin });
    const { id } = await stage.server.publish('silent', '1');
    await tab.read(['silent'], id);
    await until('the handshake', () => relay.count, (count) => count === 1);
    await tab.page.clock.fastForward(5000);
    await tab.opens('sse');
    await stage.server.publish('silent', '2');
    await until('an event', () => tab.told(), (told) => told.length === 1);
    relay.hold();
    await stage.server.publish('silent', '3');
    // The server's heartbeat, every 15 s, was due more than once.
    await tab.page.clock.fastForward(41_000);
    await tab.opens('poll');
    await until('the event', () => tab.told(), (told) => told.length === 2);
    assert.deepEqual((await tab.standings()).filter((one) => one !== 'idle'), [
      'opening websocket', 'away websocket blocked', 'opening sse', 'open sse', 'away sse blocked', 'opening poll', 'open poll',
    ]);
    assert.deepEqual(await tab.told(), [['silent', '2'], ['silent', '3']]);
  });

  it('keeps a quiet WebSocket, which it asks now and then', async (t) => {
    const tab = await client(t);
    await tab.page.clock.install();
    let answers = 0;
    tab.page.on('websocket', (socket) => socket.on('framereceived', ({ payload }) => (answers += /^{"type":"\$ack"}$/.test(payload) ? 1 : 0)));
    await tab.begin({ wire: 'websocket' });
    await tab.read(['quiet']);
    await tab.opens('websocket');
    for (const times of [1, 2, 3]) {
      await tab.page.clock.fastForward(25_000);
      await until('the answer', () => answers, (count) => count === times);
    }
    assert.deepEqual((await tab.standings()).filter((one) => one.startsWith('away')), []);
  });

  it('keeps a quiet poll', async (t) => {
    const tab = await client(t, { wire: 'poll', silence: 4000 });
    let answers = 0;
    tab.page.on('response', (response) => (answers += /poll\?timeout|&timeout/.test(response.url()) ? 1 : 0));
    await tab.read(['quiet']);
    await until('two polls that nothing came of', () => answers, (count) => count > 2);
    assert.deepEqual((await tab.standings()).filter((one) => one.startsWith('away')), []);
  });

  it('waits for a server that is away, as long as it takes, and does not blame the wire', async (t) => {
    const mortal = await stage.another(t);
    const tab = await client(t, { twoWay: true }, mortal);
    await tab.page.clock.install();
    await tab.read(['news']);
    await tab.opens('websocket');
    await mortal.stop();
    await until('its loss', () => tab.standings(), (all) => all.includes('away draining'));
    const heir = await stage.another(t, { listen: mortal.listeners });
    await tab.page.clock.fastForward(10_000);
    await tab.opens('websocket');
    assert.ok(!(await tab.standings()).some((one) => one.endsWith('blocked')));
    await heir.publish('news', 'after');
    const [gap, event] = await until('the notice and the event', () => tab.told(), ({ length }) => length === 2);
    assert.deepEqual([gap.type, gap.topic, gap.reason, event], ['$gap', 'news', 'expired', ['news', 'after']]);
  });

  it('comes back to a server that is full when that says so', async (t) => {
    const full = await stage.another(t, { flags: ['--connections', '20'] });
    const tabs = [];
    for (const wire of WIRES) tabs.push([wire, await client(t, { wire, url: full.origin('ws') }, full)]);
    for (const [, tab] of tabs) await tab.page.clock.install();
    const crowd = await Crowd.of(t, full);
    for (const [, tab] of tabs) await tab.read(['full'], '0-0');
    for (const [, tab] of tabs) await until('its refusal', () => tab.standings(), (all) => all.some((one) => /^away (full|lost)$/.test(one)));
    crowd.leave();
    for (const [wire, tab] of tabs) {
      // It was told to wait for up to ten seconds.
      await tab.page.clock.fastForward(10_000);
      await tab.opens(wire);
      assert.ok(!(await tab.standings()).some((one) => one.endsWith('blocked')));
    }
  });

  for (const wire of WIRES) {
    it(`by ${wire} reads more topics and fewer while it is open, each from its own cursor`, async (t) => {
      const tab = await client(t, { wire });
      const topic = (n) => `many/${wire}/${n}`;
      const publish = (n, data) => stage.server.publish(topic(n), data);
      const { id: first } = await publish(1, 'one');
      await publish(2, 'old');
      const { id: second } = await publish(2, 'one');
      await publish(1, 'two');
      await publish(2, 'two');
      await tab.read([topic(1)], first);
      await until('what is due', () => tab.told(), ({ length }) => length === 1);
      await tab.page.evaluate('window.stopFirst = window.stop');
      await tab.read([topic(2)], second);
      await until('what is due', () => tab.told(), ({ length }) => length === 2);
      // One that has read it already is read again from further back; the other is given nothing twice.
      await tab.read([topic(1)], '0-0');
      await publish(1, 'three');
      await until('what is due', () => tab.told(), ({ length }) => length === 6);
      const told = (n) => ['one', 'two', 'three'].map((data) => [topic(n), data]);
      const [one, two, three] = told(1);
      assert.deepEqual(await tab.told(), [two, [topic(2), 'two'], one, two, three, three]);
      await tab.page.evaluate('window.stop(); window.stopFirst()');
      await publish(1, 'four');
      await publish(2, 'three');
      await until('what is due', () => tab.told(), ({ length }) => length === 7);
      assert.deepEqual((await tab.told()).at(-1), [topic(2), 'three']);
    });
  }

  it('refuses what is no topic, and is not led astray by a reader that fails', async (t) => {
    const tab = await client(t);
    await assert.rejects(tab.read(['no topic']), /not a topic/);
    const errors = [];
    tab.page.on('pageerror', (error) => errors.push(error.message));
    const { id } = await stage.server.publish('failing', 'zero');
    await tab.page.evaluate((after) => window.client.subscribe(['failing'], () => {
      throw new Error('mine');
    }, { after }), id);
    await tab.read(['failing'], id);
    await stage.server.publish('failing', 'one');
    await untilIs('the event', () => tab.told(), [['failing', 'one']]);
    assert.deepEqual(errors, ['mine']);
  });
});

describe('tabs', () => {
  /** Two tabs of one browser profile, with a client each. */
  async function two(t, options) {
    const first = await client(t, { share: true, ...options });
    const page = await first.page.context().newPage();
    await page.goto(first.page.url());
    return [first, await new Tab(page).begin({ share: true, ...options })];
  }

  const isShared = ({ page }) => page.evaluate('window.client.isShared');
  const streams = async (wire) => (await stage.server.stats()).wires[wire].streams;

  it('share a connection, each with its own cursor, and go on when one is closed', async (t) => {
    const [first, second] = await two(t);
    const { id } = await stage.server.publish('shared', 'zero');
    await stage.server.publish('shared', 'one');
    await first.read(['shared'], id);
    await first.opens('sse');
    await untilIs('the event', () => first.told(), [['shared', 'one']]);
    await second.read(['shared'], '0-0');
    await second.opens('sse');
    await untilIs('the events', () => second.told(), [['shared', 'zero'], ['shared', 'one']]);
    assert.deepEqual([await isShared(first), await isShared(second), await streams('sse_http1')], [true, true, 1]);
    await second.read(['other']);
    await stage.server.publish('other', 'one');
    await untilIs('the event', () => second.told(), [['shared', 'zero'], ['shared', 'one'], ['other', 'one']]);
    assert.equal(await streams('sse_http1'), 1);

    await first.page.close();
    await stage.server.publish('shared', 'two');
    await untilIs('the events', async () => (await second.told()).at(-1), ['shared', 'two']);
    assert.equal((await second.told()).length, 4);
    // What only the tab that is gone had asked for is read no more.
    await second.page.evaluate('window.client.close()');
    await untilIs('the streams', () => streams('sse_http1'), 0);
  });

  it('that want different wires have their own, and change them without loss', async (t) => {
    const [first, second] = await two(t);
    const { id } = await stage.server.publish('apart', '0', 'application/json');
    for (const tab of [first, second]) await tab.read(['apart'], id);
    const stop = publishing('apart');
    await second.use({ wire: 'poll' });
    await second.opens('poll');
    await first.use({ wire: 'websocket' });
    await first.opens('websocket');
    await second.use({ wire: 'websocket' });
    await second.opens('websocket');
    assert.equal(await streams('websocket'), 1);
    const last = await stop();
    for (const tab of [first, second]) {
      await until('the last number', () => tab.told(), (told) => told.at(-1)?.[1] === last);
      assert.deepEqual((await tab.told()).map(([, n]) => n), numbers(1, last));
    }
  });

  it('go on when the worker is gone', async (t) => {
    const tabs = await two(t, {});
    const { id } = await stage.server.publish('gone', '0', 'application/json');
    for (const tab of tabs) {
      await tab.read(['gone'], id);
      await tab.opens('sse');
    }
    const stop = publishing('gone');
    const devtools = await stage.browser.newBrowserCDPSession();
    const { targetInfos } = await devtools.send('Target.getTargets');
    for (const { type, targetId } of targetInfos) if (type === 'shared_worker') await devtools.send('Target.closeTarget', { targetId });
    for (const tab of tabs) await until('another line', () => tab.standings(), (all) => all.filter((one) => one === 'open sse').length > 1);
    const last = await stop();
    for (const tab of tabs) {
      await until('the last number', () => tab.told(), (told) => told.at(-1)?.[1] === last);
      assert.deepEqual((await tab.told()).map(([, n]) => n), numbers(1, last));
    }
  });

  it('have connections of their own where a worker cannot be had', async (t) => {
    const elsewhere = stage.server.origin('ws');
    for (const from of ['', elsewhere]) {
      const { page } = await stage.visit(t, { url: `${stage.server.origin('http1')}/healthz` });
      // There is none, or the page is of another origin than the client.
      if (from === '') await page.route('**/worker.js', (route) => route.abort());
      const tab = await new Tab(page).begin({ share: true, url: elsewhere }, from);
      await tab.read(['alone']);
      await tab.opens('sse');
      const { length } = await tab.told();
      await stage.server.publish('alone', 'one');
      await until('the event', () => tab.told(), (told) => told.length === length + 1);
      assert.equal(await isShared(tab), false);
    }
  });
});
