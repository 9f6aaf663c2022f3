// A collection that everybody edits together: what is asked of it, over which wire, and which of the changes that come
// are this page's own. How it looks is collections-view.js's.

import { Client } from './client.js';
import { CollectionsView } from './collections-view.js';
import { cameMultiplexed, findListener } from './server.js';
import { canOpenWebSocket } from './streams.js';

const isSecure = location.protocol === 'https:';
const SECURE_OR_PLAIN = isSecure ? ['http1s', 'http1'] : ['http1'];
/** How many of the last changes are kept to be read. */
const CHANGES = 8;

/** What can carry it. The first takes whatever works, where the page came from. */
const CARRIERS = [
  { title: 'Automatic', wire: 'auto', listeners: [] },
  { title: 'SSE', wire: 'sse', listeners: ['http2', ...SECURE_OR_PLAIN] },
  { title: 'WebSocket', wire: 'websocket', listeners: [isSecure ? 'wss' : 'ws'] },
  { title: 'WebSocket over HTTP/2', wire: 'websocket', listeners: ['http2'], isTried: true },
  { title: 'Long polling', wire: 'poll', listeners: ['http2', ...SECURE_OR_PLAIN] },
];

export class Collections {
  carriers = CARRIERS;
  carrier = CARRIERS[0];
  /** Where it is, and what is wrong with it. */
  origin = null;
  trouble = null;
  /** The client and the map of documents, while the table is open; and what went wrong in opening it. */
  client = null;
  live = null;
  name = '';
  problem = null;
  isHeld = false;
  /** The last changes, the newest first: `{ kind, id, version, event, whose }`, of which the last is `own`, `other`, or
   *  `null` while that is not known. */
  changes = [];
  reconnects = 0;
  gaps = 0;
  /** The last change that was not made because another had come before it. */
  conflict = null;
  #page;
  #view;
  /** Counts what was opened and closed, so that what was asked for before is let go. */
  #run = 0;
  /** The ids of the events that our own changes have become, and the changes that are not answered yet. */
  #own = new Set();
  #asked = new Set();

  /** `page` as of the workbench. */
  constructor(section, page) {
    this.#page = page;
    this.#view = new CollectionsView(section, this, page.changed);
  }

  draw(now) {
    this.#view.draw(now);
  }

  /** Lists a collection, and follows it. */
  async open(name) {
    this.close();
    const run = this.#run;
    this.name = name;
    Object.assign(this, { changes: [], reconnects: 0, gaps: 0, conflict: null });
    await this.#locate();
    if (this.trouble !== null || run !== this.#run) return;
    const client = new Client({ url: this.origin, wire: this.carrier.wire, twoWay: true });
    this.client = client;
    let wasOpen = false;
    client.addEventListener('standing', () => {
      if (client !== this.client) return;
      if (client.standing.state === 'open') wasOpen = true;
      else if (client.standing.state === 'away' && wasOpen) [this.reconnects, wasOpen] = [this.reconnects + 1, false];
      this.#page.changed();
    });
    this.live = client.collection(name).watch({
      change: (change) => this.#changed(change),
      gap: () => (this.gaps += 1),
    });
    await this.live.ready.catch((problem) => (this.problem = problem));
    this.#page.changed();
  }

  close() {
    this.#run += 1;
    this.live?.close();
    this.client?.close();
    Object.assign(this, { live: null, client: null, problem: null, name: '' });
    this.#view.clear();
    this.#page.changed(true);
  }

  /** Takes another wire, and goes on there. */
  async choose(index) {
    this.carrier = CARRIERS[index];
    await this.#locate();
    if (this.trouble === null) this.client?.use({ url: this.origin, wire: this.carrier.wire });
    this.#page.changed(true);
  }

  /** Makes no connection while the wires are compared. */
  hold() {
    this.isHeld = true;
    this.#held = this.name;
    if (this.client) this.close();
  }

  release() {
    this.isHeld = false;
    if (this.#held) this.open(this.#held);
  }

  #held = '';

  leave() {
    this.#held = this.name;
    if (this.client) this.close();
  }

  comeBack() {
    this.release();
  }

  create(document) {
    return this.#do((items) => items.create(document));
  }

  remove(id, version) {
    return this.#do((items) => items.delete(id, { version }), { id });
  }

  /** Changes one member, if the document is still the one that was seen. */
  patch(id, field, value, version) {
    return this.#do((items) => items.patch(id, { [field]: value }, { version }), { id, field, value, version });
  }

  /** Makes a change; whether it was made is the result. That another came before it is shown with what is there now. */
  async #do(work, asked) {
    this.conflict = null;
    this.problem = null;
    const items = this.client.collection(this.name);
    const doing = work(items);
    this.#asked.add(doing);
    try {
      this.#own.add((await doing).event);
      return true;
    } catch (problem) {
      if (problem.status === 412) {
        const found = await items.get(asked.id).catch(() => null);
        this.conflict = { ...asked, found };
      } else {
        this.problem = problem;
      }
      return false;
    } finally {
      this.#asked.delete(doing);
      this.#page.changed(true);
    }
  }

  /** A change may be here before the answer to whoever made it: then whose it is is known a moment later. */
  async #changed(change) {
    const noted = { ...change, whose: null };
    this.#view.changed();
    this.#page.changed();
    if (change.event === null) return;
    this.changes = [noted, ...this.changes].slice(0, CHANGES);
    if (!this.#own.has(change.event)) await Promise.allSettled([...this.#asked]);
    noted.whose = this.#own.delete(change.event) ? 'own' : 'other';
    this.#view.flash(noted);
    this.#page.changed();
  }

  async #locate() {
    const { carrier } = this;
    const origins = carrier.listeners.map((name) => this.#page.origins.get(name)).filter(Boolean);
    if (carrier.wire === 'auto') origins.push(location.origin);
    const found = await findListener(origins);
    if (carrier !== this.carrier) return;
    this.origin = found.origin;
    this.trouble = found.trouble === 'late' || found.trouble === 'busy' ? null : found.trouble;
    if (this.trouble === null && carrier.isTried && !await canOpenWebSocket(found.origin)) this.trouble = 'untaken';
  }
}
