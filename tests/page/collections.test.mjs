// client.js and collections: requests on each wire, with their refusals and time-outs, and documents that are listed and
// watched beside writers and through trouble.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';

import { Relay } from './relay.mjs';
import { Stage } from './stage.mjs';
import { Tab } from './tab.mjs';
import { until, untilIs } from './wait.mjs';

const WIRES = ['sse', 'websocket', 'poll'];

const stage = Stage.set({ metrics: 'off' });
const client = (t, options, server) => Tab.open(t, stage, options, server);

/** Asks the server past the browser. */
async function ask(method, path, body, server = stage.server) {
  const request = { method, body: body && JSON.stringify(body), headers: { 'content-type': 'application/json' } };
  const response = await fetch(`http://${server.listeners.http1}/api/v2/${path}`, request);
  assert.ok(response.ok, `${method} ${path}: ${response.status}`);
  return response.status === 204 ? null : response.json();
}

/** Does something with a collection in the tab; what it comes to, or the Problem. */
function does(tab, name, work, ...given) {
  return tab.page.evaluate(async ([name, work, given]) => {
    const items = window.client.collection(name);
    try {
      return await (0, eval)(`(${work})`)(items, ...given);
    } catch ({ name: kind, status, title, detail }) {
      return { kind, status, title, detail };
    }
  }, [name, String(work), given]);
}

/** Watches a collection in the tab, which notes each change. */
function watches(tab, name, options = {}) {
  return tab.page.evaluate(async ([name, options]) => {
    window.changes = [];
    window.gaps = [];
    const change = ({ kind, id, version }) => window.changes.push([kind, id, version]);
    window.live = window.client.collection(name).watch({ ...options, change, gap: (gap) => window.gaps.push(gap) });
    await window.live.ready;
  }, [name, options]);
}

/** What it has: id, version, and document. */
const has = (tab) => tab.page.evaluate('[...window.live].map(([id, document]) => [id, window.live.version(id), document])');
const asListed = async (name, server) => {
  const { items, versions } = await ask('GET', `${name}?per_page=1000`, undefined, server);
  return items.map((document, i) => [document.id, versions[i], document]);
};
const sorted = (rows) => rows.toSorted(([a], [b]) => (typeof a === typeof b ? (a < b ? -1 : 1) : typeof a === 'number' ? -1 : 1));
const agrees = (tab, name, server) => until('the map to be what the list is', async () => [sorted(await has(tab)), await asListed(name, server)], ([map, list]) => JSON.stringify(map) === JSON.stringify(list));

