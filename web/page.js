// The page: asks its own origin where the listeners are, sets up a panel for each wire, and draws at most once a
// frame. Handlers of events only count (streams.js); everything that is seen is written from `draw`.

import { Cluster } from './cluster.js';
import { Collections } from './collections.js';
import { Compare } from './compare.js';
import { bytes, count, duration } from './figures.js';
import { Clock } from './latency.js';
import { Panel } from './panel.js';
import { Publish } from './publish.js';
import { Replicas } from './replicas.js';
import { Feed, cameMultiplexed, originOf, readStats } from './server.js';
import { write } from './view.js';
import { WIRES } from './wires.js';
import { Workbench } from './workbench.js';

const TICK_MS = 500;
/** Drawing takes time from the events whose latency is measured: every second frame is smooth enough. */
const FRAME_MS = 30;
const RETRY_MS = 2000;
const COMPARE_CLOCKS_MS = 60_000;

/** The event types that SSE panels listen for; publishing adds to them. */
const types = new Set(['message', 'ADDED', 'MODIFIED', 'DELETED']);

const byId = (id) => document.getElementById(id);
const clock = new Clock();
const panels = WIRES.map(makePanel);
const [, http2, websocket] = panels;
const feed = new Feed((stats) => {
  for (const panel of panels) panel.took(stats);
  replicas.took(stats);
  cluster.took();
  changed();
});

/** Where the listeners are: name to origin, once the server has said. */
const origins = new Map();
const replicas = new Replicas({ origins, home: ownOrigin, changed });
const workbench = new Workbench(byId('workbench'), { replicas, clock, changed });
const collections = new Collections(byId('collections'), { origins, changed });
const cluster = new Cluster(byId('cluster'), { replicas, types, clock, changed });
const compare = new Compare(byId('compare'), { origins, clock, home: ownOrigin, hold, release });

let isDrawAsked = false;
let drawnAt = 0;
let comparedAt = -Infinity;
/** Since when the display stands still, and how many events there were then; `null` when it moves. */
let pause = null;

/** Has everything drawn with the next frame. What the reader does ends a pause: its effect is to be seen. */
function changed(isAction = false) {
  if (isAction && pause) setPause(null);
  if (isAction) compareClocks(performance.now());
  if (isDrawAsked) return;
  isDrawAsked = true;
  requestAnimationFrame(draw);
}

function draw() {
  isDrawAsked = false;
  const now = performance.now();
  if (now - drawnAt < FRAME_MS) {
    changed();
    return;
  }
  drawnAt = now;
  noticeSleep();
  if (pause) {
    drawPause();
    return;
  }
  let isMoving = false;
  for (const panel of panels) if (panel.draw(now, feed)) isMoving = true;
  workbench.draw(now);
  collections.draw(now);
  cluster.draw(now);
  // All of them: one that is still looked for would not start.
  const isLooking = panels.some((panel) => panel.isChecking && panel.origin === null);
  byId('start-all').disabled = isLooking || panels.every((panel) => panel.isRunning || panel.isHeld || panel.origin === null);
  byId('stop-all').disabled = panels.every((panel) => !panel.isRunning);
  if (feed.stats) drawServer(now);
  if (isMoving) changed();
}

function drawServer(now) {
  const { server, version, uptime_s: uptime, log } = feed.stats;
  write(byId('server'), `Server ${server}, triwire ${version}, up ${duration(uptime)}. Its log holds `
    + `${count(log.events)} events (${bytes(log.bytes)}) on ${count(log.topics)} ${log.topics === 1 ? 'topic' : 'topics'}.`);
  write(byId('stale'), feed.isStale(now) ? staleInWords() : '');
  write(byId('source'), sourceInWords());
  write(byId('clock'), clockInWords());
  const ours = document.querySelector('meta[name=triwire-version]').content;
  byId('outdated').hidden = version === ours;
  write(byId('versions'), version === ours ? '' : `The server is triwire ${version} now, and this page came from ${ours}.`);
}

/** Read aloud, so the same from one second to the next. */
function staleInWords() {
  const since = new Date(performance.timeOrigin + feed.takenAt).toLocaleTimeString();
  const isStarved = panels.some((panel) => panel.crowds && panel.isRunning && panel.origin === feed.origin);
  const why = isStarved ? ': this page’s streams hold all connections that the browser has for it' : '';
  return `${feed.origin} has not told the server’s numbers since ${since}${why}.`;
}

function sourceInWords() {
  if (feed.isStream) return `Here they come as events of the topic $stats, on a stream of this page’s own from ${feed.origin}.`;
  return `Here they are asked for at ${feed.origin}/stats, once a second: the HTTP/2 port cannot be reached, and a `
    + 'stream of its own would take one of the browser’s six connections.';
}

function clockInWords() {
  const { offset, error } = clock;
  if (error === null) return 'The clocks have not been compared yet and are taken to agree.';
  return offset === 0
    ? `The clocks agree within ${error} ms.`
    : `The server’s clock is ${Math.abs(offset)} ms ${offset > 0 ? 'ahead' : 'behind'}, give or take ${error} ms, and that is taken off.`;
}

