// The comparison: its figures are held against what the server counts, what is in its way is named, and it leaves
// nothing behind.

import assert from 'node:assert/strict';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';

import { Comparison, Visit, launch } from './browser.mjs';
import { Stage } from './stage.mjs';
import { until, untilIs } from './wait.mjs';

const SHOTS = process.env.TRIWIRE_SHOTS ?? new URL('../../target/page', import.meta.url).pathname;
const WIRES = ['sse-http1', 'sse-http2', 'websocket', 'websocket-http2', 'long-poll'];
/** What is left of the page when nothing is started: the stream of its own numbers. */
const QUIET = { sse_http1: [0, 0], sse_http2: [1, 1], websocket: [0, 0], websocket_http2: [0, 0] };

const stage = Stage.set({ metrics: 'off' });

/** The page's comparison, once the page may start it and the server counts nothing but the page. */
async function ready({ page, panels }, server = stage.server) {
  for (const panel of panels) await panel.shows({ status: /^(Ready to start|Out of reach|Off)\.$/ });
  await untilIs('a quiet server', () => server.counts(), QUIET);
  return new Comparison(page);
}

/** The saved result, and its figures by wire. */
async function saved(comparison) {
  const { name, result } = await comparison.save();
  return { name, result, figures: Object.fromEntries(result.wires.map(({ wire, figures }) => [wire, figures])) };
}

const standing = ({ open, stuck, connections, lost, twice, gaps }) => ({ open, stuck, connections, lost, twice, gaps });
const whole = (connections) => ({ open: 10, stuck: 0, connections, lost: 0, twice: 0, gaps: 0 });

it('counts what ten streams cost on each wire, loses nothing, and leaves nothing behind', async (t) => {
  const visit = await stage.visit(t);
  const comparison = await ready(visit);
  await comparison.start(10, 2);
  await comparison.says('Done.');
  await untilIs('the counts after it', () => stage.server.counts(), QUIET);
  const { wires } = await stage.server.stats();
  assert.deepEqual([wires.long_poll.streams, wires.long_poll.connections], [0, 0]);

  const { name, result, figures } = await saved(comparison);
  assert.match(name, /^triwire-compare-.*\.json$/);
  assert.deepEqual(Object.keys(figures), WIRES);
  assert.deepEqual(standing(figures['sse-http1']), { ...whole(6), open: 6, stuck: 4 });
  assert.deepEqual(standing(figures['sse-http2']), whole(1));
  assert.deepEqual(standing(figures.websocket), whole(10));
  assert.deepEqual(standing(figures['websocket-http2']), whole(1));
  assert.deepEqual(standing(figures['long-poll']), whole(1));

  for (const { wire, figures, samples, trouble } of result.wires) {
    const { open, published, delivered, p50_ms: p50, p99_ms: p99, max_ms: max, bytes_an_event: bytes } = figures;
    assert.equal(trouble, null, wire);
    assert.equal(published, 40, wire);
    assert.equal(delivered, 40 * open, wire);
    assert.equal(samples.latency_ms.length, open, wire);
    assert.ok(samples.latency_ms.every((stream) => stream.length === 40 && stream.every((ms) => ms > 0)), wire);
    assert.equal(samples.ready_ms.filter((ms) => ms !== null).length, open, wire);
    assert.ok(p50 > 0 && p50 <= p99 && p99 <= max, `${wire}: ${p50}, ${p99}, ${max}`);
    // An id, a framing, HTTP and TLS on top of 200 bytes of payload, and nothing of the publishing.
    assert.ok(bytes.down > 220 && bytes.down < 450, `${wire}: ${bytes.down} bytes down`);
    assert.ok(wire === 'long-poll' ? bytes.up > 50 : bytes.up < 20, `${wire}: ${bytes.up} bytes up`);
    assert.equal(figures.all_open_ms === null, wire === 'sse-http1', wire);
    assert.equal(figures.has_left, true, wire);
  }
  assert.equal(result.settings.streams, 10);
  assert.equal(result.was_stopped, false);
  assert.match(result.browser, /Chrom/);
  assert.ok(Date.parse(result.started_at) > 0);
  assert.equal(await comparison.field('outcome').textContent(), result.outcome);
  assert.match(result.outcome, /^SSE on HTTP\/1\.1 had 6 of 10 streams open and 4 stuck\. /);
  assert.match(result.outcome, / on 1 connection with SSE on HTTP\/2, WebSocket over HTTP\/2 and Long polling on HTTP\/2/);
  assert.match(result.outcome, / No event was lost, and none came twice\.$/);
  assert.deepEqual(visit.complaints, []);
});

