// How the replicas look: a table of them and their sums, and what the reader was given by whom.

import * as figures from './figures.js';
import { write } from './view.js';

const NUMBERS_MS = 200;
/** A replica that has said nothing for so long is marked. */
const QUIET_MS = 2500;

const WIRES = {
  sse_http1: 'SSE on HTTP/1.1',
  sse_http2: 'SSE on HTTP/2',
  websocket: 'WebSocket',
  websocket_http2: 'WebSocket over HTTP/2',
  long_poll: 'Long polling',
  socket_io: 'Socket.IO',
};

export class ClusterView {
  #cluster;
  #field;
  #drawnAt = -Infinity;
  #looks = '';

  constructor(section, cluster, changed) {
    this.#cluster = cluster;
    this.#field = Object.fromEntries([...section.querySelectorAll('[data-field]')].map((field) => [field.dataset.field, field]));
    this.#field.form.addEventListener('submit', (event) => {
      event.preventDefault();
      if (cluster.isReading) cluster.stop();
      else cluster.read(this.#field.topic.value);
      changed(true);
    });
  }

  get topic() {
    return this.#field.topic.value;
  }

  draw(now) {
    const { replicas, reader } = this.#cluster;
    const { hasRelay, said, own } = replicas;
    if (hasRelay === null) return;
    // What became of the reader is seen at once.
    const looks = `${reader?.state} ${reader?.server} ${reader?.moved}`;
    if (looks === this.#looks && now - this.#drawnAt < NUMBERS_MS) return;
    this.#looks = looks;
    this.#drawnAt = now;
    const { alone, several, stale } = this.#field;
    several.hidden = !hasRelay;
    const count = said?.replicas.length ?? 0;
    alone.hidden = count > 1;
    write(alone, aloneInWords(hasRelay, count, own));
    if (!hasRelay) return;
    write(stale, replicas.isStale(now) ? 'No replica has told the numbers of all for some seconds.' : '');
    if (said) this.#drawTable(said);
    this.#drawReader();
  }

  #drawTable({ replicas, wires }) {
    const { head, rows } = this.#field;
    const shown = [...replicas].sort((a, b) => a.server.localeCompare(b.server));
    fill(head, 'th', ['Wire', ...shown.map(({ server }) => server), 'All']);
    for (const cell of head.children) cell.scope = 'col';
    const used = Object.keys(wires).filter((wire) => wire in WIRES || wires[wire].streams > 0);
    const lines = used.map((wire) => [WIRES[wire] ?? wire, ...shown.map(({ stats }) => pair(stats.wires[wire])), pair(wires[wire])]);
    const sums = [...shown.map(({ stats }) => pair(sum(stats.wires))), pair(sum(wires))];
    lines.push(['All', ...sums]);
    lines.push(['Relay, there and back', ...shown.map(({ stats }) => round(stats.relay)), '']);
    lines.push(['Heard of', ...shown.map(({ age_ms: age }) => (age > QUIET_MS ? `${figures.milliseconds(age)} ago` : 'just now')), '']);
    fitChildren(rows, 'tr', lines.length);
    for (const [i, line] of lines.entries()) {
      const row = rows.children[i];
      if (!row.firstElementChild) {
        row.append(document.createElement('th'));
        row.firstElementChild.scope = 'row';
      }
      write(row.firstElementChild, line[0]);
      fitChildren(row, 'td', line.length);
      for (const [j, text] of line.slice(1).entries()) write(row.children[j + 1], text);
      row.classList.toggle('sum', line[0] === 'All');
    }
    const quiet = shown.map(({ age_ms: age }) => age > QUIET_MS);
    for (const row of [head, ...rows.children]) {
      [...row.children].forEach((cell, i) => cell.classList.toggle('quiet', quiet[i - 1] === true));
    }
  }

  #drawReader() {
    const { reader, isReading } = this.#cluster;
    const { action, topic, status, reading, servers, events, moves, lost, doubled, gaps, log, event } = this.#field;
    write(action, isReading ? 'Stop' : 'Read');
    topic.readOnly = isReading;
    reading.hidden = reader === null;
    if (reader === null) return;
    write(status, statusInWords(this.#cluster));
    const { tally } = reader;
    write(events, figures.count(tally.events));
    write(moves, figures.count(reader.moved));
    const missing = reader.moves.reduce((all, { proof }) => all + (proof?.missing ?? 0), 0);
    mark(lost, Math.max(reader.lost, missing));
    mark(doubled, Math.max(reader.again, tally.twice));
    write(gaps, figures.count(tally.gaps));
    this.#drawServers(servers, reader);
    fitChildren(log, 'li', reader.moves.length);
    for (const [i, move] of reader.moves.entries()) write(log.children[i], moveInWords(move));
    event.hidden = tally.lastEvent === null;
    if (tally.lastEvent) write(event, tally.lastEvent.text.slice(0, 500));
  }

  #drawServers(list, reader) {
    const most = Math.max(1, ...reader.byServer.values());
    const all = [...reader.byServer].sort(([a], [b]) => a.localeCompare(b));
    fitChildren(list, 'li', all.length);
    for (const [i, [server, count]] of all.entries()) {
      const item = list.children[i];
      if (!item.firstElementChild) item.append(...['span', 'meter', 'b'].map((name) => document.createElement(name)));
      const [name, meter, number] = item.children;
      write(name, server);
      meter.max = most;
      meter.value = count;
      meter.setAttribute('aria-hidden', 'true');
      write(number, figures.count(count));
      item.classList.toggle('now', server === reader.server && reader.state === 'open');
    }
  }
}

