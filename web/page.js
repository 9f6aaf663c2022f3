// The page: asks its own origin where the listeners are, sets up a panel for each wire, and draws at most once a
// frame. Handlers of events only count (streams.js); everything that is seen is written from `draw`.

import { duration, bytes, count } from './figures.js';
import { Panel } from './panel.js';
import { Publish } from './publish.js';
import { Feed, cameMultiplexed, originOf, readStats } from './server.js';
import { SseStream, WebSocketStream } from './streams.js';

const TICK_MS = 500;
const RETRY_MS = 2000;

const isSecure = location.protocol === 'https:';

/** The panels. A new one is a row here: its listener, the name that the server counts it by, how a stream is opened,
 *  and whether its streams use up the connections that a browser has for requests to that port. */
const WIRES = [
  {
    key: 'sse-http1',
    title: 'SSE on HTTP/1.1',
    listener: isSecure ? 'http1s' : 'http1',
    counted: 'sse_http1',
    crowds: true,
    open: (...all) => new SseStream(...all),
  },
  {
    key: 'sse-http2',
    title: 'SSE on HTTP/2',
    listener: 'http2',
    counted: 'sse_http2',
    crowds: false,
    open: (...all) => new SseStream(...all),
  },
  {
    key: 'websocket',
    title: 'WebSocket',
    listener: isSecure ? 'wss' : 'ws',
    counted: 'websocket',
    crowds: false,
    open: (origin, topic, _types, ...rest) => new WebSocketStream(origin, topic, ...rest),
  },
];

/** The event types that SSE panels listen for; publishing adds to them. */
const types = new Set(['message', 'ADDED', 'MODIFIED', 'DELETED']);

const byId = (id) => document.getElementById(id);
const panels = WIRES.map(makePanel);
const feed = new Feed((stats) => {
  for (const panel of panels) panel.took(stats);
  changed();
});

let isDrawAsked = false;
/** Has everything drawn with the next frame. */
function changed() {
  if (isDrawAsked) return;
  isDrawAsked = true;
  requestAnimationFrame(draw);
}

function draw() {
  isDrawAsked = false;
  const now = performance.now();
  for (const panel of panels) panel.draw(now, feed);
  byId('start-all').disabled = panels.every((panel) => panel.isRunning || panel.origin === null);
  byId('stop-all').disabled = panels.every((panel) => !panel.isRunning);
  if (feed.stats) drawServer(now);
}

function drawServer(now) {
  const { server, version, uptime_s: uptime, log } = feed.stats;
  write(byId('server'), `Server ${server}, triwire ${version}, up ${duration(uptime)}. Its log holds `
    + `${count(log.events)} events (${bytes(log.bytes)}) on ${count(log.topics)} ${log.topics === 1 ? 'topic' : 'topics'}.`);
  write(byId('stale'), feed.isStale(now) ? staleInWords() : '');
  write(byId('source'), sourceInWords());
}

/** Read aloud, so the same from one second to the next. */
function staleInWords() {
  const since = new Date(performance.timeOrigin + feed.takenAt).toLocaleTimeString();
  const isStarved = panels.some((panel) => panel.crowds && panel.isRunning && panel.origin === feed.origin);
  const why = isStarved ? ': this page’s streams hold all connections that the browser has for it' : '';
  return `${feed.origin} has not told the server’s numbers since ${since}${why}.`;
}

function sourceInWords() {
  if (feed.isStream) return 'Here they come as events of the topic $stats, on a stream of this page’s own.';
  const asked = `Here they are asked for at ${feed.origin}/stats, once a second`;
  return cameMultiplexed() ? `${asked}.` : `${asked}: this page did not come over HTTP/2, and a stream of its own would `
    + 'take one of the browser’s six connections.';
}

function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function makePanel(wire) {
  const element = byId('panel').content.firstElementChild.cloneNode(true);
  byId('panels').append(element);
  return new Panel(element, wire, types, changed);
}

/** Where the page's own requests go. On HTTP/1.1 streams to the page's own port would leave them no connection, and
 *  WebSockets do not count among those: then it is the WebSocket panel's port, if that can be reached. */
function ownOrigin() {
  const websocket = panels.at(-1);
  const isCrowded = !cameMultiplexed() && panels.some((panel) => panel.crowds);
  return isCrowded && !websocket.isOutOfReach ? websocket.origin : location.origin;
}

function follow() {
  if (cameMultiplexed()) feed.stream(ownOrigin());
  else feed.poll(ownOrigin());
}

function learn(type) {
  if (types.has(type)) return;
  types.add(type);
  for (const panel of panels) panel.listen(type);
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
  const located = panels.map((panel, i) => panel.locate(originOf(stats.listeners[WIRES[i].listener])));
  // Where to ask from then on may depend on what can be reached.
  if (!cameMultiplexed()) await Promise.all(located);
  follow();
}

function end() {
  feed.stop();
  for (const panel of panels) panel.stop();
}

function recheck() {
  if (document.visibilityState === 'visible') for (const panel of panels) panel.recheck();
}

byId('start-all').addEventListener('click', () => panels.forEach((panel) => panel.start()));
byId('stop-all').addEventListener('click', () => panels.forEach((panel) => panel.stop()));
document.addEventListener('visibilitychange', recheck);
window.addEventListener('focus', recheck);
// A page that is left must leave the server too, also when the browser keeps it to come back to.
window.addEventListener('pagehide', end);
window.addEventListener('pageshow', (event) => event.persisted && follow());
setInterval(() => {
  const now = performance.now();
  for (const panel of panels) panel.sample(now);
  changed();
}, TICK_MS);

new Publish(byId('publish'), byId('published'), ownOrigin, learn);
begin();
