// A collection of documents: what can be asked of it, and its documents as a map that follows them.

import { Problem } from './client-problem.js';

/** @typedef {import('./client-wires.js').Frame} Frame */
/** @typedef {string | number} Id */
/** @typedef {{ id: Id, version: number, document: any, event: string | null }} Written  A document as it is now; of a
 *  change `event` is the id of the event that tells of it. Of one that is gone there is no document. */
/** @typedef {Record<string, any>} Filter  by field: a value, or conditions by operator (`{ gt: 5, lte: 9 }`) */
/** @typedef {{ kind: 'ADDED' | 'MODIFIED' | 'DELETED', id: Id, version: number, document?: any, before?: any, patch?: any,
 *  event: string | null }} Change  `event` is that of a change that was told, and null of what a list has shown */

const PAGE = 250;
const [FIRST_PAUSE_MS, LONGEST_PAUSE_MS] = [1000, 30_000];

export class Collection {
  #client;
  #name;
  #path;

  /** @param {import('./client.js').Client} client @param {string} name */
  constructor(client, name) {
    this.#client = client;
    this.#name = name;
    this.#path = `/api/v2/${encodeURIComponent(name)}`;
  }

  /** @param {Id} id */
  get(id) {
    return this.#one('GET', id);
  }

  /** @param {any} document  its id is made where it has none */
  async create(document) {
    return written(await this.#client.request('POST', this.#path, { body: document }));
  }

  /** @param {Id} id @param {any} document @param {{ version?: number }} [expected] the change is refused (412) where the
   *    document has another version by now */
  replace(id, document, expected) {
    return this.#one('PUT', id, { body: document }, expected);
  }

  /** @param {Id} id @param {any} patch  an object is merged (RFC 7396), a list is a JSON Patch (RFC 6902)
   *  @param {{ version?: number }} [expected] */
  patch(id, patch, expected) {
    const contentType = Array.isArray(patch) ? 'application/json-patch+json' : 'application/merge-patch+json';
    return this.#one('PATCH', id, { body: patch, contentType }, expected);
  }

  /** @param {Id} id @param {{ version?: number }} [expected] */
  delete(id, expected) {
    return this.#one('DELETE', id, {}, expected);
  }

  /** A page: `items`, the `versions` of each, the `total` on all pages, and the `cursor` from which to watch.
   *  @param {{ page?: number, perPage?: number, sort?: string, filter?: Filter, above?: Id }} [options]  `above`: only
   *    documents with a greater id */
  async list({ page, perPage, sort, filter = {}, above } = {}) {
    const query = new URLSearchParams(conditions(filter));
    if (above !== undefined) query.append('filter[id][gt]', JSON.stringify(above));
    for (const [name, value] of Object.entries({ page, per_page: perPage, sort })) if (value !== undefined) query.set(name, String(value));
    return (await this.#client.request('GET', `${this.#path}?${query}`)).body;
  }

  /** The documents as a map that follows them. @param {LiveOptions} [options] */
  watch(options = {}) {
    return new Live(this, options);
  }

  /** Reads changes after a cursor; for `Live`. @param {Filter} filter @param {string} after
   *  @param {(event: Frame) => void} take */
  changes(filter, after, take) {
    const query = new URLSearchParams(conditions(filter));
    if (query.size === 0) return this.#client.subscribe([`collections/${this.#name}`], take, { after });
    return this.#client.follow(`${this.#path}?watch=1&${query}`, after, take);
  }

  /** @param {string} method @param {Id} id @param {{ body?: any, contentType?: string }} [more]
   *  @param {{ version?: number }} [expected] */
  async #one(method, id, more = {}, { version } = {}) {
    const ifMatch = version === undefined ? undefined : `"${version}"`;
    const reply = await this.#client.request(method, `${this.#path}/${encodeURIComponent(id)}`, { ...more, ifMatch });
    return { ...written(reply), id };
  }
}

/** @param {import('./client-requests.js').Reply} reply @returns {Written} */
function written({ body, etag, event = null }) {
  return { id: body?.id, version: Number(etag?.replaceAll('"', '') ?? 0), document: body, event };
}

/** A filter as pairs of a query. A text is put in quotes, so that it does not read as anything else.
 *  @param {Filter} filter @returns {string[][]} */
function conditions(filter) {
  const text = (/** @type {any} */ value) => (Array.isArray(value) ? value.map((one) => JSON.stringify(one)).join(',') : JSON.stringify(value));
  return Object.entries(filter).flatMap(([field, asked]) => {
    const isValue = asked === null || typeof asked !== 'object';
    return Object.entries(isValue ? { eq: asked } : asked).map(([operator, value]) => [`filter[${field}][${operator}]`, text(value)]);
  });
}

/** @typedef {{ filter?: Filter, perPage?: number, change?: (change: Change) => void, gap?: (notice: Frame) => void }} LiveOptions  `change`
 *  is called with each change once it is in the map, `gap` when some were lost: then the documents are listed anew, and
 *  what is different is told as changes */

/** A map from id to document that follows the collection: listed first, then watched from there. It is only to be read.
 *  @extends {Map<Id, any>} */
export class Live extends Map {
  #collection;
  #options;
  /** @type {Map<Id, number>} */
  #versions = new Map();
  #stop = () => {};
  #isClosed = false;