describe('requests', { concurrency: 4 }, () => {
  // Those beside long polling go by fetch, as those beside SSE.
  for (const wire of ['sse', 'websocket']) {
    it(`by ${wire} create, read, change and delete, and tell the event of it`, async (t) => {
      const tab = await client(t, { wire, twoWay: true });
      if (wire === 'websocket') await tab.opens(wire);
      const name = `all_${wire}`;
      const { cursor } = await ask('GET', name);
      await tab.read([`collections/${name}`], cursor);
      const [made, found, patched, again, replaced, gone, page] = await does(tab, name, async (items) => [
        await items.create({ id: 7, name: 'a', tags: ['x'] }),
        await items.get(7),
        await items.patch(7, { name: 'b', tags: null }, { version: 1 }),
        await items.patch(7, [{ op: 'add', path: '/n', value: 1 }]),
        await items.replace('ü/', { name: 'other' }).catch((problem) => problem.status),
        await items.delete(7, { version: 3 }),
        await items.list({ sort: '-name' }),
      ]);
      assert.deepEqual({ ...made, event: null }, { id: 7, version: 1, document: { id: 7, name: 'a', tags: ['x'] }, event: null });
      assert.deepEqual(found, { ...made, event: null });
      assert.deepEqual([patched.version, patched.document], [2, { id: 7, name: 'b' }]);
      assert.deepEqual([again.version, again.document], [3, { id: 7, name: 'b', n: 1 }]);
      assert.equal(replaced, 400, 'what is no id');
      assert.deepEqual([gone.id, gone.document], [7, undefined]);
      assert.deepEqual([page.items, page.versions, page.total], [[], [], 0]);
      const events = await until('the events', () => tab.told(), ({ length }) => length === 4);
      assert.deepEqual(events.map(([, { version }]) => version), [1, 2, 3, 3]);
      const { events: told } = await (await fetch(`http://${stage.server.listeners.http1}/poll?topic=collections/${name}&after=${cursor}`)).json();
      assert.deepEqual([made, patched, again, gone].map(({ event }) => event), told.map(({ id }) => id));
    });

    it(`by ${wire} are refused with a status and why`, async (t) => {
      const tab = await client(t, { wire, twoWay: true });
      if (wire === 'websocket') await tab.opens(wire);
      const name = `refused_${wire}`;
      await ask('POST', name, { id: 'a', n: 1 });
      for (const [work, status, detail] of [
        [(items) => items.get('b'), 404, /no document b/],
        [(items) => items.create({ id: 'a' }), 409, /there is a document a/],
        [(items) => items.patch('a', { n: 2 }, { version: 9 }), 412, /in version 1 by now/],
        [(items) => items.list({ perPage: 0 }), 400, /per_page is a number/],
      ]) {
        const problem = await does(tab, name, work);
        assert.equal(problem.kind, 'Problem');
        assert.equal(problem.status, status);
        assert.match(problem.detail, detail);
      }
    });
  }

  it('that are under way are answered although another wire is taken', async (t) => {
    const tab = await client(t, { wire: 'websocket', twoWay: true });
    await tab.opens('websocket');
    const ids = await does(tab, 'under_way', async (items) => {
      const made = Array.from({ length: 50 }, (_, n) => items.create({ n }));
      window.client.use({ wire: 'sse' });
      return (await Promise.all(made)).map(({ id }) => id);
    });
    assert.deepEqual(ids.toSorted((a, b) => a - b), Array.from({ length: 50 }, (_, n) => n + 1));
  });

  it('end when there is no answer in time', async (t) => {
    const relay = await Relay.to(t, stage.server.listeners.http1);
    const tab = await client(t, { url: relay.origin, wire: 'websocket', twoWay: true, timeout: 300 });
    await tab.opens('websocket');
    relay.hold();
    const late = { kind: 'Problem', status: 0, title: 'late' };
    const { detail, ...told } = await does(tab, 'late', (items) => items.get(1));
    assert.deepEqual([told, /no answer from .* in time/.test(detail)], [late, true]);
    await tab.use({ wire: 'sse' });
    relay.held = /GET \/api/;
    const { detail: _, ...again } = await does(tab, 'late', (items) => items.get(1));
    assert.deepEqual(again, late);
  });

  it('are repeated when the server says when, unless they may be done already', async (t) => {
    const tab = await client(t);
    for (const [kind, times] of [['store-away', 2], ['in-doubt', 1], ['not-told', 1]]) {
      let asked = 0;
      await tab.page.route(`**/api/v2/${kind}`, (route) => {
        asked += 1;
        const json = { type: `/problems/${kind}`, title: 'Service Unavailable', status: 503, detail: kind };
        return route.fulfill({ status: 503, headers: { 'retry-after': '0' }, json });
      });
      const { status, detail } = await does(tab, kind, (items) => items.create({ n: 1 }));
      assert.deepEqual([status, detail, asked], [503, kind, times]);
    }
  });

  it('are repeated after a cut when that does no harm, and else not', async (t) => {
    const relay = await Relay.to(t, stage.server.listeners.http1);
    const tab = await client(t, { url: relay.origin, wire: 'websocket', twoWay: true });
    await ask('POST', 'cut', { id: 1 });
    /** The work under way when its connection is cut, after the server has it and before the answer. */
    const cut = async (work, method, n) => {
      await tab.use({});
      await tab.opens('websocket');
      relay.hold();
      relay.counted = new RegExp(`^${method} `);
      relay.count = 0;
      const done = does(tab, 'cut', work);
      if (n) await until('the server to have it', async () => (await ask('GET', 'cut')).items, (items) => items.some((item) => item.n === n));
      relay.cut();
      return done;
    };
    assert.deepEqual((await cut((items) => items.get(1), 'GET')).document, { id: 1 });
    assert.ok(relay.count >= 1, 'asked again by fetch');
    assert.deepEqual((await cut((items) => items.replace(1, { n: 2 }), 'PUT', 2)).document, { id: 1, n: 2 });
    for (const [work, n] of [[(items) => items.create({ n: 3 }), 3], [(items) => items.replace(1, { n: 4 }, { version: 3 }), 4]]) {
      const { status, title } = await cut(work, 'POST', n);
      assert.deepEqual([status, title, relay.count], [0, 'lost', 0]);
    }
  });
});

