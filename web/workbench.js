// The workbench: queries of this page's own, one subscription to them, and one stream that brings what they yield.
// Queries are added, edited and removed while the stream is open; it stays the same stream. When its server is gone it
// goes on at another replica, after the last event that it had. How it looks is workbench-view.js's.

import { newKey } from './cut.js';
import { PollStream } from './poll.js';
import { cameMultiplexed, mayPass } from './server.js';
import { Tally, stateOf } from './streams.js';
import { WIRES } from './wires.js';
import { findPlace } from './workbench-place.js';
import { Result } from './workbench-result.js';
import { Server } from './workbench-server.js';
import { WorkbenchView } from './workbench-view.js';

/** What can carry the stream: each way of each wire, and long polling. */
const CARRIERS = [
  ...WIRES.flatMap(({ title, open, ways }) => ways.map((way) => ({
    title: way.isTried ? `${title} on ${way.label}` : title,
    listeners: way.listeners,
    isTried: way.isTried ?? false,
    isPolled: false,
    open,
  }))),
  { title: 'Long polling', listeners: ['http2', 'http1'], isTried: false, isPolled: true, open: (options) => new PollStream(options) },
];
/** How long a stream is away before it is looked after, and then how often; at first it is at once if there is another
 *  replica to go to. */
const LOOK_AFTER_MS = 3000;

export class Workbench {
  carriers = CARRIERS;
  wire = CARRIERS[cameMultiplexed() ? 1 : 0];
  /** Where the wire is, and what is wrong with it. */
  origin = null;
  trouble = null;
  /** `{ id, name, sql, everyMs, number, emptyTable, result }`: the server's name of it, ours, its class, and whether a
   *  table that it reads has no rows. */
  queries = [];
  stream = null;
  tally = new Tally();
  /** Changes to queries and subscription since the stream was opened. */
  edits = 0;
  /** What the stream took over from, and where: `{ title, cursor }` of another wire, or of a server that is gone
   *  (`isMove`). */
  resumedFrom = null;
  /** How often it went to another server, and whether it wants to and finds none that would have it. */
  moves = 0;
  isStranded = false;
  /** When the subscription had to be made anew. */
  renewedAt = null;
  isHeld = false;
  #page;
  #server;
  #view;
  #subscription = null;
  /** Other visitors have names too. */
  #suffix = newKey().slice(0, 10);
  /** One change after the other. */
  #work = Promise.resolve();
  #lookAt = Infinity;
  #looks = 0;

  /** `page` is what it needs of the page: the `replicas` (where to ask, and where the wires are), the `clock`, and
   *  `changed(isAction)`, called when there is something new to draw. */
  constructor(section, page) {
    this.#page = page;
    this.#server = new Server(() => page.replicas.homes);
    this.#view = new WorkbenchView(section, this, page.changed);
  }

  draw(now) {
    this.#view.draw(now);
  }

  standing(now) {
    return this.stream === null ? 'none' : stateOf(this.stream, now);
  }

  /** Who delivers, as far as that is known. */
  get deliverer() {
    return this.stream?.server ?? this.#place?.server ?? null;
  }