  /** @param {Collection} collection @param {LiveOptions} options */
  constructor(collection, options) {
    super();
    this.#collection = collection;
    this.#options = options;
    /** Resolves once all documents are there; rejects when the server says no. */
    this.ready = this.#begin();
  }

  /** The version of a document that is there. @param {Id} id */
  version(id) {
    return this.#versions.get(id);
  }

  close() {
    this.#isClosed = true;
    this.#stop();
  }

  async #begin() {
    const listed = await this.#list();
    if (this.#isClosed || listed === null) return;
    for (const id of [...this.keys()]) if (!listed.documents.has(id)) this.#remove(id, { version: this.#versions.get(id) ?? 0, event: null });
    for (const [id, { document, version }] of listed.documents) {
      // One that was deleted and made anew may have the version of the one before.
      const isKnown = version === this.#versions.get(id) && JSON.stringify(document) === JSON.stringify(this.get(id));
      if (!isKnown) this.#put(id, { document, version, event: null });
    }
    // From before the list: what came between and is in it already is told by its version.
    const stop = await this.#collection.changes(this.#options.filter ?? {}, listed.cursor, (event) => this.#take(event));
    this.#stop = stop;
    if (this.#isClosed) stop();
  }

  /** All documents, as often as it takes until there is an answer. */
  async #list() {
    for (let pause = FIRST_PAUSE_MS; !this.#isClosed; pause = Math.min(LONGEST_PAUSE_MS, pause * 2)) {
      try {
        return await this.#pages();
      } catch (error) {
        const { status, retryAfter } = /** @type {Problem} */ (error);
        if (status > 0 && status < 500 && retryAfter === null) throw error;
        await new Promise((resolve) => setTimeout(resolve, retryAfter ?? pause * (0.5 + Math.random() / 2)));
      }
    }
    return null;
  }

  /** Page after page, each from where the last has ended and not by its number, since documents come and go meanwhile.
   *  Numbers come first, then texts, and no text is greater than a number. */
  async #pages() {
    const { filter, perPage = PAGE } = this.#options;
    /** @type {Map<Id, { document: any, version: number }>} */
    const documents = new Map();
    let cursor = '';
    for (let above = /** @type {Id | undefined} */ (undefined); ; ) {
      const page = await this.#collection.list({ perPage, filter, above });
      cursor ||= page.cursor;
      page.items.forEach((/** @type {any} */ document, /** @type {number} */ i) => documents.set(document.id, { document, version: page.versions[i] }));
      if (page.items.length === page.per_page) above = page.items.at(-1).id;
      else if (typeof above === 'number') above = '';
      else return { documents, cursor };
    }
  }

  /** @param {Frame} event */
  #take(event) {
    if (event.type === '$gap') {
      this.#stop();
      this.#options.gap?.(event);
      this.ready = this.#begin();
      return;
    }
    const { id, version, document, patch } = event.data;
    const known = this.#versions.get(id) ?? 0;
    const news = { version, document, patch, event: event.id ?? null };
    // A document that goes keeps the version that it had.
    if (event.type === 'DELETED') version >= known && this.has(id) && this.#remove(id, news);
    else if (version > known) this.#put(id, news);
  }

  /** @param {Id} id @param {{ version: number, document?: any, patch?: any, event: string | null }} news */
  #put(id, news) {
    const kind = this.has(id) ? 'MODIFIED' : 'ADDED';
    const before = this.get(id);
    this.set(id, news.document);
    this.#versions.set(id, news.version);
    this.#options.change?.({ kind, id, before, ...news });
  }

  /** @param {Id} id @param {{ version: number, event: string | null }} news */
  #remove(id, news) {
    const before = this.get(id);
    this.delete(id);
    this.#versions.delete(id);
    this.#options.change?.({ kind: 'DELETED', id, before, ...news });
  }
}