describe('a collection that is watched', { concurrency: 4 }, () => {
  for (const wire of WIRES) {
    it(`by ${wire} is the list, beside writers, through cuts and changes of wire`, async (t) => {
      const relay = await Relay.to(t, stage.server.listeners.http1);
      const tab = await client(t, { wire, url: relay.origin });
      const name = `beside_${wire}`;
      await Promise.all(Array.from({ length: 20 }, (_, n) => ask('PUT', `${name}/${n % 2 ? n : `text-${n}`}`, { n })));
      let isOver = false;
      const writer = async (seed) => {
        for (let n = seed; !isOver; n += 7) {
          const id = n % 3 ? n % 40 : `text-${n % 40}`;
          if (n % 5) await ask('PUT', `${name}/${id}`, { n, seed });
          else await ask('DELETE', `${name}/${id}`).catch(() => {});
        }
      };
      const writers = [1, 2, 3].map(writer);
      await watches(tab, name, { perPage: 3 });
      for (const next of [wire, ...WIRES.filter((other) => other !== wire)]) {
        const count = () => tab.page.evaluate('window.changes.length');
        const before = await count();
        relay.cut();
        await tab.use({ wire: next });
        await tab.opens(next);
        await until('more changes', count, (after) => after > before + 20);
      }
      isOver = true;
      await Promise.all(writers);
      await agrees(tab, name);
      assert.deepEqual(await tab.page.evaluate('window.gaps'), []);
      // Each document by itself went up version by version from where the list had it, or was made anew.
      const last = new Map();
      for (const [kind, id, version] of await tab.page.evaluate('window.changes')) {
        if (kind === 'MODIFIED') assert.equal(version, last.get(id) + 1, `${id} ${kind}`);
        else if (kind === 'DELETED') assert.equal(version, last.get(id), `${id} ${kind}`);
        else assert.ok(last.get(id) === undefined, `${id} ${kind}`);
        last.set(id, kind === 'DELETED' ? undefined : version);
      }
    });
  }

  it('takes no notice of what is no newer', async (t) => {
    const tab = await client(t);
    await ask('POST', 'old', { id: 1, n: 1 });
    const { cursor } = await ask('GET', 'old');
    await ask('PUT', 'old/1', { n: 2 });
    // A list whose cursor is from before what it has, as when writers were quick.
    await tab.page.route('**/api/v2/old?*', async (route) => {
      const response = await route.fetch();
      await route.fulfill({ response, json: { ...(await response.json()), cursor } });
    });
    await watches(tab, 'old');
    await ask('PUT', 'old/1', { n: 3 });
    await untilIs('the changes', () => tab.page.evaluate('window.changes'), [['ADDED', 1, 2], ['MODIFIED', 1, 3]]);
  });

  for (const wire of WIRES) {
    it(`by ${wire} with a filter has what matches, and loses what ceases to`, async (t) => {
      const tab = await client(t, { wire });
      const name = `some_${wire}`;
      for (const [id, n] of [[1, 1], [2, 5], ['three', 9]]) await ask('PUT', `${name}/${id}`, { n, word: 'a"b' });
      await watches(tab, name, { filter: { n: { gt: 4 }, word: 'a"b' } });
      assert.deepEqual((await has(tab)).map(([id]) => id), [2, 'three']);
      await ask('PUT', `${name}/1`, { n: 6, word: 'a"b' });
      await ask('PUT', `${name}/2`, { n: 4, word: 'a"b' });
      await tab.use({ wire: WIRES[(WIRES.indexOf(wire) + 1) % 3] });
      await ask('PUT', `${name}/three`, { n: 10, word: 'a"b' });
      await ask('PUT', `${name}/four`, { n: 10, word: 'other' });
      await untilIs('the changes', async () => (await tab.page.evaluate('window.changes')).slice(2), [['ADDED', 1, 2], ['DELETED', 2, 2], ['MODIFIED', 'three', 2]]);
      await tab.page.evaluate('window.live.close()');
    });
  }

  it('is listed anew after a gap, and says so', async (t) => {
    const forgetful = await stage.another(t, { flags: ['--topic-events', '5'] });
    const relay = await Relay.to(t, forgetful.listeners.http1);
    const tab = await client(t, { url: relay.origin, share: false }, forgetful);
    for (const id of [1, 2, 3]) await ask('POST', 'gap', { id }, forgetful);
    await watches(tab, 'gap');
    await tab.opens('sse');
    relay.blocked = /^GET/;
    relay.cut();
    await ask('DELETE', 'gap/1', undefined, forgetful);
    // In the version that it had, and another all the same.
    await ask('DELETE', 'gap/3', undefined, forgetful);
    await ask('PUT', 'gap/3', { n: 'anew' }, forgetful);
    for (let n = 0; n < 10; n += 1) await ask('PUT', 'gap/2', { n }, forgetful);
    await ask('POST', 'gap', { id: 4 }, forgetful);
    relay.blocked = null;
    await agrees(tab, 'gap', forgetful);
    const [gaps, changes] = await tab.page.evaluate('[window.gaps, window.changes.slice(3)]');
    assert.deepEqual(gaps.map(({ type, topic, reason }) => [type, topic, reason]), [['$gap', 'collections/gap', 'expired']]);
    // Nothing that the log still had, but for what the list says is different.
    assert.deepEqual(sorted(changes.map(([kind, id]) => [id, kind])), [[1, 'DELETED'], [2, 'MODIFIED'], [3, 'MODIFIED'], [4, 'ADDED']]);
    await ask('DELETE', 'gap/4', undefined, forgetful);
    await agrees(tab, 'gap', forgetful);
  });

  it('by two tabs, who share a connection and write over it', async (t) => {
    const first = await client(t, { share: true, twoWay: true });
    const page = await first.page.context().newPage();
    await page.goto(first.page.url());
    const second = await new Tab(page).begin({ share: true, twoWay: true });
    for (const tab of [first, second]) await watches(tab, 'two');
    for (const tab of [first, second]) await tab.opens('websocket');
    const made = await does(first, 'two', (items) => items.create({ id: 1, n: 1 }));
    await untilIs('the other tab', () => has(second), [[1, 1, { id: 1, n: 1 }]]);
    const problem = await does(second, 'two', (items) => items.patch(1, { n: 2 }, { version: 7 }));
    assert.deepEqual([problem.kind, problem.status], ['Problem', 412]);
    await does(second, 'two', (items) => items.patch(1, { n: 2 }, { version: 1 }));
    await untilIs('the first tab', () => has(first), [[1, 2, { id: 1, n: 2 }]]);
    assert.match(made.event, /^\d+-\d+$/);
    assert.equal((await stage.server.stats()).wires.websocket.streams, 1);
  });
});