  /** Whether the stream was open, and is not. */
  get #isLost() {
    return this.stream !== null && ['away', 'refused'].includes(this.stream.state);
  }

  /** Adds a query, or says why not by an error. */
  add(definition) {
    return this.#inTurn(async () => {
      const query = { ...definition, id: `${definition.name}.${this.#suffix}`, number: null, emptyTable: null, result: new Result() };
      await this.#server.createQuery(query.id, told(definition));
      try {
        query.number = (await this.#server.query(query.id)).class;
        query.emptyTable = await this.#emptyTable(query.sql);
        this.queries.push(query);
        await this.#subscribe();
      } catch (error) {
        this.queries = this.queries.filter((other) => other !== query);
        await this.#server.deleteQuery(query.id).catch(() => {});
        throw error;
      }
    });
  }

  /** Replaces what a query says. The stream is told the new result under the same name. */
  replace(query, definition) {
    return this.#inTurn(async () => {
      // Before it is asked for: the new result may be here before the answer.
      const old = query.result;
      query.result = new Result();
      await this.#server.replaceQuery(query.id, told(definition)).catch((error) => {
        query.result = old;
        throw error;
      });
      Object.assign(query, definition, { name: query.name });
      this.edits += 1;
      query.number = (await this.#server.query(query.id)).class;
      query.emptyTable = await this.#emptyTable(query.sql);
    });
  }

  remove(query) {
    return this.#inTurn(async () => {
      this.queries = this.queries.filter((other) => other !== query);
      this.#page.changed(true);
      await this.#subscribe();
      // It may be gone already, since no subscription names it any more.
      await this.#server.deleteQuery(query.id).catch((error) => {
        if (error.status !== 404) throw error;
      });
    });
  }

  /** Takes another wire, and resumes on it. */
  choose(index) {
    return this.#inTurn(async () => {
      const [wire, cursor] = [this.wire, this.stream?.cursor ?? null];
      this.wire = CARRIERS[index];
      this.#close();
      this.resumedFrom = cursor === null ? null : { title: wire.title, cursor, isMove: false };
      this.moves = 0;
      if (this.#subscription !== null && !this.isHeld) await this.#open(cursor);
    });
  }

  /** Closes the stream, until it is opened again where it was. */
  hold() {
    this.isHeld = true;
    this.#held = this.stream?.cursor ?? null;
    this.#close();
  }

  release() {
    if (!this.isHeld) return;
    this.isHeld = false;
    if (this.#subscription !== null) this.#inTurn(() => this.#open(this.#held)).catch(() => {});
  }

  #held = null;
  /** Where the stream is: one of the places of the replicas. */
  #place = null;

  /** The page is going: what it has made on the server goes too, as far as a page can see to that. */
  leave() {
    this.#close();
    const gone = this.queries.map((query) => this.#server.deleteQuery(query.id, true));
    if (this.#subscription !== null) gone.push(this.#server.deleteSubscription(this.#subscription, true));
    for (const request of gone) request.catch(() => {});
    this.#subscription = null;
  }

  /** The browser had kept the page, and shows it again. */
  comeBack() {
    if (this.queries.length > 0) this.#inTurn(() => this.#renew()).catch(() => {});
  }

  /** Called now and then: a stream that does not come back may have nothing to come back to. */
  lookAfter(now) {
    if (!this.#isLost) {
      this.#lookAt = Infinity;
      this.#looks = 0;
      this.isStranded = false;
    } else if (this.#lookAt === Infinity) {
      const isUrgent = this.#looks === 0 && this.#page.replicas.hasOthers;
      this.#lookAt = isUrgent ? now : now + LOOK_AFTER_MS;
    }
    if (now < this.#lookAt) return;
    this.#lookAt = Infinity;
    this.#looks += 1;
    this.#inTurn(async () => {
      // It may have come back while others had their turn.
      if (!this.#isLost) return;
      const isKnown = await this.#server.subscription(this.#subscription).then(() => true, ({ status }) => status !== 404);
      if (!isKnown) await this.#renew();
      else await this.#goOn();
    }).catch(() => {});
  }

  #inTurn(work) {
    const done = this.#work.then(work).finally(() => this.#page.changed(true));
    this.#work = done.catch(() => {});
    return done;
  }

  /** The table `calls`, if a query reads it and nobody fills it: then there is little to see, and a way to mend that. */
  async #emptyTable(sql) {
    if (!/\bcalls\b/i.test(sql)) return null;
    const { rows } = await this.#server.table('calls').catch(() => ({ rows: null }));
    return rows === 0 ? 'calls' : null;
  }

  async #subscribe() {
    const ids = this.queries.map(({ id }) => id);
    if (this.#subscription !== null) {
      await this.#server.replaceSubscription(this.#subscription, ids);
      this.edits += 1;
    } else {
      this.#subscription = (await this.#server.createSubscription(ids)).subscription_id;
      await this.#open(null);
    }
  }

  /** Makes all of it anew, since it is not known any more. */
  async #renew() {
    for (const query of this.queries) await this.#server.createQuery(query.id, told(query));
    const { subscription_id: id } = await this.#server.createSubscription(this.queries.map((query) => query.id));
    this.#close();
    this.#subscription = id;
    this.renewedAt = new Date().toLocaleTimeString();
    this.resumedFrom = null;
    await this.#open(null);
  }

  /** Resumes where the wire can be had; a server that still answers has a stream back without that, unless it refused it. */
  async #goOn() {
    const found = await this.#find();
    // It may have come back meanwhile.
    if (!this.#isLost) return;
    const isSame = found.origin === this.origin;
    this.isStranded = !mayPass(found.trouble) && this.#page.replicas.hasOthers;
    if (!mayPass(found.trouble) || (isSame && this.stream.state !== 'refused')) return;
    const [from, { cursor }] = [this.deliverer ?? this.origin, this.stream];
    this.#close();
    if (!isSame) {
      this.resumedFrom = { title: from, cursor, isMove: true };
      this.moves += 1;
    }
    this.#openAt(found, cursor);
  }

  async #open(after) {
    const found = await this.#find();
    this.origin = found.origin;
    this.trouble = mayPass(found.trouble) ? null : found.trouble;
    if (this.trouble === null && !this.isHeld) this.#openAt(found, after);
  }

  #openAt({ place, origin }, after) {
    this.origin = origin;
    this.#place = place;
    this.edits = 0;
    this.tally = new Tally();
    this.stream = this.wire.open({
      origin,
      subscription: this.#subscription,
      key: newKey(),
      types: ['message'],
      tally: this.tally,
      clock: this.#page.clock,
      changed: this.#page.changed,
      taken: (data) => this.#take(data),
      after,
    });
  }

  /** A server that is full or about to end has sent the stream away: others come before it then. */
  #find() {
    const isSentAway = this.#isLost && this.tally.lastBusy !== null;
    return findPlace(this.wire, this.#page.replicas.places, { first: isSentAway ? null : this.origin, last: isSentAway ? this.origin : null });
  }

  #close() {
    this.stream?.close();
    this.stream = null;
  }

  #take(data) {
    const message = typeof data === 'string' ? JSON.parse(data) : data;
    this.queries.find(({ id }) => id === message.query)?.result.take(message);
  }
}

/** A definition as the server is told of it: a page may go without a word, and leaves nothing behind. */
function told({ sql, everyMs }) {
  return { sql, every_ms: everyMs, temporary: true };
}
