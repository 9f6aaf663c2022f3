// The page against a server that is not at its best: that restarts, is full, drains, is another version than the one
// the page came from, has listeners off or out of reach; and a page that was asleep.

import assert from 'node:assert/strict';
import { it } from 'node:test';

import { Visit } from './browser.mjs';
import { Stage } from './stage.mjs';
import { until, untilIs } from './wait.mjs';

const stage = Stage.set();

it('comes back after a restart of the server, and says what it may have missed', async (t) => {
  const mortal = await stage.another(t);
  const visit = await stage.visit(t, { server: mortal });
  const [http1, http2, websocket] = visit.panels;
  for (const panel of visit.panels) await panel.start('news', 10);
  await http1.shows({ open: 6, stuck: 4 });
  for (const panel of [http2, websocket]) await panel.shows({ open: 10 });
  await mortal.publish('news', 'before');
  await websocket.shows({ events: 10 });
  await mortal.stop();
  await websocket.shows({ open: 0, status: /^0 of 10 streams open, .*10 reconnecting\./, aside: /it was draining\.$/ });
  await http2.shows({ open: 0, aside: /it was draining\./ });
  const stale = () => visit.page.locator('#stale').textContent();
  await until('old numbers to be called old', stale, (text) => text.startsWith(`${mortal.origin('http2')} has not told `));
  await http2.shows({ connections: '–', serverStreams: '–', serverEventRate: '–', trouble: /does not answer any more/ });

  const heir = await stage.another(t, { listen: mortal.listeners });
  await http1.shows({ open: 6 });
  for (const panel of [http2, websocket]) {
    await panel.shows({ open: 10, reconnects: 10, gaps: 10, aside: /Last gap on news: expired, how many events is not known\./ });
  }
  await untilIs('the notice of old numbers', stale, '');
  await heir.publish('news', 'after');
  for (const panel of [http2, websocket]) await panel.shows({ events: 20, event: /after/ });
});

it('says that the server is full, and gets in when there is room', async (t) => {
  const small = await stage.another(t, { flags: ['--connections', '7'] });
  const visit = await stage.visit(t, { server: small });
  const [, , websocket] = visit.panels;
  await websocket.shows({ status: 'Ready to start.', protocol: 'http/1.1' });
  const crowd = await visit.page.context().newPage();
  const other = new Visit(crowd);
  await crowd.goto(small.origin('http2'));
  await other.panels[2].start('news', 6);
  await until('a full house', async () => Number((await other.panels[2].read()).open), (open) => open >= 4);
  await websocket.start('news', 4);
  await websocket.shows({ status: /^0 of 4 streams open, /, trouble: /takes no stream now: the server is full or about to stop/ });
  await crowd.close();
  await websocket.shows({ open: 4, trouble: '', status: /^4 of 4 streams open/ });
});

it('says that a reload is due when the server is another version', async (t) => {
  const visit = await stage.visit(t, { server: stage.server });
  const outdated = visit.page.locator('#outdated');
  await visit.panels[1].shows({ status: 'Ready to start.' });
  assert.ok(await outdated.isHidden());
  const { version } = await stage.server.stats();
  const served = visit.page.locator('meta[name=triwire-version]');
  assert.equal(await served.getAttribute('content'), version);
  await served.evaluate((meta) => meta.setAttribute('content', '0.0.9'));
  await untilIs('the notice', () => visit.page.locator('#versions').textContent(), `The server is triwire ${version} now, and this page came from 0.0.9.`);
  await visit.page.getByRole('button', { name: 'Reload the page' }).click();
  await untilIs('the version after the reload', () => served.getAttribute('content'), version);
  await visit.panels[1].shows({ status: 'Ready to start.' });
  assert.ok(await outdated.isHidden());
});