it('shows in the table what it saves', stage.onPage(async (panels, page) => {
  const comparison = await ready({ page, panels });
  await comparison.start(2, 1);
  await comparison.says('Done.');
  const { figures } = await saved(comparison);
  const titles = await comparison.field('head').locator('th').allTextContents();
  for (const wire of WIRES) {
    const row = await comparison.region.locator(`tr[data-wire=${wire}] > *`).allTextContents();
    const shown = Object.fromEntries(titles.map((title, i) => [title, row[i]]));
    const { open, stuck, connections, lost, twice, delivered } = figures[wire];
    const wanted = { Open: open, Stuck: stuck, Connections: connections, Lost: lost, Twice: twice, Delivered: delivered };
    for (const [title, value] of Object.entries(wanted)) assert.equal(shown[title], String(value), `${wire}, ${title}`);
  }
}));

it('stops the panels first, says so, and has none start meanwhile', stage.onPage(async (panels, page) => {
  const comparison = await ready({ page, panels });
  for (const panel of panels) await panel.start('metrics', 3);
  for (const panel of panels) await panel.shows({ open: 3 });
  await comparison.start(3, 1);
  await comparison.says(/^1 of 5, /);
  assert.match(await comparison.field('held').textContent(), /^The panels were stopped/);
  assert.ok(await comparison.field('held').isVisible());
  for (const panel of panels) {
    await panel.shows({ asked: 0, action: 'Start' });
    assert.ok(await panel.field('toggle').isDisabled());
  }
  assert.ok(await page.getByRole('button', { name: 'Start all' }).isDisabled());
  await comparison.says('Done.');
  const { figures } = await saved(comparison);
  // Panels left over would have held connections, and theirs would be counted as the comparison's.
  assert.deepEqual(WIRES.map((wire) => figures[wire].connections), [3, 1, 3, 1, 1]);
  await panels[1].start('metrics', 1);
  await panels[1].shows({ open: 1, connections: 1, serverStreams: 2 });
}));

describe('Stop', () => {
  it('keeps what was measured, and closes everything', stage.onPage(async (panels, page) => {
    const comparison = await ready({ page, panels });
    await comparison.start(10, 3);
    await until('the second wire', () => comparison.field('counted').textContent().then(async (counted) => [await comparison.field('status').textContent(), counted]),
      ([status, counted]) => status.startsWith('2 of 5, SSE on HTTP/2: publishing') && Number(counted.match(/\d+/)?.[0]) > 5);
    await comparison.press('Stop the comparison');
    await comparison.says('Stopped. What was measured until then is below.');
    await untilIs('the counts after it', () => stage.server.counts(), QUIET);
    const { result, figures } = await saved(comparison);
    assert.equal(result.was_stopped, true);
    assert.equal(figures['sse-http1'].published, 60);
    const { published, delivered, lost } = figures['sse-http2'];
    assert.ok(published > 5 && published < 60, `${published} events`);
    assert.deepEqual([delivered, lost], [published * 10, 0]);
    assert.equal(figures.websocket, null);
    assert.deepEqual(await comparison.troubles(), ['SSE on HTTP/2: it was stopped, and has fewer events than the others.']);
    // And it may be started again.
    await comparison.start(1, 1);
    await comparison.says('Done.');
    assert.deepEqual(await comparison.troubles(), []);
  }));

  it('goes with the page', async (t) => {
    const visit = await stage.visit(t);
    const comparison = await ready(visit);
    await comparison.start(10, 5);
    await comparison.says(/^1 of 5, SSE on HTTP\/1\.1: publishing/);
    await visit.page.goto('about:blank');
    await untilIs('the counts without the page', () => stage.server.counts(), { ...QUIET, sse_http2: [0, 0] });
  });
});