function makePanel(wire) {
  const element = byId('panel').content.firstElementChild.cloneNode(true);
  byId('panels').append(element);
  return new Panel(element, wire, { types, clock, changed, home: ownOrigin });
}

/** Where the page's own requests go: to the HTTP/2 port, where one connection has room for them whatever the streams
 *  do. If it cannot be reached, the page's own origin would have no connection left once the HTTP/1.1 panel fills it;
 *  WebSockets do not count among those, so then it is the WebSocket panel's port. */
function ownOrigin() {
  if (cameMultiplexed()) return location.origin;
  if (!http2.isOutOfReach) return http2.origin;
  const isCrowded = panels.some((panel) => panel.crowds);
  return isCrowded && !websocket.isOutOfReach ? websocket.origin : location.origin;
}

function follow() {
  const origin = ownOrigin();
  if (cameMultiplexed() || origin === http2.origin) feed.stream(origin);
  else feed.poll(origin);
}

/** Compares the clocks when that is due: while somebody looks at latencies. */
function compareClocks(now) {
  if (now - comparedAt < COMPARE_CLOCKS_MS || !panels.some((panel) => panel.isRunning)) return;
  comparedAt = now;
  clock.compare(ownOrigin());
}

function learn(type) {
  if (types.has(type)) return;
  types.add(type);
  for (const panel of panels) panel.listen(type);
  cluster.listen(type);
}

/** After a sleep nothing is late: nobody could answer meanwhile, and rates would be those of the sleep. */
function noticeSleep() {
  if (!clock.tick()) return;
  feed.forgive();
  for (const panel of panels) panel.forgive();
}

function tick() {
  const now = performance.now();
  noticeSleep();
  compareClocks(now);
  for (const panel of panels) panel.sample(now);
  workbench.lookAfter(now);
  changed();
}

const eventsSoFar = () => panels.reduce((sum, panel) => sum + panel.tally.events, 0);

function setPause(value) {
  pause = value;
  byId('pause').textContent = pause ? 'Resume display' : 'Pause display';
  byId('paused').hidden = pause === null;
  byId('pause').classList.toggle('on', pause !== null);
}

function drawPause() {
  const since = new Date(performance.timeOrigin + pause.at).toLocaleTimeString();
  write(byId('paused-since'), `Display paused at ${since}. The streams go on`);
  write(byId('paused-events'), `: ${count(eventsSoFar() - pause.events)} events since.`);
}

/** Asks until the server says where its listeners are. */
async function firstStats() {
  for (;;) {
    try {
      return await readStats(location.origin);
    } catch (error) {
      byId('stale').textContent = `No answer from ${location.origin}/stats yet (${error.message}); asking again.`;
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    }
  }
}

async function begin() {
  const stats = await firstStats();
  feed.take(stats);
  for (const [name, listener] of Object.entries(stats.listeners)) origins.set(name, originOf(listener));
  const located = panels.map((panel) => panel.locate(origins));
  // Where to ask from then on may depend on what can be reached.
  if (!cameMultiplexed()) await Promise.all(located);
  follow();
}

/** Makes room for a comparison: whatever streams there are would disturb it. Whether panels ran is the result. */
function hold() {
  feed.stop();
  const running = panels.filter((panel) => panel.isRunning);
  for (const panel of running) panel.stop();
  for (const panel of panels) panel.isHeld = true;
  workbench.hold();
  collections.hold();
  cluster.hold();
  replicas.hold();
  changed();
  return running.length > 0;
}

function release() {
  for (const panel of panels) panel.isHeld = false;
  workbench.release();
  collections.release();
  cluster.release();
  replicas.release();
  follow();
  changed();
}

function end() {
  compare.leave();
  workbench.leave();
  collections.leave();
  cluster.leave();
  replicas.hold();
  feed.stop();
  for (const panel of panels) panel.stop();
}

async function recheck() {
  if (document.visibilityState !== 'visible' || feed.stats === null) return;
  await Promise.all(panels.map((panel) => panel.recheck()));
  if (feed.isFollowing && ownOrigin() !== feed.origin) follow();
}

byId('start-all').addEventListener('click', () => panels.forEach((panel) => panel.submit()));
byId('stop-all').addEventListener('click', () => panels.forEach((panel) => panel.stop()));
byId('pause').addEventListener('click', () => {
  setPause(pause ? null : { at: performance.now(), events: eventsSoFar() });
  changed();
});
byId('reload').addEventListener('click', () => location.reload());
document.addEventListener('visibilitychange', recheck);
window.addEventListener('focus', recheck);
// A page that is left must leave the server too, also when the browser keeps it to come back to.
window.addEventListener('pagehide', end);
window.addEventListener('pageshow', (event) => {
  if (!event.persisted) return;
  follow();
  workbench.comeBack();
  collections.comeBack();
  cluster.comeBack();
  replicas.release();
});
setInterval(tick, TICK_MS);

new Publish(byId('publish'), byId('published'), { origin: ownOrigin, typed: learn, panels });
begin();