it('calls nothing stuck or old because it was asleep itself', async (t) => {
  const visit = await stage.visit(t);
  const { page, panels: [, http2] } = visit;
  await http2.start('metrics', 3);
  await http2.shows({ open: 3, eventRate: /^[1-9]/ });
  // Everything that is ever shown from here on.
  await page.evaluate(() => {
    window.seen = new Set();
    const look = () => {
      for (const element of document.querySelectorAll('[data-field=status], #stale')) window.seen.add(element.textContent);
    };
    window.ticks = 0;
    setInterval(() => (window.ticks += 1), 100);
    new MutationObserver(look).observe(document.body, { subtree: true, childList: true, characterData: true });
  });
  const devtools = await page.context().newCDPSession(page);
  // Streams that were about to come back when it fell asleep, and are overdue when it wakes.
  await http2.region.getByRole('button', { name: 'Cut the connection' }).click();
  await http2.shows({ open: 0 });
  // To headless Chromium every page is in front, so it puts none to sleep; a debugger stops all of its scripts as well.
  await devtools.send('Debugger.enable');
  await devtools.send('Debugger.pause');
  const asleepAt = await stage.server.publish('marker', 'asleep');
  await until('the server to move on by seven seconds', () => stage.server.stats(), ({ log }) => Number(log.newest.split('-')[0]) > Number(asleepAt.id.split('-')[0]) + 7000);
  await devtools.send('Debugger.resume');
  const ticks = await page.evaluate('window.ticks');
  assert.ok(ticks < 35, `it was asleep for half of the time at least: ${ticks} ticks`);
  // What waited for the page to wake has no latency.
  await http2.shows({ open: 3, eventRate: /^[1-9]/, stuck: 0, gaps: 0, reconnects: 3, p99: /^[^s]+ ms$/ });
  // Three streams of six figures five times a second, once what had waited has come.
  await http2.shows({ eventRate: /^([789]|10|11)\d$/ });
  const seen = await page.evaluate('[...window.seen]');
  assert.deepEqual(seen.filter((text) => /stuck|has not told/.test(text)), []);
});

it('says so when a listener is off', async (t) => {
  const partial = await stage.another(t, { listen: { wss: 'off' } });
  const visit = await stage.visit(t, { server: partial });
  const [, http2, websocket] = visit.panels;
  await websocket.shows({ status: 'Off.', trouble: /^The listener wss is off\. / });
  assert.ok(await websocket.region.getByRole('button', { name: 'Start' }).isDisabled());
  await http2.start('metrics', 1);
  await http2.shows({ open: 1 });
  assert.deepEqual(visit.complaints, []);
});

it('looks again at a port out of reach when its reader comes back to the page', async (t) => {
  const visit = await stage.visit(t, { url: 'about:blank' });
  const probes = `${stage.server.origin('wss')}/healthz?*`;
  await visit.page.route(probes, (route) => route.abort());
  await visit.page.goto(stage.server.origin('http2'));
  const websocket = visit.panel('WebSocket');
  await websocket.shows({ status: 'Out of reach.', trouble: /its certificate is not trusted here yet/ });
  await visit.page.unroute(probes);
  await visit.page.evaluate(() => window.dispatchEvent(new Event('focus')));
  await websocket.shows({ status: 'Ready to start.', trouble: '', protocol: 'http/1.1' });
  assert.ok(await websocket.field('hint').isHidden());
});

it('takes http1 on this machine while http1s is not trusted, says so, and links to it', async (t) => {
  const visit = await stage.visit(t, { url: 'about:blank' });
  const [secure, plain] = [stage.server.origin('http1s'), stage.server.origin('http1')];
  await visit.page.route(`${secure}/healthz?*`, (route) => route.abort());
  await visit.page.goto(stage.server.origin('http2'));
  const [http1] = visit.panels;
  await http1.shows({ address: plain, status: 'Ready to start.', trouble: new RegExp(`no answer from ${secure}: .* Until then this panel uses ${plain}`) });
  assert.equal(await http1.region.getByRole('link').getAttribute('href'), `${secure}/`);
  await http1.start('metrics', 10);
  await http1.shows({ open: 6, stuck: 4, connections: 6, event: /"name":/ });
});