describe('what is in the way', () => {
  it('a port whose certificate is not trusted is named, with a link, and the others are compared', async (t) => {
    const visit = await stage.visit(t, { url: 'about:blank' });
    const origin = stage.server.origin('wss');
    await visit.page.route(`${origin}/healthz?*`, (route) => route.abort());
    await visit.page.goto(stage.server.origin('http2'));
    const comparison = await ready(visit);
    await comparison.start(2, 1);
    await comparison.says('Done.');
    const [trouble, ...rest] = await comparison.troubles();
    assert.match(trouble, /^WebSocket: The browser has no answer from .*: its certificate is not trusted here yet, or nothing listens there\. /);
    assert.deepEqual(rest, []);
    assert.equal(await comparison.region.getByRole('link').getAttribute('href'), `${origin}/`);
    const { figures } = await saved(comparison);
    assert.equal(figures.websocket, null);
    for (const wire of WIRES.filter((wire) => wire !== 'websocket')) assert.equal(figures[wire].open, 2, wire);
  });

  it('in a browser that trusts no certificate, what can be had in cleartext is compared', async (t) => {
    const browser = await launch();
    t.after(() => browser.close());
    const visit = await Visit.to(browser, stage.server.origin('http1'));
    for (const panel of visit.panels) await panel.shows({ status: /^(Ready to start|Out of reach)\.$/ });
    const comparison = new Comparison(visit.page);
    await comparison.start(10, 1);
    await comparison.says('Done.');
    const { figures } = await saved(comparison);
    assert.deepEqual(standing(figures['sse-http1']), { ...whole(6), open: 6, stuck: 4 });
    assert.deepEqual(standing(figures.websocket), whole(10));
    for (const wire of ['sse-http2', 'websocket-http2', 'long-poll']) assert.equal(figures[wire], null, wire);
    const troubles = await comparison.troubles();
    assert.equal(troubles.length, 3);
    for (const trouble of troubles) assert.match(trouble, /its certificate is not trusted here yet/);
    assert.ok(visit.complaints.every((text) => text.includes('ERR_CERT_AUTHORITY_INVALID')), visit.complaints.join('\n'));
  });

  it('a listener that is off is named', async (t) => {
    const partial = await stage.another(t, { listen: { wss: 'off' } });
    const comparison = await ready(await stage.visit(t, { server: partial }), partial);
    await comparison.start(1, 1);
    await comparison.says('Done.');
    assert.deepEqual(await comparison.troubles(), ['WebSocket: The listener wss is off. Start the server with --wss ADDR:PORT to compare it. ']);
  });

  it('WebSocket over HTTP/2 that cannot be had is named', async (t) => {
    const without = await stage.another(t, { flags: ['--no-websocket-http2'] });
    const comparison = await ready(await stage.visit(t, { server: without }), without);
    await comparison.start(1, 1);
    await comparison.says('Done.');
    assert.deepEqual(await comparison.troubles(), ['WebSocket over HTTP/2: No WebSocket could be opened over HTTP/2, by this browser or by this server. ']);
  });

  it('a server that is killed meanwhile ends it, and what came until then is kept', async (t) => {
    const mortal = await stage.another(t);
    const comparison = await ready(await stage.visit(t, { server: mortal }), mortal);
    await comparison.start(4, 3);
    await comparison.says(/^2 of 5, SSE on HTTP\/2: publishing/);
    mortal.child.kill('SIGKILL');
    await comparison.says('Ended early: the server went away.');
    const { result, figures } = await saved(comparison);
    assert.equal(figures['sse-http1'].published, 60);
    assert.equal(result.wires[1].trouble, 'gone');
    assert.ok(figures['sse-http2'].published < 60);
    assert.match((await comparison.troubles())[0], /^SSE on HTTP\/2: The server went away meanwhile: /);
    // Pressed again, it says at once what is wrong.
    await comparison.press('Compare');
    await comparison.says(/^It cannot go on: .* does not answer \(.*\)\. Start the server, /);
  });

  it('a server with too little room is named', async (t) => {
    const small = await stage.another(t, { flags: ['--connections', '8'] });
    const comparison = await ready(await stage.visit(t, { server: small }), small);
    await comparison.start(10, 1);
    await comparison.says('Done.');
    const { figures } = await saved(comparison);
    assert.ok(figures.websocket.open < 10, `${figures.websocket.open} open`);
    assert.ok((await comparison.troubles()).some((text) => /^WebSocket: The server took .* of the streams: it is full or about to stop\. /.test(text)));
    assert.deepEqual(standing(figures['websocket-http2']), whole(1));
  });

  it('a page that was in the background says that its figures are weak', stage.onPage(async (panels, page) => {
    const comparison = await ready({ page, panels });
    await comparison.start(1, 2);
    await comparison.says(/^1 of 5, SSE on HTTP\/1\.1: publishing/);
    // To headless Chromium every page is in front.
    await page.evaluate(() => {
      Object.defineProperty(document, 'visibilityState', { configurable: true, get: () => 'hidden' });
      document.dispatchEvent(new Event('visibilitychange'));
      delete document.visibilityState;
    });
    await comparison.says('Done.');
    assert.deepEqual(await comparison.troubles(), ['SSE on HTTP/1.1: the page was in the background, where browsers slow timers down. Keep it in front and compare again.']);
  }));

  it('events that are another’s are told from its own', stage.onPage(async (panels, page) => {
    const comparison = await ready({ page, panels });
    await comparison.start(3, 2);
    await comparison.says(/^2 of 5, SSE on HTTP\/2: publishing/);
    await stage.server.publish('page/compare', 'another page’s event');
    await comparison.says('Done.');
    const { figures } = await saved(comparison);
    assert.deepEqual([figures['sse-http2'].foreign, figures['sse-http2'].lost, figures['sse-http2'].twice], [3, 0, 0]);
    assert.equal(figures['sse-http1'].foreign, 0);
    assert.match((await comparison.troubles())[0], /^SSE on HTTP\/2: the server delivered events to others meanwhile, /);
  }));
});