function aloneInWords(hasRelay, count, own) {
  if (hasRelay) return count === 0 ? 'Asking for the other replicas…' : `${own} is the only replica now. Start another with the same --relay, and it is seen here.`;
  return `There is one replica, ${own}, with a log of its own. To have more, start several with the same relay: `
    + 'triwire serve --relay redis://localhost; scripts/cluster runs two behind a proxy.';
}

function statusInWords({ reader, topic, isReading }) {
  if (!isReading) return 'Stopped.';
  switch (reader.state) {
    case 'opening':
      return `Opening ${topic}…`;
    case 'away':
      return `${reader.server ?? 'The server'} is lost; asking the others for what comes after ${reader.cursor}…`;
    default:
      return `Reading ${topic} from ${reader.origin}${reader.server ? `; ${reader.server} delivers` : ''}.`;
  }
}

function moveInWords({ at, from, to, after, proof }) {
  const when = `${at.toLocaleTimeString()}: ${from ?? 'the server'} was lost`;
  if (after === null) return `${when}.`;
  const back = `${when}, back ${to ? `by ${to} ` : ''}after ${figures.milliseconds(after)}.`;
  if (proof === null) return back;
  const told = proof.gaps > 0 ? ' The log no longer had them all, and a gap notice said so.' : '';
  return `${back} ${figures.count(proof.events)} events since then, says a long poll: ${proof.missing || 'none'} missing, ${proof.twice || 'none'} twice.${told}`;
}

const pair = ({ streams, connections } = { streams: 0, connections: 0 }) => (streams || connections ? `${figures.count(streams)} on ${figures.count(connections)}` : '–');
const round = (relay) => (relay?.ready ? figures.milliseconds(relay.probe_us / 1000) : 'away');

function sum(wires) {
  const all = { streams: 0, connections: 0 };
  for (const { streams, connections } of Object.values(wires)) {
    all.streams += streams;
    all.connections += connections;
  }
  return all;
}

function mark(field, count) {
  write(field, figures.count(count));
  field.classList.toggle('bad', count > 0);
}

/** Has so many children of this kind, keeping those that are there. */
function fitChildren(parent, name, count) {
  while (parent.children.length > count) parent.lastElementChild.remove();
  while (parent.children.length < count) parent.append(document.createElement(name));
}

function fill(parent, name, texts) {
  fitChildren(parent, name, texts.length);
  for (const [i, text] of texts.entries()) write(parent.children[i], text);
}
