// The replicas: what the page says of them is what they count, and its reader survives the death of the one it reads from.

import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';

import { Panel } from './browser.mjs';
import { Cluster } from './cluster.mjs';
import { Stage } from './stage.mjs';
import { until } from './wait.mjs';

const SHOTS = process.env.TRIWIRE_SHOTS ?? new URL('../../target/page', import.meta.url).pathname;
const stage = Stage.set();

const section = (page) => new Panel(page.getByRole('region', { name: 'Replicas', exact: true }));

/** The table as it reads: the row's name to its cells. */
const table = (panel) => panel.region.locator('tr').evaluateAll(
  (rows) => Object.fromEntries(rows.map((row) => [row.children[0]?.textContent, [...row.children].slice(1).map((cell) => cell.textContent)])),
);

const bars = (panel) => panel.region.locator('.bars li').evaluateAll(
  (items) => Object.fromEntries(items.map((item) => [item.children[0].textContent, Number(item.children[2].textContent.replaceAll(',', ''))])),
);

/** Has it read the numbers instead of the calls that it begins with. */
async function readNumbers(panel) {
  await panel.shows({ status: /^Reading calls from https:\/\/localhost:\d+\.$/ });
  await panel.region.getByRole('button', { name: 'Stop a topic over all replicas' }).click();
  await panel.shows({ status: 'Stopped.' });
  await panel.region.getByLabel('Topic').fill('numbers');
  await panel.region.getByRole('button', { name: 'Read a topic over all replicas' }).click();
  await panel.shows({ status: /^Reading numbers from / });
}

/** Publishes numbers by whichever replica there is, one after the other, until it is told to stop, or the test is over;
 *  how many is the result. */
function numbers(t, cluster) {
  const life = randomUUID();
  let isOver = false;
  t.after(() => (isOver = true));
  const publish = async () => {
    let n = 0;
    while (!isOver) {
      const [server] = cluster.servers.values();
      const headers = { 'content-type': 'application/json', 'idempotency-key': `${life}-${n + 1}` };
      const request = { method: 'POST', headers, body: `{"n":${n + 1}}` };
      // Nobody knows what became of one whose server died: the same key makes it the same event.
      const { ok } = await fetch(`http://${server.listeners.http1}/publish/numbers`, request).catch(() => ({ ok: false }));
      if (ok) n += 1;
      else await pause(20);
    }
    return n;
  };
  const done = publish();
  return async () => {
    isOver = true;
    return done;
  };
}

describe('without a relay', () => {
  it('says that there is one server, and how to have more', stage.onPage(async (panels, page) => {
    await section(page).shows({ alone: /^There is one replica, .+, with a log of its own\. To have more, start several with the same relay: triwire serve --relay / });
    assert.equal(await section(page).field('several').isVisible(), false);
  }));
});

describe('with two replicas', () => {
  const start = async (t) => {
    const cluster = await Cluster.start(stage.certificates, ['box-a', 'box-b']);
    t.after(() => cluster.stop());
    return cluster;
  };

  it('shows the streams of each, and moves to the other without a loss when one dies', async (t) => {
    const cluster = await start(t);
    const { page } = await stage.visit(t, { server: cluster.servers.get('box-a') });
    const panel = section(page);
    await readNumbers(panel);
    const both = await until('both replicas', () => table(panel), ({ Wire }) => Wire?.length === 3);
    assert.deepEqual(both.Wire, ['box-a', 'box-b', 'All']);
    assert.equal(await panel.field('alone').isVisible(), false);
    // The page's own numbers and this reader, on one connection.
    await until('the sums', () => table(panel), (rows) => rows.All.join() === '2 on 1,–,2 on 1' && rows['SSE on HTTP/2'].join() === rows.All.join());

    const stop = numbers(t, cluster);
    await until('events by box-a', () => bars(panel), (seen) => seen['box-a'] > 20);
    await cluster.kill('box-a');
    await panel.shows({ moves: '1', status: /^Reading numbers from .*; box-b delivers\.$/ });
    await until('events by box-b', () => bars(panel), (seen) => seen['box-b'] > 20);
    const proof = await until('the proof', () => panel.field('log').textContent(), (text) => text.includes('says a long poll'));
    assert.match(proof, /: box-a was lost, back by box-b after .* [1-9][\d,]* events since then, says a long poll: none missing, none twice\.$/);
    await until('box-a to fall out', () => table(panel), ({ Wire }) => Wire?.join() === 'box-b,All');
    await panel.shows({ alone: /^.+ is the only replica now\. / });

    // And back again, once there is somewhere to go.
    await cluster.begin('box-a');
    await until('box-a to be back', () => table(panel), ({ Wire }) => Wire?.join() === 'box-a,box-b,All');
    await cluster.kill('box-b');
    await panel.shows({ moves: '2', status: /; box-a delivers\.$/ });
    const published = await stop();
    await panel.shows({ events: published.toLocaleString('en'), lost: '0', doubled: '0', gaps: '0' });
    const seen = await bars(panel);
    assert.equal(seen['box-a'] + seen['box-b'], published);
  });

  it('is seen in screenshots', async (t) => {
    const cluster = await start(t);
    await mkdir(SHOTS, { recursive: true });
    for (const [name, viewport, colorScheme] of [['light', { width: 1280, height: 900 }, 'light'], ['dark-narrow', { width: 390, height: 844 }, 'dark']]) {
      const { page } = await stage.visit(t, { server: cluster.servers.get('box-a'), viewport, colorScheme });
      const panel = section(page);
      await readNumbers(panel);
      await until('both replicas', () => table(panel), ({ Wire }) => Wire?.length === 3);
      const stop = numbers(t, cluster);
      await until('events', () => bars(panel), (seen) => seen['box-a'] > 50);
      await cluster.kill('box-a');
      await until('the proof', () => panel.field('log').textContent(), (text) => text.includes('says a long poll'));
      await cluster.begin('box-a');
      await until('both again', () => table(panel), ({ Wire }) => Wire?.length === 3);
      await stop();
      await panel.region.screenshot({ path: join(SHOTS, `cluster-${name}.png`) });
      const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
      assert.equal(wide, 0, 'the page scrolls sideways');
    }
  });
});