it('finds what is lost, and works out figures as they should be', stage.onPage(async (panels, page) => {
  const found = await page.evaluate(async () => {
    const figures = await import('/compare-figures.js');
    const hundred = Array.from({ length: 100 }, (_, i) => i + 1);
    const counts = (out) => ({ bytes_out: out, bytes_in: 0 });
    return {
      lost: figures.lostOf([[1, NaN, 3, NaN], [1, 2, 3, NaN]], Uint8Array.of(1, 1, 1, 0)),
      quantiles: [0.5, 0.99, 1].map((share) => figures.quantile(hundred, share)),
      none: figures.quantile([], 0.5),
      bytes: figures.bytesAnEvent(counts(1000), counts(4100), { publishes: 10, deliveries: 10, own: { down: { stats: 100, publish: 50 }, up: { stats: 0, publish: 0 } } }),
      bins: figures.histogram([0.01, 0.1, 1, 10, 99, 5000], { least: 0.1, most: 100, bins: 3 }),
    };
  });
  assert.deepEqual(found, { lost: 1, quantiles: [50, 99, 100], none: null, bytes: { down: 250, up: 0 }, bins: [2, 1, 3] });
}));

it('says what came of it, and holds no wire with fewer streams against the others', stage.onPage(async (panels, page) => {
  const outcomes = await page.evaluate(async () => {
    const { outcome } = await import('/compare-words.js');
    const turn = (title, open, connections, p50, lost = 0) => {
      return { contender: { title }, figures: { asked: 10, open, stuck: 10 - open, connections, p50_ms: p50, samples: 1, lost, twice: 0 } };
    };
    const cut = turn('A', 6, 6, 1);
    return [[cut, turn('B', 10, 1, 8), turn('C', 10, 10, 11), turn('D', 10, 1, 30)], [turn('B', 10, 1, 2), turn('C', 10, 1, 9, 3)], []]
      .map((turns) => outcome({ turns }));
  });
  assert.deepEqual(outcomes, [
    'A had 6 of 10 streams open and 4 stuck. All 10 were open on 1 connection with B and D, and on 10 connections with C. '
      + 'Half of the events came within 8.0 ms to 11.0 ms with B and C (too close to tell apart); 30.0 ms with D; '
      + '1.0 ms with A, which had only 6 streams to serve. No event was lost, and none came twice.',
    'All 10 were open on 1 connection with B and C. Half of the events came within 2.0 ms with B; 9.0 ms with C. '
      + 'With C, 3 were lost and 0 came twice.',
    '',
  ]);
}));

for (const colorScheme of ['light', 'dark']) {
  it(`fits 1280 and 390 pixels in ${colorScheme}`, stage.onPage(async (panels, page) => {
    const comparison = await ready({ page, panels });
    await comparison.start(10, 2);
    await comparison.says('Done.');
    await mkdir(SHOTS, { recursive: true });
    for (const width of [1280, 390]) {
      await page.setViewportSize({ width, height: 900 });
      assert.equal(await page.evaluate('document.documentElement.scrollWidth - innerWidth'), 0);
      await comparison.region.screenshot({ path: join(SHOTS, `compare-${width}-${colorScheme}.png`) });
    }
  }, { colorScheme }));
}
